//! What a shim says.

use crate::codec::{Fields, frame, put_bytes, put_tag};
use crate::{Frame, TAGGED, WireError};

/// One frame from a shim to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromShim<'a> {
    /// The first frame of a connection. Its fields up to [`Hello::build`] never change their layout.
    Hello(Hello),
    /// Something happened to the server, or a [`Spawn`](crate::Spawn) could not be done. That it ended is told after
    /// its last words ([`Log`](Self::Log)), and maybe before the last of its output ([`OutputEnd`](Self::OutputEnd)
    /// closes that).
    Child(Child),
    /// What the server wrote, in [`Mode::Messages`](crate::Mode::Messages).
    Output {
        /// Which run.
        run: u32,
        /// Where in all its output this begins.
        offset: u64,
        /// At most [`MAX_DATA`](crate::MAX_DATA) of it.
        bytes: &'a [u8],
    },
    /// The server closed its output, and all of it was sent. Told again to whoever connects after that.
    OutputEnd {
        /// Which run.
        run: u32,
        /// How much it wrote.
        offset: u64,
    },
    /// What the server wrote for people.
    Log {
        /// The place of this record among all of this container.
        sequence: u64,
        /// Which run.
        run: u32,
        /// Microseconds since 1970.
        at: u64,
        /// From its standard error.
        stderr: bool,
        /// At most [`MAX_DATA`](crate::MAX_DATA), cut anywhere.
        bytes: &'a [u8],
    },
    /// Input was taken and need not be kept, and more may come. Told after each [`Welcome`](crate::Welcome) and each
    /// start; before, a run that is just begun takes [`INPUT_WINDOW`](crate::INPUT_WINDOW), and no other takes any.
    InputWindow {
        /// Which run's.
        run: u32,
        /// Everything before this is with the shim or the server.
        accepted: u64,
        /// Nothing beyond this may be sent yet.
        limit: u64,
    },
    /// The server does not read any more, or has all that it will ever get; what comes now is thrown away.
    InputClosed {
        /// Which run.
        run: u32,
    },
    /// The socket that was asked for comes with this frame.
    Socket {
        /// The daemon's number for it.
        request: u32,
        /// The port connected to or listened on.
        port: u16,
    },
    /// There is no such socket.
    NoSocket {
        /// The daemon's number for it.
        request: u32,
        /// The system's error number.
        errno: u32,
    },
}

/// Who a shim is and how far everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version of the wire it speaks.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
    /// What the daemon told it at its start, so that it is taken for no other.
    pub nonce: [u8; 16],
    /// Its own version, for people.
    pub build: String,
    /// The server.
    pub child: Child,
    /// Its output.
    pub output: Output,
    /// How much of its input was accepted.
    pub input: u64,
    /// The last of it is half a line of which something was written to the server already.
    pub torn: bool,
    /// The first log record that is still there.
    pub log: u64,
}

/// How far the output of the present run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Output {
    /// What was before is not there any more.
    pub base: u64,
    /// Everything before was taken care of by some daemon. The last of it is still there
    /// ([`OUTPUT_HISTORY`](crate::OUTPUT_HISTORY)); with a shim of version 1 it is the same as the base.
    pub acknowledged: u64,
    /// How much there is.
    pub end: u64,
    /// What is there begins in the middle of a line.
    pub torn: bool,
}

/// The server, as the shim knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Child {
    /// The number of the run this is about; 0 when there was none.
    pub run: u32,
    /// What it does.
    pub phase: Phase,
    /// Processes of this container that were killed for want of memory since the run began.
    pub oom_kills: u32,
    /// What the daemon that began the run wanted to be told of it, see [`Spawn::tag`](crate::Spawn::tag).
    pub tag: Option<String>,
}

/// What a server does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// It was never started.
    #[default]
    Idle,
    /// It runs.
    Running {
        /// Since when, in microseconds since 1970.
        started: u64,
    },
    /// It ended.
    Exited {
        /// When it began, in microseconds since 1970.
        started: u64,
        /// When it ended, in microseconds since 1970.
        ended: u64,
        /// Its exit code; 128 + n after signal n.
        code: u8,
        /// It was killed for want of memory.
        oom: bool,
    },
    /// It could not be started.
    Failed {
        /// The system's error number.
        errno: u32,
        /// For people.
        text: String,
    },
}

