//! Containers with the shim beside the same containers without one: streams, ports, starts, restarts, memory.

use crate::Args;
use crate::deploy::group;
use crate::raw::RawEngine;
use crate::report::{Report, percentile, show};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dtma_core::container::Launch;
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::Attached;
use dtma_core::spec::{GroupSpec, NetworkMode, ServerKind, ServerSpec, Transport};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Lines in one turn of the echo; requests in one turn over HTTP are a tenth of that.
const LINES: usize = 1000;
const STARTS: [usize; 3] = [1, 10, 50];
const PORT: u16 = 8080;

struct Sides {
    with: RawEngine,
    without: RawEngine,
    _places: tempfile::TempDir,
}

pub(crate) async fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let places = tempfile::tempdir()?;
    let sides = Sides {
        with: RawEngine::connect_with_shims(&args.docker_host, places.path())?,
        without: RawEngine::connect(&args.docker_host)?,
        _places: places,
    };
    let measured = all(&sides, args, report).await;
    sides.with.sweep().await?;
    sides.without.sweep().await?;
    measured
}

async fn all(sides: &Sides, args: &Args, report: &mut Report) -> Result<()> {
    echoes(sides, args, report).await.context("echo")?;
    requests(sides, args, report).await.context("http")?;
    for count in STARTS {
        starts(sides, args, count, report).await.context("start")?;
    }
    restarts(sides, args, report).await.context("restart")
}

fn server(name: &str, kind: ServerKind, command: &[&str]) -> Result<ServerSpec> {
    let mut server = ServerSpec::new(name.parse()?, kind, "dtma/busybox:dev".into());
    server.command = Some(command.iter().map(|word| (*word).to_owned()).collect());
    server.resources.cpu_millis = Some(2000);
    Ok(server)
}

fn cat(name: &str) -> Result<GroupSpec> {
    group("bench-shim", vec![server(name, ServerKind::Mcp(Transport::Stdio), &["cat"])?])
}

fn web(place: &str, name: &str, network: NetworkMode) -> Result<GroupSpec> {
    let mut server = server(name, ServerKind::Tool, &["httpd", "-f", "-p", "8080"])?;
    (server.network, server.port) = (Some(network), Some(PORT));
    group(place, vec![server])
}

/// A line to `cat` and back.
async fn echoes(sides: &Sides, args: &Args, report: &mut Report) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut with, mut without) =
        (Echo::start(&sides.with, "echo-with").await?, Echo::start(&sides.without, "echo-without").await?);
    for round in 0..=args.rounds {
        let (through_shim, on_attach) = (with.lines(LINES).await?, without.lines(LINES).await?);
        if round > 0 {
            ours.extend(through_shim);
            theirs.extend(on_attach);
        }
    }
    compare(report, "a line to a stdio server and back, against raw attach", &ours, &theirs);
    let shim = memory_of_shim(&sides.with, &with.id).await?;
    report.line("memory of one shim", &format!("{shim} kB"), "", "");
    Ok(())
}

struct Echo {
    id: ContainerId,
    attached: Attached,
}

impl Echo {
    async fn start(engine: &RawEngine, name: &str) -> Result<Self> {
        let id = engine.make(&cat(name)?).await?;
        let attached = engine.runtime.attach(&id).await?;
        engine.runtime.start(&id, &Launch::default()).await?;
        Ok(Self { id, attached })
    }

    async fn lines(&mut self, count: usize) -> Result<Vec<Duration>> {
        let line = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            self.attached.input.send(line.clone()).await?;
            let mut back = 0;
            while back < line.len() {
                back += self.attached.output.next().await.context("it ended")??.bytes.len();
            }
            took.push(began.elapsed());
        }
        Ok(took)
    }
}

/// Resident memory of PID 1, in kilobytes.
async fn memory_of_shim(engine: &RawEngine, id: &ContainerId) -> Result<u64> {
    let seen = engine.runtime.inspect(id).await?;
    let needle = seen.id.as_str().to_owned();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let path = entry.path();
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        if read("comm").trim() == "dtma-shim" && read("cgroup").contains(&needle) {
            let status = read("status");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
            return Ok(line.trim().trim_end_matches(" kB").parse()?);
        }
    }
    bail!("no shim of {id}")
}

