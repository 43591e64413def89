//! Groups and the daemon: what `status` shows.

use super::ink::{Ink, Mood};
use super::table::{field, number, render, word};
use super::text::line;
use super::time::{length, since};
use super::{Shape, server};
use dtma_client::types::{EngineView, GroupView, ServerView, StatusView};
use jiff::Timestamp;
use std::fmt::Write;
use std::time::Duration;

/// Groups, a line each.
pub(crate) fn list(groups: &[GroupView], shape: Shape, now: Timestamp, ink: Ink) -> String {
    if shape == Shape::Name {
        return groups.iter().map(|group| format!("{}\n", line(&group.group_id))).collect();
    }
    let rows = groups.iter().map(|group| {
        vec![
            field(line(&group.group_id)),
            word(group.state),
            number(group.servers.len() as u64),
            number(group.generation),
            field(since(Some(&group.created_at), now)),
            field(group.trouble.as_deref().map(line).unwrap_or_default()),
        ]
    });
    render(&["GROUP", "STATE", "SERVERS", "GENERATION", "AGE", "TROUBLE"], rows.collect(), ink)
}

/// The daemon, its engine, and every group in a line.
pub(crate) fn overview(status: &StatusView, shape: Shape, now: Timestamp, ink: Ink) -> String {
    if shape == Shape::Name {
        return list(&status.groups, shape, now, ink);
    }
    let (daemon, engine) = (&status.daemon, &status.engine);
    let up = length(Duration::from_secs(daemon.uptime_seconds));
    let open = if daemon.auth_required { "" } else { ", open to everybody on this host" };
    let mut told = format!("daemon   {}, up {up}{open}\n", line(&daemon.version));
    let _ = writeln!(told, "engine   {}", self::engine(engine, ink));
    let (groups, servers) = (&status.groups_total, &status.servers_total);
    let _ = writeln!(told, "groups   {}, {} ready", groups.total, groups.ready);
    let _ = writeln!(told, "servers  {}, {} ready, {} failed", servers.total, servers.ready, servers.failed);
    if !status.groups.is_empty() {
        told.push('\n');
        told.push_str(&list(&status.groups, shape, now, ink));
    }
    told
}

/// The engine in a line.
pub(crate) fn engine(engine: &EngineView, ink: Ink) -> String {
    let part = |part: &Option<String>| part.as_deref().map(line);
    let at = part(&engine.endpoint).map(|at| format!(" at {at}")).unwrap_or_default();
    if engine.reachable {
        let product = part(&engine.product).unwrap_or_else(|| "answers".into());
        let api = part(&engine.api_version).map(|api| format!(", API {api}")).unwrap_or_default();
        return format!("{product}{api}{at}");
    }
    let problem = part(&engine.problem).map(|problem| format!(": {problem}")).unwrap_or_default();
    format!("{}{at}{problem}", ink.bad("does not answer"))
}

/// One group: itself, its servers, and each that is not as one wants it in detail.
pub(crate) fn detail(group: &GroupView, shape: Shape, now: Timestamp, ink: Ink) -> String {
    let servers: Vec<&ServerView> = group.servers.iter().collect();
    if shape == Shape::Name {
        return server::list(&servers, shape, now, ink);
    }
    let state = ink.paint(Mood::from(group.state), group.state.as_str());
    let mut told = format!("{}  {state}\n", ink.bold(&line(&group.group_id)));
    for (label, said) in facts(group, now) {
        let _ = writeln!(told, "  {label:<12} {said}");
    }
    let _ = write!(told, "\n{}", server::list(&servers, shape, now, ink));
    for server in servers.iter().filter(|server| server.reason.is_some() || server.refusal.is_some()) {
        let _ = write!(told, "\n{}", server::detail(server, now, ink));
    }
    told
}

fn facts(group: &GroupView, now: Timestamp) -> Vec<(&'static str, String)> {
    let labels: Vec<_> = group.labels.iter().map(|(key, value)| line(&format!("{key}={value}"))).collect();
    let maybe = |label, said: Option<String>| said.map(|said| (label, line(&said)));
    [
        Some(("generation", group.generation.to_string())),
        Some(("age", since(Some(&group.created_at), now))),
        maybe("network", group.network.clone()),
        maybe("labels", (!labels.is_empty()).then(|| labels.join(", "))),
        maybe("operation", group.operation.clone()),
        maybe("trouble", group.trouble.clone()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::server::tests::{time, web};
    use dtma_client::types::GroupState;

    fn demo() -> GroupView {
        GroupView {
            group_id: "demo".into(),
            generation: 1,
            state: GroupState::Deploying,
            servers: vec![time(), web()],
            network: Some("dtma-demo".into()),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            operation: None,
            trouble: None,
            created_at: "2026-01-01T00:00:00Z".into(),
            updated_at: "2026-01-01T00:00:00Z".into(),
        }
    }

    fn now() -> Timestamp {
        "2026-01-01T00:05:00Z".parse().unwrap()
    }

    #[test]
    fn a_group_shows_who_is_not_ready_and_why() {
        assert_eq!(
            detail(&demo(), Shape::Table, now(), Ink::OFF),
            "\
demo  deploying
  generation   1
  age          5m
  network      dtma-demo
  labels       team=a

GROUP  INSTANCE  KIND  PHASE    CRASHES  SINCE  TOOLS  PORTS
demo   time      mcp   ready          1  5m         1  -
demo   web       tool  waiting        0  -          -  38080->8080 (closed)

web
  group        demo, generation 1
  kind         tool
  phase        waiting
  reason       waiting for time healthy
  restarts     0, 0 crashes
  image        dtma/busybox:dev
  network      group
  ports        38080->8080 (closed)
"
        );
    }

    #[test]
    fn groups_in_a_line_each() {
        assert_eq!(
            list(&[demo()], Shape::Table, now(), Ink::OFF),
            "\
GROUP  STATE      SERVERS  GENERATION  AGE  TROUBLE
demo   deploying        2           1  5m   -
"
        );
    }

    #[test]
    fn an_engine_that_is_away_says_so() {
        let away = EngineView { problem: Some("no socket".into()), ..EngineView::default() };
        assert_eq!(engine(&away, Ink::OFF), "does not answer: no socket");
    }
}
