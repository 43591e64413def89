//! The envelope of a JSON-RPC message: where its id, method and tokens stand, found without decoding the rest.
//!
//! The whole text is checked to be JSON (UTF-8, nested at most 128 deep), so that no garbage is passed on; members
//! that nobody here knows pass untouched. A member of the envelope that is there twice (`jsonrpc`, `id`, `method`,
//! `params`, `result`, `error`; in `params` the `_meta`, `progressToken` and `requestId`; in `_meta` the
//! `progressToken` and the subscription) makes a message invalid: decoders differ on which one counts, and a message must not mean one
//! thing here and another to the server. Twice the same elsewhere is the receiver's affair.

use crate::json::{Cursor, Fault, Span, string_is};
use crate::splice::{Edit, flatten, splice};
use bytes::Bytes;

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScanError {
    #[error("it is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("it is not UTF-8 from byte {at} on")]
    NotUtf8 { at: usize },
    #[error("it is not JSON from byte {at} on")]
    NotJson { at: usize },
    #[error("it is nested too deep")]
    TooDeep,
    /// JSON, but no JSON-RPC message. `id` is there when it could be told apart.
    #[error("it is not a JSON-RPC message: {why}")]
    NotRpc { why: &'static str, id: Option<Bytes> },
}

impl From<Fault> for ScanError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax { at } => Self::NotJson { at },
            Fault::TooDeep => Self::TooDeep,
        }
    }
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `method` and `id`.
    Request,
    /// `method` alone.
    Notification,
    /// `result` or `error`, with an id (null for an error about something unreadable).
    Response,
}

/// Which request for notifications a notification belongs to: the key in its `_meta`.
pub(crate) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Where the parts stand that matter for passing a message on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: Kind,
    pub(crate) id: Option<Span>,
    pub(crate) method: Option<Span>,
    pub(crate) params: Option<Span>,
    pub(crate) result: Option<Span>,
    pub(crate) error: Option<Span>,
    /// `params._meta.progressToken` of a request.
    pub(crate) meta_token: Option<Span>,
    /// `params.progressToken` of `notifications/progress`.
    pub(crate) progress_token: Option<Span>,
    /// `params.requestId` of `notifications/cancelled`.
    pub(crate) request_id: Option<Span>,
    /// `params._meta["io.modelcontextprotocol/subscriptionId"]` (2026-07-28).
    pub(crate) subscription: Option<Span>,
    /// Whether white space holds newlines or carriage returns.
    pub(crate) line_breaks: bool,
}

/// A message: its text and its envelope.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) text: Bytes,
    pub(crate) envelope: Envelope,
}

/// A text as it comes over a wire.
#[derive(Debug)]
pub(crate) enum Packet {
    One(Message),
    /// The elements of a batch, each to be scanned by itself.
    Batch(Vec<Bytes>),
}

impl Packet {
    /// Reads a text of at most `limit` bytes.
    pub(crate) fn read(text: Bytes, limit: usize) -> Result<Self, ScanError> {
        if text.len() > limit.min(u32::MAX as usize) {
            return Err(ScanError::TooLong { limit });
        }
        check_utf8(&text)?;
        if Cursor::new(&text).peek() == Some(b'[') {
            return split(&text).map(Self::Batch);
        }
        let envelope = scan(&text)?;
        Ok(Self::One(Message { text, envelope }))
    }
}

