//! A connection as its maker writes it.

use super::Finder;
use dtma_api_types::{ConnectionRequest, GrantBody, RateBody};
use dtma_core::Timestamp;
use dtma_core::connection::{Agent, CallRate, Grant, MAX_AGENT, Pattern, Servers, Terms};
use dtma_core::id::InstanceName;
use dtma_core::violation::Violation;
use std::fmt::Display;
use std::str::FromStr;

/// Minutes' worth of calls that may come at once.
const MOST_SAVED: u32 = 60;

/// What it grants, or every mistake. An end that is past already is one; whoever says again what holds makes none
/// (`present`).
pub(crate) fn terms(
    request: &ConnectionRequest,
    present: Option<&Terms>,
    now: Timestamp,
) -> Result<Terms, Vec<Violation>> {
    let mut found = Vec::new();
    let mut at = Finder { pointer: String::new(), found: &mut found };
    let agent = agent(request, &mut at);
    let grants = grants(&request.servers, &mut at.at("servers"));
    let expires_at = end(request.expires_at.as_deref(), &mut at.at("expiresAt"));
    let rate = request.rate.as_ref().map(|rate| call_rate(rate, &mut at.at("rate")));
    let terms = agent.map(|agent| Terms { agent, grants, expires_at, rate });
    let is_new = terms.is_none() || terms.as_ref() != present;
    if expires_at.is_some_and(|end| end <= now) && is_new {
        let (problem, hint) = ("it is past already", "Leave it out, or name a time to come.");
        at.at("expiresAt").report_with_hint("connection.end", problem, hint);
    }
    match terms {
        Some(terms) if found.is_empty() => Ok(terms),
        _ => Err(found),
    }
}

fn agent(request: &ConnectionRequest, at: &mut Finder<'_>) -> Option<Agent> {
    match (&request.agent, &request.token_hash) {
        (Some(name), None) => named(name, &mut at.at("agent")),
        (None, Some(hash)) => {
            let digest = parsed(hash, "connection.agent", &mut at.at("tokenHash"))?;
            Some(Agent::Digest(digest))
        }
        (Some(_), Some(_)) => {
            at.at("tokenHash").report("connection.agent", "agent and tokenHash are two names of one thing");
            None
        }
        (None, None) => {
            let hint = "Set agent to the name of a token; dtma-daemon token ls lists them.";
            at.at("agent").report_with_hint("connection.agent", "nobody is named to whom it grants", hint);
            None
        }
    }
}

/// The rule of `dtma-daemon token create`.
fn named(name: &str, at: &mut Finder<'_>) -> Option<Agent> {
    let odd = name.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    if name.is_empty() || name.len() > MAX_AGENT || odd {
        at.report("connection.agent", "no token bears such a name: 1 to 64 characters without spaces");
        return None;
    }
    Some(Agent::Named(name.to_owned()))
}

fn grants(bodies: &[GrantBody], at: &mut Finder<'_>) -> Vec<Grant> {
    if bodies.is_empty() {
        let hint = "Name at least one; to take everything away, remove the connection.";
        at.report_with_hint("connection.servers", "it grants nothing", hint);
    }
    bodies.iter().enumerate().filter_map(|(index, body)| grant(body, &mut at.at(index))).collect()
}

fn grant(body: &GrantBody, at: &mut Finder<'_>) -> Option<Grant> {
    let tools = body.tools.as_ref().map(|tools| patterns(tools, &mut at.at("tools")));
    let servers = match (&body.instance_name, &body.group_id) {
        (Some(name), None) => Servers::Named(instances(name, &mut at.at("instanceName"))?),
        (None, Some(group)) => Servers::Group(at.at("groupId").name(group)?),
        (Some(_), Some(_)) | (None, None) => {
            at.report("connection.servers", "it names either a server (instanceName) or a group (groupId)");
            return None;
        }
    };
    Some(Grant { servers, tools })
}

/// A name, or letters of names with stars between them.
fn instances(text: &str, at: &mut Finder<'_>) -> Option<Pattern> {
    if !text.contains('*') {
        at.name::<InstanceName>(text)?;
    } else if !text.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"_.-*".contains(&letter)) {
        at.report("connection.pattern", "names of servers have letters, digits, '_', '.' and '-'");
        return None;
    }
    parsed(text, "connection.pattern", at)
}

