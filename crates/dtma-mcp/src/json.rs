//! Walks over JSON text and checks it, without decoding or allocating. Which values matter is left to the caller,
//! who decodes them one by one ([`read`]).

use serde::de::DeserializeOwned;

/// Deepest nesting that passes; the same bound that decoders behind us commonly have.
pub(crate) const MAX_DEPTH: usize = 128;

/// Where a value stands in its text: `start..end`. Texts are bounded far below 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Why a text is not (acceptable) JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not JSON from this byte on.
    Syntax { at: usize },
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// A place in a text. The text must be UTF-8: that is checked once for the whole, not here.
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether white space held a newline or carriage return.
    pub(crate) line_breaks: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line_breaks: false }
    }

    /// The next byte after white space, not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.line_breaks = true,
                _ => return Some(byte),
            }
            self.at += 1;
        }
        None
    }

    /// Consumes `byte` when it is the next one after white space.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Consumes `byte` or fails.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.eat(byte) { Ok(()) } else { Err(self.fault()) }
    }

    /// Nothing but white space may be left.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        if self.peek().is_none() { Ok(()) } else { Err(self.fault()) }
    }

    /// Visits the members of the object that begins here. `visit` gets the key (with its quotes) and the cursor at
    /// the value, which it must consume.
    pub(crate) fn object<E: From<Fault>>(
        &mut self,
        mut visit: impl FnMut(&mut Self, Span) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            visit(self, key)?;
            if !self.eat(b',') {
                return self.expect(b'}').map_err(E::from);
            }
        }
    }

    /// Visits the elements of the array that begins here; `visit` must consume each.
    pub(crate) fn array<E: From<Fault>>(
        &mut self,
        mut visit: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'[')?;
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            visit(self)?;
            if !self.eat(b',') {
                return self.expect(b']').map_err(E::from);
            }
        }
    }

    /// Consumes any value that stands at nesting `depth` and says where it was.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Span, Fault> {
        self.peek();
        let start = self.at;
        let mut open = Open::below(depth);
        loop {
            if self.opens(&mut open)? {
                continue;
            }
            if self.closes(&mut open)? {
                return Ok(self.span(start));
            }
        }
    }

    /// Consumes a scalar, an empty container, or the opening of a container (and its first key): then `true`.
    fn opens(&mut self, open: &mut Open) -> Result<bool, Fault> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                open.push(true)?;
                Ok(if self.eat(b'}') { open.pop() } else { self.key().map(|_| true)? })
            }
            Some(b'[') => {
                self.at += 1;
                open.push(false)?;
                Ok(if self.eat(b']') { open.pop() } else { true })
            }
            Some(b'"') => self.string().map(|_| false),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.literal(b"true").map(|()| false),
            Some(b'f') => self.literal(b"false").map(|()| false),
            Some(b'n') => self.literal(b"null").map(|()| false),
            Some(_) | None => Err(self.fault()),
        }
    }

    /// After a value: consumes what closes its containers. `true` when none is left open.
    fn closes(&mut self, open: &mut Open) -> Result<bool, Fault> {
        while let Some(object) = open.top() {
            match (self.peek(), object) {
                (Some(b','), _) => {
                    self.at += 1;
                    if object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => self.at += 1,
                (Some(_) | None, _) => return Err(self.fault()),
            }
            open.pop();
        }
        Ok(true)
    }

    /// Says where that stood which `walk` consumes.
    pub(crate) fn spanned(
        &mut self,
        walk: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<Span, Fault> {
        self.peek();
        let start = self.at;
        walk(self)?;
        Ok(self.span(start))
    }

    fn key(&mut self) -> Result<Span, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault());
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    #[inline]
    fn string(&mut self) -> Result<Span, Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            self.at += plain_run(self.text.get(self.at..).unwrap_or_default());
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.span(start));
                }
                Some(b'\\') => self.escape()?,
                Some(_) | None => return Err(self.fault()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let length = match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if self.hex_digits(self.at + 2) => 6,
            Some(_) | None => return Err(self.fault()),
        };
        self.at += length;
        Ok(())
    }

    fn hex_digits(&self, from: usize) -> bool {
        self.text.get(from..from + 4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.at += usize::from(self.here() == Some(b'-'));
        if self.here() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.here() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.here() {
            self.at += 1;
            self.at += usize::from(matches!(self.here(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.here().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.fault()) }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault());
        }
        self.at += word.len();
        Ok(())
    }

    fn here(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault(&self) -> Fault {
        Fault::Syntax { at: self.at }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "texts are refused past u32::MAX before a cursor is made"
    )]
    fn span(&self, start: usize) -> Span {
        Span { start: start as u32, end: self.at as u32 }
    }
}

