//! WebSocket frames from a client, read with bounds as the door has them: nothing beyond them comes out, a message is
//! what was sent however it is cut, and nothing panics.

use super::pieces;
use std::io::{self, Cursor, Read, Write};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// Small, so that inputs reach it.
const LIMIT: usize = 1 << 10;

/// Bytes that come in pieces; what is written is lost.
struct Wire<'a> {
    coming: Vec<&'a [u8]>,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.coming.first_mut() else { return Ok(0) };
        let read = piece.read(into)?;
        if piece.is_empty() {
            self.coming.remove(0);
        }
        Ok(read)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn frames(input: &[u8]) {
    let cut = messages(Wire { coming: pieces(input).collect() });
    let whole = messages(Wire { coming: vec![input.get(1..).unwrap_or_default()] });
    assert_eq!(cut, whole);
    assert!(cut.iter().all(|message| message.len() <= LIMIT));
    there_and_back(input);
}

fn bounds() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT))
}

fn messages(wire: Wire<'_>) -> Vec<Message> {
    let mut socket = WebSocket::from_raw_socket(wire, Role::Server, Some(bounds()));
    let mut messages = Vec::new();
    while let Ok(message) = socket.read() {
        messages.push(message);
    }
    messages
}

/// What a client sends is what the server gets, or is refused for its length.
fn there_and_back(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let mut client = WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Client, None);
    client.send(Message::text(text.clone())).expect("sent");
    let sent = client.get_ref().get_ref().clone();
    let mut server = WebSocket::from_raw_socket(Wire { coming: vec![&sent] }, Role::Server, Some(bounds()));
    match server.read() {
        Ok(message) => assert_eq!(message, Message::text(text)),
        Err(Error::Capacity(_)) => assert!(text.len() > LIMIT),
        Err(error) => panic!("{error}"),
    }
}
