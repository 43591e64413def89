//! The bad inputs themselves.

use dtma_tests::groups::{after, idle, web, with};
use serde_json::{Value, json};

/// A group that must be refused.
pub(crate) struct Bad {
    pub(crate) what: &'static str,
    pub(crate) body: Value,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// `rule pointer` of every mistake, sorted.
    pub(crate) mistakes: Vec<String>,
}

/// Bodies that are no JSON, or no JSON object.
pub(crate) const MALFORMED: &[&[u8]] = &[
    b"{",
    b"{\"groupId\": \"x\", \"servers\": [}",
    b"{'groupId': 'x'}",
    b"{\"groupId\": \"x\"} trailing",
    b"\xff\xfe",
    b"{\"groupId\": \"\xc3\x28\"}",
    b"nonsense",
    b"[]",
    b"\"text\"",
    b"17",
    b"null",
    b"{\"groupId\": NaN, \"servers\": []}",
];

/// Seen by the schema: 400.
fn shape(what: &'static str, body: Value, mistakes: &[&str]) -> Bad {
    Bad { what, body, status: 400, code: "invalid_request", mistakes: sorted(mistakes) }
}

/// Seen by rules and policy: 422.
fn rules(what: &'static str, body: Value, mistakes: &[&str]) -> Bad {
    Bad { what, body, status: 422, code: "invalid_spec", mistakes: sorted(mistakes) }
}

fn sorted(mistakes: &[&str]) -> Vec<String> {
    let mut mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    mistakes.sort();
    mistakes
}

/// Every bad group, under this name where it has one.
pub(crate) fn bad_groups(name: &str) -> Vec<Bad> {
    let group = |servers: &[Value]| json!({"groupId": name, "servers": servers});
    let one = |fields: Value| group(&[with(idle("idle"), &fields)]);
    let mut all = shapes(name);
    all.extend(names(&group, &one));
    all.extend(graphs(&group));
    all.extend(sizes(&group, &one));
    all
}

fn shapes(name: &str) -> Vec<Bad> {
    vec![
        shape("nothing at all", json!({}), &["schema.required /groupId", "schema.required /servers"]),
        shape(
            "an unknown field at the top and one below",
            json!({"groupId": name, "servers": [{"instanceName": "a", "image": "b:c", "imagee": 1}], "srevers": 1}),
            &["schema.unknown /srevers", "schema.unknown /servers/0/imagee"],
        ),
        shape(
            "wrong types, all of them at once",
            json!({"groupId": 7, "servers": [{"instanceName": true, "image": {}, "command": "sh", "port": "80",
                "environment": {"A": 1}, "mounts": [{"type": "floppy", "target": 3}]}], "labels": []}),
            &[
                "schema.type /groupId",
                "schema.type /labels",
                "schema.type /servers/0/instanceName",
                "schema.type /servers/0/image",
                "schema.type /servers/0/command",
                "schema.type /servers/0/port",
                "schema.type /servers/0/environment/A",
                "schema.enum /servers/0/mounts/0/type",
                "schema.type /servers/0/mounts/0/target",
            ],
        ),
        shape(
            "servers as an object",
            json!({"groupId": name, "servers": {"a": {}}}),
            &["schema.type /servers"],
        ),
        shape(
            "a transport whose work has not arrived",
            json!({"groupId": name, "servers": [{"instanceName": "a", "image": "b:c", "transport": "carrier-pigeon"}]}),
            &["schema.enum /servers/0/transport"],
        ),
        shape(
            "a port of 0 and one past the end",
            json!({"groupId": name, "servers": [with(web("a"), &json!({"port": 0})), with(web("b"), &json!({"port": 65536}))]}),
            &["schema.minimum /servers/0/port", "schema.maximum /servers/1/port"],
        ),
    ]
}

/// Names that would lead somewhere else, or are none.
fn names(group: &impl Fn(&[Value]) -> Value, one: &impl Fn(Value) -> Value) -> Vec<Bad> {
    let long = "n".repeat(64);
    let bad =
        ["", "a/b", "..", "a..b", "/etc", "a\u{0}b", "a\nb", "a\u{1b}[2Jb", "a b", "-a", "a__b", "é", &long];
    let mut all = Vec::new();
    for name in bad {
        let body = json!({"groupId": name, "servers": [idle("idle")]});
        all.push(rules("a group's name", body, &["name /groupId"]));
        all.push(rules("a server's name", group(&[idle(name)]), &["name /servers/0/instanceName"]));
        let mounts = json!({"mounts": [{"type": "volume", "name": name, "target": "/data"}]});
        all.push(rules("a volume's name", one(mounts), &["name /servers/0/mounts/0/name"]));
    }
    for target in ["data", "/", "/a/../b", "/a//b", "/a\nb"] {
        let mounts = json!({"mounts": [{"type": "tmpfs", "target": target}]});
        all.push(rules("a mount's target", one(mounts), &["mounts.target /servers/0/mounts/0/target"]));
    }
    let proc = json!({"mounts": [{"type": "tmpfs", "target": "/proc/x"}]});
    all.push(rules("a target in /proc", one(proc), &["mounts.reserved /servers/0/mounts/0/target"]));
    for image in ["", "UPPER:case", "a b", "image:", "../etc/passwd"] {
        all.push(rules("an image", one(json!({"image": image})), &["image.syntax /servers/0/image"]));
    }
    for key in ["", "A=B", "A\u{0}"] {
        let body = one(json!({"environment": {key: "v"}}));
        let pointer = format!("environment.name /servers/0/environment/{key}");
        all.push(rules("a variable's name", body, &[&pointer]));
    }
    all.push(rules(
        "a label of ours",
        one(json!({"labels": {"io.dtma.owner": "me"}})),
        &["labels.reserved /servers/0/labels/io.dtma.owner"],
    ));
    all
}

