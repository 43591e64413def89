//! Rules about a group as one MCP server: whatever it names is there, and no two of its tools bear one name.

use crate::report::{Report, shown};
use crate::rule;
use dtma_core::connection::Pattern;
use dtma_core::id::InstanceName;
use dtma_core::spec::gateway::{CALL_TOOL, FIND_TOOLS, SEPARATOR, tool_of};
use dtma_core::spec::{GatewaySpec, GroupSpec};
use dtma_core::violation::pointer_token;
use std::collections::BTreeMap;

/// Longest name of a tool that clients take.
const LONGEST: usize = 64;
const AT: &str = "/gateway";

pub(crate) fn gateway(report: &mut Report, group: &GroupSpec) {
    let GatewaySpec { servers, allow, deny, rename } = &group.gateway;
    let there: Vec<&InstanceName> =
        group.servers.iter().filter(|server| server.kind.is_mcp()).map(|server| &server.instance).collect();
    let tools = format!("{AT}/tools");
    let nothing = [(format!("{AT}/servers"), servers), (format!("{tools}/allow"), allow)];
    for (at, _) in nothing.iter().filter(|(_, said)| said.as_ref().is_some_and(Vec::is_empty)) {
        report.refuse_with(at, rule::GATEWAY_EMPTY, "nothing is part of it", "leave it out for all of them");
    }
    for (index, pattern) in servers.iter().flatten().enumerate() {
        if !there.iter().any(|server| pattern.fits(server.as_str())) {
            nobody(report, &format!("{AT}/servers/{index}"), pattern.as_str(), &there);
        }
    }
    for (list, patterns) in [("allow", allow.as_deref().unwrap_or_default()), ("deny", deny)] {
        for (index, pattern) in patterns.iter().enumerate().filter(|(_, one)| !may_fit(one, &there)) {
            nobody(report, &format!("{tools}/{list}/{index}"), pattern.as_str(), &there);
        }
    }
    renames(report, &format!("{tools}/rename"), rename, &there);
}

/// Whether it can be about a tool of one of these servers, whichever those have.
fn may_fit(pattern: &Pattern, there: &[&InstanceName]) -> bool {
    let text = pattern.as_str();
    match text.find('*') {
        None => there.iter().any(|server| tool_of(text, server).is_some()),
        Some(star) => there.iter().any(|server| {
            let (head, begins) = (&text[..star], format!("{server}{SEPARATOR}"));
            begins.starts_with(head) || head.starts_with(&begins)
        }),
    }
}

fn nobody(report: &mut Report, at: &str, named: &str, there: &[&InstanceName]) {
    let known: Vec<&str> = there.iter().map(|server| server.as_str()).take(10).collect();
    let message = format!("{} is about no MCP server of this group", shown(named));
    let hint = match known.as_slice() {
        [] => "the group has none".to_owned(),
        known => format!("a tool is meant by SERVER{SEPARATOR}TOOL; the group has {}", known.join(", ")),
    };
    report.refuse_with(at, rule::GATEWAY_SERVER, message, &hint);
}

fn renames(report: &mut Report, at: &str, rename: &BTreeMap<String, String>, there: &[&InstanceName]) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (old, new) in rename {
        let at = format!("{at}/{}", pointer_token(old));
        let owners: Vec<&str> = there
            .iter()
            .filter(|server| tool_of(old, server).is_some())
            .map(|server| server.as_str())
            .collect();
        match owners.as_slice() {
            [] => nobody(report, &at, old, there),
            [_] => {}
            several => {
                let message = format!("{} can be a tool of each of {}", shown(old), several.join(", "));
                report.refuse_with(
                    &at,
                    rule::GATEWAY_CONFLICT,
                    message,
                    "give one of these servers another name",
                );
            }
        }
        if let Some(problem) = wrong_name(new) {
            let hint = format!("use 1 to {LONGEST} letters, digits, _ and -");
            report.refuse_with(&at, rule::GATEWAY_NAME, format!("{}: {problem}", shown(new)), &hint);
        } else if let Some(other) = taken.insert(new, old) {
            let message = format!("{} and {} would both be called {}", shown(other), shown(old), shown(new));
            report.refuse(&at, rule::GATEWAY_CONFLICT, message);
        }
    }
}

/// Why no tool can be called so.
fn wrong_name(name: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match name {
        FIND_TOOLS | CALL_TOOL => Some("a tool of the group's own bears that name"),
        _ if name.contains(SEPARATOR) => Some("two underscores stand between a server and its tool"),
        _ if name.is_empty() || name.len() > LONGEST => Some("it is empty or too long"),
        _ if !name.bytes().all(is_plain) => Some("clients take no such name"),
        _ => None,
    }
}
