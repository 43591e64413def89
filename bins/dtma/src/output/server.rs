//! Servers: the table of `ps`, and one in detail.

mod replica;

use super::Shape;
use super::ink::{Ink, Mood};
use super::table::{Field, field, number, number_if, render, word};
use super::text::line;
use super::time::{length, since, until};
use dtma_client::types::{Kind, PhaseWord, ServerView};
use jiff::Timestamp;
use std::fmt::Write;
use std::time::Duration;

const NARROW: &[&str] = &["GROUP", "INSTANCE", "KIND", "PHASE", "CRASHES", "SINCE", "TOOLS", "PORTS"];
const WIDE: &[&str] = &["RESTARTS", "IMAGE", "CONTAINER", "GENERATION", "REASON"];

/// The table of `ps`.
pub(crate) fn list(servers: &[&ServerView], shape: Shape, now: Timestamp, ink: Ink) -> String {
    match shape {
        Shape::Name => servers.iter().map(|server| format!("{}\n", line(&server.instance_name))).collect(),
        Shape::Table => {
            let rows = |server: &&ServerView| {
                let replicas = replica::told_apart(server).iter();
                let below = replicas.map(|one| replica::narrow(server, one));
                std::iter::once(narrow(server, now)).chain(below).collect::<Vec<_>>()
            };
            render(NARROW, servers.iter().flat_map(rows).collect(), ink)
        }
        Shape::Wide => {
            let header = [NARROW, WIDE].concat();
            let rows = |server: &&ServerView| {
                let replicas = replica::told_apart(server).iter();
                let below = replicas.map(|one| [replica::narrow(server, one), replica::wide(one)].concat());
                let own = [narrow(server, now), wide(server)].concat();
                std::iter::once(own).chain(below).collect::<Vec<_>>()
            };
            render(&header, servers.iter().flat_map(rows).collect(), ink)
        }
    }
}

fn narrow(server: &ServerView, now: Timestamp) -> Vec<Field> {
    vec![
        field(line(&server.group_id)),
        field(line(&server.instance_name)),
        field(server.kind.as_str()),
        word(server.phase),
        number(server.crashes),
        field(since(server.phase_since.as_deref(), now)),
        tools(server),
        field(ports(server)),
    ]
}

fn wide(server: &ServerView) -> Vec<Field> {
    let container = server.container.as_ref().map(|container| short_id(&container.id)).unwrap_or_default();
    vec![
        number(server.restarts),
        field(line(&server.image)),
        field(container),
        number(server.generation),
        field(server.reason.as_deref().map(line).unwrap_or_default()),
    ]
}

fn tools(server: &ServerView) -> Field {
    number_if(server.mcp.as_ref().map(|mcp| mcp.tools.len() as u64))
}

/// `38080->8080`, with a word where the daemon does not listen (yet).
fn ports(server: &ServerView) -> String {
    let ports = server.ports.iter().map(|port| {
        let closed = if port.listening { "" } else { " (closed)" };
        format!("{}->{}{closed}", port.host_port, port.container_port)
    });
    ports.collect::<Vec<_>>().join(", ")
}

fn short_id(id: &str) -> String {
    line(id).chars().take(12).collect()
}

/// Why servers are not as one wants them, a line each.
pub(crate) fn reasons(servers: &[&ServerView], ink: Ink) -> Vec<String> {
    let told = |name: &str, phase: PhaseWord, reason: Option<&str>| {
        Some(format!("{}: {}", ink.paint(Mood::from(phase), &line(name)), line(reason?)))
    };
    let of = |server: &&ServerView| {
        let own = told(&server.instance_name, server.phase, server.reason.as_deref());
        let each = replica::told_apart(server)
            .iter()
            .filter(|one| !replica::waits_as_it_should(one))
            .filter_map(|one| told(&replica::name(server, one), one.phase, one.reason.as_deref()));
        own.into_iter().chain(each).collect::<Vec<_>>()
    };
    servers.iter().flat_map(of).collect()
}

