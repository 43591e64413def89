//! What reads foreign bytes, for fuzz targets (feature `fuzzing`): thin doors, no decisions.

use crate::door::stateless::header::decoded;
use crate::envelope::{Envelope, Kind, Message, Packet};
use crate::json::Span;
use crate::splice::Edit;
use bytes::Bytes;
use std::borrow::Cow;

/// Longest message that is read here.
const LIMIT: usize = 1 << 20;

/// The parts of a message that are found, raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `request`, `notification` or `response`.
    pub kind: &'static str,
    /// Names as in the message; `_meta.progressToken`, and `subscription` for that in `_meta`.
    pub parts: Vec<(&'static str, Vec<u8>)>,
}

/// The parts of one message; `None` for what is none, or a batch.
#[must_use]
pub fn scan(text: &[u8]) -> Option<Found> {
    let message = read(text)?;
    let kind = match message.kind() {
        Kind::Request => "request",
        Kind::Notification => "notification",
        Kind::Response => "response",
    };
    let found = |(name, part)| Some((name, message.raw(part)?.to_vec()));
    Some(Found { kind, parts: parts(&message.envelope).into_iter().filter_map(found).collect() })
}

fn parts(envelope: &Envelope) -> [(&'static str, Option<Span>); 9] {
    [
        ("id", envelope.id),
        ("method", envelope.method),
        ("params", envelope.params),
        ("result", envelope.result),
        ("error", envelope.error),
        ("_meta.progressToken", envelope.meta_token),
        ("progressToken", envelope.progress_token),
        ("requestId", envelope.request_id),
        ("subscription", envelope.subscription),
    ]
}

/// The elements of a batch.
#[must_use]
pub fn split(text: &[u8]) -> Option<Vec<Bytes>> {
    match Packet::read(Bytes::copy_from_slice(text), LIMIT).ok()? {
        Packet::Batch(parts) => Some(parts),
        Packet::One(_) => None,
    }
}

/// A request as its server sees it: with this id, in one line.
#[must_use]
pub fn renumbered(text: &[u8], id: u64) -> Option<Bytes> {
    let message = read(text).filter(|message| message.kind() == Kind::Request)?;
    Some(message.with_id(id, Message::to_line))
}

/// A message as a client gets it back: with these texts in the places of its id and of the token of its progress.
#[must_use]
pub fn given_back(text: &[u8], id: &[u8], token: &[u8]) -> Option<Bytes> {
    let message = read(text)?;
    let edit = |(at, text)| Option::map(at, |at| Edit { at, text });
    let edits = [(message.envelope.id, id), (message.envelope.progress_token, token)];
    let mut edits: Vec<Edit<'_>> = edits.into_iter().filter_map(edit).collect();
    Some(message.to_text(&mut edits))
}

/// What a header says that repeats something of the body.
#[must_use]
pub fn header(text: &str) -> Option<Cow<'_, str>> {
    decoded(text)
}

fn read(text: &[u8]) -> Option<Message> {
    Message::read(Bytes::copy_from_slice(text), LIMIT).ok()
}
