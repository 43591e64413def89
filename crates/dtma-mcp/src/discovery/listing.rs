//! All pages of one list.

use super::{Bounds, DiscoverError};
use crate::json::{Cursor, Fault, Span, find, member};
use crate::rpc::code;
use crate::{CallError, ServerHandle};
use bytes::Bytes;
use dtma_core::catalogue::{Items, Page};
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
    pages: Vec<Option<Page>>,
}

/// Reads page after page until there is no more or it is enough. A server that does not know the list has none.
pub(super) async fn read(
    server: &ServerHandle,
    list: &List,
    bounds: &Bounds,
) -> Result<Listed, DiscoverError> {
    let (mut listed, mut params) = (Listed::default(), b"{}".to_vec());
    let (mut cursors, mut from) = (HashSet::new(), None);
    for _ in 0..bounds.pages {
        let page = match server.call_now(list.method, Some(&params), bounds.within).await {
            Err(CallError::Rpc { code: code::METHOD_NOT_FOUND, .. }) => return Ok(listed),
            answer => answer.map_err(|problem| DiscoverError::Call { method: list.method, problem })?,
        };
        listed.take(&page, list, bounds, from.take())?;
        let Some(cursor) = next(&page) else { return Ok(listed.whole()) };
        if listed.items.cut.is_some() {
            return Ok(listed);
        }
        if !cursors.insert(cursor.to_vec()) {
            return Ok(listed.cut("the server gave a cursor a second time".to_owned()));
        }
        params = [br#"{"cursor":"#, cursor, b"}"].concat();
        from = read_text(cursor);
    }
    Ok(listed.cut(format!("there are more than {} pages", bounds.pages)))
}

fn next(page: &[u8]) -> Option<&[u8]> {
    member(page, "nextCursor").filter(|cursor| cursor.starts_with(b"\""))
}

fn read_text(raw: &[u8]) -> Option<String> {
    serde_json::from_slice(raw).ok()
}

/// What is around the elements of a list that stands there on a page. `None`: they are not all parted alike.
fn wrapping(page: &[u8], list: Span, places: &[Span], cursor: Option<String>) -> Option<Page> {
    let text = |from: u32, to: u32| {
        let part = page.get(list.start as usize + from as usize..list.start as usize + to as usize)?;
        std::str::from_utf8(part).ok().map(str::to_owned)
    };
    let whole = std::str::from_utf8(page).ok()?;
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return Some(Page { cursor, head: whole.to_owned(), ..Page::default() });
    };
    let mut gaps = places.windows(2).map(|pair| text(pair[0].end, pair[1].start));
    let between = gaps.next().unwrap_or_else(|| Some(String::new()))?;
    if !gaps.all(|gap| gap.as_ref() == Some(&between)) {
        return None;
    }
    let head = whole.get(..list.start as usize + first.start as usize)?.to_owned();
    let tail = whole.get(list.start as usize + last.end as usize..)?.to_owned();
    Some(Page { cursor, count: places.len(), head, between, tail })
}

impl Listed {
    fn cut(mut self, why: String) -> Self {
        self.items.cut = Some(why);
        self
    }

    /// There is no more: with what was read the server's answers can be given.
    fn whole(mut self) -> Self {
        let pages: Option<Vec<Page>> = self.pages.drain(..).collect();
        self.items.pages = pages.filter(|_| self.items.cut.is_none()).unwrap_or_default();
        self
    }

    fn take(
        &mut self,
        page: &Bytes,
        list: &List,
        bounds: &Bounds,
        cursor: Option<String>,
    ) -> Result<(), DiscoverError> {
        let malformed = DiscoverError::Malformed { method: list.method, member: list.member };
        let Some(at) = find(page, list.member) else { return Err(malformed) };
        let elements = at.of(page);
        let ttl = member(page, "ttlMs").and_then(|raw| serde_json::from_slice(raw).ok());
        self.good_for = [self.good_for, ttl.map(Duration::from_millis)].into_iter().flatten().min();
        let (mut reader, mut places) = (Cursor::new(elements), Vec::new());
        let walked: Result<(), Fault> = reader.array(|reader| {
            let place = reader.value(1)?;
            self.push(place.of(elements), bounds);
            places.push(place);
            Ok(())
        });
        self.pages.push(wrapping(page, at, &places, cursor));
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
