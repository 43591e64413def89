//! Pieces of output, cut anywhere, become lines.

use dtma_core::Timestamp;
use dtma_core::port::runtime::{LogLine, OutputStream};

/// Most bytes of one line; a longer one is cut into several, as the engine's logs do.
const MAX_LINE: usize = 16 << 10;

/// One stream's line that is not finished yet.
#[derive(Debug, Default)]
pub(crate) struct LineMaker {
    begun: Option<(Timestamp, bool)>,
    bytes: Vec<u8>,
}

impl LineMaker {
    pub(crate) fn push(&mut self, at: Timestamp, stderr: bool, bytes: &[u8], lines: &mut Vec<LogLine>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            self.begun.get_or_insert((at, stderr));
            for part in text.chunks(MAX_LINE) {
                if self.bytes.len() + part.len() > MAX_LINE {
                    lines.extend(self.rest());
                    self.begun = Some((at, stderr));
                }
                self.bytes.extend_from_slice(part);
            }
            if ends {
                lines.extend(self.rest());
            }
        }
    }

    /// What was begun, as a line.
    pub(crate) fn rest(&mut self) -> Option<LogLine> {
        let (at, stderr) = self.begun.take()?;
        let bytes = std::mem::take(&mut self.bytes);
        let text = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        let stream = if stderr { OutputStream::Stderr } else { OutputStream::Stdout };
        Some(LogLine { at, stream, text: String::from_utf8_lossy(text).into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_cut() {
        let mut maker = LineMaker::default();
        let mut lines = Vec::new();
        let at = Timestamp::UNIX_EPOCH;
        maker.push(at, false, b"one\ntw", &mut lines);
        maker.push(at, false, b"o\r\n\n", &mut lines);
        maker.push(at, false, &[b'x'; MAX_LINE + 5], &mut lines);
        lines.extend(maker.rest());
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[..3], ["one", "two", ""]);
        assert_eq!((texts[3].len(), texts[4].len(), texts.len()), (MAX_LINE, 5, 5));
        assert_eq!(maker.rest(), None);
    }
}