const HELLO: u8 = 101;
const CHILD: u8 = 102;
const OUTPUT: u8 = 103;
const OUTPUT_END: u8 = 104;
const LOG: u8 = 105;
const INPUT_WINDOW: u8 = 106;
const INPUT_CLOSED: u8 = 107;
const SOCKET: u8 = 108;
const NO_SOCKET: u8 = 109;

/// The first bytes of a [`Hello`], so that nothing else is taken for one.
const MAGIC: [u8; 4] = *b"DTMA";

/// No stream is longer: whatever is added to an offset stays a number.
const LONGEST: u64 = 1 << 62;

impl<'a> FromShim<'a> {
    /// Appends it as a frame.
    ///
    /// # Errors
    /// It is longer than a frame may be; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Hello(hello) => frame(out, HELLO, |out| hello.put(out)),
            Self::Child(child) => frame(out, CHILD, |out| {
                child.put(out);
                put_tag(out, child.tag.as_deref());
            }),
            Self::Output { run, offset, bytes } => frame(out, OUTPUT, |out| {
                out.extend(run.to_be_bytes());
                out.extend(offset.to_be_bytes());
                out.extend_from_slice(bytes);
            }),
            Self::OutputEnd { run, offset } => frame(out, OUTPUT_END, |out| {
                out.extend(run.to_be_bytes());
                out.extend(offset.to_be_bytes());
            }),
            Self::Log { sequence, run, at, stderr, bytes } => frame(out, LOG, |out| {
                out.extend(sequence.to_be_bytes());
                out.extend(run.to_be_bytes());
                out.extend(at.to_be_bytes());
                out.push((*stderr).into());
                out.extend_from_slice(bytes);
            }),
            Self::InputWindow { run, accepted, limit } => frame(out, INPUT_WINDOW, |out| {
                out.extend(run.to_be_bytes());
                out.extend(accepted.to_be_bytes());
                out.extend(limit.to_be_bytes());
            }),
            Self::InputClosed { run } => frame(out, INPUT_CLOSED, |out| out.extend(run.to_be_bytes())),
            Self::Socket { request, port } => frame(out, SOCKET, |out| {
                out.extend(request.to_be_bytes());
                out.extend(port.to_be_bytes());
            }),
            Self::NoSocket { request, errno } => frame(out, NO_SOCKET, |out| {
                out.extend(request.to_be_bytes());
                out.extend(errno.to_be_bytes());
            }),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// An unknown kind, or fields that it cannot have.
    pub fn decode(frame: Frame<'a>) -> Result<Self, WireError> {
        let mut fields = Fields::new(frame.kind, frame.body);
        let it = match frame.kind {
            HELLO => Self::Hello(Hello::read(&mut fields)?),
            CHILD => Self::Child(Child::read(&mut fields)?.tagged(&mut fields)?),
            OUTPUT => Self::Output { run: fields.u32()?, offset: fields.u64()?, bytes: fields.rest() },
            OUTPUT_END => Self::OutputEnd { run: fields.u32()?, offset: fields.u64()? },
            LOG => Self::Log {
                sequence: fields.u64()?,
                run: fields.u32()?,
                at: fields.u64()?,
                stderr: fields.bool()?,
                bytes: fields.rest(),
            },
            INPUT_WINDOW => {
                Self::InputWindow { run: fields.u32()?, accepted: fields.u64()?, limit: fields.u64()? }
            }
            INPUT_CLOSED => Self::InputClosed { run: fields.u32()? },
            SOCKET => Self::Socket { request: fields.u32()?, port: fields.u16()? },
            NO_SOCKET => Self::NoSocket { request: fields.u32()?, errno: fields.u32()? },
            kind => return Err(WireError::Kind(kind)),
        };
        fields.end(it)
    }
}

