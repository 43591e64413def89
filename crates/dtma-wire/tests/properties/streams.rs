//! A daemon's input on its way to a server, over connections that are cut anywhere: exactly what was said arrives.

use dtma_wire::{Decoder, FromDaemon, INPUT_WINDOW, Input, SendBuffer};
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The daemon has so many more bytes of lines for the server.
    Say(usize),
    /// So many frames are put on the wire.
    Send(usize),
    /// So many bytes of the wire arrive.
    Arrive(usize),
    /// The server reads so many bytes.
    Read(usize),
    /// The daemon hears how far the shim is.
    News,
    /// The connection is cut; the same daemon dials again.
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..3_000_usize).prop_map(Step::Say),
        1 => (1..INPUT_WINDOW).prop_map(Step::Say),
        3 => (1..12_usize).prop_map(Step::Send),
        3 => (1..200_000_usize).prop_map(Step::Arrive),
        3 => (1..100_000_usize).prop_map(Step::Read),
        2 => Just(Step::News),
        1 => Just(Step::Cut),
    ]
}

/// Both ends and what is between them.
struct World {
    /// All that the daemon will ever say.
    script: Vec<u8>,
    said: usize,
    daemon: SendBuffer,
    wire: Vec<u8>,
    decoder: Decoder,
    shim: Input,
    server: Vec<u8>,
}

impl World {
    fn new(script: Vec<u8>) -> Self {
        let mut daemon = SendBuffer::new(0, script.len() + 1);
        daemon.resume(0, INPUT_WINDOW as u64).unwrap();
        let (wire, decoder, shim, server) = (Vec::new(), Decoder::default(), Input::default(), Vec::new());
        Self { script, said: 0, daemon, wire, decoder, shim, server }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Say(count) => self.say(*count),
            Step::Send(frames) => (0..*frames).for_each(|_| self.send()),
            Step::Arrive(count) => self.arrive(*count),
            Step::Read(count) => self.read(*count),
            Step::News => self.daemon.window(self.shim.accepted(), self.shim.limit()).unwrap(),
            Step::Cut => self.cut(),
        }
    }

    fn say(&mut self, count: usize) {
        let until = (self.said + count).min(self.script.len());
        assert_eq!(self.daemon.push(&self.script[self.said..until]), until - self.said);
        self.said = until;
    }

    fn send(&mut self) {
        if let Some((offset, bytes)) = self.daemon.chunk() {
            let count = bytes.len();
            FromDaemon::Input { run: 1, offset, bytes }.encode(&mut self.wire).unwrap();
            self.daemon.sent(count);
        }
    }

    fn arrive(&mut self, count: usize) {
        let arrived: Vec<u8> = self.wire.drain(..count.min(self.wire.len())).collect();
        self.decoder.push(&arrived);
        while let Some(frame) = self.decoder.next_frame().unwrap() {
            let FromDaemon::Input { offset, bytes, .. } = FromDaemon::decode(frame).unwrap() else {
                panic!()
            };
            self.shim.accept(offset, bytes).unwrap();
        }
    }

    fn read(&mut self, count: usize) {
        let ready = self.shim.to_write();
        let taken = ready[..count.min(ready.len())].to_vec();
        let begins = self.server.last().is_none_or(|byte| *byte == b'\n');
        let has_end = self.shim.accepted() > self.server.len() as u64;
        let full = self.shim.received() - self.server.len() as u64 >= INPUT_WINDOW as u64;
        assert!(taken.is_empty() || !begins || has_end || full, "a part of a line without need");
        self.shim.wrote(taken.len());
        self.server.extend(taken);
    }

    fn cut(&mut self) {
        (self.wire, self.decoder) = (Vec::new(), Decoder::default());
        self.shim.lost_sender();
        let line_is_whole = |upto: u64| upto == 0 || self.script[upto as usize - 1] == b'\n';
        let (accepted, torn) = (self.shim.accepted(), self.shim.is_torn());
        assert!(torn || line_is_whole(accepted), "half a line is kept that nobody has read of");
        assert!(self.server.len() as u64 <= accepted);
        self.daemon.resume(accepted, self.shim.limit()).unwrap();
    }

    /// Lets everything happen that still can.
    fn finish(&mut self) {
        self.say(self.script.len());
        while self.server.len() < self.script.len() {
            let before = self.server.len();
            self.step(&Step::News);
            self.step(&Step::Send(100));
            self.step(&Step::Arrive(usize::MAX));
            self.step(&Step::Read(usize::MAX));
            assert!(self.server.len() > before, "nothing moves any more");
        }
    }
}

/// Lengths of lines, some longer than the window.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![8 => 0..400_usize, 2 => 0..40_000_usize, 1 => 0..2 * INPUT_WINDOW], 1..12)
}

fn script(lengths: &[usize]) -> Vec<u8> {
    let line = |(index, length): (usize, &usize)| {
        let letters = (0..*length).map(|at| b'a' + ((at / 7 + index) % 26) as u8);
        letters.chain([b'\n']).collect::<Vec<u8>>()
    };
    lengths.iter().enumerate().flat_map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_was_said_arrives(lengths in lengths(), steps in vec(step(), 0..60)) {
        let mut world = World::new(script(&lengths));
        for step in &steps {
            world.step(step);
            prop_assert!(world.script.starts_with(&world.server), "a gap or a repetition");
        }
        world.finish();
        prop_assert!(world.server == world.script);
    }

    /// The daemon's memory is lost with it: another one begins with a line of its own.
    #[test]
    fn another_daemon_begins_a_line_of_its_own(lengths in lengths(), steps in vec(step(), 0..30)) {
        let mut world = World::new(script(&lengths));
        steps.iter().filter(|step| !matches!(step, Step::Cut)).for_each(|step| world.step(step));
        world.shim.lost_sender();
        let newline: &[u8] = if world.shim.is_torn() { b"\n" } else { b"" };
        let offset = world.shim.accepted();
        let mut piece = newline.to_vec();
        piece.extend(b"{\"new\":1}\n");
        while offset + piece.len() as u64 > world.shim.limit() {
            world.read(usize::MAX);
        }
        world.shim.accept(offset, &piece).unwrap();
        while !world.shim.to_write().is_empty() {
            let ready = world.shim.to_write().to_vec();
            world.shim.wrote(ready.len());
            world.server.extend(ready);
        }
        let lines: Vec<&[u8]> = world.server.split(|byte| *byte == b'\n').collect();
        prop_assert_eq!(lines[lines.len() - 2], b"{\"new\":1}", "whole, and on a line of its own");
    }
}
