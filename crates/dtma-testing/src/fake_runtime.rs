//! A container engine in memory that behaves: names are taken, processes run, exit and are killed, networks and
//! volumes are in use. It runs the same suite as the real adapter, see [`suite::runtime`](crate::suite::runtime).
//!
//! A container whose configuration asks for the shim behaves as one that has it: its process is begun with what a start
//! says, and what runs there is known until a [`reboot`](FakeRuntimeRemote::reboot).
//!
//! What it leaves out: resource limits and isolation have no effect (nothing real runs), and a pull moves no bytes.

mod clock;
mod engine;
mod exec;
mod logbook;
mod ports;
mod program;
mod remote;
mod script;
mod shelf;
mod world;

pub use ports::Ports;
pub use program::{Idle, Open, Process, ProcessOutput, Program, Stdin};
pub use remote::FakeRuntimeRemote;
pub use script::{Call, Held, Verb};

use async_trait::async_trait;
use bytes::Bytes;
use dtma_core::container::{CreateContainer, ImageFacts, Launch};
use dtma_core::id::{ContainerId, ImageRef, NetworkId, OwnerId};
use dtma_core::observation::{ContainerObservation, NetworkObservation};
use dtma_core::platform::Platform;
use dtma_core::port::runtime::{
    AttachInput, Attached, ContainerRuntime, CreateNetwork, EngineEvent, EngineInfo, EnsureVolume,
    ExecRequest, ExecResult, LogLine, LogQuery, OnProgress, PullProgress, RuntimeError, Scope,
    VolumeObservation,
};
use dtma_core::spec::PullPolicy;
use engine::Engine;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use world::AttachEnd;

/// Enough for a listener of this machine, unless nobody takes what it was given before.
const CONNECT: Duration = Duration::from_secs(1);

/// A client of an engine in memory. The engine lives as long as a client or a remote control of it.
#[derive(Debug, Clone)]
pub struct FakeRuntime {
    engine: Arc<Engine>,
}

impl FakeRuntime {
    /// A new engine without images, containers, networks and volumes.
    #[must_use]
    pub fn new() -> (Self, FakeRuntimeRemote) {
        let engine = Arc::new(Engine::new());
        (Self { engine: Arc::clone(&engine) }, FakeRuntimeRemote::of(engine))
    }

    async fn stop_as(&self, verb: Verb, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let name = self.engine.name_of(id);
        self.engine.enter(verb, &name).await?;
        self.engine.stop(id, grace).await?;
        self.engine.leave(verb, &name)
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let info = || EngineInfo {
            product: "Fake Engine 1.0".to_owned(),
            api_version: "1.41".to_owned(),
            endpoint: engine::ENDPOINT.to_owned(),
            local: true,
        };
        self.engine.call(Verb::Info, "", |_| Ok(info())).await
    }

    async fn containers(&self, scope: &Scope) -> Result<Vec<ContainerObservation>, RuntimeError> {
        self.engine.call(Verb::Containers, "", |world| Ok(world.observe(scope))).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerObservation, RuntimeError> {
        self.engine.call(Verb::Inspect, &self.engine.name_of(id), |world| world.inspect(id)).await
    }

    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        platform: Option<&Platform>,
        progress: OnProgress<'_>,
    ) -> Result<ImageFacts, RuntimeError> {
        let tell =
            |received| progress(PullProgress { image: image.clone(), received, total: world::IMAGE_BYTES });
        let ensure = |world: &mut world::World| world.ensure_image(image, policy, platform);
        let (facts, pulled) = self.engine.call(Verb::EnsureImage, image.as_str(), ensure).await?;
        if pulled {
            [0, world::IMAGE_BYTES].into_iter().for_each(tell);
        }
        Ok(facts)
    }

    async fn create(&self, request: &CreateContainer) -> Result<ContainerId, RuntimeError> {
        self.engine.call(Verb::Create, &request.name, |world| world.create(request)).await
    }

    async fn start(&self, id: &ContainerId, launch: &Launch) -> Result<(), RuntimeError> {
        let nothing = self.engine.script().starts_nothing();
        let start = |world: &mut world::World| match nothing {
            true => Ok(()),
            false => self.engine.start(world, id, launch),
        };
        self.engine.call(Verb::Start, &self.engine.name_of(id), start).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.stop_as(Verb::Stop, id, grace).await
    }

