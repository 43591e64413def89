//! What is said next, whenever the connection takes more: the state first, then messages, news of the input's window
//! with them, and what is for people last.

use crate::outbox;
use crate::run::Run;
use crate::streams::WindowNews;
use dtma_wire::{FromShim, LogRing, Phase, WireError};

/// What the daemon at the other end has heard.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The server's state is to be told, as soon as everything in the log before this record was.
    child_due_after: Option<u64>,
    output_end: bool,
    input_closed: bool,
    window: WindowNews,
}

impl Told {
    /// Something happened to the server. That it ended is told after its last words, so that whoever hears of it knows
    /// them.
    pub(crate) fn child_changed(&mut self, run: &Run, log: &LogRing) {
        let ended = matches!(run.child.phase, Phase::Exited { .. });
        self.child_due_after = Some(if ended { log.end() } else { log.first() });
    }

    /// Another run began, and nothing is known of its streams.
    pub(crate) fn run_changed(&mut self) {
        *self = Self { child_due_after: self.child_due_after, ..Self::default() };
    }

    /// True when nothing is left to be said.
    pub(crate) fn is_all(&self, run: &Run, log: &LogRing) -> bool {
        self.child_due_after.is_none() && run.stdout.is_over() && run.stdout.buffer.is_sent() && log.is_sent()
    }
}

/// Appends what is to be said now to `out`, which was empty; about [`outbox::MOST`] of it.
pub(crate) fn fill(
    out: &mut Vec<u8>,
    told: &mut Told,
    run: &mut Run,
    log: &mut LogRing,
) -> Result<(), WireError> {
    state(out, told, run, log)?;
    output(out, told, run)?;
    input(out, told, run)?;
    words(out, log)
}

fn state(out: &mut Vec<u8>, told: &mut Told, run: &Run, log: &LogRing) -> Result<(), WireError> {
    match told.child_due_after.take_if(|after| log.next() >= *after) {
        Some(_) => FromShim::Child(run.child.clone()).encode(out),
        None => Ok(()),
    }
}

fn output(out: &mut Vec<u8>, told: &mut Told, run: &mut Run) -> Result<(), WireError> {
    let number = run.child.run;
    if let Some((offset, bytes)) = run.stdout.buffer.chunk() {
        let count = bytes.len();
        FromShim::Output { run: number, offset, bytes }.encode(out)?;
        run.stdout.buffer.sent(count);
    }
    let ends = run.has_messages() && run.stdout.is_over() && run.stdout.buffer.is_sent();
    if ends && !told.output_end {
        told.output_end = true;
        FromShim::OutputEnd { run: number, offset: run.stdout.buffer.end() }.encode(out)?;
    }
    Ok(())
}

fn input(out: &mut Vec<u8>, told: &mut Told, run: &Run) -> Result<(), WireError> {
    if run.server().is_none() {
        return Ok(());
    }
    let (number, input) = (run.child.run, run.stdin.input());
    if run.stdin.pipe().is_none() {
        return match std::mem::replace(&mut told.input_closed, true) {
            true => Ok(()),
            false => FromShim::InputClosed { run: number }.encode(out),
        };
    }
    let along = !out.is_empty() && told.window.is_there(input);
    if along || told.window.is_pressing(input) {
        told.window.told(input);
        let (accepted, limit) = (input.accepted(), input.limit());
        FromShim::InputWindow { run: number, accepted, limit }.encode(out)?;
    }
    Ok(())
}

fn words(out: &mut Vec<u8>, log: &mut LogRing) -> Result<(), WireError> {
    while out.len() < outbox::MOST / 4 * 3
        && let Some((sequence, record)) = log.next_record()
    {
        let (run, at, stderr) = (record.run, record.at, record.stderr);
        FromShim::Log { sequence, run, at, stderr, bytes: &record.bytes }.encode(out)?;
        log.sent();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_wire::{Decoder, Record};

    const EXITED: Phase = Phase::Exited { started: 1, ended: 2, code: 0, oom: false };

    fn word(at: u64, bytes: usize) -> Record {
        Record { run: 1, at: at * 1_000_000, stderr: true, bytes: vec![b'x'; bytes] }
    }

    /// What one round says, in a word each.
    fn said(told: &mut Told, run: &mut Run, log: &mut LogRing) -> Vec<&'static str> {
        let (mut out, mut decoder, mut said) = (Vec::new(), Decoder::default(), Vec::new());
        fill(&mut out, told, run, log).unwrap();
        assert!(out.len() < outbox::MOST / 4 * 3 + dtma_wire::MAX_DATA + 64, "{}", out.len());
        decoder.push(&out);
        while let Some(frame) = decoder.next_frame().unwrap() {
            said.push(match FromShim::decode(frame).unwrap() {
                FromShim::Child(_) => "state",
                FromShim::Output { .. } => "output",
                FromShim::Log { .. } => "words",
                other => panic!("{other:?}"),
            });
        }
        said
    }

    #[test]
    fn the_state_comes_first_and_words_last() {
        let (mut told, mut run, mut log) = (Told::default(), Run::default(), LogRing::new(1 << 20));
        run.stdout.buffer.push(b"a message\n");
        run.stdout.buffer.resume(0, 100).unwrap();
        log.push(word(1, 10));
        told.child_changed(&run, &log);
        assert_eq!(said(&mut told, &mut run, &mut log), ["state", "output", "words"]);
        assert!(said(&mut told, &mut run, &mut log).is_empty() && told.is_all(&run, &log));
    }

    #[test]
    fn the_end_comes_after_the_last_words() {
        let (mut told, mut run, mut log) = (Told::default(), Run::default(), LogRing::new(1 << 20));
        (0..4).for_each(|at| log.push(word(at, 20 << 10)));
        run.child.phase = EXITED;
        told.child_changed(&run, &log);
        log.push(word(9, 1));
        assert_eq!(said(&mut told, &mut run, &mut log), ["words"; 3]);
        assert!(!told.is_all(&run, &log));
        assert_eq!(said(&mut told, &mut run, &mut log), ["words"; 2]);
        assert_eq!(said(&mut told, &mut run, &mut log), ["state"]);
    }

    #[test]
    fn words_have_their_turn_while_messages_flow() {
        let (mut told, mut run, mut log) = (Told::default(), Run::default(), LogRing::new(1 << 20));
        run.stdout.buffer.push(&vec![b'x'; 1 << 20]);
        run.stdout.buffer.resume(0, 1 << 20).unwrap();
        (0..10).for_each(|at| log.push(word(at, 32 << 10)));
        for _ in 0..10 {
            assert_eq!(said(&mut told, &mut run, &mut log), ["output", "words"]);
        }
    }
}
