//! Connections as callers read them.

use dtma_api_types as wire;
use dtma_core::Timestamp;
use dtma_core::connection::{Agent, Connection, Grant, Servers};

/// Without what depends on what else is there.
pub(crate) fn connection(connection: &Connection, now: Timestamp) -> wire::ConnectionView {
    let terms = &connection.terms;
    let (agent, token_hash) = match &terms.agent {
        Agent::Named(name) => (Some(name.clone()), None),
        Agent::Digest(digest) => (None, Some(digest.to_string())),
    };
    wire::ConnectionView {
        connection_id: connection.id.to_string(),
        agent,
        token_hash,
        servers: terms.grants.iter().map(grant).collect(),
        expires_at: terms.expires_at.as_ref().map(ToString::to_string),
        expired: connection.has_expired(now),
        rate: terms
            .rate
            .map(|rate| wire::RateBody { calls_per_minute: rate.per_minute, burst: Some(rate.burst) }),
        reaches: Vec::new(),
        revision: connection.revision,
        author: connection.author.clone(),
        created_at: connection.created_at.to_string(),
        updated_at: connection.updated_at.to_string(),
        warnings: Vec::new(),
    }
}

fn grant(grant: &Grant) -> wire::GrantBody {
    let (instance_name, group_id) = match &grant.servers {
        Servers::Named(pattern) => (Some(pattern.to_string()), None),
        Servers::Group(group) => (None, Some(group.to_string())),
    };
    let tools = grant.tools.as_ref().map(|tools| tools.iter().map(ToString::to_string).collect());
    wire::GrantBody { instance_name, group_id, tools }
}
