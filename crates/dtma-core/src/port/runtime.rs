//! The container engine. Every call has a deadline of its own inside the implementation and ends with a typed
//! error; nothing here says which engine it is.

use crate::Timestamp;
use crate::container::{CreateContainer, ImageFacts, Launch, RunAs};
use crate::id::{ContainerId, GroupId, ImageRef, NetworkId, OwnerId};
use crate::observation::{ContainerObservation, NetworkObservation};
use crate::platform::Platform;
use crate::spec::{NetworkMode, PullPolicy};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Why a call to the engine did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// No such container, network or volume.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// Something else bears the name.
    #[error("the name {name} is taken by another container, network or volume")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Somebody listens on the port.
    #[error("port {port} is taken")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// Nobody listens on this port of a container that runs, or whoever does took no connection in time.
    #[error("port {port} of the container takes no connection: {problem}")]
    PortClosed {
        /// The port.
        port: u16,
        /// `Connection refused`, `no answer within 5s`.
        problem: String,
    },
    /// The engine does not have the image and could not get it.
    #[error("image {image} is not available: {problem}")]
    ImageMissing {
        /// The image.
        image: ImageRef,
        /// What the engine or the registry said.
        problem: String,
    },
    /// The image was being fetched, and for so long nothing came that it was given up.
    #[error("the pull of {image} stalled: nothing came for {after:?}")]
    PullStalled {
        /// The image.
        image: ImageRef,
        /// How long it was waited for.
        after: Duration,
    },
    /// The engine does not answer at all.
    #[error("the container engine at {endpoint} cannot be reached: {problem}")]
    EngineAway {
        /// Its address.
        endpoint: String,
        /// What the system said.
        problem: String,
    },
    /// The engine did not answer in time. Whether the call had its effect is unknown.
    #[error("the container engine did not finish {call} within {after:?}")]
    Timeout {
        /// The call.
        call: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// No space left on the engine's disk.
    #[error("the container engine has no space left: {problem}")]
    OutOfSpace {
        /// What the engine said.
        problem: String,
    },
    /// The object is in a state in which the call makes no sense (a removal is under way, …).
    #[error("the container engine refused {call} for now: {problem}")]
    Conflict {
        /// The call.
        call: &'static str,
        /// What the engine said.
        problem: String,
    },
    /// The engine will never do this as asked.
    #[error("the container engine refused {call}: {problem}")]
    Refused {
        /// The call.
        call: &'static str,
        /// What the engine said.
        problem: String,
    },
    /// The engine failed or said something that cannot be understood.
    #[error("the container engine failed at {call}: {problem}")]
    Broken {
        /// The call.
        call: &'static str,
        /// What it said.
        problem: String,
    },
}

impl RuntimeError {
    /// True when trying the same again later may succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::EngineAway { .. }
            | Self::Timeout { .. }
            | Self::Conflict { .. }
            | Self::Broken { .. }
            | Self::PortClosed { .. }
            | Self::NotFound { .. } => true,
            Self::NameTaken { .. }
            | Self::PortTaken { .. }
            | Self::ImageMissing { .. }
            | Self::PullStalled { .. }
            | Self::OutOfSpace { .. }
            | Self::Refused { .. } => false,
        }
    }
}

/// What the engine says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `Docker Engine 20.10.24`.
    pub product: String,
    /// The API version agreed on.
    pub api_version: String,
    /// Where it is, `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// True when it runs on this machine: its containers' addresses and its files can be reached from here.
    pub local: bool,
}

/// Whose things to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Only this installation's.
    pub owner: OwnerId,
    /// Only this group's.
    pub group: Option<GroupId>,
}

/// A network to make, with an address range of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateNetwork {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: GroupId,
    /// [`NetworkMode::Open`] leads outside, any other is internal.
    pub mode: NetworkMode,
    /// Reserved labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume to make when it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsureVolume {
    /// The engine's name.
    pub name: String,
    /// Reserved labels.
    pub labels: BTreeMap<String, String>,
    /// Who owns its top folder when it is new.
    pub owner: RunAs,
}

/// A volume as seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeObservation {
    /// The engine's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// The image.
    pub image: ImageRef,
    /// Bytes received over all layers.
    pub received: u64,
    /// Bytes to receive, as far as known.
    pub total: u64,
}

/// Hears of a pull's progress; called often, must not block.
pub type OnProgress<'a> = &'a (dyn Fn(PullProgress) + Send + Sync);

