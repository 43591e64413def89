//! Lists of several servers as one: what of them a page has, and where the next one begins. Pure.
//!
//! A cursor names a place (a server, and how many of its elements were told), not a list that somebody would have to
//! keep: whoever goes on with it gets what comes after that place now.

use super::members::Member;
use super::names;
use crate::json::{Cursor as Walk, Fault, find, member};
use crate::splice::{Edit, splice};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dtma_core::id::InstanceName;

/// Most elements of one page.
pub(super) const PAGE: usize = 250;
/// Most bytes of one page, unless a single element has more.
const PAGE_BYTES: usize = 2 << 20;
/// Longest cursor that is read.
const LONGEST: usize = 256;

/// What is renamed in the elements of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// `name`.
    Name,
    /// An address, in the member of this name.
    Address(&'static str),
}

/// A list that servers have.
#[derive(Debug)]
pub(super) struct List {
    pub(super) method: &'static str,
    /// The member of the result that has the elements.
    pub(super) member: &'static str,
    pub(super) capability: &'static str,
    pub(super) named: Named,
}

pub(super) const TOOLS: List =
    List { method: "tools/list", member: "tools", capability: "tools", named: Named::Name };
pub(super) const PROMPTS: List =
    List { method: "prompts/list", member: "prompts", capability: "prompts", named: Named::Name };
pub(super) const RESOURCES: List = List {
    method: "resources/list",
    member: "resources",
    capability: "resources",
    named: Named::Address("uri"),
};
pub(super) const TEMPLATES: List = List {
    method: "resources/templates/list",
    member: "resourceTemplates",
    capability: "resources",
    named: Named::Address("uriTemplate"),
};
pub(super) const LISTS: [&List; 4] = [&TOOLS, &PROMPTS, &RESOURCES, &TEMPLATES];

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) server: InstanceName,
    /// Elements of that server's that were told before.
    pub(super) told: usize,
}

impl Place {
    /// Reads the `cursor` of a request for that list. `None`: it was never given out.
    pub(super) fn read(list: &List, cursor: &str) -> Option<Self> {
        let text = URL_SAFE_NO_PAD.decode(Some(cursor).filter(|cursor| cursor.len() <= LONGEST)?).ok()?;
        let mut parts = std::str::from_utf8(&text).ok()?.split(':');
        let (of, server, told) = (parts.next()?, parts.next()?, parts.next()?);
        let place = Self { server: server.parse().ok()?, told: told.parse().ok()? };
        (of == list.member && parts.next().is_none()).then_some(place)
    }

    fn cursor(&self, list: &List) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}:{}", list.member, self.server, self.told))
    }
}

/// What one server lists, in its order, under the names of all.
pub(super) struct Part {
    pub(super) server: InstanceName,
    pub(super) elements: Vec<Bytes>,
}

/// A page and the cursor of the next.
pub(super) fn page(list: &List, parts: &[Part], from: Option<&Place>) -> (Vec<Bytes>, Option<String>) {
    let (mut elements, mut bytes) = (Vec::new(), 0);
    let passed = |part: &&Part| from.is_none_or(|from| part.server >= from.server);
    for part in parts.iter().filter(passed) {
        let told = from.filter(|from| from.server == part.server).map_or(0, |from| from.told);
        for (at, element) in part.elements.iter().enumerate().skip(told) {
            bytes += element.len();
            if elements.len() == PAGE || bytes > PAGE_BYTES && !elements.is_empty() {
                let place = Place { server: part.server.clone(), told: at };
                return (elements, Some(place.cursor(list)));
            }
            elements.push(element.clone());
        }
    }
    (elements, None)
}

/// The elements of one page of a server's.
pub(super) fn elements(result: &[u8], list: &List) -> Result<Vec<Bytes>, String> {
    let malformed = || format!("{} answered without {}", list.method, list.member);
    let raw = member(result, list.member).ok_or_else(malformed)?;
    let mut elements = Vec::new();
    let walked: Result<(), Fault> = Walk::new(raw).array(|cursor| {
        elements.push(Bytes::copy_from_slice(cursor.value(1)?.of(raw)));
        Ok(())
    });
    walked.map(|()| elements).map_err(|_| malformed())
}

/// An element under the name that it bears among those of all. What has no name cannot be asked for and is left out.
pub(super) fn renamed(list: &List, server: &Member, element: &[u8]) -> Option<Bytes> {
    let key = match list.named {
        Named::Name => "name",
        Named::Address(key) => key,
    };
    let at = find(element, key)?;
    let text = match list.named {
        Named::Name => {
            let own: String = serde_json::from_slice(at.of(element)).ok()?;
            let name = match list.method == TOOLS.method {
                true => server.tool_name(&own),
                false => names::exposed(&server.alias, &own),
            };
            crate::rpc::quoted(&name).into_bytes()
        }
        Named::Address(_) => names::prefixed(&server.name, at.of(element)),
    };
    Some(splice(element, &mut [Edit { at, text: &text }], 0).into())
}

/// The name that an element bears.
pub(super) fn name_of(element: &[u8]) -> Option<String> {
    serde_json::from_slice(member(element, "name")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(server: &str, elements: usize) -> Part {
        let element = |at| Bytes::from(format!("{{\"name\":\"{server}{at}\"}}"));
        Part { server: server.parse().unwrap(), elements: (0..elements).map(element).collect() }
    }

    #[test]
    fn pages_go_on_where_the_one_before_ended_and_miss_nothing() {
        let parts = [part("a", 3), part("b", PAGE), part("c", 0), part("d", PAGE + 1)];
        let (mut names, mut from, mut pages) = (Vec::new(), None, 0);
        loop {
            let (elements, cursor) = page(&TOOLS, &parts, from.as_ref());
            names.extend(elements.iter().map(|element| name_of(element).unwrap()));
            pages += 1;
            let Some(cursor) = cursor else { break };
            assert!(cursor.len() <= LONGEST);
            assert!(elements.len() <= PAGE && pages < 9);
            from = Some(Place::read(&TOOLS, &cursor).unwrap());
        }
        let expected: Vec<String> =
            parts.iter().flat_map(|part| &part.elements).map(|element| name_of(element).unwrap()).collect();
        assert_eq!(names.len(), expected.len());
        assert_eq!(names, expected);
        assert_eq!(pages, 3);
    }

    #[test]
    fn a_page_is_bounded_in_bytes_too_and_never_empty() {
        let big = Bytes::from(vec![b' '; PAGE_BYTES + 1]);
        let parts = [Part { server: "a".parse().unwrap(), elements: vec![big.clone(), big] }];
        let (elements, cursor) = page(&TOOLS, &parts, None);
        assert!(elements.len() == 1 && cursor.is_some());
    }

    #[test]
    fn a_cursor_that_nobody_gave_out_is_none() {
        let place = Place { server: "a".parse().unwrap(), told: 7 };
        let cursor = place.cursor(&TOOLS);
        assert_eq!(Place::read(&TOOLS, &cursor), Some(place));
        assert_eq!(Place::read(&PROMPTS, &cursor), None);
        let long = URL_SAFE_NO_PAD.encode(format!("tools:a:{}", "0".repeat(999)));
        for odd in
            ["", "x", "é", &long, &URL_SAFE_NO_PAD.encode("tools:a"), &URL_SAFE_NO_PAD.encode("tools:a:1:2")]
        {
            assert_eq!(Place::read(&TOOLS, odd), None, "{odd}");
        }
    }
}
