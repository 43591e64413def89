//! The same group in three languages, and what is not one.

use super::*;
use crate::failure::Report;
use serde_json::json;

const YAML: &str = "\
# a comment
groupId: demo
servers:
  - instanceName: time
    image: dtma/mcp-server-time:dev
  - instanceName: web
    kind: tool
    image: dtma/busybox:dev
    command: [httpd, -f, -p, \"8080\"]
    port: 8080
    resources: { cpus: 0.5 }
";

const TOML: &str = r#"
groupId = "demo"

[[servers]]
instanceName = "time"
image = "dtma/mcp-server-time:dev"

[[servers]]
instanceName = "web"
kind = "tool"
image = "dtma/busybox:dev"
command = ["httpd", "-f", "-p", "8080"]
port = 8080
resources.cpus = 0.5
"#;

const JSON: &str = r#"{"groupId": "demo",
"servers": [
  {"instanceName": "time", "image": "dtma/mcp-server-time:dev"},
  {"instanceName": "web", "kind": "tool", "image": "dtma/busybox:dev",
   "command": ["httpd", "-f", "-p", "8080"],
   "port": 8080, "resources": {"cpus": 0.5}}
]}"#;

fn read_as(text: &str, syntax: Syntax) -> Document {
    match Document::parse("group", text, syntax) {
        Ok(document) => document,
        Err(failure) => panic!("{failure:?}"),
    }
}

fn report(text: &str, syntax: Syntax) -> Report {
    match Document::parse("group", text, syntax) {
        Err(Failure::Report(report)) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_languages_say_the_same() {
    let expected = json!({"groupId": "demo", "servers": [
        {"instanceName": "time", "image": "dtma/mcp-server-time:dev"},
        {"instanceName": "web", "kind": "tool", "image": "dtma/busybox:dev",
         "command": ["httpd", "-f", "-p", "8080"], "port": 8080, "resources": {"cpus": 0.5}}
    ]});
    for (text, syntax) in [(YAML, Syntax::Yaml), (TOML, Syntax::Toml), (JSON, Syntax::Json)] {
        let document = read_as(text, syntax);
        assert_eq!(document.value, expected, "{syntax:?}");
        assert_eq!(document.group(), Some("demo"));
        assert_eq!(document.servers(), ["time", "web"]);
        assert_eq!(Syntax::guess(text), syntax);
    }
}

#[test]
fn every_value_knows_its_line() {
    for (text, syntax, places) in [
        (
            YAML,
            Syntax::Yaml,
            [("/groupId", 2), ("/servers/1", 6), ("/servers/1/command/3", 9), ("/servers/1/port", 10)],
        ),
        (
            TOML,
            Syntax::Toml,
            [("/groupId", 2), ("/servers/1", 8), ("/servers/1/command/3", 12), ("/servers/1/port", 13)],
        ),
        (
            JSON,
            Syntax::Json,
            [("/groupId", 1), ("/servers/1", 4), ("/servers/1/command/3", 5), ("/servers/1/port", 6)],
        ),
    ] {
        let document = read_as(text, syntax);
        for (pointer, line) in places {
            assert_eq!(document.place(pointer).to_string(), format!("group:{line}"), "{syntax:?} {pointer}");
        }
    }
}

#[test]
fn what_is_missing_is_where_it_should_be() {
    let document = read_as(YAML, Syntax::Yaml);
    assert_eq!(document.place("/servers/0/transport").to_string(), "group:4");
    assert_eq!(document.place("/servers/9").to_string(), "group:3");
}

#[test]
fn mistakes_of_writing_name_their_line() {
    for (text, syntax, begins) in [
        ("groupId: demo\nservers: [\n", Syntax::Yaml, "group:"),
        ("a: 1\na: 2\n", Syntax::Yaml, "group:2 is not YAML"),
        ("a = 1\nb = \n", Syntax::Toml, "group:2 is not TOML"),
        ("{\n\"a\": }", Syntax::Json, "group:2 is not JSON"),
        ("a: .nan\n", Syntax::Yaml, "group"),
    ] {
        let report = report(text, syntax);
        assert_eq!(report.exit, Exit::Usage);
        assert!(report.message.starts_with(begins), "{report:?}");
    }
}

#[test]
fn what_is_not_a_group_is_said_to_be_none() {
    for text in ["", "- a\n", "just words", "1"] {
        let report = report(text, Syntax::Yaml);
        assert_eq!(report.message, "group is not a group: it has no fields", "{text:?}");
    }
}

#[test]
fn only_true_and_false_are_truth_values() {
    let text = "groupId: y\nservers: [{instanceName: no, environment: {A: yes, B: on}, readOnly: true}]";
    let document = Document::parse("group", text, Syntax::Yaml).unwrap();
    let server =
        serde_json::json!({"instanceName": "no", "environment": {"A": "yes", "B": "on"}, "readOnly": true});
    assert_eq!(document.value, serde_json::json!({"groupId": "y", "servers": [server]}));
}

#[test]
fn a_bomb_of_aliases_does_not_explode() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 9].join(", "));
    }
    assert!(Document::parse("group", &bomb, Syntax::Yaml).is_err());
    let deep = "[".repeat(100_000);
    for syntax in [Syntax::Yaml, Syntax::Json, Syntax::Toml] {
        assert!(Document::parse("group", &deep, syntax).is_err());
    }
}

#[test]
fn the_example_can_be_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo.yaml");
    let document = Document::load(Some(Path::new(path))).unwrap();
    assert_eq!(document.group(), Some("demo"));
    let request: dtma_client::types::GroupRequest = serde_json::from_value(document.value).unwrap();
    let names: Vec<&str> = request.servers.iter().map(|server| server.instance_name.as_str()).collect();
    for name in ["everything", "filesystem", "memory", "time", "git", "web"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}
