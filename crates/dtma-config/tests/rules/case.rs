//! What a case is, and the fields that cases set.

use dtma_core::restart::RestartPolicy;
use dtma_core::spec::{Condition, Connect, Dependency, GroupSpec, Mount, MountSource, Publish, ServerSpec};
use serde_json::Value;

/// A change to the pair `time` (stdio) and `web` (tool).
pub(crate) type Change = Box<dyn Fn(&mut GroupSpec)>;

pub(crate) struct Case {
    pub(crate) rule: &'static str,
    pub(crate) pointer: &'static str,
    pub(crate) bad: Change,
    pub(crate) good: Change,
}

pub(crate) fn case(
    rule: &'static str,
    pointer: &'static str,
    bad: impl Fn(&mut GroupSpec) + 'static,
    good: impl Fn(&mut GroupSpec) + 'static,
) -> Case {
    Case { rule, pointer, bad: Box::new(bad), good: Box::new(good) }
}

/// A case in which one field of the tool, by `set`, is bad or good.
pub(crate) fn tool_case<T: Clone + 'static>(
    rule: &'static str,
    pointer: &'static str,
    set: fn(&mut ServerSpec, T),
    (bad, good): (T, T),
) -> Case {
    case(
        rule,
        pointer,
        move |group| set(&mut group.servers[1], bad.clone()),
        move |group| set(&mut group.servers[1], good.clone()),
    )
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn depend(on: &[&str]) -> Vec<Dependency> {
    on.iter()
        .map(|on| Dependency { instance: on.parse().unwrap(), condition: Condition::Started, connect: None })
        .collect()
}

pub(crate) fn set_environment(server: &mut ServerSpec, (name, value): (String, String)) {
    server.environment.insert(name, value);
}

pub(crate) fn set_label(server: &mut ServerSpec, (key, value): (&str, String)) {
    server.labels.insert(key.to_owned(), value);
}

pub(crate) fn set_publish(server: &mut ServerSpec, ports: Vec<(u16, u16)>) {
    let publish = |(host_port, container_port)| Publish { host_port, container_port };
    server.publish = ports.into_iter().map(publish).collect();
}

pub(crate) fn set_target(server: &mut ServerSpec, target: &str) {
    let source = MountSource::Volume("v".parse().unwrap());
    server.mounts.push(Mount { target: target.to_owned(), source, read_only: false });
}

pub(crate) fn set_tmpfs(server: &mut ServerSpec, (size, read_only): (u64, bool)) {
    server.mounts.push(Mount { target: "/x".to_owned(), source: MountSource::Tmpfs { size }, read_only });
}

pub(crate) fn set_egress(server: &mut ServerSpec, rules: &[&str]) {
    server.egress = rules.iter().map(|rule| rule.parse().unwrap()).collect();
}

pub(crate) fn set_connect(server: &mut ServerSpec, port: Option<u16>) {
    let connect = port.map(|port| Connect { port, local_port: None });
    server.depends_on = vec![Dependency { connect, ..depend(&["time"]).remove(0) }];
}

pub(crate) fn set_shim(server: &mut ServerSpec, shim: Option<bool>) {
    server.shim = shim;
}

pub(crate) fn set_bind(server: &mut ServerSpec, path: &str) {
    let source = MountSource::Bind(path.to_owned());
    server.mounts.push(Mount { target: "/x".to_owned(), source, read_only: true });
}

pub(crate) fn set_replicas(server: &mut ServerSpec, replicas: u32) {
    server.replicas = replicas;
}

pub(crate) fn set_restart(server: &mut ServerSpec, restart: RestartPolicy) {
    server.restart = restart;
}

pub(crate) fn set_overrides(server: &mut ServerSpec, overrides: Value) {
    server.overrides = Some(overrides.as_object().unwrap().clone());
}

pub(crate) fn text(length: usize) -> String {
    "x".repeat(length)
}
