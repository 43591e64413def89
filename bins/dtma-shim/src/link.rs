//! One connection to the daemon.

use crate::outbox::Outbox;
use crate::round::{self, Told};
use crate::run::Run;
use dtma_wire::{Decoder, LogRing, WireError};
use std::fmt;
use std::os::unix::net::UnixStream;

/// How often a connection that takes everything is filled again before others have their turn.
const ROUNDS: usize = 8;

/// Why a connection is given up.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The daemon went away.
    Gone,
    /// It broke the rules.
    Wire(WireError),
    /// It does not want us.
    Refused(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the daemon went away"),
            Self::Wire(error) => write!(f, "the daemon broke the rules of the wire: {error}"),
            Self::Refused(text) => write!(f, "the daemon refused: {text}"),
        }
    }
}

impl From<WireError> for Lost {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// A connection, what was heard and what is to be said on it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: UnixStream,
    pub(crate) decoder: Decoder,
    pub(crate) talk: Talk,
}

/// What is to be said.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// The daemon believed our hello.
    pub(crate) welcomed: bool,
    pub(crate) outbox: Outbox,
    pub(crate) told: Told,
}

impl Link {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default(), talk: Talk::default() }
    }

    /// Says what there is to say. True when there is more, and only others' turn has come.
    pub(crate) fn tell(&mut self, run: &mut Run, log: &mut LogRing) -> Result<bool, Lost> {
        for _ in 0..ROUNDS {
            let Talk { welcomed, outbox, told } = &mut self.talk;
            if *welcomed && outbox.is_empty() {
                round::fill(&mut outbox.bytes, told, run, log)?;
            }
            if outbox.is_empty() {
                return Ok(false);
            }
            outbox.flush(&mut self.stream).map_err(|_| Lost::Gone)?;
            if !outbox.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// True when answers to what could be heard next have no place.
    pub(crate) fn is_busy(&self) -> bool {
        self.talk.outbox.is_full() || self.talk.outbox.passing() >= crate::sockets::MOST
    }
}
