//! All pages of one list.

use super::{Bounds, DiscoverError};
use crate::json::{Cursor, Fault, member};
use crate::rpc::code;
use crate::{CallError, ServerHandle};
use bytes::Bytes;
use dtma_core::catalogue::Items;
use std::collections::HashSet;
use std::time::Duration;

/// A list that servers have.
pub(super) struct List {
    pub(super) method: &'static str,
    /// The member of the result that has the elements.
    pub(super) member: &'static str,
}

pub(super) const TOOLS: List = List { method: "tools/list", member: "tools" };
pub(super) const PROMPTS: List = List { method: "prompts/list", member: "prompts" };
pub(super) const RESOURCES: List = List { method: "resources/list", member: "resources" };
pub(super) const TEMPLATES: List = List { method: "resources/templates/list", member: "resourceTemplates" };

/// What was read.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) items: Items,
    pub(super) good_for: Option<Duration>,
    bytes: usize,
}

/// Reads page after page until there is no more or it is enough. A server that does not know the list has none.
pub(super) async fn read(
    server: &ServerHandle,
    list: &List,
    bounds: &Bounds,
) -> Result<Listed, DiscoverError> {
    let (mut listed, mut params) = (Listed::default(), b"{}".to_vec());
    let mut cursors = HashSet::new();
    for _ in 0..bounds.pages {
        let page = match server.call_now(list.method, Some(&params), bounds.within).await {
            Err(CallError::Rpc { code: code::METHOD_NOT_FOUND, .. }) => return Ok(listed),
            answer => answer.map_err(|problem| DiscoverError::Call { method: list.method, problem })?,
        };
        listed.take(&page, list, bounds)?;
        let Some(cursor) = next(&page) else { return Ok(listed) };
        if listed.items.cut.is_some() {
            return Ok(listed);
        }
        if !cursors.insert(cursor.to_vec()) {
            return Ok(listed.cut("the server gave a cursor a second time".to_owned()));
        }
        params = [br#"{"cursor":"#, cursor, b"}"].concat();
    }
    Ok(listed.cut(format!("there are more than {} pages", bounds.pages)))
}

fn next(page: &[u8]) -> Option<&[u8]> {
    member(page, "nextCursor").filter(|cursor| cursor.starts_with(b"\""))
}

impl Listed {
    fn cut(mut self, why: String) -> Self {
        self.items.cut = Some(why);
        self
    }

    fn take(&mut self, page: &Bytes, list: &List, bounds: &Bounds) -> Result<(), DiscoverError> {
        let malformed = DiscoverError::Malformed { method: list.method, member: list.member };
        let Some(elements) = member(page, list.member) else { return Err(malformed) };
        let ttl = member(page, "ttlMs").and_then(|raw| serde_json::from_slice(raw).ok());
        self.good_for = [self.good_for, ttl.map(Duration::from_millis)].into_iter().flatten().min();
        let mut cursor = Cursor::new(elements);
        let walked: Result<(), Fault> = cursor.array(|cursor| {
            let raw = cursor.value(1)?.of(elements);
            self.push(raw, bounds);
            Ok(())
        });
        walked.map_err(|_| malformed)
    }

    fn push(&mut self, raw: &[u8], bounds: &Bounds) {
        if self.items.cut.is_some() {
            return;
        }
        if self.items.raw.len() >= bounds.items {
            self.items.cut = Some(format!("there are more than {}", bounds.items));
        } else if self.bytes + raw.len() > bounds.bytes {
            self.items.cut = Some(format!("there are more than {} bytes", bounds.bytes));
        } else {
            self.bytes += raw.len();
            self.items.raw.push(String::from_utf8_lossy(raw).into_owned());
        }
    }
}
