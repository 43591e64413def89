//! One run of the server: from its start to when nothing of it is left, and what it said that nobody has taken yet.

use crate::child::{self, Begun};
use crate::clock;
use crate::oom::Counter;
use crate::stop::Stop;
use crate::streams::{Got, Stdin, Stdout, read};
use crate::tree::{self, Ended, Tree};
use dtma_wire::{Child, LogRing, Mode, Phase, Record, Spawn};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::time::{Duration, Instant};

/// How often who does not die at once is killed again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long the run's end waits for processes that the kernel does not let go.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most reads of a log pipe after the run's end; no pipe holds more, but a stranger might write on.
const LAST_READS: usize = 32;

/// The processes of a run.
#[derive(Debug, Default)]
enum Life {
    #[default]
    None,
    Alive(Pid),
    /// The server ended so, and whoever it left behind is being killed.
    Clearing {
        ended: Ended,
        since: Instant,
        again: Instant,
    },
}

/// The present run, or the last.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// As the daemon is told.
    pub(crate) child: Child,
    pub(crate) stop: Stop,
    pub(crate) stdin: Stdin,
    pub(crate) stdout: Stdout,
    /// Standard error; standard output, where it is words for people.
    pub(crate) logs: [Option<File>; 2],
    /// How long the shim stays after it.
    pub(crate) linger: Duration,
    /// Its standard output is messages.
    messages: bool,
    life: Life,
    /// SIGKILL came from us.
    killed: bool,
    oom_before: u64,
}

impl Run {
    /// Starts a server.
    pub(crate) fn begin(spawn: &Spawn, argv: &[OsString], counter: &mut Counter) -> Self {
        let mut run = Self { linger: Duration::from_secs(spawn.linger.into()), ..Self::default() };
        run.child.run = spawn.run;
        run.child.tag.clone_from(&spawn.tag);
        run.oom_before = counter.read();
        let started = clock::wall();
        match child::begin(argv, &spawn.environment) {
            Ok(begun) => run.begun(begun, spawn.mode, started),
            Err(error) => {
                let program = argv.first().map_or("".into(), |program| program.to_string_lossy());
                let text = format!("{program}: {error}");
                run.child.phase = Phase::Failed { errno: child::errno(&error), text };
            }
        }
        run
    }

    fn begun(&mut self, begun: Begun, mode: Mode, started: u64) {
        let Begun { pid, stdin, stdout, stderr } = begun;
        self.life = Life::Alive(pid);
        self.child.phase = Phase::Running { started };
        self.stdin = Stdin::new(stdin);
        self.logs[0] = Some(stderr);
        match mode {
            Mode::Messages => (self.messages, self.stdout) = (true, Stdout::new(stdout)),
            Mode::Log => self.logs[1] = Some(stdout),
        }
    }

    /// True when it has a standard output that may end.
    pub(crate) fn has_messages(&self) -> bool {
        self.messages
    }

    /// The server, while it is there.
    pub(crate) fn server(&self) -> Option<Pid> {
        match self.life {
            Life::Alive(pid) => Some(pid),
            Life::None | Life::Clearing { .. } => None,
        }
    }

    /// True when no process of it is there.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.life, Life::None)
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.life {
            Life::None => None,
            Life::Alive(_) => self.stop.deadline(),
            Life::Clearing { again, .. } => Some(again),
        }
    }

    /// Asks the server to end within `grace`.
    pub(crate) fn ask_to_stop(&mut self, now: Instant, grace: Duration) {
        if let Some(pid) = self.server()
            && self.stop.ask(now, grace)
        {
            tree::signal_group(pid, Signal::SIGTERM);
        }
    }

    /// Does what has become due.
    pub(crate) fn tend(&mut self, now: Instant, tree: Tree) {
        match &mut self.life {
            Life::None => {}
            Life::Alive(pid) => {
                if self.stop.is_due(now) {
                    self.killed = true;
                    tree::signal_group(*pid, Signal::SIGKILL);
                    tree.kill_all();
                }
            }
            Life::Clearing { again, .. } => {
                if *again <= now {
                    *again = now + AGAIN;
                    tree.kill_all();
                }
            }
        }
    }

    /// Reaps who has ended. True when with that the run is over.
    pub(crate) fn reap(&mut self, now: Instant, tree: Tree) -> bool {
        let (ended, mut empty) = tree::reap(self.server());
        if let Some(ended) = ended {
            self.life = Life::Clearing { ended, since: now, again: now + AGAIN };
            self.stdin.close();
        }
        if matches!(self.life, Life::Clearing { .. }) && !empty {
            tree.kill_all();
            empty = tree::reap(None).1;
        }
        self.is_cleared(now, empty)
    }

    fn is_cleared(&self, now: Instant, empty: bool) -> bool {
        match self.life {
            Life::None | Life::Alive(_) => false,
            Life::Clearing { since, .. } => empty || since + PATIENCE <= now,
        }
    }

    /// Nothing of it is left but what it said: takes that in, and notes how it ended.
    pub(crate) fn close(&mut self, counter: &mut Counter, log: &mut LogRing, scratch: &mut [u8]) {
        let Life::Clearing { ended, .. } = std::mem::take(&mut self.life) else { return };
        self.count_kills(counter);
        let Phase::Running { started } = self.child.phase else { return };
        let oom = ended.killed && !self.killed && self.child.oom_kills > 0;
        self.child.phase = Phase::Exited { started, ended: clock::wall(), code: ended.code, oom };
        for pipe in 0..self.logs.len() {
            let said = (0..LAST_READS).take_while(|_| self.pump_log(pipe, log, scratch) != Got::Nothing);
            let _ = said.count();
            self.logs[pipe] = None;
        }
        self.stdout.pump_rest(scratch);
    }

    /// Looks whether processes were killed for want of memory. True when there is news.
    pub(crate) fn count_kills(&mut self, counter: &mut Counter) -> bool {
        let kills = counter.read().saturating_sub(self.oom_before);
        let kills = u32::try_from(kills).unwrap_or(u32::MAX);
        std::mem::replace(&mut self.child.oom_kills, kills) != kills
    }

    /// Reads once from a log pipe: `Nothing` when nothing more is to be expected now.
    pub(crate) fn pump_log(&mut self, pipe: usize, log: &mut LogRing, scratch: &mut [u8]) -> Got {
        let Some(file) = &mut self.logs[pipe] else { return Got::Nothing };
        let got = read(file, scratch);
        match got {
            Got::Bytes(count) => log.push(Record {
                run: self.child.run,
                at: clock::wall(),
                stderr: pipe == 0,
                bytes: scratch[..count].to_vec(),
            }),
            Got::Nothing => {}
            Got::End => self.logs[pipe] = None,
        }
        got
    }
}