/// The open containers of a value: one bit each, set for an object.
struct Open {
    objects: u128,
    depth: usize,
    room: usize,
}

impl Open {
    fn below(depth: usize) -> Self {
        Self { objects: 0, depth: 0, room: MAX_DEPTH.saturating_sub(depth) }
    }

    fn push(&mut self, object: bool) -> Result<(), Fault> {
        if self.depth >= self.room {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        Ok(())
    }

    /// Always `false`: an empty container is a value that is complete.
    fn pop(&mut self) -> bool {
        self.depth -= 1;
        self.objects >>= 1;
        false
    }

    fn top(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.objects & 1 == 1)
    }
}

/// How many bytes pass as they are inside a string: up to a quote, a backslash or a control character. Eight at a
/// time, because nearly all of a message is strings.
fn plain_run(text: &[u8]) -> usize {
    let (words, tail) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let hit = special_bytes(u64::from_le_bytes(*word));
        if hit != 0 {
            return index * 8 + hit.trailing_zeros() as usize / 8;
        }
    }
    let in_tail = tail.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    words.len() * 8 + in_tail
}

/// Sets the high bit of each byte that ends a plain run; exact up to and including the lowest one set, as borrows
/// only travel upwards from a hit.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let zero_bytes = |w: u64| w.wrapping_sub(ONES) & !w;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
    (control | quote | backslash) & HIGH
}

/// Whether a string (raw, with its quotes) means `wanted`, escapes resolved.
pub(crate) fn string_is(raw: &[u8], wanted: &str) -> bool {
    let Some(inner) = raw.get(1..raw.len().saturating_sub(1)) else { return false };
    if !inner.contains(&b'\\') {
        return inner == wanted.as_bytes();
    }
    // Rare: some encoders write "tools\/call". Decoding allocates, so only when it could be as short as that.
    inner.len() <= wanted.len() * 6 && serde_json::from_slice::<String>(raw).is_ok_and(|text| text == wanted)
}

/// Where the value of a member of an object stands. `None` when `text` is no object, has no such member, or has it
/// twice.
pub(crate) fn find(text: &[u8], name: &str) -> Option<Span> {
    let [found] = find_all(text, [name]);
    found
}

/// The same for several members, in one walk.
pub(crate) fn find_all<const N: usize>(text: &[u8], names: [&str; N]) -> [Option<Span>; N] {
    let mut found = [(None, 0_u32); N];
    let mut cursor = Cursor::new(text);
    let walked: Result<(), Fault> = cursor.object(|cursor, key| {
        let value = cursor.value(1)?;
        let met = names.iter().zip(&mut found).filter(|(name, _)| string_is(key.of(text), name));
        met.for_each(|(_, found)| *found = (Some(value), found.1 + 1));
        Ok(())
    });
    found.map(|(value, times)| value.filter(|_| walked.is_ok() && times == 1))
}

/// The same of a member of an object that stands in a text, as a place in that text.
pub(crate) fn within(text: &[u8], object: Option<Span>, name: &str) -> Option<Span> {
    let object = object?;
    let inner = find(object.of(text), name)?;
    Some(Span { start: object.start + inner.start, end: object.start + inner.end })
}

/// The value that [`find`] finds, raw.
pub(crate) fn member<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    find(text, name).map(|span| span.of(text))
}

/// The values that [`find_all`] finds, raw.
pub(crate) fn members<'a, const N: usize>(text: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
    find_all(text, names).map(|found| found.map(|span| span.of(text)))
}

