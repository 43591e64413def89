//! What a server may reach outside, and which ports of its dependencies it finds inside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken test should stop where it broke, and cases are written in place"
)]

mod support;

use dtma_config::{Configurator, Policy, Templates, exposure, rule};
use dtma_core::container::{ContainerConfig, ContainerConnect};
use dtma_core::egress::{Ceiling, EgressRule};
use dtma_core::spec::{Condition, Connect, Dependency, GroupSpec, NetworkMode, Publish, ServerSpec};
use proptest::prelude::*;
use serde_json::json;
use support::{configurator, group, owner, places, rendered, stdio, tool};

fn with_shim(policy: Policy) -> Configurator {
    Configurator::new(Templates::builtin(), policy).with_shim(true)
}

fn policy(json: serde_json::Value) -> Policy {
    serde_json::from_value(json).unwrap()
}

fn rules(texts: &[&str]) -> Vec<EgressRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A stdio server that wants out.
fn wanting(texts: &[&str]) -> GroupSpec {
    let mut server = stdio("time");
    server.egress = rules(texts);
    group(vec![server])
}

fn dependency(on: &str, port: u16, local_port: Option<u16>) -> Dependency {
    let connect = Some(Connect { port, local_port });
    Dependency { instance: on.parse().unwrap(), condition: Condition::Healthy, connect }
}

/// `time` with two dependencies, each with a port.
fn connecting(first: Dependency, second: Dependency) -> GroupSpec {
    let mut time = stdio("time");
    let names = [first.instance.to_string(), second.instance.to_string()];
    time.depends_on = vec![first, second];
    group([time].into_iter().chain(names.iter().map(|name| tool(name))).collect())
}

fn config(configurator: &Configurator, group: &GroupSpec) -> ContainerConfig {
    configurator.render(group, &owner()).unwrap()[&"time".parse().unwrap()].config.clone()
}

#[track_caller]
fn refused(policy: Policy, group: &GroupSpec, at: &str, rule: &str, words: &str) {
    let found = with_shim(policy).validate(group);
    assert_eq!(places(&found), [(at, rule)], "{found:#?}");
    let told = format!("{} {}", found[0].message, found[0].hint.as_deref().unwrap_or_default());
    assert!(told.contains(words), "{told}");
}

#[test]
fn a_server_that_wants_out_is_told_the_way() {
    let config = config(&with_shim(Policy::default()), &wanting(&["API.example.org:443", "*.example.net:*"]));
    assert_eq!(config.egress, rules(&["api.example.org:443", "*.example.net:*"]));
    assert_eq!(config.network, NetworkMode::None);
    let told = |name: &str| config.environment[name].as_str();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        assert_eq!(told(name), "http://127.0.0.1:3128");
    }
    assert_eq!((told("NO_PROXY"), told("no_proxy")), ("localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"));
    assert_eq!((told("NODE_USE_ENV_PROXY"), told("MCP_TRANSPORT")), ("1", "stdio"));
}

#[test]
fn the_way_may_be_repeated_and_not_contradicted() {
    let setting = |name: &str, value: &str| {
        let mut spec = wanting(&["a.example:443"]);
        spec.servers[0].environment.insert(name.to_owned(), value.to_owned());
        spec
    };
    let with = with_shim(Policy::default());
    assert_eq!(with.validate(&setting("HTTP_PROXY", "http://127.0.0.1:3128")), []);
    assert_eq!(config(&with, &setting("NODE_USE_ENV_PROXY", "0")).environment["NODE_USE_ENV_PROXY"], "0");
    let other = setting("http_proxy", "http://elsewhere:1");
    let at = "/servers/0/environment/http_proxy";
    refused(Policy::default(), &other, at, rule::ENVIRONMENT_RESERVED, "set by the daemon");
    let mut overridden = wanting(&["a.example:443"]);
    overridden.servers[0].overrides = json!({"Env": ["NO_PROXY=*"]}).as_object().cloned();
    let at = "/servers/0/overrides/Env/0";
    refused(Policy::default(), &overridden, at, rule::ENVIRONMENT_RESERVED, "set by the daemon");
    let mut alone = wanting(&[]);
    alone.servers[0].environment.insert("HTTP_PROXY".to_owned(), "http://elsewhere:1".to_owned());
    assert_eq!(with.validate(&alone), [], "without a way of ours it is the server's business");
}