/// Everything about one server.
pub(crate) fn detail(server: &ServerView, now: Timestamp, ink: Ink) -> String {
    let mut told = format!("{}\n", ink.bold(&line(&server.instance_name)));
    for (label, said) in facts(server, now, ink) {
        if !said.is_empty() {
            let _ = writeln!(told, "  {label:<12} {said}");
        }
    }
    for one in replica::told_apart(server) {
        let _ = writeln!(told, "  {:<12} {}", line(&replica::name(server, one)), replica::detail(one, ink));
    }
    told
}

fn facts(server: &ServerView, now: Timestamp, ink: Ink) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.as_deref().map(line).unwrap_or_default();
    vec![
        ("group", format!("{}, generation {}", line(&server.group_id), server.generation)),
        ("kind", kind(server)),
        ("phase", phase(server, now, ink)),
        ("reason", text(&server.reason)),
        ("activity", text(&server.activity)),
        ("retry", retry(server, now)),
        ("restarts", format!("{}, {} crashes", server.restarts, server.crashes)),
        ("last exit", last_exit(server, now)),
        ("refused", refusal(server, now)),
        ("image", line(&server.image)),
        ("image id", text(&server.image_id)),
        ("container", container(server)),
        ("replicas", replica::summary(server)),
        ("network", server.network.to_string()),
        ("ports", ports(server)),
        ("MCP", mcp(server)),
        ("endpoint", server.mcp.as_ref().map(|mcp| line(&mcp.endpoint)).unwrap_or_default()),
        ("tools", tool_names(server)),
        ("contract", text(&server.contract)),
    ]
}

fn kind(server: &ServerView) -> String {
    match (server.kind, server.transport) {
        (Kind::Mcp, Some(transport)) => format!("mcp over {transport}"),
        (kind, _) => kind.to_string(),
    }
}

fn phase(server: &ServerView, now: Timestamp, ink: Ink) -> String {
    let word = ink.paint(Mood::from(server.phase), server.phase.as_str());
    match since(server.phase_since.as_deref(), now) {
        time if time.is_empty() => word,
        time => format!("{word} for {time}"),
    }
}

fn retry(server: &ServerView, now: Timestamp) -> String {
    let attempt = server.attempt.map(|attempt| format!("attempt {attempt} "));
    match until(server.retry_at.as_deref(), now) {
        time if time.is_empty() => String::new(),
        time => format!("{}in {time}", attempt.unwrap_or_default()),
    }
}

fn last_exit(server: &ServerView, now: Timestamp) -> String {
    let Some(exit) = &server.last_exit else { return String::new() };
    let why = if exit.out_of_memory { ", out of memory" } else { "" };
    let asked = if exit.asked { ", as asked" } else { "" };
    let ran = length(Duration::from_millis(exit.ran_for_ms));
    format!("code {}{why}{asked}, {} ago, after {ran}", exit.code, since(Some(&exit.at), now))
}

fn refusal(server: &ServerView, now: Timestamp) -> String {
    let Some(refusal) = &server.refusal else { return String::new() };
    let (action, message) = (line(&refusal.action), line(&refusal.message));
    format!("{action}: {message} ({} times, last {} ago)", refusal.count, since(Some(&refusal.at), now))
}

fn container(server: &ServerView) -> String {
    let Some(container) = &server.container else { return String::new() };
    let name = container.name.as_deref().map(|name| format!(" ({})", line(name)));
    format!("{}{}", short_id(&container.id), name.unwrap_or_default())
}

fn mcp(server: &ServerView) -> String {
    let Some(mcp) = &server.mcp else { return String::new() };
    let says = format!("{} {}", line(&mcp.server_name), line(&mcp.server_version));
    format!("{says}, protocol {}, offers {}", line(&mcp.protocol_version), line(&mcp.capabilities.join(", ")))
}

fn tool_names(server: &ServerView) -> String {
    let Some(mcp) = &server.mcp else { return String::new() };
    mcp.tools.iter().map(|tool| line(&tool.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod tests;