impl Hello {
    /// The highest version that both speak.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        let highest = self.highest.min(*crate::VERSIONS.end());
        (highest >= self.lowest.max(*crate::VERSIONS.start())).then_some(highest)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(MAGIC);
        out.extend(self.lowest.to_be_bytes());
        out.extend(self.highest.to_be_bytes());
        out.extend(self.nonce);
        put_bytes(out, self.build.as_bytes());
        self.child.put(out);
        out.extend(self.output.base.to_be_bytes());
        out.extend(self.output.end.to_be_bytes());
        out.push(self.output.torn.into());
        out.extend(self.input.to_be_bytes());
        out.push(self.torn.into());
        out.extend(self.log.to_be_bytes());
        if self.highest >= TAGGED {
            out.extend(self.output.acknowledged.to_be_bytes());
        }
        put_tag(out, self.child.tag.as_deref());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        if fields.array()? != MAGIC {
            return fields.refuse();
        }
        let (lowest, highest) = (fields.u16()?, fields.u16()?);
        let (nonce, build) = (fields.array()?, fields.text()?);
        let hello = Self { lowest, highest, nonce, build, ..Self::nothing() };
        if hello.version().is_none() {
            // Of another version only this much can be read, and it is enough to say so.
            fields.rest();
            return Ok(hello);
        }
        let child = Child::read(fields)?;
        let (base, end, output_torn) = (fields.u64()?, fields.u64()?, fields.bool()?);
        let (input, torn, log) = (fields.u64()?, fields.bool()?, fields.u64()?);
        let acknowledged = if highest >= TAGGED { fields.u64()? } else { base };
        if !(base..=end).contains(&acknowledged) || end.max(input) > LONGEST {
            return fields.refuse();
        }
        let output = Output { base, acknowledged, end, torn: output_torn };
        Ok(Self { child: child.tagged(fields)?, output, input, torn, log, ..hello })
    }

    fn nothing() -> Self {
        Self {
            lowest: 0,
            highest: 0,
            nonce: [0; 16],
            build: String::new(),
            child: Child::default(),
            output: Output::default(),
            input: 0,
            torn: false,
            log: 0,
        }
    }
}

impl Child {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.run.to_be_bytes());
        out.extend(self.oom_kills.to_be_bytes());
        match &self.phase {
            Phase::Idle => out.push(0),
            Phase::Running { started } => {
                out.push(1);
                out.extend(started.to_be_bytes());
            }
            Phase::Exited { started, ended, code, oom } => {
                out.push(2);
                out.extend(started.to_be_bytes());
                out.extend(ended.to_be_bytes());
                out.push(*code);
                out.push((*oom).into());
            }
            Phase::Failed { errno, text } => {
                out.push(3);
                out.extend(errno.to_be_bytes());
                put_bytes(out, text.as_bytes());
            }
        }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let (run, oom_kills) = (fields.u32()?, fields.u32()?);
        // There is always a next run.
        if run == u32::MAX {
            return fields.refuse();
        }
        let phase = match fields.u8()? {
            0 => Phase::Idle,
            1 => Phase::Running { started: fields.u64()? },
            2 => Phase::Exited {
                started: fields.u64()?,
                ended: fields.u64()?,
                code: fields.u8()?,
                oom: fields.bool()?,
            },
            3 => Phase::Failed { errno: fields.u32()?, text: fields.text()? },
            _ => return fields.refuse(),
        };
        Ok(Self { run, phase, oom_kills, tag: None })
    }

    /// The same with what stands last in its frame.
    fn tagged(self, fields: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self { tag: fields.tag()?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decoder;

    #[test]
    fn a_shim_of_version_1_says_and_hears_no_tag() {
        let child = |tag: Option<&str>| Child { run: 3, tag: tag.map(str::to_owned), ..Child::default() };
        let length = |frame: FromShim<'_>| {
            let mut out = Vec::new();
            frame.encode(&mut out).unwrap();
            out.len()
        };
        // Length, kind, run, kills, phase: as long as it always was.
        assert_eq!(length(FromShim::Child(child(None))), 4 + 1 + 4 + 4 + 1);
        assert_eq!(length(FromShim::Child(child(Some("3 h")))), 14 + 4 + 3);
    }

    /// They would not stay numbers when something is added.
    #[test]
    fn places_and_runs_after_which_nothing_can_come_are_refused() {
        let sound = Hello { lowest: 1, highest: 1, ..Hello::nothing() };
        let far = Output { end: u64::MAX, ..Output::default() };
        let last = Child { run: u32::MAX, ..Child::default() };
        for (hello, taken) in [
            (sound.clone(), true),
            (Hello { input: u64::MAX, ..sound.clone() }, false),
            (Hello { output: far, ..sound.clone() }, false),
            (Hello { child: last, ..sound }, false),
        ] {
            let mut bytes = Vec::new();
            FromShim::Hello(hello).encode(&mut bytes).unwrap();
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            let frame = decoder.next_frame().unwrap().unwrap();
            assert_eq!(FromShim::decode(frame).is_ok(), taken);
        }
    }
}