impl Message {
    /// Reads one message; a batch is none.
    pub(crate) fn read(text: Bytes, limit: usize) -> Result<Self, ScanError> {
        match Packet::read(text, limit)? {
            Packet::One(message) => Ok(message),
            Packet::Batch(_) => Err(ScanError::NotRpc { why: "a batch cannot stand here", id: None }),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.envelope.kind
    }

    /// The raw text of a part.
    pub(crate) fn raw(&self, part: Option<Span>) -> Option<&[u8]> {
        part.map(|span| span.of(&self.text))
    }

    /// The raw text of a part, sharing this message's memory.
    pub(crate) fn shared(&self, part: Option<Span>) -> Option<Bytes> {
        self.raw(part).map(|raw| self.text.slice_ref(raw))
    }

    /// Whether it is a request or notification of this method.
    pub(crate) fn is(&self, method: &str) -> bool {
        self.raw(self.envelope.method).is_some_and(|raw| string_is(raw, method))
    }

    /// The text with the edits made, in one line and without a newline. Not copied when it can pass as it is.
    pub(crate) fn to_text(&self, edits: &mut [Edit<'_>]) -> Bytes {
        if edits.is_empty() && !self.envelope.line_breaks {
            return self.text.clone();
        }
        self.edited(edits).into()
    }

    /// The text with the edits made, as a line with its newline.
    pub(crate) fn to_line(&self, edits: &mut [Edit<'_>]) -> Bytes {
        let mut line = self.edited(edits);
        line.push(b'\n');
        line.into()
    }

    /// A request with this id, which is its progress token too if it has one.
    pub(crate) fn with_id(&self, id: u64, write: impl Fn(&Self, &mut [Edit<'_>]) -> Bytes) -> Bytes {
        let id = id.to_string();
        let edit = |at| Edit { at, text: id.as_bytes() };
        match (self.envelope.id.map(edit), self.envelope.meta_token.map(edit)) {
            (Some(id), Some(token)) => write(self, &mut [id, token]),
            (Some(only), None) | (None, Some(only)) => write(self, &mut [only]),
            (None, None) => write(self, &mut []),
        }
    }

    fn edited(&self, edits: &mut [Edit<'_>]) -> Vec<u8> {
        let mut text = splice(&self.text, edits, 1);
        if self.envelope.line_breaks {
            flatten(&mut text);
        }
        text
    }
}

fn check_utf8(text: &[u8]) -> Result<(), ScanError> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(problem) => Err(ScanError::NotUtf8 { at: problem.valid_up_to() }),
    }
}

fn split(text: &Bytes) -> Result<Vec<Bytes>, ScanError> {
    let mut elements = Vec::new();
    let mut cursor = Cursor::new(text);
    cursor.array(|cursor| {
        let element = cursor.value(1)?;
        elements.push(text.slice_ref(element.of(text)));
        Ok::<(), Fault>(())
    })?;
    cursor.finish()?;
    Ok(elements)
}

fn scan(text: &[u8]) -> Result<Envelope, ScanError> {
    let mut cursor = Cursor::new(text);
    if cursor.peek() != Some(b'{') {
        cursor.value(0)?;
        cursor.finish()?;
        return Err(ScanError::NotRpc { why: "it is no object", id: None });
    }
    let mut found = Found::default();
    cursor.object(|cursor, key| found.member(cursor, key, text))?;
    cursor.finish()?;
    found.judge(text, cursor.line_breaks)
}

/// What was met on the walk.
#[derive(Default)]
struct Found {
    version: Option<Span>,
    id: Option<Span>,
    method: Option<Span>,
    params: Option<Span>,
    result: Option<Span>,
    error: Option<Span>,
    meta: Option<Span>,
    meta_token: Option<Span>,
    progress_token: Option<Span>,
    request_id: Option<Span>,
    subscription: Option<Span>,
    twice: bool,
    /// Two ids: neither may be echoed.
    two_ids: bool,
}

impl Found {
    fn member(&mut self, cursor: &mut Cursor<'_>, key: Span, text: &[u8]) -> Result<(), Fault> {
        let key = key.of(text);
        if string_is(key, "params") {
            let value = self.params(cursor, text)?;
            self.note(|found| &mut found.params, value);
            return Ok(());
        }
        let value = cursor.value(1)?;
        if string_is(key, "id") {
            self.two_ids |= self.id.is_some();
            self.note(|found| &mut found.id, value);
        } else if string_is(key, "jsonrpc") {
            self.note(|found| &mut found.version, value);
        } else if string_is(key, "method") {
            self.note(|found| &mut found.method, value);
        } else if string_is(key, "result") {
            self.note(|found| &mut found.result, value);
        } else if string_is(key, "error") {
            self.note(|found| &mut found.error, value);
        }
        Ok(())
    }

    fn params(&mut self, cursor: &mut Cursor<'_>, text: &[u8]) -> Result<Span, Fault> {
        let is_object = cursor.peek() == Some(b'{');
        if !is_object {
            return cursor.value(1);
        }
        cursor.spanned(|cursor| cursor.object(|cursor, key| self.param(cursor, key, text)))
    }

    fn param(&mut self, cursor: &mut Cursor<'_>, key: Span, text: &[u8]) -> Result<(), Fault> {
        let key = key.of(text);
        if string_is(key, "_meta") && cursor.peek() == Some(b'{') {
            let meta = cursor.spanned(|cursor| cursor.object(|cursor, key| self.meta(cursor, key, text)))?;
            self.note(|found| &mut found.meta, meta);
            return Ok(());
        }
        let value = cursor.value(2)?;
        if string_is(key, "progressToken") {
            self.note(|found| &mut found.progress_token, value);
        } else if string_is(key, "requestId") {
            self.note(|found| &mut found.request_id, value);
        } else if string_is(key, "_meta") {
            self.note(|found| &mut found.meta, value);
        }
        Ok(())
    }

    fn meta(&mut self, cursor: &mut Cursor<'_>, key: Span, text: &[u8]) -> Result<(), Fault> {
        let value = cursor.value(3)?;
        if string_is(key.of(text), "progressToken") {
            self.note(|found| &mut found.meta_token, value);
        } else if string_is(key.of(text), SUBSCRIPTION) {
            self.note(|found| &mut found.subscription, value);
        }
        Ok(())
    }

    fn note(&mut self, slot: impl FnOnce(&mut Self) -> &mut Option<Span>, value: Span) {
        let before = slot(self).replace(value);
        self.twice |= before.is_some();
    }

    fn judge(&self, text: &[u8], line_breaks: bool) -> Result<Envelope, ScanError> {
        let kind = self.kind(text).map_err(|why| ScanError::NotRpc { why, id: self.echo(text) })?;
        let scalar = |part: Option<Span>| part.filter(|span| is_id(span.of(text)));
        Ok(Envelope {
            kind,
            id: self.id,
            method: self.method,
            params: self.params,
            result: self.result,
            error: self.error,
            meta_token: scalar(self.meta_token),
            progress_token: scalar(self.progress_token),
            request_id: scalar(self.request_id),
            subscription: scalar(self.subscription),
            line_breaks,
        })
    }

    fn kind(&self, text: &[u8]) -> Result<Kind, &'static str> {
        if self.twice {
            return Err("a member of the envelope is there twice");
        }
        if !self.version.is_some_and(|version| string_is(version.of(text), "2.0")) {
            return Err("\"jsonrpc\" must be \"2.0\"");
        }
        if self.params.is_some_and(|params| !matches!(params.of(text).first(), Some(b'{' | b'[' | b'n'))) {
            return Err("\"params\" must be an object or an array");
        }
        match (self.method, self.result.is_some(), self.error.is_some()) {
            (Some(method), false, false) => self.kind_of_call(method.of(text), text),
            (None, true, false) => self.kind_of_answer(false, text),
            (None, false, true) => self.kind_of_answer(true, text),
            (Some(_), _, _) => Err("\"method\" and \"result\" or \"error\" exclude each other"),
            (None, true, true) => Err("\"result\" and \"error\" exclude each other"),
            (None, false, false) => Err("it has no \"method\", \"result\" or \"error\""),
        }
    }

    fn kind_of_call(&self, method: &[u8], text: &[u8]) -> Result<Kind, &'static str> {
        if !method.starts_with(b"\"") {
            return Err("\"method\" must be a string");
        }
        match self.id.map(|id| is_id(id.of(text))) {
            Some(true) => Ok(Kind::Request),
            None => Ok(Kind::Notification),
            Some(false) => Err("\"id\" must be a string or a number"),
        }
    }

    fn kind_of_answer(&self, error: bool, text: &[u8]) -> Result<Kind, &'static str> {
        let id = self.id.map(|id| id.of(text));
        // An error about a request that could not be read has the id null, or (badly) none.
        let unreadable = error && id.is_none_or(|id| id == b"null");
        if unreadable || id.is_some_and(is_id) {
            Ok(Kind::Response)
        } else {
            Err("a response needs an \"id\"")
        }
    }

    /// The id to put into an error answer.
    fn echo(&self, text: &[u8]) -> Option<Bytes> {
        let id = self.id.filter(|_| !self.two_ids)?.of(text);
        is_id(id).then(|| Bytes::copy_from_slice(id))
    }
}

/// Ids and tokens are strings or numbers.
fn is_id(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(b'"' | b'-' | b'0'..=b'9'))
}

#[cfg(test)]
mod tests;
