//! How mistakes are told: where they are, all at once, and in no words that a terminal obeys.

use crate::case::{depend, set_bind, set_environment, set_overrides, set_target};
use crate::support::{self, configurator, group, places, stdio, tool};
use dtma_core::spec::ServerKind;
use serde_json::json;

#[test]
fn a_cycle_is_pointed_out_where_it_is_and_printed() {
    let mut spec = group(vec![tool("x"), tool("a"), tool("b")]);
    spec.servers[0].depends_on = depend(&["a"]);
    spec.servers[1].depends_on = depend(&["b"]);
    spec.servers[2].depends_on = depend(&["a"]);
    let found = configurator().validate(&spec);
    assert_eq!(places(&found), [("/servers/1/dependsOn/0/instance", "graph.cycle")]);
    assert_eq!(found[0].message, "the dependencies form a cycle: a -> b -> a");
}

#[test]
fn every_mistake_is_listed_at_once() {
    let mut spec = group(vec![stdio("time"), tool("time")]);
    spec.servers[0].image = "".into();
    spec.servers[0].resources.memory = Some(1);
    spec.servers[1].depends_on = depend(&["nobody"]);
    spec.servers[1].template = Some("nobody".to_owned());
    set_overrides(
        &mut spec.servers[1],
        json!({"HostConfig": {"Privileged": true, "CapAdd": ["ALL"]}, "X": 1}),
    );
    let expected = [
        ("/servers/1/instanceName", "graph.duplicate"),
        ("/servers/1/dependsOn/0/instance", "graph.unknown"),
        ("/servers/0/image", "image.syntax"),
        ("/servers/0/resources/memory", "resources.too-small"),
        ("/servers/1/template", "template.unknown"),
        ("/servers/1/overrides/HostConfig/CapAdd/0", "never.capability"),
        ("/servers/1/overrides/HostConfig/Privileged", "never.privileged"),
        ("/servers/1/overrides/X", "override.unsupported"),
    ];
    let found = configurator().validate(&spec);
    assert_eq!(places(&found), expected);
}

#[test]
fn no_control_character_of_a_request_reaches_a_message() {
    let mut spec = group(vec![support::server("a", ServerKind::Tool)]);
    let evil = "\u{1b}[31m\n";
    spec.servers[0].image = evil.into();
    spec.servers[0].template = Some(evil.to_owned());
    set_environment(&mut spec.servers[0], (evil.to_owned(), String::new()));
    set_target(&mut spec.servers[0], evil);
    set_bind(&mut spec.servers[0], evil);
    set_overrides(&mut spec.servers[0], json!({"HostConfig": {"CapAdd": [evil], "SecurityOpt": [evil]}}));
    let found = configurator().validate(&spec);
    assert_eq!(found.len(), 7, "{found:#?}");
    for violation in found {
        assert!(!violation.message.contains(char::is_control), "{violation:?}");
    }
}
