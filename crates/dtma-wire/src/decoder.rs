//! Cutting a stream of bytes into frames.

use crate::{MAX_FRAME, WireError};

/// Bytes that were received and not used yet.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// What lies before is used up.
    start: usize,
}

/// One frame as received: its kind and its fields, still to be read by
/// [`FromShim::decode`](crate::FromShim::decode) or [`FromDaemon::decode`](crate::FromDaemon::decode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
}

impl Decoder {
    /// Takes in bytes, cut anywhere. At most one frame more than is taken out is held, if the caller asks for frames
    /// after every push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// A length that no frame has. Nothing can be read after that.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let waiting = &self.buffer[self.start..];
        let Some((length, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(WireError::Length(length));
        }
        let Some((kind, body)) = rest.get(..length).and_then(<[u8]>::split_first) else { return Ok(None) };
        self.start += 4 + length;
        Ok(Some(Frame { kind: *kind, body }))
    }
}
