//! A tool call through the gateway, and the same call on a raw attach to a twin of the same server, in turn.

use crate::Args;
use crate::daemon::{Daemon, TOKEN};
use crate::deploy::group;
use crate::raw::RawEngine;
use crate::report::{Report, percentile, show};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dtma_client::Mutation;
use dtma_core::spec::{GroupSpec, Resources, ServerKind, ServerSpec, Transport};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Clients that call at the same moment in the concurrent part.
const CLIENTS: [usize; 2] = [8, 16];

fn wire(name: &str) -> Value {
    let resources = json!({"memory": "512MiB", "cpus": 2});
    let server = json!({"instanceName": name, "image": "dtma/mcp-everything:dev", "transport": "stdio",
        "resources": resources});
    json!({"groupId": "bench-calls", "servers": [server]})
}

fn spec(name: &str) -> Result<GroupSpec> {
    let kind = ServerKind::Mcp(Transport::Stdio);
    let mut server = ServerSpec::new(name.parse()?, kind, "dtma/mcp-everything:dev".into());
    server.resources = Resources { memory: Some(512 << 20), cpu_millis: Some(2000), pids: None };
    group("bench-calls", vec![server])
}

fn echo() -> Value {
    json!({"name": "echo", "arguments": {"message": "hello"}})
}

pub(crate) async fn measure(
    args: &Args,
    daemon: &Daemon,
    engine: &RawEngine,
    report: &mut Report,
) -> Result<()> {
    daemon.client.deploy_group(&wire("everything"), &Mutation::default()).await?;
    let mut raw = engine.one(&spec("everything-twin")?).await?;
    let mut door = Door::open(&daemon.url, "everything").await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        let through_door = door.sequential(args.calls).await?;
        let on_attach = sequential_raw(&mut raw, args.calls).await?;
        if round > 0 {
            ours.extend(through_door);
            theirs.extend(on_attach);
        }
    }
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let (ours, theirs) = (percentile(&ours, share), percentile(&theirs, share));
        let added = ours.as_micros() as i128 - theirs.as_micros() as i128;
        let what = format!("sequential tool call through the gateway, {name}, against raw attach");
        report.line(&what, &show(ours), &show(theirs), &format!("{added:+} µs"));
    }
    for clients in CLIENTS {
        let rate = concurrent(&daemon.url, clients, args.calls).await?;
        report.line(&format!("tool calls with {clients} clients"), &format!("{rate:.0}/s"), "", "");
    }
    Ok(())
}

async fn sequential_raw(raw: &mut crate::stdio::StdioClient, calls: usize) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        raw.request("tools/call", &echo()).await?;
        took.push(began.elapsed());
    }
    Ok(took)
}

async fn concurrent(url: &str, clients: usize, calls: usize) -> Result<f64> {
    let mut doors = Vec::new();
    for _ in 0..clients {
        doors.push(Door::open(url, "everything").await?);
    }
    let began = Instant::now();
    let mut work = tokio::task::JoinSet::new();
    for mut door in doors {
        work.spawn(async move { door.sequential(calls).await.map(|took| took.len()) });
    }
    let mut done = 0;
    while let Some(result) = work.join_next().await {
        done += result??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

/// One client session through the gateway on one kept-alive connection.
pub(crate) struct Door {
    sender: SendRequest<Full<Bytes>>,
    path: String,
    host: String,
    session: Option<String>,
    last_id: u64,
    _connection: tokio::task::JoinSet<()>,
}

impl Door {
    pub(crate) async fn open(url: &str, instance: &str) -> Result<Self> {
        let host = url.strip_prefix("http://").context("not http")?.to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(async move {
            // Its end is the end of the measurement; an error shows up in the request that suffers it.
            let _ = connection.await;
        });
        let path = format!("/gateway/servers/{instance}/mcp");
        let mut door = Self { sender, path, host, session: None, last_id: 0, _connection: driver };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "bench", "version": "0"}});
        door.request("initialize", &hello).await?;
        Ok(door)
    }

    async fn sequential(&mut self, calls: usize) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            took.push(self.call().await?);
        }
        Ok(took)
    }

    pub(crate) async fn call(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.request("tools/call", &echo()).await?;
        Ok(began.elapsed())
    }

    async fn request(&mut self, method: &str, params: &Value) -> Result<()> {
        self.last_id += 1;
        let body = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(Full::from(serde_json::to_vec(&body)?))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        if let Some(session) = response.headers().get("mcp-session-id") {
            self.session = Some(session.to_str()?.to_owned());
        }
        let answer = response.into_body().collect().await?.to_bytes();
        let needle: &[u8] = if method == "initialize" { b"\"result\"" } else { b"hello" };
        if !status.is_success() || !answer.windows(needle.len()).any(|part| part == needle) {
            bail!("{method}: {status} {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}
