//! What is done when the daemon says something.

use crate::clock;
use crate::link::{Lost, Talk};
use crate::run::Run;
use crate::shim::Shim;
use crate::sockets::{self, Answer};
use crate::stop::Leave;
use crate::tree;
use dtma_wire::{Decoder, FromDaemon, Phase, SHIM_VERSIONS, Spawn, Welcome, WireError};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

impl Shim {
    /// Does everything that was heard so far.
    pub(crate) fn obey_all(&mut self, decoder: &mut Decoder, talk: &mut Talk) -> Result<(), Lost> {
        while let Some(frame) = decoder.next_frame()? {
            self.obey(FromDaemon::decode(frame)?, talk)?;
        }
        self.run.stdin.pump();
        Ok(())
    }

    fn obey(&mut self, frame: FromDaemon<'_>, talk: &mut Talk) -> Result<(), Lost> {
        match frame {
            FromDaemon::Refuse { text } => return Err(Lost::Refused(text)),
            FromDaemon::Welcome(welcome) if !talk.welcomed => self.welcome(&welcome, talk)?,
            // Nothing else may come first, and this not again.
            FromDaemon::Welcome(_) => return Err(WireError::Order.into()),
            _ if !talk.welcomed => return Err(WireError::Order.into()),
            FromDaemon::Spawn(spawn) => self.spawn(&spawn, talk),
            FromDaemon::Connect { request, port } => self.connect(request, port, talk)?,
            FromDaemon::Listen { request, port } => talk.outbox.answer(self.sockets.listen(request, port))?,
            FromDaemon::Input { run, offset, bytes } if self.is_present(run) => {
                self.run.stdin.accept(offset, bytes)?;
            }
            FromDaemon::InputEnd { run, offset } if self.is_present(run) => self.run.stdin.end(offset)?,
            FromDaemon::OutputWindow { run, consumed, limit } if self.is_present(run) => {
                self.run.stdout.buffer.window(consumed, limit)?;
            }
            FromDaemon::Signal { run, signal } if self.is_present(run) => self.signal(signal),
            FromDaemon::Stop { run, grace } if self.is_present(run) => {
                self.run.ask_to_stop(clock::now(), Duration::from_millis(grace.into()));
            }
            FromDaemon::Heard { run } if self.is_present(run) => self.heard = true,
            // About a run that is over: the daemon will hear of it.
            FromDaemon::Input { .. }
            | FromDaemon::InputEnd { .. }
            | FromDaemon::OutputWindow { .. }
            | FromDaemon::Signal { .. }
            | FromDaemon::Stop { .. }
            | FromDaemon::Heard { .. } => {}
        }
        Ok(())
    }

    fn is_present(&self, run: u32) -> bool {
        run == self.run.child.run
    }

    fn welcome(&mut self, welcome: &Welcome, talk: &mut Talk) -> Result<(), WireError> {
        if !SHIM_VERSIONS.contains(&welcome.version) {
            return Err(WireError::Order);
        }
        self.run.stdout.buffer.resume(welcome.output, welcome.limit)?;
        self.log.resume(welcome.log);
        self.dial.welcomed();
        talk.welcomed = true;
        Ok(())
    }

    /// Begins the next run; whatever else is asked for is answered by how things stand.
    fn spawn(&mut self, spawn: &Spawn, talk: &mut Talk) {
        let next = self.run.child.run.checked_add(1) == Some(spawn.run);
        if next && self.run.is_over() && !self.leave.is_decided() {
            let given = || spawn.argv.iter().cloned().map(OsString::from_vec).collect();
            let argv: Vec<OsString> = if spawn.argv.is_empty() { self.argv.clone() } else { given() };
            self.run = Run::begin(spawn, &argv, &mut self.counter);
            self.heard = false;
            self.leave = match self.run.child.phase {
                Phase::Failed { .. } => Leave::Linger(clock::now() + self.run.linger),
                Phase::Idle | Phase::Running { .. } | Phase::Exited { .. } => Leave::Stay,
            };
            talk.told.run_changed();
        }
        talk.told.child_changed(&self.run, &self.log);
    }

    fn signal(&self, signal: u8) {
        if let Some(server) = self.run.server()
            && let Ok(signal) = Signal::try_from(i32::from(signal))
        {
            tree::signal_one(server, signal);
        }
    }

    fn connect(&mut self, request: u32, port: u16, talk: &mut Talk) -> Result<(), WireError> {
        let answer = match self.sockets.connecting() + talk.outbox.passing() < sockets::MOST {
            true => self.sockets.connect(request, port, clock::now()),
            false => Some(Answer { request, port, socket: Err(Errno::EAGAIN) }),
        };
        answer.map_or(Ok(()), |answer| talk.outbox.answer(answer))
    }
}
