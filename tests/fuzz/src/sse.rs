//! Server-sent events: a stream means the same however it is cut, within its bounds.

use super::pieces;
use dtma_sse::{Event, Events, FIELDS};

/// Small, so that inputs reach it.
const LIMIT: usize = 1 << 10;

pub(crate) fn stream(input: &[u8]) {
    let (whole, whole_end) = events(std::iter::once(input.get(1..).unwrap_or_default()));
    let (cut, cut_end) = events(pieces(input));
    assert_eq!((&whole, whole_end), (&cut, cut_end));
    assert!(whole.iter().all(|event| event.data.len() <= LIMIT + FIELDS));
}

/// What comes out, and whether the stream could be read to its end.
fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let (mut events, mut out) = (Events::new(LIMIT), Vec::new());
    for piece in pieces {
        let pushed = events.push(piece);
        out.extend(std::iter::from_fn(|| events.pop()));
        if pushed.is_err() {
            return (out, false);
        }
    }
    (out, true)
}