    async fn end_process(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        self.stop_as(Verb::EndProcess, id, grace).await
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.engine.call(Verb::Kill, &self.engine.name_of(id), |world| world.kill(id)).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.engine.call(Verb::Pause, &self.engine.name_of(id), |world| world.pause(id)).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.engine.call(Verb::Unpause, &self.engine.name_of(id), |world| world.unpause(id)).await
    }

    async fn rename(&self, id: &ContainerId, new_name: &str) -> Result<(), RuntimeError> {
        let rename = |world: &mut world::World| world.rename(id, new_name);
        self.engine.call(Verb::Rename, &self.engine.name_of(id), rename).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.engine.call(Verb::Remove, &self.engine.name_of(id), |world| world.remove(id)).await
    }

    async fn attach(&self, id: &ContainerId) -> Result<Attached, RuntimeError> {
        let end = self.engine.call(Verb::Attach, &self.engine.name_of(id), |world| world.attach(id)).await?;
        Ok(attached(end))
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecResult, RuntimeError> {
        let name = self.engine.name_of(id);
        let (program, made) = self.engine.call(Verb::Exec, &name, |world| world.program_in(id)).await?;
        exec::run(program, made, request).await
    }

    async fn dial(&self, id: &ContainerId, port: u16) -> Result<TcpStream, RuntimeError> {
        let name = self.engine.name_of(id);
        let address = self.engine.call(Verb::Dial, &name, |world| world.dial(id, port)).await?;
        let closed = |error: io::Error| RuntimeError::PortClosed { port, problem: error.to_string() };
        // On loopback it is done at once: time may be paused, so nobody can wait for it.
        TcpStream::connect_timeout(&address, CONNECT).map_err(closed)
    }

    async fn listen(&self, id: &ContainerId, ports: &[u16]) -> Result<Vec<TcpListener>, RuntimeError> {
        let name = self.engine.name_of(id);
        self.engine.call(Verb::Listen, &name, |world| world.listen_inside(id, ports)).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        let name = self.engine.name_of(id);
        let reader = self.engine.call(Verb::Logs, &name, |world| world.read_log(id, query)).await?;
        Ok(reader.into_stream().map(Ok).boxed())
    }

    fn events(&self, owner: &OwnerId) -> BoxStream<'static, EngineEvent> {
        // An engine that is gone says nothing, and neither does a stream that never ends.
        receiver_stream(self.engine.listen(owner)).chain(stream::pending()).boxed()
    }

    async fn create_network(&self, request: &CreateNetwork) -> Result<NetworkId, RuntimeError> {
        self.engine.call(Verb::CreateNetwork, &request.name, |world| world.create_network(request)).await
    }

    async fn networks(&self, scope: &Scope) -> Result<Vec<NetworkObservation>, RuntimeError> {
        self.engine.call(Verb::Networks, "", |world| Ok(world.networks(scope))).await
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<(), RuntimeError> {
        self.engine.call(Verb::RemoveNetwork, id.as_str(), |world| world.remove_network(id)).await
    }

    async fn ensure_volume(&self, request: &EnsureVolume) -> Result<(), RuntimeError> {
        self.engine.call(Verb::EnsureVolume, &request.name, |world| world.ensure_volume(request)).await
    }

    async fn volumes(&self, scope: &Scope) -> Result<Vec<VolumeObservation>, RuntimeError> {
        self.engine.call(Verb::Volumes, "", |world| Ok(world.volumes(scope))).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        self.engine.call(Verb::RemoveVolume, name, |world| world.remove_volume(name)).await
    }
}

fn receiver_stream<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> BoxStream<'static, T> {
    stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }).boxed()
}

fn attached(end: AttachEnd) -> Attached {
    let AttachEnd { output, input, cut } = end;
    let next = |mut output: mpsc::Receiver<_>| async { Some((Ok(output.recv().await?), output)) };
    Attached {
        output: stream::unfold(output, next).take_until(cut.clone().cancelled_owned()).boxed(),
        input: Box::new(Input { input, cut }),
        exact: false,
    }
}

/// The writing end of one attachment.
struct Input {
    input: mpsc::Sender<Bytes>,
    cut: CancellationToken,
}

#[async_trait]
impl AttachInput for Input {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        // Both arms only wait; giving up on the send means that nothing was written.
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Err(broken()),
            sent = self.input.send(bytes) => sent.map_err(|_| broken()),
        }
    }
}
