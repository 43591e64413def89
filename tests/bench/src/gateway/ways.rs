//! Every way to one server: what is set up for it, how a client opens a session on it, and what it keeps in memory.

use super::message::Mixed;
use super::peers::PEERS;
use super::process::{self, Memory, Program};
use super::relay;
use super::sessions::{Address, Http, Lines, Load, Session, Sse, WebSocket, together};
use super::table::Sample;
use super::{Options, Server};
use crate::Args;
use crate::daemon::{Daemon, TOKEN};
use crate::deploy::group;
use crate::raw::RawEngine;
use anyhow::{Context, Result, bail};
use dtma_client::Mutation;
use dtma_core::container::Launch;
use dtma_core::id::ContainerId;
use dtma_core::port::ContainerRuntime;
use dtma_core::spec::{Resources, ServerKind, ServerSpec, Transport};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a bridge may take until it answers.
const UP: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);
/// The limits of every container. The machine has two cores, so that those outside have no more.
const MEMORY: u64 = 512 << 20;
const CPU_MILLIS: u32 = 2000;

/// What all ways have in common.
pub(super) struct Scene<'a> {
    pub(super) args: &'a Args,
    pub(super) options: &'a Options,
    pub(super) daemon: &'a Daemon,
    pub(super) engine: &'a RawEngine,
    pub(super) dir: &'a Path,
}

/// One way.
pub(super) struct Way {
    pub(super) name: String,
    /// Where its server runs.
    pub(super) place: &'static str,
    /// Why it is not asked any more.
    pub(super) failed: Option<String>,
    /// It gave clients that use the same ids each other's answers: they have ids of their own from then on.
    pub(super) mixes: Option<String>,
    kind: Kind,
}