#[test]
fn a_way_out_needs_the_shim_and_no_network() {
    let at = "/servers/0/egress";
    let mut spec = wanting(&["a.example:443"]);
    let found = configurator().validate(&spec);
    assert_eq!(places(&found), [(at, rule::EGRESS_SHIM)]);
    assert!(found[0].message.contains("needs the shim") && found[0].hint.is_some(), "{found:#?}");
    let remote = with_shim(Policy::default()).for_remote_engine();
    assert_eq!(places(&remote.validate(&spec)), [(at, rule::EGRESS_SHIM)]);
    spec.servers[0].shim = Some(false);
    refused(Policy::default(), &spec, at, rule::EGRESS_SHIM, "its \"shim\" is false");
    spec.servers[0].shim = Some(true);
    spec.servers[0].network = Some(NetworkMode::Group);
    refused(Policy::default(), &spec, at, rule::EGRESS_NETWORK, "give it \"network\": \"none\"");
    spec.servers[0] = ServerSpec { egress: rules(&["a.example:443"]), ..tool("web") };
    spec.servers[0].network = Some(NetworkMode::Open);
    refused(Policy::default(), &spec, at, rule::EGRESS_NETWORK, "past the daemon");
    spec.servers[0].network = None;
    assert_eq!(with_shim(Policy::default()).validate(&spec), []);
    spec.servers[0].port = Some(3128);
    refused(Policy::default(), &spec, "/servers/0/port", rule::PORT_INSIDE, "the way out");
}

