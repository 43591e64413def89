//! What the daemon says.

use crate::codec::{Fields, frame, put_bytes, put_tag};
use crate::{Frame, WireError};

/// One frame from the daemon to a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromDaemon<'a> {
    /// The answer to a [`Hello`](crate::Hello) that is believed.
    Welcome(Welcome),
    /// The answer to one that is not; the connection is closed. The layout of this frame never changes.
    Refuse {
        /// Why, for a person.
        text: String,
    },
    /// Start the server: only the next run is begun, and only when nothing of the last one is left; anything else is
    /// answered by how things stand ([`FromShim::Child`](crate::FromShim::Child)).
    Spawn(Spawn),
    /// The server's input.
    Input {
        /// Which run's.
        run: u32,
        /// Where in all its input this begins.
        offset: u64,
        /// At most [`MAX_DATA`](crate::MAX_DATA) of it.
        bytes: &'a [u8],
    },
    /// The server's input ends here.
    InputEnd {
        /// Which run's.
        run: u32,
        /// Where it ends.
        offset: u64,
    },
    /// Output was taken care of and need not be kept, and more may come. A new run's output waits for the first of these.
    OutputWindow {
        /// Which run's.
        run: u32,
        /// Everything before this was taken care of.
        consumed: u64,
        /// Nothing beyond this may be sent yet.
        limit: u64,
    },
    /// Send the server a signal, itself only. A number that has no name is passed over.
    Signal {
        /// Which run.
        run: u32,
        /// Its number.
        signal: u8,
    },
    /// End the server: SIGTERM to its group, once in a run however often this comes, and SIGKILL to all when it is still
    /// there after the shortest grace. The shim stays.
    Stop {
        /// Which run.
        run: u32,
        /// Milliseconds.
        grace: u32,
    },
    /// Connect to a port inside, answered by [`FromShim::Socket`](crate::FromShim::Socket).
    Connect {
        /// Chosen by the daemon, to tell the answer by.
        request: u32,
        /// The TCP port on the container's loopback.
        port: u16,
    },
    /// Listen on a port inside, answered by [`FromShim::Socket`](crate::FromShim::Socket).
    Listen {
        /// Chosen by the daemon, to tell the answer by.
        request: u32,
        /// The TCP port on the container's loopback.
        port: u16,
    },
    /// This run's end was heard; where it is the last one, the shim need not wait to tell it.
    Heard {
        /// Which run.
        run: u32,
    },
}

/// How to go on from where the shim is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version of the wire that both speak.
    pub version: u16,
    /// From where the run's output is wanted, not before [`Output::base`](crate::Output::base).
    pub output: u64,
    /// How far it may be sent.
    pub limit: u64,
    /// From which log record on; what is not there any more is passed over.
    pub log: u64,
}

/// How to start the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// The number of this run: one more than the last one's.
    pub run: u32,
    /// What its standard output is.
    pub mode: Mode,
    /// Program and arguments; empty: those after the shim's own name on its command line.
    pub argv: Vec<Vec<u8>>,
    /// Changes to the environment that the container has.
    pub environment: Vec<EnvChange>,
    /// Seconds that the shim stays after the server's end for another [`Spawn`].
    pub linger: u32,
    /// By which whoever asks later knows what this run is, see [`Child::tag`](crate::Child::tag). At most
    /// [`MAX_TAG`](crate::MAX_TAG) bytes; none to a shim of version 1.
    pub tag: Option<String>,
}

/// What a server's standard output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Messages: none may be lost, and the server waits when nobody takes them.
    Messages,
    /// Words for people: the newest are kept, and the server never waits.
    Log,
}

/// One change to the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvChange {
    /// The variable.
    pub name: Vec<u8>,
    /// Its value; `None`: it is not there.
    pub value: Option<Vec<u8>>,
}

const WELCOME: u8 = 1;
const REFUSE: u8 = 2;
const SPAWN: u8 = 3;
const INPUT: u8 = 4;
const INPUT_END: u8 = 5;
const OUTPUT_WINDOW: u8 = 6;
const SIGNAL: u8 = 7;
const STOP: u8 = 8;
const CONNECT: u8 = 9;
const LISTEN: u8 = 10;
const HEARD: u8 = 11;