enum Kind {
    /// One stream, which there is once.
    One { lines: Option<Lines>, container: Option<String> },
    /// The engine's attach, for each client anew: each hears all answers and looks for its own.
    Attach { runtime: Arc<dyn ContainerRuntime>, container: ContainerId },
    /// A door of the daemon.
    Door { door: Door, address: Address, daemon: u32, container: String },
    /// `dtma mcp connect`, one for each client.
    Command { cli: std::path::PathBuf, url: String, instance: String, daemon: u32, container: String },
    /// Somebody else's bridge.
    Peer { program: Program, address: Address },
    /// It is not there.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
enum Door {
    Http,
    Sse,
    WebSocket,
}

const DOORS: [(&str, &str, Door); 3] = [
    ("Streamable HTTP", "mcp", Door::Http),
    ("HTTP+SSE", "sse", Door::Sse),
    ("WebSocket", "ws", Door::WebSocket),
];
/// The row that others are compared with.
pub(super) const OURS: &str = "DTMA, Streamable HTTP, shim";
const CONTAINER: &str = "container";
const PROCESS: &str = "process";

/// Sets up every way that is wanted.
pub(super) async fn all(scene: &Scene<'_>, server: &Server) -> Result<Vec<Way>> {
    let mut ways = vec![attach(scene, server).await?, attaches(scene, server).await?];
    ways.extend([relayed(scene, server).await?, pipe(server).await?]);
    for (with, shim) in [("shim", true), ("no shim", false)] {
        ways.extend(ours(scene, server, with, shim).await?);
    }
    let is_wanted = |name: &str| name.contains(&scene.options.way) || name == OURS;
    ways.retain(|way| is_wanted(&way.name));
    for peer in PEERS.iter().filter(|peer| is_wanted(peer.name)) {
        let mut way =
            Way { name: peer.name.into(), place: PROCESS, failed: None, mixes: None, kind: Kind::Nothing };
        let found = |list: &[(String, String)]| list.iter().find(|(key, _)| key == peer.key).cloned();
        match (found(&scene.options.peers), found(&scene.options.absent)) {
            (Some((_, path)), _) => {
                let started = peer.start(scene.options, Path::new(&path), server, scene.dir);
                way.stand(started).await;
            }
            (None, why) => {
                way.failed = Some(why.map_or("not installed".to_owned(), |(_, why)| why));
            }
        }
        ways.push(way);
    }
    Ok(ways)
}

async fn attach(scene: &Scene<'_>, server: &Server) -> Result<Way> {
    let (engine, id) = (scene.engine, container(scene, server, "raw").await?);
    let attached = engine.runtime.attach(&id).await?;
    engine.runtime.start(&id, &Launch::default()).await?;
    let lines = Lines::attached(attached).await.context("raw attach")?;
    let kind = Kind::One { lines: Some(lines), container: Some(id.as_str().to_owned()) };
    Ok(Way { name: "raw attach, one stream".into(), place: CONTAINER, failed: None, mixes: None, kind })
}

async fn attaches(scene: &Scene<'_>, server: &Server) -> Result<Way> {
    let (runtime, id) = (Arc::clone(&scene.engine.runtime), container(scene, server, "each").await?);
    runtime.start(&id, &Launch::default()).await?;
    let kind = Kind::Attach { runtime, container: id };
    let name = "raw attach, a stream for each client".into();
    Ok(Way { name, place: CONTAINER, failed: None, mixes: None, kind })
}

/// What one more process between client and engine costs at the least.
async fn relayed(scene: &Scene<'_>, server: &Server) -> Result<Way> {
    let id = container(scene, server, "relayed").await?;
    scene.engine.runtime.start(&id, &Launch::default()).await?;
    let (program, stream) = relay::start(scene.args, id.as_str(), scene.dir).await?;
    let lines = Lines::relayed(program, stream).await.context("raw attach through a relay")?;
    let kind = Kind::One { lines: Some(lines), container: Some(id.as_str().to_owned()) };
    let name = "raw attach, bytes passed on by one more process".into();
    Ok(Way { name, place: CONTAINER, failed: None, mixes: None, kind })
}

/// Not started yet.
async fn container(scene: &Scene<'_>, server: &Server, what: &str) -> Result<ContainerId> {
    let kind = ServerKind::Mcp(Transport::Stdio);
    let mut spec = ServerSpec::new(format!("{}-{what}", server.name).parse()?, kind, server.image.into());
    spec.command.clone_from(&server.command);
    spec.resources = Resources { memory: Some(MEMORY), cpu_millis: Some(CPU_MILLIS), pids: None };
    let group = group(&format!("bench-gateway-{what}"), vec![spec])?;
    let id = scene.engine.make(&group).await?;
    Ok(scene.engine.runtime.inspect(&id).await?.id)
}

async fn pipe(server: &Server) -> Result<Way> {
    let lines = Lines::start(command(&server.process)?).await.context("raw pipe")?;
    let kind = Kind::One { lines: Some(lines), container: None };
    Ok(Way { name: "raw pipe, one stream".into(), place: PROCESS, failed: None, mixes: None, kind })
}

fn command(words: &[String]) -> Result<Command> {
    let (program, args) = words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(args);
    Ok(command)
}

/// The daemon's doors to one server.
async fn ours(scene: &Scene<'_>, server: &Server, with: &str, shim: bool) -> Result<Vec<Way>> {
    let instance = format!("{}-{}", server.name, if shim { "shim" } else { "bare" });
    let mut wire = json!({"instanceName": instance, "image": server.image, "transport": "stdio", "shim": shim,
        "resources": {"memory": "512MiB", "cpus": 2}});
    if let Some(command) = &server.command {
        wire["command"] = json!(command);
    }
    let document = json!({"groupId": instance, "servers": [wire]});
    let change = scene.daemon.client.deploy_group(&document, &Mutation::default()).await?;
    let container = change.group.servers.first().and_then(|server| server.container.clone());
    let container = container.context("the daemon names no container")?.id;
    let (url, daemon) = (&scene.daemon.url, scene.daemon.pid()?);
    let way = |name: String, kind| Way { name, place: CONTAINER, failed: None, mixes: None, kind };
    let door = |(name, end, door): (&str, &str, Door)| {
        let address = Address { url: format!("{url}/gateway/servers/{instance}/{end}"), token: Some(TOKEN) };
        let container = container.clone();
        way(format!("DTMA, {name}, {with}"), Kind::Door { door, address, daemon, container })
    };
    let mut ways: Vec<Way> = DOORS.into_iter().map(door).collect();
    let cli = scene.options.cli.clone();
    let (url, container) = (url.clone(), container.clone());
    let kind = Kind::Command { cli, url, instance: instance.clone(), daemon, container };
    ways.push(way(format!("DTMA, dtma mcp connect, {with}"), kind));
    Ok(ways)
}

impl Way {
    /// Waits until a bridge that was started answers.
    async fn stand(&mut self, started: Result<(Program, String)>) {
        let stood = match started {
            Ok((program, url)) => until_up(program, Address { url, token: None }).await,
            Err(error) => Err(error),
        };
        match stood {
            Ok(kind) => self.kind = kind,
            Err(error) => self.failed = Some(format!("{error:#}")),
        }
    }

