//! Input, output and words for people: exact across connections that are cut anywhere, and bounded whatever happens.

use crate::daemon::Peer;
use crate::fixture::Fixture;
use dtma_wire::{INPUT_WINDOW, LOG_BYTES, Mode, OUTPUT_HISTORY, Phase};

/// What may be buffered on both ways and then some: KiB.
const BOUND: u64 = 4 << 10;

fn numbered(lines: u32) -> Vec<u8> {
    (0..lines).flat_map(|line| format!("{line} {}\n", "x".repeat(line as usize % 97)).into_bytes()).collect()
}

#[test]
fn ten_thousand_numbered_lines_pass_both_ways_over_many_connections() {
    let (fixture, mut peer) = Fixture::shell("exec cat");
    let all = numbered(10_000);
    peer.input(&all);
    for cut in 1..=40 {
        let upto = all.len() as u64 * cut / 41;
        peer.until("more", |peer| peer.book.received >= upto);
        // In the middle of a frame that would have come next.
        peer.send_bytes(&[0, 0, 1]);
        let book = peer.cut();
        peer = Peer::accept(&fixture.listener);
        peer.welcome_with(book);
    }
    peer.until("everything", |peer| peer.book.received >= all.len() as u64);
    assert!(peer.book.output == all, "nothing lost, nothing repeated");
    peer.end_input();
    assert_eq!(peer.until_exited(1), 0);
    assert_eq!(peer.book.output_end, Some(all.len() as u64));
}

#[test]
fn half_a_line_is_forgotten_with_the_daemon_that_began_it() {
    let (fixture, mut peer) = Fixture::shell("exec cat");
    peer.input(b"whole\nhal");
    assert_eq!(peer.until_line(), "whole");
    peer.acknowledge();
    peer.barrier();
    drop(peer.cut());
    let mut peer = Peer::accept(&fixture.listener);
    assert_eq!((peer.said().input, peer.said().torn), (6, false));
    peer.welcome();
    peer.input(b"new\n");
    assert_eq!(peer.until_line(), "new");
}

#[test]
fn a_line_longer_than_the_window_says_that_it_is_torn() {
    let (fixture, mut peer) = Fixture::shell("exec tail -n 1");
    peer.input(&vec![b'x'; 3 * INPUT_WINDOW]);
    peer.until("all of it", |peer| peer.book.input.is_sent());
    peer.barrier();
    drop(peer.cut());
    let mut peer = Peer::accept(&fixture.listener);
    assert_eq!((peer.said().input, peer.said().torn), (3 * INPUT_WINDOW as u64, true));
    peer.welcome();
    peer.input(b"\nthe next\n");
    peer.barrier();
    peer.end_input();
    assert_eq!(peer.until_line(), "the next");
}

#[test]
fn what_nobody_acknowledged_is_told_to_the_next_daemon() {
    let (fixture, mut peer) = Fixture::welcomed();
    peer.window = 4;
    peer.spawn(1, Mode::Messages, &["/bin/sh", "-c", "echo 123456789; exec cat"]);
    peer.until("a part", |peer| peer.book.received >= 4);
    let heard = peer.book.received;
    drop(peer.cut());
    let mut peer = Peer::accept(&fixture.listener);
    let output = peer.said().output;
    let acknowledged = output.acknowledged;
    assert!(acknowledged > 0 && acknowledged <= heard && output.end == 10, "{output:?}");
    assert!(output.base == 0 && !output.torn, "all of it is still there");
    peer.welcome();
    peer.until("the rest", |peer| peer.book.received == 10);
    assert_eq!(peer.book.output, &b"123456789\n"[acknowledged as usize..]);
}

#[test]
fn the_last_of_what_was_acknowledged_can_be_had_again() {
    let (fixture, mut peer) = Fixture::shell("exec cat");
    let all = numbered(5000);
    peer.input(&all);
    peer.until("everything", |peer| peer.book.received >= all.len() as u64);
    peer.acknowledge();
    peer.barrier();
    drop(peer.cut());
    let mut peer = Peer::accept(&fixture.listener);
    let output = peer.said().output;
    let end = all.len() as u64;
    assert_eq!((output.acknowledged, output.end, output.base), (end, end, end - OUTPUT_HISTORY as u64));
    assert_eq!(output.torn, all[output.base as usize - 1] != b'\n');
    peer.welcome_from(output.base);
    peer.until("the last", |peer| peer.book.received == end);
    assert!(peer.book.output == all[output.base as usize..]);
}

#[test]
fn a_server_that_closes_its_output_goes_on() {
    let (fixture, mut peer) = Fixture::shell("echo last; exec 1>&-; read line; exit 8");
    peer.until("the end", |peer| peer.book.output_end == Some(5));
    assert!(matches!(peer.child.phase, Phase::Running { .. }));
    let book = peer.cut();
    let mut peer = Peer::accept(&fixture.listener);
    peer.welcome_with(book);
    peer.until("the end again", |peer| peer.book.output_end == Some(5));
    peer.input(b"go\n");
    assert_eq!(peer.until_exited(1), 8);
}

#[test]
fn a_server_that_closes_its_input_is_given_no_more() {
    let (fixture, mut peer) = Fixture::shell("exec 0<&-; echo closed; exec sleep 60");
    peer.until("closed", |peer| peer.book.input_closed);
    peer.input(&numbered(1000));
    peer.barrier();
    drop(peer.cut());
    let mut peer = Peer::accept(&fixture.listener);
    peer.welcome();
    peer.until("closed, still", |peer| peer.book.input_closed);
}

