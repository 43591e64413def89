//! Frames: whatever is said is heard as it was said, and nothing that is heard does harm.

use dtma_wire::{
    Child, Decoder, EnvChange, FromDaemon, FromShim, Hello, MAX_DATA, MAX_FRAME, Mode, Output, Phase, Spawn,
    Welcome, WireError,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), Just(vec![b'x'; MAX_DATA])]
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..20).prop_map(String::from_iter)
}

/// What version 2 has, and version 1 has not.
fn tag() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(text())
}

/// A frame from the daemon, with its bytes beside it.
fn from_daemon() -> impl Strategy<Value = (FromDaemon<'static>, Vec<u8>)> {
    let spawn = (
        any::<u32>(),
        any::<bool>(),
        vec(bytes(), 0..4),
        vec((bytes(), any::<Option<u8>>()), 0..4),
        any::<u32>(),
        tag(),
    );
    let spawn = spawn.prop_map(|(run, messages, argv, environment, linger, tag)| {
        let mode = if messages { Mode::Messages } else { Mode::Log };
        let change =
            |(name, value): (Vec<u8>, Option<u8>)| EnvChange { name, value: value.map(|byte| vec![byte]) };
        let environment = environment.into_iter().map(change).collect();
        FromDaemon::Spawn(Spawn { run, mode, argv, environment, linger, tag })
    });
    let welcome = any::<(u16, u64, u64, u64)>().prop_map(|(version, output, limit, log)| {
        FromDaemon::Welcome(Welcome { version, output, limit, log })
    });
    let frame = prop_oneof![
        spawn,
        welcome,
        text().prop_map(|text| FromDaemon::Refuse { text }),
        any::<(u32, u64)>().prop_map(|(run, offset)| FromDaemon::Input { run, offset, bytes: &[] }),
        any::<(u32, u64)>().prop_map(|(run, offset)| FromDaemon::InputEnd { run, offset }),
        any::<(u32, u64, u64)>().prop_map(|(run, consumed, limit)| FromDaemon::OutputWindow {
            run,
            consumed,
            limit
        }),
        any::<(u32, u8)>().prop_map(|(run, signal)| FromDaemon::Signal { run, signal }),
        any::<(u32, u32)>().prop_map(|(run, grace)| FromDaemon::Stop { run, grace }),
        any::<(u32, u16)>().prop_map(|(request, port)| FromDaemon::Connect { request, port }),
        any::<(u32, u16)>().prop_map(|(request, port)| FromDaemon::Listen { request, port }),
        any::<u32>().prop_map(|run| FromDaemon::Heard { run }),
    ];
    (frame, bytes())
}

fn child() -> impl Strategy<Value = Child> {
    let phase = prop_oneof![
        Just(Phase::Idle),
        any::<u64>().prop_map(|started| Phase::Running { started }),
        any::<(u64, u64, u8, bool)>().prop_map(|(started, ended, code, oom)| Phase::Exited {
            started,
            ended,
            code,
            oom
        }),
        (any::<u32>(), text()).prop_map(|(errno, text)| Phase::Failed { errno, text }),
    ];
    let child = (0..u32::MAX, phase, any::<u32>(), tag());
    child.prop_map(|(run, phase, oom_kills, tag)| Child { run, phase, oom_kills, tag })
}

fn hello() -> impl Strategy<Value = Hello> {
    let who = (any::<[u8; 16]>(), text(), child());
    // What no stream ever reaches is refused.
    let place = || 0..=1_u64 << 62;
    let streams = ([place(), place(), place()], place(), any::<bool>(), any::<bool>(), any::<u64>());
    (who, streams).prop_map(|((nonce, build, child), (mut places, input, torn, begun, log))| {
        places.sort_unstable();
        let [base, acknowledged, end] = places;
        let output = Output { base, acknowledged, end, torn: begun };
        Hello { lowest: 0, highest: 3, nonce, build, child, output, input, torn, log }
    })
}

fn from_shim() -> impl Strategy<Value = (FromShim<'static>, Vec<u8>)> {
    let frame = prop_oneof![
        hello().prop_map(FromShim::Hello),
        child().prop_map(FromShim::Child),
        any::<(u32, u64)>().prop_map(|(run, offset)| FromShim::Output { run, offset, bytes: &[] }),
        any::<(u32, u64)>().prop_map(|(run, offset)| FromShim::OutputEnd { run, offset }),
        any::<(u64, u32, u64, bool)>().prop_map(|(sequence, run, at, stderr)| FromShim::Log {
            sequence,
            run,
            at,
            stderr,
            bytes: &[]
        }),
        any::<(u32, u64, u64)>().prop_map(|(run, accepted, limit)| FromShim::InputWindow {
            run,
            accepted,
            limit
        }),
        any::<u32>().prop_map(|run| FromShim::InputClosed { run }),
        any::<(u32, u16)>().prop_map(|(request, port)| FromShim::Socket { request, port }),
        any::<(u32, u32)>().prop_map(|(request, errno)| FromShim::NoSocket { request, errno }),
    ];
    (frame, bytes())
}