fn graphs(group: &impl Fn(&[Value]) -> Value) -> Vec<Bad> {
    vec![
        rules(
            "the same name twice",
            group(&[idle("twin"), idle("twin")]),
            &["graph.duplicate /servers/1/instanceName"],
        ),
        rules(
            "a dependency on nobody",
            group(&[after(idle("a"), &[("nobody", "healthy")])]),
            &["graph.unknown /servers/0/dependsOn/0/instance"],
        ),
        rules(
            "a server that waits for itself",
            group(&[after(idle("a"), &[("a", "started")])]),
            &["graph.cycle /servers/0/dependsOn/0/instance"],
        ),
        rules(
            "a cycle of three",
            group(&[
                after(idle("a"), &[("b", "healthy")]),
                after(idle("b"), &[("c", "healthy")]),
                after(idle("c"), &[("a", "healthy")]),
            ]),
            &["graph.cycle /servers/0/dependsOn/0/instance"],
        ),
        rules("no servers", group(&[]), &["group.empty /servers"]),
        rules(
            "several mistakes of several kinds at once",
            group(&[
                with(after(idle("a"), &[("x", "healthy")]), &json!({"resources": {"memory": "1TiB"}})),
                with(idle("b"), &json!({"overrides": {"HostConfig": {"Privileged": true}}})),
            ]),
            &[
                "graph.unknown /servers/0/dependsOn/0/instance",
                "policy.ceiling /servers/0/resources/memory",
                "never.privileged /servers/1/overrides/HostConfig/Privileged",
            ],
        ),
    ]
}

/// Sizes nobody can mean.
fn sizes(group: &impl Fn(&[Value]) -> Value, one: &impl Fn(Value) -> Value) -> Vec<Bad> {
    let crowd: Vec<Value> =
        (0..500).map(|n| with(idle(&format!("n{n}")), &json!({"network": "none"}))).collect();
    let asks = |what, field: &str, value: Value, rule: &str| {
        let mistake = format!("{rule} /servers/0/resources/{field}");
        rules(what, one(json!({"resources": {field: value}})), &[&mistake])
    };
    vec![
        rules("five hundred servers", group(&crowd), &["group.too-large /servers"]),
        asks("a terabyte of memory", "memory", json!("1TiB"), "policy.ceiling"),
        asks("all memory there is", "memory", json!(u64::MAX), "policy.ceiling"),
        asks("no memory", "memory", json!(0), "resources.too-small"),
        asks("memory that is no size", "memory", json!("much"), "size"),
        asks("a thousand CPUs", "cpus", json!(1000), "policy.ceiling"),
        asks("a negative CPU", "cpus", json!(-1), "range"),
        asks("a million processes", "pids", json!(1_000_000), "policy.ceiling"),
        asks("no process", "pids", json!(0), "range"),
        rules(
            "a tmpfs of a terabyte",
            one(json!({"mounts": [{"type": "tmpfs", "target": "/t", "size": "1TiB"}]})),
            &["policy.ceiling /servers/0/mounts/0/size"],
        ),
        rules(
            "a grace of three centuries",
            one(json!({"stopGraceMs": 10_000_000_000_000_u64})),
            &["range /servers/0/stopGraceMs"],
        ),
        rules(
            "a server that listens nowhere, and a path that is none",
            group(&[
                json!({"instanceName": "a", "image": "b:c", "transport": "sse"}),
                json!({"instanceName": "b", "image": "b:c", "transport": "websocket", "port": 1, "endpointPath": "ws"}),
                json!({"instanceName": "c", "image": "b:c", "endpointPath": "/mcp"}),
            ]),
            &[
                "port.missing /servers/0/transport",
                "endpoint.syntax /servers/1/endpointPath",
                "endpoint.unused /servers/2/endpointPath",
            ],
        ),
        rules(
            "a well-known port of the host",
            group(&[with(web("web"), &json!({"publish": [{"hostPort": 22, "containerPort": 8080}]}))]),
            &["policy.host-port /servers/0/publish/0/hostPort"],
        ),
    ]
}
