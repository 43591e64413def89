//! Every fuzz target over its corpus, and over thousands of inputs made from that: cut, doubled, joined, with other
//! bytes. The same in every run.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops where something is broken, and shows it"
)]

use dtma_fuzz::{TARGETS, Target};
use std::fs;
use std::path::Path;

/// Inputs made from each file of a corpus.
const MADE: usize = 400;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound.max(1) as u64).unwrap()
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One small change.
fn change(input: &mut Vec<u8>, all: &[Vec<u8>], dice: &mut Dice) {
    const TELLING: &[u8] = b"{}[]\":,\\\n\r\0\xff\x80 0-e.utn=?/";
    let (from, to) = (dice.below(input.len() + 1), dice.below(input.len() + 1));
    let (from, to) = (from.min(to), from.max(to));
    match dice.below(7) {
        0 => input.truncate(to),
        1 => drop(input.drain(from..to.min(from + 8))),
        2 => input.insert(from, TELLING[dice.below(TELLING.len())]),
        3 if from < input.len() => input[from] = TELLING[dice.below(TELLING.len())],
        4 if from < input.len() => input[from] ^= 1 << dice.below(8),
        5 => {
            let piece = input[from..to.min(from + 64)].to_vec();
            input.splice(to..to, piece);
        }
        _ => {
            let other = &all[dice.below(all.len())];
            let at = dice.below(other.len() + 1);
            input.splice(to..to, other[at..other.len().min(at + 64)].iter().copied());
        }
    }
}

/// Shows an input when a target panics over it.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn run(name: &str, target: Target) {
    let all = corpus(name);
    assert!(all.len() > 3, "{name} has a corpus of {}", all.len());
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for input in &all {
        target(input);
        let mut made = input.clone();
        for round in 0..MADE {
            if round % 12 == 0 {
                made.clone_from(input);
            }
            change(&mut made, &all, &mut dice);
            let shown = Shown(name, &made);
            target(&made);
            drop(shown);
        }
    }
}

#[test]
fn no_input_made_from_the_corpus_breaks_a_target() {
    for (name, target) in TARGETS {
        run(name, target);
    }
}

#[test]
fn every_target_can_be_run_by_cargo_fuzz() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let harness = fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(harness.contains(&format!("run(\"{name}\"")), "{name}: {harness}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no [[bin]]");
    }
}