#[test]
fn every_wrong_host_is_named_where_it_stands() {
    let spec = wanting(&["a.example:443", "*:443", "10.0.0.1:80", "a.example:443", "[::1]:80", "8.8.8.8:53"]);
    let found = with_shim(Policy::default()).validate(&spec);
    let expected = [
        ("/servers/0/egress/1", rule::POLICY_EGRESS),
        ("/servers/0/egress/2", rule::POLICY_EGRESS_RANGE),
        ("/servers/0/egress/3", rule::EGRESS_REPEATED),
        ("/servers/0/egress/4", rule::POLICY_EGRESS_RANGE),
    ];
    assert_eq!(places(&found), expected);
    assert!(found[1].message.contains("10.0.0.1 is private (10.0.0.0/8)"), "{found:#?}");
    let many: Vec<String> = (0..65).map(|n| format!("h{n}.example:443")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(Policy::default(), &wanting(&many), "/servers/0/egress", rule::EGRESS_TOO_MANY, "wildcards");
    assert_eq!(with_shim(Policy::default()).validate(&wanting(&many[..64])), []);
}

#[test]
fn an_operators_word_on_hosts_and_addresses_holds() {
    let at = "/servers/0/egress/0";
    let off = policy(json!({"egress": []}));
    refused(off, &wanting(&["a.example:443"]), at, rule::POLICY_EGRESS, "lets no server out");
    let listed = || policy(json!({"egress": ["*.example.org:443", "*:53"]}));
    let allowed = wanting(&["api.example.org:443", "*.eu.example.org:443", "a.example:53", "*:53"]);
    assert_eq!(with_shim(listed()).validate(&allowed), []);
    for beyond in ["example.org:443", "*.org:443", "api.example.org:80", "api.example.org:*"] {
        let words = "allowed is what is covered by *.example.org:443, *:53";
        refused(listed(), &wanting(&[beyond]), at, rule::POLICY_EGRESS, words);
    }
    let opened = policy(json!({"egressRanges": ["10.0.0.0/8"]}));
    assert_eq!(with_shim(opened.clone()).validate(&wanting(&["10.0.0.1:80"])), []);
    refused(opened, &wanting(&["192.168.0.1:80"]), at, rule::POLICY_EGRESS_RANGE, "egressRanges");
}

#[test]
fn a_policy_is_written_in_words_an_operator_knows() {
    let read = policy(json!({"memory": 1 << 30}));
    assert_eq!((read.egress, read.egress_ranges), (Ceiling::Named, Vec::new()));
    let wrong = serde_json::from_value::<Policy>(json!({"egressRanges": ["10.0.0.1/8"]})).unwrap_err();
    assert!(wrong.to_string().contains("write 10.0.0.0/8"), "{wrong}");
    let wrong = serde_json::from_value::<Policy>(json!({"egress": ["example.org"]})).unwrap_err();
    assert!(wrong.to_string().contains("write example.org:443"), "{wrong}");
}

#[test]
fn a_server_finds_its_dependencies_inside() {
    let spec = connecting(dependency("my-db", 5432, None), dependency("cache", 6379, Some(16379)));
    let config = config(&with_shim(Policy::default()), &spec);
    let inside = |instance: &str, port, local_port| {
        let instance = instance.parse().unwrap();
        ContainerConnect { instance, port, local_port }
    };
    assert_eq!(config.connects, [inside("my-db", 5432, 5432), inside("cache", 6379, 16379)]);
    let told = |name: &str| config.environment[name].as_str();
    assert_eq!((told("MY_DB_ADDR"), told("CACHE_ADDR")), ("127.0.0.1:5432", "127.0.0.1:16379"));
    assert!(!config.environment.contains_key("HTTP_PROXY"));
}

#[test]
fn what_cannot_be_found_inside_is_refused() {
    let at = |rest: &str| format!("/servers/0/dependsOn/{rest}");
    let refused = |change: &dyn Fn(&mut GroupSpec), place: &str, rule: &str, words: &str| {
        let mut spec = connecting(dependency("db", 5432, None), dependency("cache", 6379, None));
        change(&mut spec);
        refused(Policy::default(), &spec, &at(place), rule, words);
    };
    let connect = |spec: &mut GroupSpec, index: usize, port, local_port| {
        spec.servers[0].depends_on[index].connect = Some(Connect { port, local_port });
    };
    refused(&|spec| connect(spec, 0, 0, Some(1)), "0/connect/port", rule::PORT_ZERO, "not a port");
    refused(&|spec| connect(spec, 0, 1, Some(0)), "0/connect/localPort", rule::PORT_ZERO, "not a port");
    refused(&|spec| connect(spec, 1, 5432, None), "1/connect", rule::PORT_INSIDE, "port 5432 is that of db");
    refused(&|spec| connect(spec, 1, 1, Some(5432)), "1/connect", rule::PORT_INSIDE, "another \"localPort\"");
    let publish = Publish { host_port: 8080, container_port: 6379 };
    refused(
        &|spec| spec.servers[0].publish = vec![publish],
        "1/connect",
        rule::PORT_INSIDE,
        "the server's own",
    );
    let out = |spec: &mut GroupSpec| {
        spec.servers[0].egress = rules(&["a.example:443"]);
        spec.servers[0].depends_on[0].connect = Some(Connect { port: 3128, local_port: None });
    };
    refused(&out, "0/connect", rule::PORT_INSIDE, "port 3128 is the way out");
    let unshimmed = |index: usize| move |spec: &mut GroupSpec| spec.servers[index].shim = Some(false);
    refused(
        &unshimmed(2),
        "1/connect",
        rule::CONNECT_SHIM,
        "with cache there is no such way: its \"shim\" is false",
    );
    let ended = |spec: &mut GroupSpec| spec.servers[0].depends_on[0].condition = Condition::Completed;
    refused(&ended, "0/connect", rule::CONNECT_COMPLETED, "db has ended by then");
    let contradicted = |spec: &mut GroupSpec| {
        spec.servers[0].environment.insert("DB_ADDR".to_owned(), "elsewhere:1".to_owned());
    };
    let mut spec = connecting(dependency("db", 5432, None), dependency("cache", 6379, None));
    contradicted(&mut spec);
    let found = with_shim(Policy::default()).validate(&spec);
    assert_eq!(places(&found), [("/servers/0/environment/DB_ADDR", rule::ENVIRONMENT_RESERVED)]);
    let twins = connecting(dependency("my-db", 1, None), dependency("my.db", 2, None));
    let found = with_shim(Policy::default()).validate(&twins);
    assert_eq!(places(&found), [("/servers/0/dependsOn/1/connect", rule::CONNECT_NAME)]);
}

#[test]
fn one_that_has_no_shim_itself_reaches_nobody() {
    let mut spec = connecting(dependency("db", 1, None), dependency("cache", 2, None));
    spec.servers[0].shim = Some(false);
    let found = with_shim(Policy::default()).validate(&spec);
    let at = [0, 1].map(|index| format!("/servers/0/dependsOn/{index}/connect"));
    assert_eq!(places(&found), [(at[0].as_str(), rule::CONNECT_SHIM), (at[1].as_str(), rule::CONNECT_SHIM)]);
    assert!(found[0].message.contains("with time there is no such way"), "{found:#?}");
    let unknown = {
        let mut spec = group(vec![stdio("time")]);
        spec.servers[0].depends_on = vec![dependency("nobody", 1, None)];
        spec
    };
    let found = with_shim(Policy::default()).validate(&unknown);
    assert_eq!(places(&found), [("/servers/0/dependsOn/0/instance", rule::GRAPH_UNKNOWN)]);
}

#[test]
fn what_is_exposed_is_said_in_sentences() {
    let mut spec = connecting(dependency("db", 5432, None), dependency("cache", 6379, Some(1)));
    spec.servers[0].egress = rules(&["a.example:443", "*.example:*"]);
    let with = with_shim(Policy::default());
    assert_eq!(
        exposure(&spec.servers[0], &config(&with, &spec)),
        [
            "reaches a.example:443, *.example:* through the daemon's proxy",
            "reaches port 5432 of db at 127.0.0.1:5432",
            "reaches port 6379 of cache at 127.0.0.1:1",
        ]
    );
    let mut web = tool("web");
    web.publish = vec![Publish { host_port: 8080, container_port: 80 }];
    let told = exposure(&web, &rendered(&group(vec![web.clone()])).config);
    assert!(
        told[0].contains("services of the host") && told[1].contains("port 8080 of the host: its port 80")
    );
    assert_eq!(exposure(&stdio("time"), &rendered(&group(vec![stdio("time")])).config), Vec::<String>::new());
}

fn some_rules() -> impl Strategy<Value = Vec<EgressRule>> {
    let host =
        prop_oneof!["(\\*\\.)?(a|b)(\\.(a|b)){0,2}", Just("*".to_owned()), Just("10.0.0.1".to_owned())];
    let rule = (host, prop_oneof![Just("1"), Just("*")])
        .prop_map(|(host, port)| format!("{host}:{port}").parse().unwrap());
    prop::collection::vec(rule, 0..4)
}

proptest! {
    /// A policy is monotone: what a tighter one lets through a looser one does, and nothing passes that it does not
    /// cover.
    #[test]
    fn nothing_is_rendered_that_the_operator_does_not_permit(wanted in some_rules(), listed in some_rules(), less in any::<prop::sample::Index>()) {
        let mut spec = wanting(&[]);
        spec.servers[0].egress = wanted;
        let mut tight = listed.clone();
        if !tight.is_empty() {
            tight.remove(less.index(listed.len()));
        }
        let render = |listed: Vec<EgressRule>| {
            let policy = Policy { egress: Ceiling::Listed(listed), ..Policy::default() };
            with_shim(policy).render(&spec, &owner()).ok()
        };
        let (loose, tight) = (render(listed.clone()), render(tight));
        prop_assert!(tight.is_none() || tight == loose);
        for rendered in loose.into_iter().flat_map(std::collections::BTreeMap::into_values) {
            for rule in &rendered.config.egress {
                prop_assert!(listed.iter().any(|wide| wide.covers(rule)));
            }
        }
    }
}

#[test]
fn an_operator_who_bounds_the_way_out_lets_nobody_past_it() {
    let open = group(vec![ServerSpec { network: Some(NetworkMode::Open), ..tool("web") }]);
    assert_eq!(with_shim(Policy::default()).validate(&open), []);
    let warned = with_shim(Policy::default()).warnings(&open);
    assert!(places(&warned).contains(&("/servers/0/network", rule::WARN_NETWORK_OPEN)), "{warned:#?}");
    let bounded = Policy { egress: Ceiling::Listed(rules(&["a.example:443"])), ..Policy::default() };
    refused(bounded, &open, "/servers/0/network", rule::POLICY_EGRESS, "more than the operator lets");
}

#[test]
fn whoever_waits_for_a_port_and_has_no_way_to_it_is_told() {
    let at = "/servers/1/dependsOn/0";
    let on = |connect| Dependency { instance: "db".parse().unwrap(), condition: Condition::Healthy, connect };
    let db = ServerSpec { port: Some(5432), ..tool("db") };
    let mut spec = group(vec![db, ServerSpec { depends_on: vec![on(None)], ..tool("web") }]);
    let warned = |spec: &GroupSpec| {
        let found = with_shim(Policy::default()).warnings(spec);
        places(&found).contains(&(at, rule::WARN_NO_WAY))
    };
    assert!(warned(&spec));
    spec.servers[1].depends_on = vec![on(Some(Connect { port: 5432, local_port: None }))];
    assert!(!warned(&spec));
    spec.servers[1].depends_on = vec![on(None)];
    for server in &mut spec.servers {
        server.network = Some(NetworkMode::Group);
    }
    assert!(!warned(&spec));
    spec.servers[0].network = None;
    assert!(warned(&spec), "only one of the two is there");
}
