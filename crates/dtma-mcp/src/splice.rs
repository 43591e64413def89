//! Puts other text in the place of ids and tokens and copies every other byte as it is.

use crate::json::Span;

/// New text for one place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edit<'a> {
    pub(crate) at: Span,
    pub(crate) text: &'a [u8],
}

/// `text` with the edits made, with room for `more` bytes behind. Edits may come in any order; where two overlap
/// (spans of one scan never do; none is empty) the one that begins first counts.
pub(crate) fn splice(text: &[u8], edits: &mut [Edit<'_>], more: usize) -> Vec<u8> {
    edits.sort_unstable_by_key(|edit| edit.at.start);
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = Vec::with_capacity(text.len() + added + more);
    let mut done = 0;
    for edit in edits.iter().filter(|edit| !edit.at.of(text).is_empty()) {
        let Some(before) = text.get(done..edit.at.start as usize) else { continue };
        out.extend_from_slice(before);
        out.extend_from_slice(edit.text);
        done = edit.at.end as usize;
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    out
}

/// An object with other members in front, each with its comma.
pub(crate) fn with_members(object: &[u8], front: &str) -> Vec<u8> {
    let Some(begin) = object.iter().position(|byte| *byte == b'{') else { return object.to_vec() };
    let rest = &object[begin + 1..];
    let is_empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let front = if is_empty { front.trim_end_matches(',') } else { front };
    [b"{", front.as_bytes(), rest].concat()
}

/// Turns newlines and carriage returns into spaces. In checked JSON they can only be white space between tokens;
/// on a pipe or in an event they would end the message. (A carriage return ends a line for some readers too.)
pub(crate) fn flatten(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edit(start: u32, end: u32, text: &[u8]) -> Edit<'_> {
        Edit { at: Span { start, end }, text }
    }

    #[test]
    fn places_are_replaced_in_any_order() {
        let spliced = splice(b"0123456789", &mut [edit(7, 8, b"seven"), edit(2, 5, b"")], 0);
        assert_eq!(spliced, b"0156seven89");
    }

    #[test]
    fn overlapping_and_impossible_edits_do_no_harm() {
        assert_eq!(splice(b"0123", &mut [edit(0, 3, b"a"), edit(1, 2, b"b")], 0), b"a3");
        assert_eq!(splice(b"0123", &mut [edit(3, 9, b"a"), edit(9, 12, b"b")], 0), b"0123");
    }

    #[test]
    fn only_line_breaks_are_flattened() {
        let mut text = b"{\r\n\t\"a\":1\n}".to_vec();
        flatten(&mut text);
        assert_eq!(text, b"{  \t\"a\":1 }");
    }

    proptest! {
        #[test]
        fn all_but_the_places_stays_as_it_was(
            pieces in proptest::collection::vec(("[ -~]{0,12}", "[ -~]{1,8}", "[ -~]{0,8}"), 0..4),
            tail in "[ -~]{0,12}",
        ) {
            let (mut text, mut wanted, mut places) = (String::new(), String::new(), Vec::new());
            for (kept, old, new) in &pieces {
                text.push_str(kept);
                let start = u32::try_from(text.len()).unwrap();
                text.push_str(old);
                places.push((start, u32::try_from(text.len()).unwrap(), new));
                wanted.push_str(kept);
                wanted.push_str(new);
            }
            text.push_str(&tail);
            wanted.push_str(&tail);
            let mut edits: Vec<_> = places.iter().rev().map(|(s, e, new)| edit(*s, *e, new.as_bytes())).collect();
            prop_assert_eq!(splice(text.as_bytes(), &mut edits, 1), wanted.into_bytes());
        }
    }
}
