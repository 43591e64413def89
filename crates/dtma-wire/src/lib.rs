//! What the daemon and the shim in a container say to each other, and the state of the streams between them.
//!
//! Pure: bytes in, bytes out, no IO and no clock, so that both sides run the same code and tests and fuzzers reach all
//! of it. `docs/shim.md` describes the wire in words.
//!
//! ```
//! use dtma_wire::{Decoder, FromDaemon};
//!
//! let mut bytes = Vec::new();
//! FromDaemon::Connect { request: 7, port: 8080 }.encode(&mut bytes)?;
//! let mut decoder = Decoder::default();
//! decoder.push(&bytes);
//! let frame = decoder.next_frame()?.unwrap();
//! assert_eq!(FromDaemon::decode(frame)?, FromDaemon::Connect { request: 7, port: 8080 });
//! # Ok::<(), dtma_wire::WireError>(())
//! ```

mod codec;
mod daemon;
mod decoder;
mod error;
mod input;
mod log;
mod send;
mod shim;

pub use daemon::{EnvChange, FromDaemon, Mode, Spawn, Welcome};
pub use decoder::{Decoder, Frame};
pub use error::WireError;
pub use input::Input;
pub use log::{LogRing, Record};
pub use send::SendBuffer;
pub use shim::{Child, FromShim, Hello, Output, Phase};

/// The versions of the wire that the daemon speaks, both ends included.
///
/// Version 2 adds [`Spawn::tag`] and [`Output::acknowledged`]; all else is as in version 1.
pub const VERSIONS: std::ops::RangeInclusive<u16> = 1..=2;

/// The versions that the shim speaks. A shim outlives the daemon that made its container, so daemons must understand
/// what is older; a shim is never younger than its daemon, unless somebody went back to an older one.
pub const SHIM_VERSIONS: std::ops::RangeInclusive<u16> = 2..=2;

/// From this version on there are tags and a history.
pub const TAGGED: u16 = 2;

/// Most bytes of a tag.
pub const MAX_TAG: usize = 256;

/// Most bytes of a frame after its length. The largest is a [`Spawn`] with a large environment.
pub const MAX_FRAME: usize = 256 << 10;

/// Most bytes of a stream in one frame, so that no stream holds up another for long.
pub const MAX_DATA: usize = 32 << 10;

/// Bytes of output that the shim keeps until the daemon has acknowledged them; a server that has written more waits.
pub const OUTPUT_WINDOW: usize = 1 << 20;

/// Bytes of output that the shim keeps although they were acknowledged: for whoever passed them on to somebody who may
/// not have got them.
pub const OUTPUT_HISTORY: usize = 64 << 10;

/// Bytes of input that may be on their way to a server that does not read.
pub const INPUT_WINDOW: usize = 256 << 10;

/// Bytes of what a server said on its standard error (a tool on both outputs) that the shim remembers.
pub const LOG_BYTES: usize = 256 << 10;

/// Where the shim finds the daemon inside its container.
pub const SOCKET: &str = "/.dtma/run/agent.sock";

/// The shim's own place inside a container.
pub const PROGRAM: &str = "/.dtma/bin/dtma-shim";

/// The environment variable in which a shim is told its [`Hello::nonce`], in hexadecimal.
pub const NONCE_VARIABLE: &str = "DTMA_SHIM";
