//! Docker's words in `baseConfigOverrideJson`: published ports are the daemon's own business and so are restarts; both
//! are taken out. Everything else goes through policy like any other override.

use super::notes::Notes;
use dtma_api_types::Publish;
use dtma_core::violation::{Violation, pointer_token};
use serde_json::{Map, Value};

/// Restart policies that the daemon's own stands for.
const RESTARTS: [&str; 4] = ["", "always", "unless-stopped", "on-failure"];

/// Where one stands: the caller's pointer, and the canonical one of the server.
pub(super) struct Place<'a> {
    pub(super) theirs: &'a str,
    pub(super) ours: &'a str,
}

/// Takes out what is said in another way here, and gives back the ports to publish.
pub(super) fn take_apart(base: &mut Map<String, Value>, at: &Place<'_>, notes: &mut Notes) -> Vec<Publish> {
    base.remove("ExposedPorts");
    let Some(host) = base.get_mut("HostConfig").and_then(Value::as_object_mut) else { return Vec::new() };
    let theirs = format!("{}/HostConfig", at.theirs);
    restart_policy(host, &theirs, notes);
    match host.remove("PortBindings") {
        Some(Value::Object(bindings)) => port_bindings(
            &bindings,
            &Place { theirs: &format!("{theirs}/PortBindings"), ours: at.ours },
            notes,
        ),
        Some(Value::Null) | None => Vec::new(),
        Some(_) => {
            let message = "expected an object like {\"8080/tcp\": [{\"HostPort\": \"18080\"}]}";
            notes.break_rule(Violation::new(format!("{theirs}/PortBindings"), "override.type", message));
            Vec::new()
        }
    }
}

fn restart_policy(host: &mut Map<String, Value>, at: &str, notes: &mut Notes) {
    let name = host.get("RestartPolicy").and_then(|policy| policy.get("Name")).and_then(Value::as_str);
    if name.is_some_and(|name| RESTARTS.contains(&name)) {
        host.remove("RestartPolicy");
        let message = "the daemon restarts servers itself, with a growing delay and a budget";
        notes.warn(format!("{at}/RestartPolicy"), "compat.restart", message);
    }
}

/// `{"8080/tcp": [{"HostIp": "", "HostPort": "18080"}]}`.
pub(super) fn port_bindings(
    bindings: &Map<String, Value>,
    at: &Place<'_>,
    notes: &mut Notes,
) -> Vec<Publish> {
    let mut publish = Vec::new();
    for (port, hosts) in bindings {
        let theirs = format!("{}/{}", at.theirs, pointer_token(port));
        let Some(container_port) = container_port(port) else {
            let message = format!("{port:?} is not a TCP port: write 8080/tcp");
            notes.break_rule(Violation::new(&*theirs, "compat.port", message));
            continue;
        };
        let hosts = hosts.as_array().map_or(&[][..], Vec::as_slice);
        for (index, host) in hosts.iter().enumerate() {
            let theirs = format!("{theirs}/{index}");
            let Some(host_port) = host_port(host, &theirs, notes) else { continue };
            notes.place(format!("{}/publish/{}", at.ours, publish.len()), theirs);
            publish.push(Publish { host_port, container_port });
        }
    }
    publish
}

fn container_port(text: &str) -> Option<u32> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    port.parse().ok().filter(|_| protocol.eq_ignore_ascii_case("tcp"))
}

fn host_port(host: &Value, at: &str, notes: &mut Notes) -> Option<u32> {
    let ip = host.get("HostIp").and_then(Value::as_str).unwrap_or("");
    if !matches!(ip, "127.0.0.1" | "localhost" | "::1") {
        let message = "the port is published on the host's loopback address only";
        notes.warn(at.to_owned(), "compat.loopback", message);
    }
    let said = match host.get("HostPort") {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Number(number)) => number.as_u64().and_then(|port| u32::try_from(port).ok()),
        _ => None,
    };
    if said.is_none() {
        let violation = Violation::new(at, "compat.host-port", "a host port is needed")
            .hint("choose one: the daemon picks none at random");
        notes.break_rule(violation);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(base: Value) -> (Value, Vec<(u32, u32)>, Notes) {
        let Value::Object(mut base) = base else { panic!("an object") };
        let mut notes = Notes::default();
        let publish = take_apart(&mut base, &Place { theirs: "/base", ours: "/servers/0" }, &mut notes);
        let publish = publish.iter().map(|publish| (publish.host_port, publish.container_port)).collect();
        (Value::Object(base), publish, notes)
    }

    #[test]
    fn ports_and_restarts_are_taken_out_and_the_rest_stays() {
        let (rest, publish, notes) = take(
            json!({"Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}, "HostConfig": {
            "PortBindings": {"8080/tcp": [{"HostPort": "18080"}], "90": [{"HostIp": "127.0.0.1", "HostPort": 19090}]},
            "RestartPolicy": {"Name": "unless-stopped"}, "Privileged": true}}),
        );
        assert_eq!(rest, json!({"Env": ["A=b"], "HostConfig": {"Privileged": true}}));
        assert_eq!(publish, [(18080, 8080), (19090, 90)]);
        let rules: Vec<_> = notes.warnings.iter().map(|warning| warning.rule.as_str()).collect();
        assert_eq!(rules, ["compat.restart", "compat.loopback"]);
    }

    #[test]
    fn what_cannot_be_published_is_refused_by_place() {
        let (_, publish, mut notes) = take(json!({"HostConfig": {"PortBindings": {
            "53/udp": [{"HostPort": "5353"}], "80/tcp": [{"HostPort": ""}, {"HostPort": "x"}]}}}));
        assert_eq!(publish, []);
        let broken = notes.take_broken().unwrap();
        let found: Vec<_> = broken.iter().map(|v| v.pointer.rsplit_once("Bindings/").unwrap().1).collect();
        assert_eq!(found, ["53~1udp", "80~1tcp/0", "80~1tcp/1"]);
    }
}
