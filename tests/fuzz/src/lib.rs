//! Fuzz targets for everything that reads foreign bytes, as plain functions that panic when something is wrong.
//!
//! Each is run in two ways. `cargo test -p dtma-fuzz` runs it over the corpus (`fuzz/corpus/TARGET`) and thousands of
//! inputs made from that. `cargo +nightly fuzz run TARGET` (with `cargo install cargo-fuzz`) looks for new ones by
//! coverage; what it finds and is worth keeping goes into the corpus.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a target stops where something is broken: that is how it tells"
)]

mod header;
mod message;
mod oauth;
mod sse;
mod vault;
mod vault_reply;
mod websocket;
mod wire;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All, by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("envelope", message::envelope),
    ("splice", message::splice),
    ("sse", sse::stream),
    ("websocket", websocket::frames),
    ("header", header::header),
    ("wire", wire::frames),
    ("oauth", oauth::reply),
    ("vault", vault::file),
    ("vault_reply", vault_reply::reply),
];

/// Runs the target of that name; one that nobody knows is a mistake of the caller.
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    target(input);
}

/// Cuts bytes into pieces of changing lengths, which the first byte decides.
fn pieces(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (seed, mut rest) = input.split_first().unwrap_or((&0, &[]));
    let mut length = usize::from(*seed);
    std::iter::from_fn(move || {
        length = (length * 5 + 3) % 23 + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
