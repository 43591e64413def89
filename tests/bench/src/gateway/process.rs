//! Programs that are started for the measurement: each with its log, ended with everything it started, and looked at in
//! memory.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running program that ends with this value.
pub(super) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it in a process group of its own, its words into `log`.
    pub(super) fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let program = command.get_program().display().to_string();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails with its last words when it has ended.
    pub(super) fn is_up(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended ({status}): {}", self.last_words()),
        }
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("without a word");
        last.trim().chars().take(200).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Its group is everything it started that did not leave on purpose; a bare machine has no kill of its own.
        let script = format!("kill -KILL -- -{}", self.child.id());
        let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory in kilobytes; of pages that several processes share, each has its share (PSS).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Of the bridge.
    pub(super) bridge: u64,
    /// Of the servers that it starts or has started.
    pub(super) servers: u64,
}

/// What `bridges` keep, and what everything below them does.
pub(super) fn below(bridges: &[u32]) -> Memory {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    let mut memory = Memory::default();
    let mut left: Vec<u32> = bridges.to_vec();
    while let Some(pid) = left.pop() {
        let place = if bridges.contains(&pid) { &mut memory.bridge } else { &mut memory.servers };
        *place += share(pid);
        left.extend(children.remove(&pid).unwrap_or_default());
    }
    memory
}

/// What everything in a container keeps.
pub(super) fn inside(container: &str) -> u64 {
    let is_inside = |pid: &u32| {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.contains(container)
    };
    processes().into_iter().map(|(pid, _)| pid).filter(is_inside).map(share).sum()
}

/// Every process and its parent.
fn processes() -> Vec<(u32, u32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may have spaces and brackets.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
    .collect()
}

fn share(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with("Pss:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