/// Which of a process's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output, cut anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where it was written.
    pub stream: OutputStream,
    /// The bytes.
    pub bytes: Bytes,
    /// Where in all that the process wrote there they begin; `None` where nobody counts.
    pub offset: Option<u64>,
    /// Whoever was attached before has taken care of it. It comes again because the one to whom that was passed on may
    /// not have got it.
    pub again: bool,
}

impl OutputChunk {
    /// Output that nobody counts.
    #[must_use]
    pub fn new(stream: OutputStream, bytes: Bytes) -> Self {
        Self { stream, bytes, offset: None, again: false }
    }
}

/// A line (or a part of one, cut at the engine's limit) from the engine's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// Where it was written.
    pub stream: OutputStream,
    /// Without the newline.
    pub text: String,
}

/// Which part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Only lines at or after this.
    pub since: Option<Timestamp>,
    /// Only lines before this.
    pub until: Option<Timestamp>,
    /// Go on with new lines until the container ends.
    pub follow: bool,
}

/// A process's three streams.
pub struct Attached {
    /// What it writes; ends when the process does, or when the engine goes away.
    pub output: BoxStream<'static, std::io::Result<OutputChunk>>,
    /// What it reads.
    pub input: Box<dyn AttachInput>,
    /// Both begin where the last attachment left off, or a little before ([`OutputChunk::again`]): no half line is at
    /// either's beginning, and of what the process wrote meanwhile nothing is missing.
    pub exact: bool,
}

/// The writing end of a container's standard input.
#[async_trait]
pub trait AttachInput: Send {
    /// Writes all of it and flushes.
    async fn send(&mut self, bytes: Bytes) -> std::io::Result<()>;
}

/// A command to run in a running container, beside its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The program and its arguments. No shell reads them.
    pub argv: Vec<String>,
    /// What its environment has besides the container's, which does not know what its process was begun with.
    pub environment: BTreeMap<String, String>,
    /// What it reads, and then the end of its input; `None`: its input is empty.
    pub stdin: Option<Bytes>,
    /// How long to wait for its end.
    pub deadline: Duration,
    /// Bytes kept of each output. What is more is read and dropped, so that the command is not held up.
    pub output_limit: usize,
}

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// Its exit code.
    pub exit_code: i64,
    /// The beginning of its standard output.
    pub stdout: Bytes,
    /// The beginning of its standard error.
    pub stderr: Bytes,
    /// True when an output was longer than the limit.
    pub truncated: bool,
}

/// Something that happened in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// Something about this container changed; look at it.
    Container {
        /// Which.
        id: ContainerId,
        /// Whose, by its labels.
        group: GroupId,
        /// What.
        change: ContainerChange,
    },
    /// The stream had a gap: look at everything.
    Resync,
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerChange {
    /// Its process started.
    Started,
    /// Its process ended.
    Died,
    /// A process in it was killed for want of memory.
    OutOfMemory,
    /// It is gone.
    Destroyed,
    /// Anything else that may matter (pause, unpause, rename).
    Other,
}

/// The container engine.
///
/// Calls that end something (`stop`, `end_process`, `kill`, `remove*`) and `unpause` answer [`RuntimeError::NotFound`] when there is nothing to
/// end; `start` of a running and `stop` of a stopped container are fine, as with the Docker API (304).
#[async_trait]
pub trait ContainerRuntime: Send + Sync {
    /// Who are you? Also the cheapest way to see whether the engine answers.
    async fn info(&self) -> Result<EngineInfo, RuntimeError>;

    /// Every container that carries this scope's labels and whose identity can be read, with its state.
    async fn containers(&self, scope: &Scope) -> Result<Vec<ContainerObservation>, RuntimeError>;
    /// One container.
    async fn inspect(&self, id: &ContainerId) -> Result<ContainerObservation, RuntimeError>;

