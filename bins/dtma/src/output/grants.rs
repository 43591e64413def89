//! What is granted to agents.

use super::Shape;
use super::ink::Ink;
use super::table::{Field, field, render};
use super::text::line;
use super::time::until;
use dtma_client::types::{ConnectionView, GrantBody, RateBody};
use jiff::Timestamp;

/// Characters of a hash that tell tokens apart.
const SHOWN: usize = 12;

/// A line for each connection.
pub(crate) fn list(connections: &[ConnectionView], shape: Shape, now: Timestamp, ink: Ink) -> String {
    let narrow = ["CONNECTION", "AGENT", "GRANTS", "ENDS", "RATE"];
    match shape {
        Shape::Name => connections.iter().map(|one| line(&one.connection_id) + "\n").collect(),
        Shape::Table => render(&narrow, connections.iter().map(|one| row(one, now)).collect(), ink),
        Shape::Wide => {
            let header: Vec<&str> = narrow.into_iter().chain(["REACHES", "BY", "REVISION"]).collect();
            let rows = connections.iter().map(|one| [row(one, now), wide(one)].concat());
            render(&header, rows.collect(), ink)
        }
    }
}

/// What a connection grants now, in a line.
pub(crate) fn told(connection: &ConnectionView) -> String {
    let (name, agent) = (line(&connection.connection_id), agent(connection));
    format!("{name} grants {} to {agent}\n", grants(connection))
}

fn row(connection: &ConnectionView, now: Timestamp) -> Vec<Field> {
    let ends = match (connection.expired, &connection.expires_at) {
        (true, _) => "is over".to_owned(),
        (false, at) => until(at.as_deref(), now),
    };
    vec![
        field(line(&connection.connection_id)),
        field(agent(connection)),
        field(grants(connection)),
        field(ends),
        field(connection.rate.as_ref().map(rate).unwrap_or_default()),
    ]
}

fn wide(connection: &ConnectionView) -> Vec<Field> {
    vec![
        field(line(&connection.reaches.join(","))),
        field(line(&connection.author)),
        field(connection.revision.to_string()),
    ]
}

fn agent(connection: &ConnectionView) -> String {
    match (&connection.agent, &connection.token_hash) {
        (Some(name), _) => line(name),
        (None, hash) => {
            let shown: String = hash.iter().flat_map(|hash| hash.chars()).take(SHOWN).collect();
            format!("sha256:{shown}…")
        }
    }
}

fn grants(connection: &ConnectionView) -> String {
    connection.servers.iter().map(grant).collect::<Vec<_>>().join(" ")
}

/// As it is typed.
fn grant(grant: &GrantBody) -> String {
    let servers = match (&grant.instance_name, &grant.group_id) {
        (Some(name), _) => line(name),
        (None, group) => format!("group:{}", group.as_deref().map(line).unwrap_or_default()),
    };
    match &grant.tools {
        Some(tools) => format!("{servers}={}", line(&tools.join(","))),
        None => servers,
    }
}

fn rate(rate: &RateBody) -> String {
    match rate.burst.filter(|burst| *burst != rate.calls_per_minute) {
        Some(burst) => format!("{}/min, {burst} at once", rate.calls_per_minute),
        None => format!("{}/min", rate.calls_per_minute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_granted_to_whom() {
        let view: ConnectionView = serde_json::from_value(serde_json::json!({
            "connectionId": "c", "agent": "bob", "expired": false, "expiresAt": "2026-01-01T01:00:00Z",
            "servers": [{"instanceName": "git-*", "tools": ["log", "show_*"]}, {"groupId": "lab"}],
            "rate": {"callsPerMinute": 60, "burst": 10}, "reaches": ["git-a"], "revision": 3, "author": "ops",
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"}))
        .unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let text = list(std::slice::from_ref(&view), Shape::Wide, now, Ink::OFF);
        let row = text.lines().nth(1).unwrap();
        for part in ["c ", "bob", "git-*=log,show_* group:lab", "60m", "60/min, 10 at once", "git-a", "ops"] {
            assert!(row.contains(part), "{part}: {row}");
        }
        assert_eq!(told(&view), "c grants git-*=log,show_* group:lab to bob\n");
        let hashed = ConnectionView { agent: None, token_hash: Some("ab".repeat(32)), ..view };
        assert!(told(&hashed).ends_with("to sha256:abababababab…\n"));
    }
}
