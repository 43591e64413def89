//! Fields of frames: numbers in network order, bytes with their length before them.

use crate::{MAX_FRAME, MAX_TAG, WireError};

/// Appends one frame: its length, its kind, what `fields` writes. Nothing is appended when it would be too long.
pub(crate) fn frame(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    fields(out);
    let length = out.len() - start - 4;
    match u32::try_from(length) {
        Ok(short) if length <= MAX_FRAME => {
            out[start..start + 4].copy_from_slice(&short.to_be_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(WireError::Length(length))
        }
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // What is longer does not fit into a frame either, and `frame` says so.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, tag: Option<&str>) {
    if let Some(tag) = tag {
        put_bytes(out, tag.as_bytes());
    }
}

/// Reads the fields of one frame.
pub(crate) struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(kind: u8, body: &'a [u8]) -> Self {
        Self { kind, rest: body }
    }

    fn malformed(&self) -> WireError {
        WireError::Malformed(self.kind)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let malformed = self.malformed();
        self.take(N)?.try_into().map_err(|_| malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed()),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, WireError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.malformed())
    }

    /// What version 2 has at the end of a frame and version 1 has not.
    pub(crate) fn tag(&mut self) -> Result<Option<String>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.text()?;
        if tag.len() > MAX_TAG { self.refuse() } else { Ok(Some(tag)) }
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Refuses what nobody read, and gives the frame.
    pub(crate) fn end<T>(self, frame: T) -> Result<T, WireError> {
        if self.rest.is_empty() { Ok(frame) } else { Err(self.malformed()) }
    }

    /// For values that no field may have.
    pub(crate) fn refuse<T>(&self) -> Result<T, WireError> {
        Err(self.malformed())
    }
}
