//! What many servers cost: reading the status of them all, keeping them in memory, and taking them over when the
//! daemon is started again.

use crate::Args;
use crate::daemon::{Daemon, TOKEN};
use crate::report::{Report, percentile, show};
use crate::takeover;
use anyhow::{Context, Result};
use dtma_client::{Client, Mutation};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Reads of one sequential run.
const READS: usize = 2000;
/// What the goal speaks of: reads in each second, and for how long they are made.
const RATE: usize = 5000;
const STEADY: Duration = Duration::from_secs(5);
const READERS: usize = 16;
/// Real containers that a new daemon takes over.
const ADOPTED: usize = 30;

/// Tools that do nothing, in groups of at most fifty.
fn groups(servers: usize) -> Vec<Value> {
    let server = |number: usize| {
        json!({"instanceName": format!("s{number}"), "kind": "tool", "image": "dtma/busybox:dev",
            "command": ["sleep", "100000"], "network": "none", "health": {"settleMs": 0}})
    };
    let numbers: Vec<usize> = (0..servers).collect();
    let group = |(index, part): (usize, &[usize])| {
        let servers: Vec<Value> = part.iter().map(|number| server(*number)).collect();
        json!({"groupId": format!("fleet{index}"), "servers": servers})
    };
    numbers.chunks(50).enumerate().map(group).collect()
}

pub(crate) async fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let mut memory = Vec::new();
    for servers in [1, 10, 100] {
        let daemon = Daemon::start(args).await?;
        let measured = status(&daemon, servers, report).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        memory.push((servers, daemon.memory()?.1));
        daemon.end().await?;
        measured?;
    }
    if let [(few, small), .., (many, large)] = memory.as_slice() {
        let each = large.saturating_sub(*small) as f64 / (many - few) as f64;
        report.line("daemon: private memory for each further server", &format!("{each:.0} kB"), "", "");
    }
    adopt(args, report).await?;
    takeover::measure(report).await
}

async fn status(daemon: &Daemon, servers: usize, report: &mut Report) -> Result<()> {
    for group in groups(servers) {
        daemon.client.deploy_group(&group, &Mutation::default()).await?;
    }
    let mut times = Vec::with_capacity(READS);
    for _ in 0..READS {
        let began = Instant::now();
        daemon.client.get_status().await?;
        times.push(began.elapsed());
    }
    let text = format!("{} / {}", show(percentile(&times, 0.5)), show(percentile(&times, 0.99)));
    report.line(
        &format!("status of {servers} servers, read and parsed one after the other, p50 / p99"),
        &text,
        "",
        "",
    );
    steady(daemon, servers, report).await
}

/// Reads at a steady rate: each reader has its turn by the clock, and a late answer counts from when it was due.
async fn steady(daemon: &Daemon, servers: usize, report: &mut Report) -> Result<()> {
    let gap = Duration::from_secs(1) * READERS as u32 / RATE as u32;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(Reader::connect(&daemon.url).await?);
    }
    let began = tokio::time::Instant::now();
    let runs = readers.iter_mut().enumerate().map(|(number, reader)| async move {
        let mut times = Vec::new();
        let mut due = began + gap * number as u32 / READERS as u32;
        while due < began + STEADY {
            tokio::time::sleep_until(due).await;
            reader.read().await?;
            times.push(due.elapsed());
            due += gap;
        }
        anyhow::Ok(times)
    });
    let times: Vec<Duration> = try_join_all(runs).await?.into_iter().flatten().collect();
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    let what =
        format!("status of {servers} servers, {RATE} reads a second wanted and {rate:.0} made, p50 / p99");
    let text = format!("{} / {}", show(percentile(&times, 0.5)), show(percentile(&times, 0.99)));
    report.line(&what, &text, "", "");
    Ok(())
}

/// A connection that asks for the status and does not parse it: what reads are measured with must cost little itself.
struct Reader {
    stream: BufReader<TcpStream>,
    request: String,
}

impl Reader {
    async fn connect(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("the daemon speaks plain HTTP here")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request =
            format!("GET /mcp/status HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        Ok(Self { stream: BufReader::with_capacity(1 << 18, stream), request })
    }

    async fn read(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(self.request.as_bytes()).await?;
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            anyhow::ensure!(!line.starts_with("http/") || line.contains(" 200"), "{line}");
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse()?;
            }
        }
        anyhow::ensure!(length > 0, "an answer without a length");
        while length > 0 {
            let got = self.stream.fill_buf().await?.len().min(length);
            anyhow::ensure!(got > 0, "the daemon hung up");
            self.stream.consume(got);
            length -= got;
        }
        Ok(())
    }
}

/// A daemon that is killed and started again over real containers.
async fn adopt(args: &Args, report: &mut Report) -> Result<()> {
    let mut daemon = Daemon::start(args).await?;
    for group in groups(ADOPTED) {
        daemon.client.deploy_group(&group, &Mutation::default()).await?;
    }
    let (mut back, mut settled, mut restarts) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.rounds.max(3) {
        let began = Instant::now();
        daemon.kill_and_start(args).await?;
        back.push(began.elapsed());
        let status = until_ready(&daemon.client).await?;
        settled.push(began.elapsed());
        restarts += status;
    }
    daemon.end().await?;
    let text = format!("{} / {}", show(percentile(&back, 0.5)), show(percentile(&settled, 0.5)));
    report.line(&format!("kill -9 and start over {ADOPTED} containers: answers / all ready"), &text, "", "");
    report.line("restarts that caused", &restarts.to_string(), "", "");
    Ok(())
}

/// Waits until every server is ready; how often they were started again.
async fn until_ready(client: &Client) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let status = client.get_status().await?;
        let servers: Vec<_> = status.groups.iter().flat_map(|group| &group.servers).collect();
        if servers.iter().all(|server| server.phase.as_str() == "ready") {
            return Ok(servers.iter().map(|server| server.restarts).sum());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    anyhow::bail!("not every server became ready again: {:?}", client.get_status().await?.servers_total)
}