fn patterns(tools: &[String], at: &mut Finder<'_>) -> Vec<Pattern> {
    if tools.is_empty() {
        let hint = "Leave tools out for all of them; name at least one otherwise.";
        at.report_with_hint("connection.tools", "no tool is granted", hint);
    }
    let pattern = |(index, text): (usize, &String)| parsed(text, "connection.pattern", &mut at.at(index));
    tools.iter().enumerate().filter_map(pattern).collect()
}

fn parsed<T>(text: &str, rule: &str, at: &mut Finder<'_>) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|problem: T::Err| at.report(rule, problem.to_string())).ok()
}

fn end(text: Option<&str>, at: &mut Finder<'_>) -> Option<Timestamp> {
    let read = text?.parse().ok();
    if read.is_none() {
        at.report("connection.end", "it is no point in time such as 2027-01-31T00:00:00Z");
    }
    read
}

fn call_rate(rate: &RateBody, at: &mut Finder<'_>) -> CallRate {
    let per_minute = rate.calls_per_minute;
    let burst = rate.burst.unwrap_or(per_minute);
    if burst > per_minute.saturating_mul(MOST_SAVED) {
        at.at("burst").report("connection.rate", "it is more than the calls of an hour");
    }
    CallRate { per_minute, burst }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000_000).unwrap()
    }

    fn read(request: Value) -> Result<Terms, Vec<(String, String)>> {
        let request: ConnectionRequest = serde_json::from_value(request).unwrap();
        let places = |found: Vec<Violation>| found.into_iter().map(|one| (one.pointer, one.rule)).collect();
        terms(&request, None, now()).map_err(places)
    }

    #[test]
    fn what_is_granted_is_read() {
        let terms = read(json!({"agent": "bob", "expiresAt": "2027-01-31T00:00:00Z",
            "servers": [{"instanceName": "git-*", "tools": ["get_*"]}, {"groupId": "lab"}],
            "rate": {"callsPerMinute": 60}}))
        .unwrap();
        assert_eq!(terms.agent, Agent::Named("bob".to_owned()));
        assert_eq!(terms.rate, Some(CallRate { per_minute: 60, burst: 60 }));
        assert!(terms.grants[0].covers(&"git-a".parse().unwrap(), None) && !terms.grants[0].allows("set"));
        assert_eq!(terms.grants[1].servers, Servers::Group("lab".parse().unwrap()));
        assert!(terms.expires_at.is_some());
    }

    #[test]
    fn every_mistake_is_named_at_its_place() {
        let found = read(json!({"agent": "two words", "expiresAt": "tomorrow", "servers": [
            {"instanceName": "a b"}, {"instanceName": "a/*"}, {}, {"instanceName": "a", "groupId": "g"},
            {"groupId": "-"}, {"instanceName": "a", "tools": []}, {"instanceName": "a", "tools": ["x", ""]}],
            "rate": {"callsPerMinute": 1, "burst": 61}}))
        .unwrap_err();
        let found: Vec<_> = found.iter().map(|(place, rule)| (place.as_str(), rule.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/agent", "connection.agent"),
                ("/servers/0/instanceName", "name"),
                ("/servers/1/instanceName", "connection.pattern"),
                ("/servers/2", "connection.servers"),
                ("/servers/3", "connection.servers"),
                ("/servers/4/groupId", "name"),
                ("/servers/5/tools", "connection.tools"),
                ("/servers/6/tools/1", "connection.pattern"),
                ("/expiresAt", "connection.end"),
                ("/rate/burst", "connection.rate"),
            ]
        );
        for nobody in [json!({"servers": []}), json!({"agent": "a", "tokenHash": "b", "servers": []})] {
            let rules: Vec<_> = read(nobody).unwrap_err().into_iter().map(|(_, rule)| rule).collect();
            assert_eq!(rules, ["connection.agent", "connection.servers"]);
        }
    }

    #[test]
    fn an_end_that_is_past_is_a_mistake_unless_it_holds_already() {
        let request: ConnectionRequest = serde_json::from_value(
            json!({"agent": "a", "servers": [{"groupId": "g"}], "expiresAt": "2001-09-09T01:46:40Z"}),
        )
        .unwrap();
        let earlier = Timestamp::from_second(0).unwrap();
        let held = terms(&request, None, earlier).unwrap();
        assert_eq!(terms(&request, None, now()).unwrap_err()[0].pointer, "/expiresAt");
        assert_eq!(terms(&request, Some(&held), now()).unwrap(), held);
    }
}
