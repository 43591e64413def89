//! The lines of a file from its end to its beginning, a block at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const BLOCK: usize = 64 << 10;

/// Where reading is.
pub(super) struct Backward {
    file: File,
    /// Everything from here on was read.
    start: u64,
    /// What was read and not given out.
    rest: Vec<u8>,
}

impl Backward {
    pub(super) fn new(file: File, length: u64) -> Self {
        Self { file, start: length, rest: Vec::new() }
    }

    /// The line before the last one given, without its newline; nothing at the beginning of the file. What stands
    /// after the last newline is a line too.
    pub(super) fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(index) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let line = self.rest.split_off(index + 1);
                self.rest.truncate(index);
                return Ok(Some(line));
            }
            if self.start == 0 {
                return Ok((!self.rest.is_empty()).then(|| std::mem::take(&mut self.rest)));
            }
            self.block()?;
        }
    }

    fn block(&mut self) -> io::Result<()> {
        let size = usize::try_from(self.start).unwrap_or(BLOCK).min(BLOCK);
        self.start -= size as u64;
        let mut block = vec![0; size];
        self.file.read_exact_at(&mut block, self.start)?;
        block.append(&mut self.rest);
        self.rest = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backward(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, text).unwrap();
        let mut lines = Backward::new(File::open(&path).unwrap(), text.len() as u64);
        let next = || lines.line().unwrap().map(|line| String::from_utf8(line).unwrap());
        std::iter::from_fn(next).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn lines_come_from_the_last_to_the_first() {
        assert_eq!(backward(""), [""; 0]);
        assert_eq!(backward("a\nb\n"), ["b", "a"]);
        assert_eq!(backward("a\nb"), ["b", "a"]);
        let (x, y) = ("x".repeat(BLOCK - 1), "y".repeat(2 * BLOCK));
        assert_eq!(backward(&format!("{x}\n{y}\nz\n")), ["z", &y, &x]);
    }
}
