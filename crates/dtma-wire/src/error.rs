//! What can be wrong with what the other side said. None of it can be mended: the connection is closed.

use std::fmt;

/// The other side broke the rules of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// A frame longer than [`MAX_FRAME`](crate::MAX_FRAME), or too short to have a kind.
    Length(usize),
    /// No frame of this version has this kind.
    Kind(u8),
    /// A frame of this kind does not have the fields it must have.
    Malformed(u8),
    /// A piece of a stream does not follow what came before it.
    Offset {
        /// Where it had to begin, or at most end.
        expected: u64,
        /// Where it does.
        found: u64,
    },
    /// A frame that may not come now, or a version that nobody offered.
    Order,
    /// More of a stream than was allowed.
    Window {
        /// How far it was allowed.
        limit: u64,
        /// How far it went.
        found: u64,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a frame of {length} bytes"),
            Self::Kind(kind) => write!(f, "an unknown kind of frame, {kind}"),
            Self::Malformed(kind) => write!(f, "a malformed frame of kind {kind}"),
            Self::Offset { expected, found } => {
                write!(f, "a piece at {found} where {expected} was expected")
            }
            Self::Order => f.write_str("a frame out of turn"),
            Self::Window { limit, found } => write!(f, "{found} bytes where {limit} were allowed"),
        }
    }
}

impl std::error::Error for WireError {}
