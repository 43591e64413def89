//! What the engine says of the demo's group: the daemon is not its own witness.

use super::GROUP;
use crate::engine::Engine;
use crate::process;
use anyhow::{Result, bail};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The engine, asked about one group.
pub(super) struct Sight {
    pub(super) engine: Engine,
}

impl Sight {
    /// The container of a server.
    pub(super) fn container(&self, instance: &str) -> Result<String> {
        let of_instance = format!("label=io.dtma.instance={instance}");
        let found = self.list(&["ps", "--no-trunc", "-q", "--filter", &of_instance])?;
        match found.as_slice() {
            [one] => Ok(one.clone()),
            other => bail!("{instance} has {} running containers instead of one", other.len()),
        }
    }

    /// When its process was started.
    pub(super) fn started_at(&self, container: &str) -> Result<String> {
        self.docker(&["inspect", "--format", "{{.State.StartedAt}}", container])
    }

    /// Every container with the start of its process, sorted.
    pub(super) fn runs(&self) -> Result<Vec<(String, String)>> {
        let mut ids = self.list(&["ps", "--no-trunc", "-q"])?;
        ids.sort();
        ids.into_iter().map(|id| Ok((id.clone(), self.started_at(&id)?))).collect()
    }

    /// Kills a container behind the daemon's back.
    pub(super) fn kill(&self, container: &str) -> Result<()> {
        self.docker(&["kill", container]).map(drop)
    }

    /// What is left of the group.
    pub(super) fn remains(&self) -> Result<Vec<String>> {
        let mut remains = self.list(&["ps", "-a", "--format", "container {{.Names}}"])?;
        remains.extend(self.list(&["network", "ls", "--format", "network {{.Name}}"])?);
        remains.extend(self.list(&["volume", "ls", "--format", "volume {{.Name}}"])?);
        Ok(remains)
    }

    fn list(&self, args: &[&str]) -> Result<Vec<String>> {
        let of_group = format!("label=io.dtma.group={GROUP}");
        let args: Vec<&str> = args.iter().copied().chain(["--filter", &of_group]).collect();
        Ok(self.docker(&args)?.lines().map(str::to_owned).collect())
    }

    fn docker(&self, args: &[&str]) -> Result<String> {
        let text = process::output(PATIENCE, self.engine.docker()?.args(args))?;
        Ok(text.trim().to_owned())
    }
}