/// The frame with these bytes where it has any.
fn daemon_with<'a>(frame: &FromDaemon<'_>, with: &'a [u8]) -> FromDaemon<'a> {
    match frame.clone() {
        FromDaemon::Input { run, offset, .. } => FromDaemon::Input { run, offset, bytes: with },
        FromDaemon::Welcome(it) => FromDaemon::Welcome(it),
        FromDaemon::Refuse { text } => FromDaemon::Refuse { text },
        FromDaemon::Spawn(it) => FromDaemon::Spawn(it),
        FromDaemon::InputEnd { run, offset } => FromDaemon::InputEnd { run, offset },
        FromDaemon::OutputWindow { run, consumed, limit } => {
            FromDaemon::OutputWindow { run, consumed, limit }
        }
        FromDaemon::Signal { run, signal } => FromDaemon::Signal { run, signal },
        FromDaemon::Stop { run, grace } => FromDaemon::Stop { run, grace },
        FromDaemon::Connect { request, port } => FromDaemon::Connect { request, port },
        FromDaemon::Listen { request, port } => FromDaemon::Listen { request, port },
        FromDaemon::Heard { run } => FromDaemon::Heard { run },
    }
}

fn shim_with<'a>(frame: &FromShim<'_>, with: &'a [u8]) -> FromShim<'a> {
    match frame.clone() {
        FromShim::Output { run, offset, .. } => FromShim::Output { run, offset, bytes: with },
        FromShim::Log { sequence, run, at, stderr, .. } => {
            FromShim::Log { sequence, run, at, stderr, bytes: with }
        }
        FromShim::Hello(it) => FromShim::Hello(it),
        FromShim::Child(it) => FromShim::Child(it),
        FromShim::OutputEnd { run, offset } => FromShim::OutputEnd { run, offset },
        FromShim::InputWindow { run, accepted, limit } => FromShim::InputWindow { run, accepted, limit },
        FromShim::InputClosed { run } => FromShim::InputClosed { run },
        FromShim::Socket { request, port } => FromShim::Socket { request, port },
        FromShim::NoSocket { request, errno } => FromShim::NoSocket { request, errno },
    }
}

/// Pushes the bytes in pieces of these sizes, and gives each frame to `take`.
fn cut(all: &[u8], sizes: &[usize], mut take: impl FnMut(dtma_wire::Frame<'_>)) -> Result<(), WireError> {
    let mut decoder = Decoder::default();
    let mut rest = all;
    for size in sizes.iter().copied().chain([all.len()]) {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        decoder.push(piece);
        rest = later;
        while let Some(frame) = decoder.next_frame()? {
            take(frame);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_daemon_says_is_heard(said in vec(from_daemon(), 0..6), sizes in vec(0..600_usize, 0..20)) {
        let said: Vec<_> = said.iter().map(|(frame, with)| daemon_with(frame, with)).collect();
        let mut all = Vec::new();
        said.iter().for_each(|frame| frame.encode(&mut all).unwrap());
        let mut heard = said.iter();
        cut(&all, &sizes, |frame| assert_eq!(&FromDaemon::decode(frame).unwrap(), heard.next().unwrap())).unwrap();
        prop_assert_eq!(heard.next(), None);
    }

    #[test]
    fn what_a_shim_says_is_heard(said in vec(from_shim(), 0..6), sizes in vec(0..600_usize, 0..20)) {
        let said: Vec<_> = said.iter().map(|(frame, with)| shim_with(frame, with)).collect();
        let mut all = Vec::new();
        said.iter().for_each(|frame| frame.encode(&mut all).unwrap());
        let mut heard = said.iter();
        cut(&all, &sizes, |frame| assert_eq!(&FromShim::decode(frame).unwrap(), heard.next().unwrap())).unwrap();
        prop_assert_eq!(heard.next(), None);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(all in vec(any::<u8>(), 0..400), sizes in vec(0..50_usize, 0..20)) {
        let _ = cut(&all, &sizes, |frame| drop((FromDaemon::decode(frame), FromShim::decode(frame))));
    }

    /// Bytes that nearly are frames get further than arbitrary ones.
    #[test]
    fn frames_with_a_wrong_byte_do_no_harm(
        (frame, with) in from_daemon(),
        (other, words) in from_shim(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut all = Vec::new();
        daemon_with(&frame, &with).encode(&mut all).unwrap();
        shim_with(&other, &words).encode(&mut all).unwrap();
        let at = at.index(all.len());
        all[at] = byte;
        let _ = cut(&all, &[], |frame| drop((FromDaemon::decode(frame), FromShim::decode(frame))));
    }

    #[test]
    fn a_frame_that_is_too_long_is_not_begun(over in 1..100_usize) {
        let mut out = b"before".to_vec();
        let bytes = vec![0; MAX_FRAME - 1 - 4 - 8 + over];
        let said = FromDaemon::Input { run: 1, offset: 0, bytes: &bytes }.encode(&mut out);
        prop_assert_eq!(said, Err(WireError::Length(MAX_FRAME + over)));
        prop_assert_eq!(out, b"before");
    }
}
