//! What the engine itself says, through Docker's own command line: nothing of ours stands between a test and the
//! truth.

use crate::program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `docker ARGS` and returns what it printed; panics when it fails.
pub fn docker(args: &[&str]) -> String {
    require();
    program::run(&mut cli(args), PATIENCE).expect_success(&format!("docker {}", args.join(" ")))
}

/// Runs `docker ARGS` that may fail.
#[must_use]
pub fn try_docker(args: &[&str]) -> program::Ended {
    require();
    program::run(&mut cli(args), PATIENCE)
}

/// The engine's address, when the environment names one.
#[must_use]
pub fn host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok()
}

/// Everything `docker inspect` says of a container, network or volume.
#[must_use]
pub fn inspect(id: &str) -> Value {
    inspect_all(&[id.to_owned()]).pop().unwrap_or_else(|| panic!("no such object: {id}"))
}

/// The server's own process, the child of its container's first one, as the host sees it; `None` while there is none.
#[must_use]
pub fn server_process(container: &str) -> Option<u32> {
    let first = inspect(container)["State"]["Pid"].as_u64()?;
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The environment of a container's server, as the process has it; empty while none runs.
#[must_use]
pub fn environment(container: &str) -> BTreeMap<String, String> {
    let read = |process: u32| std::fs::read(format!("/proc/{process}/environ")).ok();
    let bytes = server_process(container).and_then(read).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let pair = |entry: &str| entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split('\0').filter_map(pair).collect()
}

/// Every container of a group, running or not; one that goes while it is looked at is left out.
#[must_use]
pub fn containers(group: &str) -> Vec<Value> {
    let ids = lines(&docker(&["ps", "-aq", "--no-trunc", "--filter", &of_group(group)]));
    inspect_all(&ids)
}

/// Instance names and ids of a group's containers, sorted by name.
#[must_use]
pub fn container_ids(group: &str) -> Vec<(String, String)> {
    let format = "{{.Label \"io.dtma.instance\"}} {{.ID}}";
    let text = docker(&["ps", "-a", "--no-trunc", "--filter", &of_group(group), "--format", format]);
    let pair = |line: &String| line.split_once(' ').map(|(name, id)| (name.to_owned(), id.to_owned()));
    let mut pairs: Vec<_> = lines(&text).iter().filter_map(pair).collect();
    pairs.sort();
    pairs
}

/// Names of a group's networks.
#[must_use]
pub fn networks(group: &str) -> Vec<String> {
    lines(&docker(&["network", "ls", "--filter", &of_group(group), "--format", "{{.Name}}"]))
}

/// Names of a group's volumes.
#[must_use]
pub fn volumes(group: &str) -> Vec<String> {
    lines(&docker(&["volume", "ls", "--filter", &of_group(group), "--format", "{{.Name}}"]))
}

/// What is left of a group, one line each; volumes count only when asked.
#[must_use]
pub fn remains(group: &str, with_volumes: bool) -> Vec<String> {
    let containers = container_ids(group).into_iter().map(|(name, id)| format!("container {name} {id}"));
    let networks = networks(group).into_iter().map(|name| format!("network {name}"));
    let volumes = if with_volumes { volumes(group) } else { Vec::new() };
    containers.chain(networks).chain(volumes.into_iter().map(|name| format!("volume {name}"))).collect()
}

/// Removes every container, network and volume of ours whose group's name ends with `tag`.
pub fn remove_tagged(tag: &str) {
    for (list, remove) in [
        (&["ps", "-a"][..], &["rm", "--force", "--volumes"][..]),
        (&["network", "ls"], &["network", "rm"]),
        (&["volume", "ls"], &["volume", "rm", "--force"]),
    ] {
        let found = tagged(list, tag);
        if !found.is_empty() {
            let args: Vec<&str> = remove.iter().copied().chain(found.iter().map(String::as_str)).collect();
            // Called while a test ends, perhaps by a panic: a second one would hide the first.
            let _ = program::run(&mut cli(&args), PATIENCE);
        }
    }
}

fn tagged(list: &[&str], tag: &str) -> Vec<String> {
    let id = match list[0] {
        "volume" => "{{.Name}}",
        _ => "{{.ID}}",
    };
    let format = format!("{id} {{{{.Label \"io.dtma.group\"}}}}");
    let mut args = list.to_vec();
    args.extend(["--filter", "label=io.dtma.managed", "--format", &format]);
    let listed = program::run(&mut cli(&args), PATIENCE).stdout;
    let of_tag = |line: String| {
        let (id, group) = line.split_once(' ')?;
        group.ends_with(tag).then(|| id.to_owned())
    };
    lines(&listed).into_iter().filter_map(of_tag).collect()
}

fn inspect_all(ids: &[String]) -> Vec<Value> {
    if ids.is_empty() {
        return Vec::new();
    }
    let args: Vec<&str> = ["inspect"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let ended = try_docker(&args);
    let gone = |line: &String| line.to_lowercase().starts_with("error: no such object");
    assert!(lines(&ended.stderr).iter().all(gone), "{args:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("docker inspect prints JSON")
}

fn of_group(group: &str) -> String {
    format!("label=io.dtma.group={group}")
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The engine's own command line.
#[must_use]
pub fn cli(args: &[&str]) -> Command {
    let mut command = program::command("docker", args);
    command.env_remove("DOCKER_CONTEXT");
    command
}

/// Fails, rather than skips, where no engine answers.
fn require() {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    let asked = || {
        let found = Command::new("docker").arg("--version").output().is_ok();
        found && program::run(&mut cli(&["version"]), PATIENCE).status.success()
    };
    assert!(
        *ANSWERS.get_or_init(asked),
        "no Docker Engine answers here; run `cargo xtask test`, which brings one"
    );
}
