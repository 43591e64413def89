//! From the wire to the domain: names, sizes and combinations that a JSON Schema cannot judge.
//!
//! Conversion never stops at a mistake. What cannot be converted is left at its default and reported, so that the
//! rest can still be judged by the manager and everything is listed at once.

mod connection;
mod gateway;
mod mount;
mod number;
mod server;
mod session;

pub(crate) use connection::terms as connection;

use crate::convert::number::Numbers;
use dtma_api_types::{GroupOptions, GroupRequest, ServerRequest};
use dtma_core::spec::{GroupSpec, ServerSpec};
use dtma_core::violation::Violation;
use std::fmt::Display;
use std::str::FromStr;

/// A request as the domain sees it, and what was wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Converted {
    /// With defaults in place of what could not be converted; `None` when even that was impossible.
    pub(crate) spec: Option<GroupSpec>,
    /// Empty when nothing was wrong.
    pub(crate) violations: Vec<Violation>,
}

/// What was found so far, and where one stands in the document.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    pointer: String,
    found: &'a mut Vec<Violation>,
}

impl Finder<'_> {
    /// One step down.
    pub(crate) fn at(&mut self, token: impl Display) -> Finder<'_> {
        Finder { pointer: format!("{}/{token}", self.pointer), found: self.found }
    }

    pub(crate) fn report(&mut self, rule: &str, message: impl Into<String>) {
        self.found.push(Violation::new(self.pointer.clone(), rule, message));
    }

    pub(crate) fn report_with_hint(
        &mut self,
        rule: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found.push(Violation::new(self.pointer.clone(), rule, message).hint(hint));
    }

    /// A name that passed its rule, else `None` and a report.
    pub(crate) fn name<T>(&mut self, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        text.parse().map_err(|problem: T::Err| self.report("name", problem.to_string())).ok()
    }
}

/// Converts a group.
pub(crate) fn group(request: GroupRequest) -> Converted {
    let mut violations = Vec::new();
    let mut finder = Finder { pointer: String::new(), found: &mut violations };
    // Which generation it is to be is the business of whoever applies it.
    let GroupRequest { group_id, servers, options, gateway, template, labels, generation: _ } = request;
    let group_id = finder.at("groupId").name(&group_id).or_else(|| placeholder("unnamed"));
    if servers.is_empty() {
        finder.at("servers").report("group.empty", "a group needs at least one server");
    }
    let servers = self::servers(servers, template.as_deref(), &mut finder.at("servers"));
    let options = self::options(&options.unwrap_or_default(), &mut finder.at("options"));
    let gateway = gateway::convert(gateway.unwrap_or_default(), &mut finder.at("gateway"));
    let spec = group_id.zip(servers).map(|(group_id, servers)| GroupSpec {
        group_id,
        servers,
        options,
        gateway,
        labels,
    });
    Converted { spec, violations }
}

/// Every server is converted before any is missed: each has its mistakes to tell.
fn servers(
    wire: Vec<ServerRequest>,
    template: Option<&str>,
    finder: &mut Finder<'_>,
) -> Option<Vec<ServerSpec>> {
    let convert = |(index, wire)| server::convert(wire, index, template, &mut finder.at(index));
    let converted: Vec<Option<ServerSpec>> = wire.into_iter().enumerate().map(convert).collect();
    converted.into_iter().collect()
}

/// A name that stands in for one that broke the rule, so that the rest can be judged. A request with violations is
/// not deployed, so it never leaves this crate.
fn placeholder<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn options(wire: &GroupOptions, finder: &mut Finder<'_>) -> dtma_core::spec::GroupOptions {
    let default = dtma_core::spec::GroupOptions::default();
    let GroupOptions {
        shared_networking,
        dependency_order,
        max_concurrent_deployments,
        auto_revert,
        progress_deadline_ms,
    } = *wire;
    let most = max_concurrent_deployments.map(u64::from);
    dtma_core::spec::GroupOptions {
        shared_networking: shared_networking.unwrap_or(default.shared_networking),
        dependency_order: dependency_order.unwrap_or(default.dependency_order),
        max_concurrent_deployments: finder
            .at("maxConcurrentDeployments")
            .within(most, 1, 256)
            .unwrap_or(default.max_concurrent_deployments),
        auto_revert: auto_revert.unwrap_or(default.auto_revert),
        progress_deadline: finder
            .at("progressDeadlineMs")
            .millis(progress_deadline_ms)
            .unwrap_or(default.progress_deadline),
    }
}