/// A request over a connection of its own: to the container's loopback on network `none`, and to its address on a
/// bridge.
async fn requests(sides: &Sides, args: &Args, report: &mut Report) -> Result<()> {
    let with = serving(&sides.with, &web("bench-shim", "web-with", NetworkMode::None)?).await?;
    let without = serving(&sides.without, &web("bench-shim", "web-without", NetworkMode::Group)?).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        for _ in 0..LINES / 10 {
            let (inside, bridge) = (get(&sides.with, &with).await?, get(&sides.without, &without).await?);
            if round > 0 {
                ours.push(inside);
                theirs.push(bridge);
            }
        }
    }
    compare(report, "an HTTP request to a port inside, against the bridge address", &ours, &theirs);
    Ok(())
}

async fn serving(engine: &RawEngine, group: &GroupSpec) -> Result<ContainerId> {
    let id = engine.make(group).await?;
    engine.runtime.start(&id, &Launch::default()).await?;
    engine.until_accepting(&id, PORT).await?;
    Ok(id)
}

async fn get(engine: &RawEngine, id: &ContainerId) -> Result<Duration> {
    let began = Instant::now();
    let socket = engine.runtime.dial(id, PORT).await?;
    socket.set_nonblocking(true)?;
    let mut socket = TcpStream::from_std(socket)?;
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    match answer.starts_with(b"HTTP/1") {
        true => Ok(began.elapsed()),
        false => bail!("no answer: {answer:?}"),
    }
}

/// Networked servers, all at once, from nothing to accepting.
async fn starts(sides: &Sides, args: &Args, count: usize, report: &mut Report) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let rounds = if count > 10 { args.rounds.min(3) } else { args.rounds };
    for round in 0..=rounds {
        let with = start(&sides.with, count, NetworkMode::None).await?;
        let without = start(&sides.without, count, NetworkMode::Group).await?;
        if round > 0 {
            ours.push(with);
            theirs.push(without);
        }
    }
    let what = format!("start of {count} networked server(s), shim on network none against a bridge");
    report.versus(&what, &ours, &theirs);
    Ok(())
}

async fn start(engine: &RawEngine, count: usize, network: NetworkMode) -> Result<Duration> {
    engine.sweep().await?;
    // A group's network has room for 29.
    let place = |n| format!("bench-shim-{}", n / 25);
    let groups = (0..count).map(|n| web(&place(n), &format!("start-{n}"), network));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    try_join_all(groups.iter().map(|group| serving(engine, group))).await?;
    let took = began.elapsed();
    engine.sweep().await?;
    Ok(took)
}

/// From the end of a server that was killed to the first line from its next run.
async fn restarts(sides: &Sides, args: &Args, report: &mut Report) -> Result<()> {
    let mut with = Echo::start(&sides.with, "again-with").await?;
    let mut without = Echo::start(&sides.without, "again-without").await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        let (in_place, by_engine) =
            (again(&sides.with, &mut with).await?, again(&sides.without, &mut without).await?);
        if round > 0 {
            ours.push(in_place);
            theirs.push(by_engine);
        }
    }
    report.versus(
        "a server that ended runs again and answers, in place against by the engine",
        &ours,
        &theirs,
    );
    Ok(())
}

async fn again(engine: &RawEngine, echo: &mut Echo) -> Result<Duration> {
    engine.runtime.end_process(&echo.id, Duration::ZERO).await?;
    let began = Instant::now();
    echo.attached = engine.runtime.attach(&echo.id).await?;
    engine.runtime.start(&echo.id, &Launch::default()).await?;
    echo.lines(1).await?;
    Ok(began.elapsed())
}

fn compare(report: &mut Report, what: &str, ours: &[Duration], theirs: &[Duration]) {
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (ours, theirs) = (percentile(ours, share), percentile(theirs, share));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        report.line(&format!("{what}, {name}"), &show(ours), &show(theirs), &format!("{ratio:.2}"));
    }
}
