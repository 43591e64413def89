//! Any stream, cut anywhere, means what the rules say of it as a whole: held against a model that reads everything at
//! once, line by line, as the rules are written down.
#![allow(clippy::unwrap_used, reason = "a failing property must say where")]

use dtma_sse::{Event, Events, FIELDS, Trail};
use proptest::prelude::*;
use std::time::Duration;

/// What streams are made of: fields that mean something, ends of lines of all three kinds, and anything else.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed = [
        "data",
        "data:",
        "data: ",
        "data:  x",
        "data: {\"a\":1}",
        "event: message",
        "event:",
        "event: other",
        "id: 1",
        "id:",
        "id: a\0b",
        "retry: 10",
        "retry: x",
        "retry:",
        ": comment",
        ":",
        "other: field",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\r",
        "\r\n\r\n",
        "\u{feff}",
        " ",
        "é",
    ];
    prop_oneof![
        4 => proptest::sample::select(fixed.map(|text| text.as_bytes().to_vec()).to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

/// Pieces of a stream, empty ones too.
fn cut<'a>(stream: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

fn read(pieces: &[&[u8]]) -> (Vec<Event>, Trail) {
    let mut events = Events::new(1 << 20);
    let mut found = Vec::new();
    for piece in pieces {
        events.push(piece).unwrap();
        found.extend(std::iter::from_fn(|| events.pop()));
    }
    (found, events.trail)
}

/// Whole lines only: the last one, which has no end, is nobody's.
fn lines(stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line, mut index) = (Vec::new(), Vec::new(), 0);
    while index < stream.len() {
        match stream[index] {
            b'\r' | b'\n' => {
                index += usize::from(stream[index..].starts_with(b"\r\n"));
                lines.push(std::mem::take(&mut line));
            }
            other => line.push(other),
        }
        index += 1;
    }
    lines
}

fn model(stream: &[u8]) -> (Vec<Event>, Trail) {
    let stream = stream.strip_prefix("\u{feff}".as_bytes()).unwrap_or(stream);
    let (mut events, mut trail) = (Vec::new(), Trail::default());
    let (mut name, mut data, mut id) = (String::new(), Vec::<Vec<u8>>::new(), None::<String>);
    for line in lines(stream) {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = colon.map_or((&line[..], &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            _ if line.is_empty() => {
                let last = id.clone().filter(|id| !id.is_empty()).map(Into::into);
                if id.is_some() {
                    trail.last_id.clone_from(&last);
                }
                if !data.is_empty() {
                    let data = data.join(&b'\n').into();
                    events.push(Event { name: name.clone(), data, id: last });
                }
                (name, data) = (String::new(), Vec::new());
            }
            b"event" => name = text(value),
            b"data" => data.push(value.to_vec()),
            b"id" if !value.contains(&0) => id = Some(text(value)),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                trail.retry = text(value).parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
    }
    (events, trail)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_means_what_the_rules_say_however_it_is_cut(
        stream in stream(), at in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        prop_assert_eq!(read(&cut(&stream, &at)), model(&stream));
    }

    #[test]
    fn whether_an_event_is_too_long_does_not_depend_on_the_cuts(
        long in FIELDS - 40..FIELDS + 40, before in stream(),
        at in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = [&before[..], b"\n\ndata:", &vec![b'x'; long], b"\n\n"].concat();
        let taken = |pieces: &[&[u8]]| {
            let mut events = Events::new(0);
            pieces.iter().try_for_each(|piece| events.push(piece))
        };
        let whole = taken(&[&stream]);
        prop_assert_eq!(taken(&cut(&stream, &at)), whole.clone());
        prop_assert_eq!(whole.is_err(), "data:".len() + long > FIELDS);
    }
}