/// A value as something of ours; `None` where it is something else.
pub(crate) fn read<T: DeserializeOwned>(raw: &[u8]) -> Option<T> {
    serde_json::from_slice(raw).ok()
}

/// An object without the members of these names.
pub(crate) fn without(object: &[u8], goes: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut kept = Vec::new();
    let walked: Result<(), Fault> = Cursor::new(object).object(|cursor, key| {
        let value = cursor.value(1)?;
        if !goes(&read::<String>(key.of(object)).unwrap_or_default()) {
            kept.push([key.of(object), b":", value.of(object)].concat());
        }
        Ok(())
    });
    match walked {
        Ok(()) => [&b"{"[..], &kept.join(&b','), b"}"].concat(),
        Err(_) => object.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn valid(text: &[u8]) -> bool {
        let mut cursor = Cursor::new(text);
        std::str::from_utf8(text).is_ok() && cursor.value(0).and_then(|_| cursor.finish()).is_ok()
    }

    #[test]
    fn json_passes_and_everything_else_does_not() {
        for good in [
            "0",
            "-0.5e+10",
            " [ ] ",
            r#"{"a":[1,{"b":null}],"c":{}}"#,
            r#""\u00e9\\\"\/""#,
            "true",
            "[[],{}]",
        ] {
            assert!(valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "01",
            "1.",
            "-",
            "1e",
            "[1,]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            "[1 2]",
            "tru",
            "\"\n\"",
            r#""\x""#,
        ] {
            assert!(!valid(bad.as_bytes()), "{bad}");
        }
        for bad in
            [r#""\u12g4""#, r#"{"a":1}}"#, "[}", "{]", "nulls", "1 1", "'a'", "\u{b}1", r#"{a:1}"#, "\"abc"]
        {
            assert!(!valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(valid(nested(MAX_DEPTH).as_bytes()));
        assert_eq!(Cursor::new(nested(MAX_DEPTH + 1).as_bytes()).value(0), Err(Fault::TooDeep));
        assert_eq!(Cursor::new("{\"a\":".repeat(200_000).as_bytes()).value(0), Err(Fault::TooDeep));
    }

    #[test]
    fn a_string_is_compared_with_its_escapes_resolved() {
        assert!(string_is(br#""id""#, "id") && string_is(br#""\u0069d""#, "id"));
        assert!(string_is(br#""tools\/call""#, "tools/call") && !string_is(br#""\\id""#, "id"));
        assert!(!string_is(br#""\ud800""#, "id") && !string_is(b"", "id") && !string_is(b"\"", ""));
    }

    #[test]
    fn a_member_found_twice_is_no_member() {
        assert_eq!(member(br#"{"a":1,"b":[2]}"#, "b"), Some(&b"[2]"[..]));
        assert_eq!(member(br#"{"b":1,"b":2}"#, "b"), None);
        assert_eq!(member(b"[1]", "b"), None);
        let text = br#"{"a":1,"b":2,"a":3,"c":"x"}"#;
        assert_eq!(members(text, ["c", "a", "d"]), [Some(&br#""x""#[..]), None, None]);
        assert_eq!(members(br#"{"a":1,"c"}"#, ["a", "c"]), [None, None], "half an object is none");
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_is_json(text in r#"[\[\]{},:"\\u0-9a-f eE+.\-tralsn\n\r\t]{0,24}"#) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(valid(text.as_bytes()), theirs, "{}", text);
        }

        #[test]
        fn agrees_with_serde_json_on_bytes(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let quoted = [b"\"", &text[..], b"\""].concat();
            let theirs = std::str::from_utf8(&quoted).is_ok()
                && serde_json::from_slice::<serde::de::IgnoredAny>(&quoted).is_ok();
            prop_assert_eq!(valid(&quoted), theirs);
        }

        #[test]
        fn a_plain_run_ends_where_a_slow_search_says(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let slow = text.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(text.len());
            prop_assert_eq!(plain_run(&text), slow);
        }
    }
}