/// Leaves out what the manager says about values that were reported already.
pub(crate) fn merged(mut ours: Vec<Violation>, theirs: Vec<Violation>) -> Vec<Violation> {
    let known = |violation: &Violation, ours: &[Violation]| {
        ours.iter().any(|own| {
            violation.pointer == own.pointer || violation.pointer.starts_with(&format!("{}/", own.pointer))
        })
    };
    let news: Vec<Violation> = theirs.into_iter().filter(|violation| !known(violation, &ours)).collect();
    ours.extend(news);
    ours
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_core::spec::ServerKind;
    use serde_json::{Value, json};

    fn convert(request: Value) -> Converted {
        group(serde_json::from_value(request).unwrap())
    }

    #[track_caller]
    fn check(server: &Value, expected: &[(&str, &str)]) {
        let mut request = json!({"instanceName": "a", "image": "i"});
        request.as_object_mut().unwrap().extend(server.as_object().unwrap().clone());
        let found = convert(json!({"groupId": "g", "servers": [request]})).violations;
        let found: Vec<_> = found
            .iter()
            .map(|v| (v.pointer.strip_prefix("/servers/0").unwrap_or(&v.pointer), v.rule.as_str()))
            .collect();
        assert_eq!(found, expected, "{server}");
    }

    #[test]
    fn the_minimal_request_becomes_a_spec() {
        let converted = convert(json!({"groupId": "demo", "servers": [
            {"instanceName": "time", "image": "dtma/mcp-server-time:dev", "transport": "stdio"},
            {"instanceName": "web", "kind": "tool", "image": "dtma/busybox:dev", "port": 8080,
             "command": ["httpd", "-f", "-p", "8080"], "dependsOn": [{"instance": "time", "condition": "started"}]}]}));
        assert_eq!(converted.violations, []);
        let [time, web] = converted.spec.as_ref().unwrap().servers.as_slice() else { panic!("two servers") };
        assert!(time.kind.is_stdio() && !web.kind.is_stdio());
        assert_eq!((web.port, web.depends_on[0].instance.as_str()), (Some(8080), "time"));
    }

    #[test]
    fn how_a_server_is_shared_is_one_word_or_the_whole() {
        let shared = |session: Value| {
            let server = json!({"instanceName": "a", "image": "i", "session": session});
            let converted = convert(json!({"groupId": "g", "servers": [server]}));
            converted.spec.unwrap().servers[0].session
        };
        assert!(!shared(json!("shared")).is_own() && !shared(json!({})).is_own());
        let word = shared(json!("per-session"));
        assert!(word.is_own() && word == shared(json!({"mode": "per-session"})));
        assert_eq!((word.most(), word.idle().as_secs()), (16, 1800));
        let whole = shared(json!({"mode": "per-session", "max": 3, "idleTimeoutSecs": 9, "spares": 2}));
        assert_eq!((whole.most(), whole.idle().as_secs(), whole.spares(), word.spares()), (3, 9, 2, 0));
        check(
            &json!({"session": {"max": 0, "idleTimeoutSecs": 604_801, "spares": 257}}),
            &[("/session/idleTimeoutSecs", "range"), ("/session/max", "range"), ("/session/spares", "range")],
        );
    }

    #[test]
    fn bad_names_are_reported_where_they_stand() {
        for name in ["", "a/b", "..", "a\nb", "a__b", "-a", &"a".repeat(64)] {
            check(&json!({"instanceName": name}), &[("/instanceName", "name")]);
            check(&json!({"dependsOn": [{"instance": name}]}), &[("/dependsOn/0/instance", "name")]);
        }
        assert_eq!(convert(json!({"groupId": "a b", "servers": []})).violations.len(), 2);
    }

    #[test]
    fn kinds_and_their_fields_go_together() {
        check(&json!({"kind": "tool", "transport": "stdio"}), &[("/transport", "kind.transport")]);
        check(&json!({"port": 80}), &[("/port", "kind.port")]);
        check(&json!({"kind": "tool", "port": 80}), &[]);
        check(&json!({"transport": "sse", "port": 80, "endpointPath": "/x"}), &[]);
    }

    #[test]
    fn what_is_no_pattern_is_reported_where_it_stands() {
        let gateway = json!({"servers": ["", "a"], "tools": {"allow": ["a__x\n"], "deny": ["*"]}});
        let servers = json!([{"instanceName": "a", "image": "i"}]);
        let converted = convert(json!({"groupId": "g", "servers": servers, "gateway": gateway}));
        let found: Vec<_> =
            converted.violations.iter().map(|v| (v.pointer.as_str(), v.rule.as_str())).collect();
        assert_eq!(
            found,
            [("/gateway/servers/0", "gateway.pattern"), ("/gateway/tools/allow/0", "gateway.pattern")]
        );
        assert_eq!(converted.spec.unwrap().gateway.deny[0].as_str(), "*");
    }

    #[test]
    fn every_transport_has_its_word() {
        for word in dtma_api_types::Transport::ALL {
            let server = json!({"instanceName": "a", "image": "i", "transport": word.as_str(), "port": 80});
            let converted = convert(json!({"groupId": "g", "servers": [server]}));
            let kind = converted.spec.unwrap().servers.remove(0).kind;
            assert!(matches!(kind, ServerKind::Mcp(found) if found.as_str() == word.as_str()), "{word}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_reported() {
        check(&json!({"kind": "tool", "port": 70000}), &[("/port", "range")]);
        check(
            &json!({"publish": [{"hostPort": 0, "containerPort": 70000}]}),
            &[("/publish/0/hostPort", "range"), ("/publish/0/containerPort", "range")],
        );
        check(
            &json!({"resources": {"cpus": -1.0, "memory": "lots", "pids": 5_000_000_000_u64}}),
            &[("/resources/memory", "size"), ("/resources/cpus", "range"), ("/resources/pids", "range")],
        );
        check(&json!({"platform": "Linux"}), &[("/platform", "platform.syntax")]);
        let connect = |connect: Value| json!({"dependsOn": [{"instance": "b", "connect": connect}]});
        check(&connect(json!({"port": 0})), &[("/dependsOn/0/connect/port", "range")]);
        check(
            &connect(json!({"port": 70000, "localPort": 70000})),
            &[("/dependsOn/0/connect/localPort", "range"), ("/dependsOn/0/connect/port", "range")],
        );
        check(
            &json!({"stopGraceMs": u64::MAX, "health": {"settleMs": u64::MAX}}),
            &[("/health/settleMs", "range"), ("/stopGraceMs", "range")],
        );
    }

    #[test]
    fn every_host_that_is_none_is_reported_where_it_stands() {
        check(&json!({"egress": ["api.example.org:443", "*.example.org:443", "example.org:*"]}), &[]);
        check(
            &json!({"egress": ["https://example.org", "a.example:443", "127.1:80", "example.org"]}),
            &[("/egress/0", "egress.syntax"), ("/egress/2", "egress.syntax"), ("/egress/3", "egress.syntax")],
        );
    }

    #[test]
    fn mounts_say_what_they_need() {
        check(&json!({"mounts": [{"type": "volume", "target": "/d", "name": "data"}]}), &[]);
        check(
            &json!({"mounts": [{"type": "volume", "target": "/d", "source": "/etc", "size": 1}]}),
            &[
                ("/mounts/0/name", "mount.name"),
                ("/mounts/0/source", "mount.source"),
                ("/mounts/0/size", "mount.size"),
            ],
        );
        check(
            &json!({"mounts": [{"type": "bind", "target": "/d"}]}),
            &[("/mounts/0/source", "mount.source")],
        );
        check(
            &json!({"mounts": [{"type": "tmpfs", "target": "/d", "name": "x"}]}),
            &[("/mounts/0/name", "mount.name")],
        );
    }

    #[test]
    fn a_group_template_is_for_servers_that_name_none() {
        let spec = convert(json!({"groupId": "g", "template": "minimal", "servers": [
            {"instanceName": "a", "image": "i"}, {"instanceName": "b", "image": "i", "template": "standard"}]}))
        .spec
        .unwrap();
        let templates: Vec<_> = spec.servers.iter().map(|server| server.template.as_deref()).collect();
        assert_eq!(templates, [Some("minimal"), Some("standard")]);
    }

    #[test]
    fn what_was_reported_is_not_reported_again() {
        let violation = |pointer: &str| Violation::new(pointer, "r", "m");
        let merged = merged(
            vec![violation("/servers/0")],
            vec![violation("/servers/0/image"), violation("/servers/01")],
        );
        assert_eq!(merged.len(), 2);
    }
}
