//! What a server said becomes lines of output.

use crate::envelope::{Message, Packet, ScanError};
use crate::splice::flatten;
use bytes::Bytes;
use dtma_core::port::runtime::{OutputChunk, OutputStream};
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Hears the server.
pub(super) struct Ear {
    out: mpsc::Sender<OutputChunk>,
    end: Mutex<Option<oneshot::Sender<io::Error>>>,
    limit: usize,
}

impl Ear {
    pub(super) fn new(out: mpsc::Sender<OutputChunk>, end: oneshot::Sender<io::Error>, limit: usize) -> Self {
        Self { out, end: Mutex::new(Some(end)), limit }
    }

    /// The messages of a text. What is none is passed on for the log, without a line break.
    pub(super) async fn read(&self, text: Bytes) -> Vec<Message> {
        match Packet::read(text.clone(), self.limit) {
            Ok(Packet::One(message)) => vec![message],
            Ok(Packet::Batch(elements)) => {
                elements.into_iter().filter_map(|element| Message::read(element, self.limit).ok()).collect()
            }
            Err(ScanError::TooLong { limit }) => {
                tracing::warn!(bytes = text.len(), limit, "a message was too long and was dropped");
                Vec::new()
            }
            Err(_) => {
                let mut line = text.to_vec();
                flatten(&mut line);
                line.push(b'\n');
                self.put(line.into()).await;
                Vec::new()
            }
        }
    }

    /// Passes a message on.
    pub(super) async fn pass(&self, message: &Message) {
        self.put(message.to_line(&mut [])).await;
    }

    /// Passes on what we say in the server's place.
    pub(super) async fn say(&self, message: &Bytes) {
        self.put([message, &b"\n"[..]].concat().into()).await;
    }

    /// The session is gone for good. Only the first reason counts.
    pub(super) fn end(&self, why: io::Error) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(end) = end {
            // Nobody hears it when the output was dropped.
            let _ = end.send(why);
        }
    }

    /// Whether the session is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    async fn put(&self, bytes: Bytes) {
        // It fails only when the output was dropped: nobody listens any more.
        let _ = self.out.send(OutputChunk::new(OutputStream::Stdout, bytes)).await;
    }
}
