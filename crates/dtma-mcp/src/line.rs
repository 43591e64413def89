//! Cuts a stream of chunks into lines, within bounds. A line inside one chunk is not copied.

use bytes::{Buf, Bytes, BytesMut};

/// What becomes of a line that is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlong {
    /// It is dropped whole: half a message is none.
    Drop,
    /// It is cut into pieces: for logs a part is better than nothing.
    Cut,
}

/// What came of some chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A line, without its newline (a carriage return before it is left).
    Line(Bytes),
    /// A line of so many bytes was dropped.
    Dropped { bytes: usize },
}

/// Cuts one stream.
#[derive(Debug)]
pub(crate) struct Framer {
    limit: usize,
    overlong: Overlong,
    partial: BytesMut,
    /// Bytes so far of a line that is being dropped.
    dropping: Option<usize>,
}

impl Framer {
    pub(crate) fn new(limit: usize, overlong: Overlong) -> Self {
        Self { limit, overlong, partial: BytesMut::new(), dropping: None }
    }

    /// Takes the next chunk and gives `each` whatever it completes, and how many of the chunk's bytes are behind that.
    pub(crate) fn push(&mut self, mut chunk: Bytes, mut each: impl FnMut(Framed, usize)) {
        while let Some(end) = memchr::memchr(b'\n', &chunk) {
            let head = chunk.split_to(end);
            chunk.advance(1);
            let left = chunk.len();
            self.end_line(head, &mut |framed| each(framed, left));
        }
        self.keep(&chunk, &mut |framed| each(framed, 0));
    }

    /// What stands without a newline at the end of the stream.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.dropping = None;
        let rest = self.partial.split().freeze();
        (!rest.is_empty()).then_some(rest)
    }

    fn end_line(&mut self, head: Bytes, each: &mut impl FnMut(Framed)) {
        let fits_whole = self.partial.is_empty() && self.dropping.is_none() && head.len() <= self.limit;
        if fits_whole {
            return each(Framed::Line(head));
        }
        self.keep(&head, each);
        match self.dropping.take() {
            Some(bytes) => each(Framed::Dropped { bytes }),
            None => each(Framed::Line(self.partial.split().freeze())),
        }
    }

    fn keep(&mut self, piece: &[u8], each: &mut impl FnMut(Framed)) {
        if let Some(bytes) = self.dropping.as_mut() {
            *bytes += piece.len();
            return;
        }
        let long = self.partial.len() + piece.len() > self.limit;
        if long && self.overlong == Overlong::Drop {
            self.dropping = Some(self.partial.len() + piece.len());
            self.partial = BytesMut::new();
            return;
        }
        self.partial.extend_from_slice(piece);
        while self.partial.len() > self.limit {
            each(Framed::Line(self.partial.split_to(self.limit).freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(framer: &mut Framer, chunks: &[&[u8]]) -> Vec<Framed> {
        let mut out = Vec::new();
        for chunk in chunks {
            framer.push(Bytes::copy_from_slice(chunk), |framed, _| out.push(framed));
        }
        out
    }

    fn line(text: &str) -> Framed {
        Framed::Line(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_long_line_is_dropped_and_counted_and_the_next_one_is_whole() {
        let mut framer = Framer::new(4, Overlong::Drop);
        let out = frame(&mut framer, &[b"1234\n12", b"345", b"678\nab\n12345\nc"]);
        assert_eq!(
            out,
            [line("1234"), Framed::Dropped { bytes: 8 }, line("ab"), Framed::Dropped { bytes: 5 }]
        );
        assert_eq!(framer.rest(), Some(Bytes::from_static(b"c")));
    }

    #[test]
    fn a_long_line_is_cut_where_that_is_wanted() {
        let mut framer = Framer::new(4, Overlong::Cut);
        assert_eq!(
            frame(&mut framer, &[b"123456", b"789\nab\n"]),
            [line("1234"), line("5678"), line("9"), line("ab")]
        );
        assert_eq!(framer.rest(), None);
    }

    #[test]
    fn memory_is_bounded_while_a_line_is_dropped() {
        let mut framer = Framer::new(1024, Overlong::Drop);
        for _ in 0..1000 {
            assert_eq!(frame(&mut framer, &[&[b'x'; 4096]]), []);
            assert!(framer.partial.capacity() <= 8192);
        }
        assert_eq!(frame(&mut framer, &[b"\n"]), [Framed::Dropped { bytes: 4_096_000 }]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_the_chunks_are_cut(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            size in 1_usize..40,
        ) {
            let mut framer = Framer::new(1000, Overlong::Drop);
            let mut lines: Vec<Vec<u8>> = Vec::new();
            for chunk in text.chunks(size) {
                framer.push(Bytes::copy_from_slice(chunk), |framed, _| match framed {
                    Framed::Line(line) => lines.push(line.to_vec()),
                    Framed::Dropped { .. } => panic!("nothing is that long"),
                });
            }
            lines.push(framer.rest().unwrap_or_default().to_vec());
            let wanted: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(lines, wanted);
        }
    }
}