    /// Makes the image available by `policy` and says what it says about itself. One for another platform than the
    /// wanted one is fetched anew, or, where it cannot be, [`RuntimeError::ImageMissing`].
    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        platform: Option<&Platform>,
        progress: OnProgress<'_>,
    ) -> Result<ImageFacts, RuntimeError>;

    /// Makes a container; it is not started. Its volumes must be there.
    async fn create(&self, request: &CreateContainer) -> Result<ContainerId, RuntimeError>;
    /// Starts its process, which is begun with this where the container has a shim. What [`inspect`](Self::inspect) shows
    /// from then on is of that configuration.
    async fn start(&self, id: &ContainerId, launch: &Launch) -> Result<(), RuntimeError>;
    /// SIGTERM, then SIGKILL after `grace`. Returns when the process is gone.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError>;
    /// Ends the process as [`stop`](Self::stop) does, because it is to run again in the same container: a runtime that can
    /// keeps all else of that container as it is, so that the next [`start`](Self::start) takes little.
    async fn end_process(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.stop(id, grace).await
    }
    /// Sends SIGKILL. Fine when nothing runs.
    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError>;
    /// Freezes all processes of a running container: they keep their memory and connections, and get no processor time.
    /// Whoever ends such a container need not thaw it before. Fine when it is frozen already,
    /// [`RuntimeError::Conflict`] when it does not run.
    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError>;
    /// Lets them go on. Fine when nothing is frozen there.
    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError>;
    /// Gives a container, running or not, another name. [`RuntimeError::NameTaken`] when somebody bears it already;
    /// a container that bears it already itself is fine.
    async fn rename(&self, id: &ContainerId, new_name: &str) -> Result<(), RuntimeError>;
    /// Removes a container, by force when it runs, with its anonymous volumes.
    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Takes hold of a container's streams. To miss nothing, attach before `start`. What is sent has no deadline: it
    /// waits while the process does not read, so the caller bounds it, and gives up the attachment when it gives up
    /// a message (half of it may have been written).
    async fn attach(&self, id: &ContainerId) -> Result<Attached, RuntimeError>;
    /// Runs a command in a running container as the container's own user, with no more rights than its process has
    /// and without a terminal. [`RuntimeError::Conflict`] when the container does not run, [`RuntimeError::Refused`]
    /// when the command cannot be started. At the deadline it is [`RuntimeError::Timeout`], and the command goes on
    /// inside until it or the container ends: engines know no way to end it.
    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecResult, RuntimeError>;
    /// Connects to a TCP port inside a running container, on whatever way leads there. Asked again and again by
    /// whoever waits for a server, so it costs little while the container runs. Whoever uses the socket says whether
    /// it blocks. [`RuntimeError::PortClosed`] when nobody listens there, [`RuntimeError::Conflict`] when the container
    /// does not run, [`RuntimeError::Refused`] when no way leads into it.
    async fn dial(&self, id: &ContainerId, port: u16) -> Result<TcpStream, RuntimeError>;
    /// Listens on TCP ports of a container's own 127.0.0.1, so that whoever calls serves what the processes inside connect
    /// to; the answer is in the order of `ports`. Where the container does not run it is begun, and its process only by
    /// [`start`](Self::start), so that nothing is refused to that. Asked again for a port, also by the next daemon, it
    /// hands out the same listener: connections that wait there are not lost. Whoever uses one says whether it blocks.
    /// [`RuntimeError::Refused`] when there is no such way into the container, or something else has the port.
    async fn listen(&self, id: &ContainerId, ports: &[u16]) -> Result<Vec<TcpListener>, RuntimeError> {
        let problem = format!("nothing leads from inside container {} to this daemon", id.short());
        if ports.is_empty() {
            Ok(Vec::new())
        } else {
            Err(RuntimeError::Refused { call: "listen inside", problem })
        }
    }
    /// Reads the engine's log of a container whose driver keeps one.
    async fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError>;
    /// What happens from now on to this owner's containers. Never ends: after a break it resumes by itself. The first
    /// thing it says, and the first after every break, is [`EngineEvent::Resync`]: whoever looks at everything then
    /// has missed nothing.
    fn events(&self, owner: &OwnerId) -> BoxStream<'static, EngineEvent>;

    /// Makes a network, or finds the one that an earlier call with the same request made.
    async fn create_network(&self, request: &CreateNetwork) -> Result<NetworkId, RuntimeError>;
    /// The networks of this scope.
    async fn networks(&self, scope: &Scope) -> Result<Vec<NetworkObservation>, RuntimeError>;
    /// Removes a network.
    async fn remove_network(&self, id: &NetworkId) -> Result<(), RuntimeError>;

    /// Makes a volume when it is not there; a new one belongs to the given user.
    async fn ensure_volume(&self, request: &EnsureVolume) -> Result<(), RuntimeError>;
    /// The volumes of this scope.
    async fn volumes(&self, scope: &Scope) -> Result<Vec<VolumeObservation>, RuntimeError>;
    /// Removes a volume and what is on it.
    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError>;
}
