//! The shim's ends of a server's pipes, and what is buffered before them.

use dtma_wire::{INPUT_WINDOW, Input, OUTPUT_HISTORY, OUTPUT_WINDOW, SendBuffer, WireError};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    Bytes(usize),
    /// Not now.
    Nothing,
    /// Never again.
    End,
}

/// Reads once.
pub(crate) fn read(from: &mut impl Read, buffer: &mut [u8]) -> Got {
    loop {
        match from.read(buffer) {
            Ok(0) => return Got::End,
            Ok(count) => return Got::Bytes(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Got::Nothing,
            Err(_) => return Got::End,
        }
    }
}

/// A server's input.
#[derive(Debug, Default)]
pub(crate) struct Stdin {
    pipe: Option<File>,
    input: Input,
    /// The pipe was full when it was last written to.
    full: bool,
}

impl Stdin {
    pub(crate) fn new(pipe: File) -> Self {
        Self { pipe: Some(pipe), ..Self::default() }
    }

    pub(crate) fn pipe(&self) -> Option<&File> {
        self.pipe.as_ref()
    }

    pub(crate) fn input(&self) -> &Input {
        &self.input
    }

    /// True while `poll` has to say when the pipe takes more.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Takes in a piece. One that comes after the end (from a daemon that does not know of it) is thrown away.
    pub(crate) fn accept(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WireError> {
        match self.takes_more() {
            true => self.input.accept(offset, bytes),
            false => Ok(()),
        }
    }

    pub(crate) fn end(&mut self, offset: u64) -> Result<(), WireError> {
        match self.takes_more() {
            true => self.input.end(offset),
            false => Ok(()),
        }
    }

    fn takes_more(&self) -> bool {
        self.pipe.is_some() && !self.input.has_ended()
    }

    /// Writes what the pipe takes.
    pub(crate) fn pump(&mut self) {
        self.full = false;
        while let Some(pipe) = &mut self.pipe
            && !self.full
            && !self.input.to_write().is_empty()
        {
            match pipe.write(self.input.to_write()) {
                Ok(count) => self.input.wrote(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
                Err(_) => self.close(),
            }
        }
        if self.input.is_over() {
            self.close();
        }
    }

    /// Nobody reads it any more.
    pub(crate) fn close(&mut self) {
        self.pipe = None;
        self.full = false;
        self.input.discard();
    }

    pub(crate) fn lost_sender(&mut self) {
        self.input.lost_sender();
    }
}

/// A server's output, where it is messages.
#[derive(Debug)]
pub(crate) struct Stdout {
    pipe: Option<File>,
    pub(crate) buffer: SendBuffer,
}

impl Default for Stdout {
    fn default() -> Self {
        Self { pipe: None, buffer: SendBuffer::new(0, OUTPUT_WINDOW).with_history(OUTPUT_HISTORY) }
    }
}

impl Stdout {
    /// Nothing is sent before the daemon opens a window.
    pub(crate) fn new(pipe: File) -> Self {
        let mut stdout = Self { pipe: Some(pipe), ..Self::default() };
        // From the very beginning, so it cannot fail.
        let _ = stdout.buffer.resume(0, 0);
        stdout
    }

    /// The pipe, while there is room for what comes out of it; a server that says more waits.
    pub(crate) fn readable(&self) -> Option<&File> {
        self.pipe.as_ref().filter(|_| self.buffer.room() > 0)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads once, as much as there is room for.
    pub(crate) fn pump(&mut self, scratch: &mut [u8]) -> Got {
        let room = self.buffer.room().min(scratch.len());
        let Some(pipe) = self.pipe.as_mut().filter(|_| room > 0) else { return Got::Nothing };
        let got = read(pipe, &mut scratch[..room]);
        match got {
            Got::Bytes(count) => drop(self.buffer.push(&scratch[..count])),
            Got::Nothing => {}
            Got::End => self.pipe = None,
        }
        got
    }

    /// Reads what is left in the pipe, now that nobody is there to write to it. Called again when there is room.
    pub(crate) fn pump_rest(&mut self, scratch: &mut [u8]) {
        while self.readable().is_some() {
            if self.pump(scratch) == Got::Nothing {
                self.pipe = None;
            }
        }
    }
}

/// The window that was told, and what is to be told of it.
#[derive(Debug, Default)]
pub(crate) struct WindowNews {
    told: Option<(u64, u64)>,
}

impl WindowNews {
    /// True when the daemon should hear of it at once: it never heard of any, or has used up half of what it knows.
    pub(crate) fn is_pressing(&self, input: &Input) -> bool {
        let half_used = |limit: u64| limit.saturating_sub(input.received()) <= INPUT_WINDOW as u64 / 2;
        self.told.is_none_or(|(_, limit)| input.limit() > limit && half_used(limit))
    }

    /// True when it may come along with something else.
    pub(crate) fn is_there(&self, input: &Input) -> bool {
        self.told != Some((input.accepted(), input.limit()))
    }

    pub(crate) fn told(&mut self, input: &Input) {
        self.told = Some((input.accepted(), input.limit()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_pressing_when_half_of_what_is_known_is_used_up() {
        let mut news = WindowNews::default();
        let mut input = Input::default();
        assert!(news.is_pressing(&input), "nothing is known yet");
        news.told(&input);
        assert!(!news.is_there(&input));
        input.accept(0, b"a line\n").unwrap();
        input.wrote(7);
        assert!(news.is_there(&input) && !news.is_pressing(&input));
        let long = vec![b'\n'; INPUT_WINDOW / 2];
        input.accept(7, &long).unwrap();
        input.wrote(long.len());
        assert!(news.is_pressing(&input));
    }

    #[test]
    fn a_full_window_is_not_told_again_before_it_moves() {
        let mut news = WindowNews::default();
        let mut input = Input::default();
        news.told(&input);
        input.accept(0, &vec![b'\n'; INPUT_WINDOW]).unwrap();
        assert!(!news.is_pressing(&input));
        input.wrote(1);
        assert!(news.is_pressing(&input));
    }
}