impl<'a> FromDaemon<'a> {
    /// Appends it as a frame.
    ///
    /// # Errors
    /// It is longer than a frame may be; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Welcome(welcome) => frame(out, WELCOME, |out| welcome.put(out)),
            Self::Refuse { text } => frame(out, REFUSE, |out| put_bytes(out, text.as_bytes())),
            Self::Spawn(spawn) => frame(out, SPAWN, |out| spawn.put(out)),
            Self::Input { run, offset, bytes } => frame(out, INPUT, |out| {
                out.extend(run.to_be_bytes());
                out.extend(offset.to_be_bytes());
                out.extend_from_slice(bytes);
            }),
            Self::InputEnd { run, offset } => frame(out, INPUT_END, |out| {
                out.extend(run.to_be_bytes());
                out.extend(offset.to_be_bytes());
            }),
            Self::OutputWindow { run, consumed, limit } => frame(out, OUTPUT_WINDOW, |out| {
                out.extend(run.to_be_bytes());
                out.extend(consumed.to_be_bytes());
                out.extend(limit.to_be_bytes());
            }),
            Self::Signal { run, signal } => frame(out, SIGNAL, |out| {
                out.extend(run.to_be_bytes());
                out.push(*signal);
            }),
            Self::Stop { run, grace } => frame(out, STOP, |out| {
                out.extend(run.to_be_bytes());
                out.extend(grace.to_be_bytes());
            }),
            Self::Connect { request, port } => frame(out, CONNECT, |out| put_port(out, *request, *port)),
            Self::Listen { request, port } => frame(out, LISTEN, |out| put_port(out, *request, *port)),
            Self::Heard { run } => frame(out, HEARD, |out| out.extend(run.to_be_bytes())),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// An unknown kind, or fields that it cannot have.
    pub fn decode(frame: Frame<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(frame.kind, frame.body);
        let it = match frame.kind {
            WELCOME => Self::Welcome(Welcome::read(&mut fields)?),
            REFUSE => Self::Refuse { text: fields.text()? },
            SPAWN => Self::Spawn(Spawn::read(&mut fields)?),
            INPUT => Self::Input { run: fields.u32()?, offset: fields.u64()?, bytes: fields.rest() },
            INPUT_END => Self::InputEnd { run: fields.u32()?, offset: fields.u64()? },
            OUTPUT_WINDOW => {
                Self::OutputWindow { run: fields.u32()?, consumed: fields.u64()?, limit: fields.u64()? }
            }
            SIGNAL => Self::Signal { run: fields.u32()?, signal: fields.u8()? },
            STOP => Self::Stop { run: fields.u32()?, grace: fields.u32()? },
            CONNECT => Self::Connect { request: fields.u32()?, port: fields.u16()? },
            LISTEN => Self::Listen { request: fields.u32()?, port: fields.u16()? },
            HEARD => Self::Heard { run: fields.u32()? },
            kind => return Err(WireError::Kind(kind)),
        };
        fields.end(it)
    }
}

fn put_port(out: &mut Vec<u8>, request: u32, port: u16) {
    out.extend(request.to_be_bytes());
    out.extend(port.to_be_bytes());
}

impl Welcome {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.version.to_be_bytes());
        out.extend(self.output.to_be_bytes());
        out.extend(self.limit.to_be_bytes());
        out.extend(self.log.to_be_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self { version: fields.u16()?, output: fields.u64()?, limit: fields.u64()?, log: fields.u64()? })
    }
}

impl Spawn {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.run.to_be_bytes());
        out.push(match self.mode {
            Mode::Messages => 0,
            Mode::Log => 1,
        });
        out.extend(self.linger.to_be_bytes());
        put_count(out, self.argv.len());
        self.argv.iter().for_each(|argument| put_bytes(out, argument));
        put_count(out, self.environment.len());
        for EnvChange { name, value } in &self.environment {
            put_bytes(out, name);
            out.push(value.is_some().into());
            if let Some(value) = value {
                put_bytes(out, value);
            }
        }
        put_tag(out, self.tag.as_deref());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let run = fields.u32()?;
        let mode = match fields.u8()? {
            0 => Mode::Messages,
            1 => Mode::Log,
            _ => return fields.refuse(),
        };
        let linger = fields.u32()?;
        let argv = (0..fields.u32()?).map(|_| owned(fields)).collect::<Result<_, _>>()?;
        let environment = (0..fields.u32()?).map(|_| EnvChange::read(fields)).collect::<Result<_, _>>()?;
        Ok(Self { run, mode, argv, environment, linger, tag: fields.tag()? })
    }
}

impl EnvChange {
    fn read(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let name = owned(fields)?;
        let value = fields.bool()?.then(|| owned(fields)).transpose()?;
        Ok(Self { name, value })
    }
}

fn owned(fields: &mut Fields<'_>) -> Result<Vec<u8>, WireError> {
    fields.bytes().map(<[u8]>::to_vec)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}
