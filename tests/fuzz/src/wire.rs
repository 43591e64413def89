//! The wire between daemon and shim, in both directions: a stream of frames means the same however it is cut, and what
//! is understood is written as it was read.

use super::pieces;
use dtma_wire::{Decoder, FromDaemon, FromShim};

pub(crate) fn frames(input: &[u8]) {
    let cut = read(pieces(input));
    let whole = read(std::iter::once(input.get(1..).unwrap_or_default()));
    assert_eq!(cut, whole);
}

/// What each frame means to either side, in words, up to one that has no meaning as a frame at all.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut decoder, mut meanings) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    let (daemon, shim) = (FromDaemon::decode(frame), FromShim::decode(frame));
                    meanings.push(format!("{daemon:?} {shim:?}"));
                    daemon.iter().for_each(of_daemon);
                    shim.iter().for_each(of_shim);
                }
                Ok(None) => break,
                Err(error) => {
                    meanings.push(error.to_string());
                    return meanings;
                }
            }
        }
    }
    meanings
}

fn of_daemon(message: &FromDaemon<'_>) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes).expect("what was read can be written");
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    let frame = decoder.next_frame().expect("a frame").expect("a whole one");
    assert_eq!(FromDaemon::decode(frame).as_ref(), Ok(message));
}

fn of_shim(message: &FromShim<'_>) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes).expect("what was read can be written");
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    let frame = decoder.next_frame().expect("a frame").expect("a whole one");
    assert_eq!(FromShim::decode(frame).as_ref(), Ok(message));
}
