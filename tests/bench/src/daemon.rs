//! The daemon under measurement: the release binary, a state directory of its own, a free port.

use crate::Args;
use anyhow::{Context, Result};
use dtma_client::{Client, RemoveOptions};
use secrecy::SecretString;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) const TOKEN: &str = "bench-token-of-no-value";

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) client: Client,
    pub(crate) url: String,
    /// From exec to the first answer.
    pub(crate) started_in: Duration,
    state: TempDir,
}

impl Daemon {
    pub(crate) async fn start(args: &Args) -> Result<Self> {
        Self::start_on(args, tempfile::tempdir()?).await
    }

    /// Ends the process as a SIGKILL does and starts another on the same state. Returns when that answers.
    pub(crate) async fn kill_and_start(&mut self, args: &Args) -> Result<()> {
        self.child.kill().await?;
        let state = std::mem::replace(&mut self.state, tempfile::tempdir()?);
        *self = Self::start_on(args, state).await?;
        Ok(())
    }

    async fn start_on(args: &Args, state: TempDir) -> Result<Self> {
        let began = Instant::now();
        let mut child = Command::new(&args.daemon)
            .args(["--listen", "127.0.0.1:0", "--docker-host", &args.docker_host])
            .arg("--state-dir")
            .arg(state.path())
            .env("DTMA_BEARER_TOKEN", TOKEN)
            .env("DTMA_RATE_MUTATIONS", "off")
            .env("DTMA_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", args.daemon.display()))?;
        let url = url(&mut child).await?;
        let client = Client::builder(&url).token(SecretString::from(TOKEN)).build()?;
        client.get_health().await?;
        Ok(Self { child, client, url, started_in: began.elapsed(), state })
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("the daemon ended")
    }

    /// Resident memory, in kilobytes, and how much of it is private to the process.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let pid = self.pid()?;
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |name: &str| -> u64 {
            let lines = rollup.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
        };
        Ok((field("Rss:"), field("Private_")))
    }

    pub(crate) async fn remove(&self, group: &str) -> Result<()> {
        self.client.remove_group(group, &RemoveOptions { force: true, ..RemoveOptions::default() }).await?;
        Ok(())
    }

    /// Removes every group and ends the daemon.
    pub(crate) async fn end(mut self) -> Result<()> {
        for group in self.client.list_groups().await?.groups {
            self.remove(&group.group_id).await?;
        }
        self.child.kill().await?;
        Ok(())
    }
}

async fn url(child: &mut Child) -> Result<String> {
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(url) = line.strip_prefix("listening on ") {
            return Ok(url.trim().to_owned());
        }
    }
    anyhow::bail!("the daemon ended before it listened")
}