#[test]
fn an_end_of_input_that_is_said_again_does_no_harm() {
    let (fixture, mut peer) = Fixture::shell("sleep 0.2; cat; exec sleep 60");
    peer.input(b"bye");
    peer.end_input();
    let book = peer.cut();
    let mut peer = Peer::accept(&fixture.listener);
    peer.welcome_with(book);
    peer.end_input();
    peer.until("bye", |peer| peer.book.output == b"bye");
    peer.until("closed", |peer| peer.book.input_closed);
    peer.barrier();
}

#[test]
fn a_server_that_never_reads_holds_up_nobody_but_itself() {
    let (fixture, mut peer) = Fixture::shell("exec sleep 60");
    let much = numbered(50_000);
    peer.input(&much);
    peer.barrier();
    peer.barrier();
    assert!(peer.book.input.base() <= (INPUT_WINDOW + (64 << 10)) as u64, "{}", peer.book.input.base());
    assert!(!peer.book.input.is_sent() && fixture.grown() < BOUND, "{} KiB", fixture.grown());
    peer.stop(0);
    assert!(peer.until_exited(1) > 128);
}

#[test]
fn a_line_of_sixteen_mebibytes_passes_a_slow_daemon_in_little_memory() {
    let (fixture, mut peer) = Fixture::welcomed();
    peer.window = 8 << 10;
    peer.shell(1, "head -c 16777216 /dev/zero | tr '\\0' x; echo; exec sleep 60");
    peer.until("all of it", |peer| peer.book.received == 16_777_217);
    assert!(peer.book.output.ends_with(b"xxx\n"));
    assert!(fixture.grown() < BOUND + 4096, "{} KiB", fixture.grown());
}

#[test]
fn a_line_of_sixteen_mebibytes_reaches_the_server_in_little_memory() {
    let (fixture, mut peer) = Fixture::shell("exec wc -c");
    let mut line = vec![b'x'; 16 << 20];
    line.push(b'\n');
    peer.input(&line);
    peer.until("all of it", |peer| peer.book.input.is_sent());
    peer.end_input();
    assert_eq!(peer.until_line().trim(), "16777217");
    assert!(fixture.grown() < BOUND, "{} KiB", fixture.grown());
}

#[test]
fn a_server_whose_output_nobody_takes_waits() {
    let (fixture, mut peer) = Fixture::welcomed();
    peer.window = 0;
    peer.shell(1, "yes | head -c 10000000; echo done >&2; exec sleep 60");
    for _ in 0..200 {
        peer.barrier();
    }
    assert_eq!((peer.book.received, peer.words()), (0, String::new()));
    assert!(fixture.grown() < BOUND + 4096, "{} KiB", fixture.grown());
    peer.window = 1 << 20;
    peer.acknowledge();
    peer.until("all of it", |peer| peer.book.received == 10_000_000);
    peer.until("its word", |peer| peer.words() == "done\n");
}

#[test]
fn a_flood_of_words_slows_down_no_message() {
    let (fixture, mut peer) = Fixture::shell("yes a flood of words >&2 & exec cat");
    for number in 0..500 {
        peer.input(format!("{number}\n").as_bytes());
        assert_eq!(peer.until_line(), number.to_string());
    }
    peer.until("much of it", |peer| {
        peer.log.drain(..).for_each(drop);
        peer.book.output.clear();
        peer.input(b"one more\n");
        peer.book.received > 10_000
    });
    assert!(fixture.grown() < BOUND, "{} KiB", fixture.grown());
    peer.stop(0);
    assert!(peer.until_exited(1) > 128);
}

#[test]
fn the_newest_words_are_told_to_whoever_comes_later() {
    let (mut fixture, peer) = Fixture::shell("sleep 0.1; seq 1 200000 >&2; echo the last >&2; exec sleep 60");
    fixture.daemon_gone();
    drop(peer.cut());
    fixture.daemon_back();
    // Nobody knows when it has said everything: who comes too early asks again.
    let mut peer = loop {
        let mut peer = Peer::accept(&fixture.listener);
        peer.welcome();
        peer.barrier();
        if peer.words().ends_with("the last\n") {
            break peer;
        }
    };
    drop(peer.cut());
    peer = Peer::accept(&fixture.listener);
    let first = peer.said().log;
    assert!(first > 0, "the oldest made room");
    peer.welcome();
    peer.until("the last", |peer| peer.words().ends_with("the last\n"));
    assert_eq!(peer.log[0].0, first);
    assert!(peer.log.windows(2).all(|two| two[0].0 + 1 == two[1].0), "without a gap");
    let said = peer.words();
    assert!(said.len() > LOG_BYTES / 2 && said.len() <= LOG_BYTES, "{}", said.len());
    assert!(fixture.grown() < BOUND, "{} KiB", fixture.grown());
}

#[test]
fn both_outputs_of_a_tool_are_words() {
    let (_fixture, mut peer) = Fixture::welcomed();
    peer.spawn(1, Mode::Log, &["/bin/sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(peer.until_exited(1), 0);
    let of = |stderr: bool| {
        peer.log.iter().find(|(_, which, _)| *which == stderr).map(|(_, _, bytes)| bytes.clone())
    };
    assert_eq!((of(false), of(true)), (Some(b"out\n".to_vec()), Some(b"err\n".to_vec())));
    assert_eq!((peer.book.received, peer.book.output_end), (0, None));
}