    /// It is asked no more, and what it keeps ends.
    pub(super) fn give_up(&mut self, why: String) -> String {
        self.kind = Kind::Nothing;
        self.failed = Some(why.clone());
        why
    }

    /// Measures one cell; a second time where answers were mixed up.
    pub(super) async fn measure(&mut self, load: Load) -> Result<Sample> {
        // On an attach nobody is between who could tell apart clients with the same ids.
        let own_ids = self.mixes.is_some() || matches!(self.kind, Kind::Attach { .. });
        let load = Load { own_ids, ..load };
        match self.cell(load).await {
            Err(error) if !load.own_ids && error.is::<Mixed>() => {
                self.mixes = Some(format!("{error:#}"));
                self.cell(Load { own_ids: true, ..load }).await
            }
            measured => measured,
        }
    }

    /// Opens the sessions, has them call, and looks at the memory while they are still open.
    async fn cell(&mut self, load: Load) -> Result<Sample> {
        if let Kind::One { lines, container } = &mut self.kind {
            let mut taken = lines.take().context("its stream is gone")?;
            let (took, elapsed) = taken.abreast(load).await?;
            let own = taken.pid().map_or(0, |pid| process::below(&[pid]).bridge);
            let memory = match &container {
                Some(container) => Memory { bridge: own, servers: process::inside(container) },
                None => Memory { bridge: 0, servers: own },
            };
            *lines = Some(taken);
            return Ok(Sample::of(&took, elapsed, memory));
        }
        let mut sessions = Vec::new();
        for client in 0..load.clients {
            sessions.push(self.open().await.with_context(|| format!("session {}", client + 1))?);
        }
        let (took, elapsed) = together(&mut sessions, load).await?;
        Ok(Sample::of(&took, elapsed, self.memory(&sessions)))
    }

    async fn open(&self) -> Result<Session> {
        match &self.kind {
            Kind::Door { door: Door::Http, address, .. } | Kind::Peer { address, .. } => {
                Ok(Session::Http(Http::open(address).await?))
            }
            Kind::Door { door: Door::Sse, address, .. } => Ok(Session::Sse(Sse::open(address).await?)),
            Kind::Door { door: Door::WebSocket, address, .. } => {
                Ok(Session::WebSocket(WebSocket::open(address).await?))
            }
            Kind::Command { cli, url, instance, .. } => {
                let mut command = Command::new(cli);
                command.args(["mcp", "connect", instance, "--url", url]).env("DTMA_TOKEN", TOKEN);
                Ok(Session::Lines(Lines::start(command).await?))
            }
            Kind::Attach { runtime, container } => {
                Ok(Session::Lines(Lines::attached(runtime.attach(container).await?).await?))
            }
            Kind::One { .. } | Kind::Nothing => bail!("it has no sessions"),
        }
    }

    fn memory(&self, sessions: &[Session]) -> Memory {
        match &self.kind {
            Kind::Door { daemon, container, .. } => {
                Memory { bridge: process::below(&[*daemon]).bridge, servers: process::inside(container) }
            }
            Kind::Command { daemon, container, .. } => {
                let pid = |session: &Session| match session {
                    Session::Lines(lines) => lines.pid(),
                    Session::Http(_) | Session::Sse(_) | Session::WebSocket(_) => None,
                };
                let pids: Vec<u32> = sessions.iter().filter_map(pid).chain([*daemon]).collect();
                Memory { bridge: process::below(&pids).bridge, servers: process::inside(container) }
            }
            Kind::Peer { program, .. } => process::below(&[program.pid()]),
            Kind::Attach { container, .. } => {
                Memory { bridge: 0, servers: process::inside(container.as_str()) }
            }
            Kind::One { .. } | Kind::Nothing => Memory::default(),
        }
    }
}

async fn until_up(mut program: Program, address: Address) -> Result<Kind> {
    let deadline = Instant::now() + UP;
    loop {
        program.is_up()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let problem = match tokio::time::timeout(left, Http::open(&address)).await {
            Ok(Ok(_)) => return Ok(Kind::Peer { program, address }),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it does not answer".to_owned(),
        };
        if left.is_zero() {
            bail!("not up after {} s: {problem}; {}", UP.as_secs(), program.last_words());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
