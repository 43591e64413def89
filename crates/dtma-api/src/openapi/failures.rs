//! Which failures an operation can answer with: derived from what the operation is, so that a new route brings its
//! own. The answers are shared: one component for each status and kind of route, with every code and an example.

use crate::auth::{Access, Scope};
use crate::routes::Route;
use dtma_api_types::explain;
use serde_json::{Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{
    Components, ContentBuilder, OneOfBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
};

/// What a failure depends on.
#[derive(Debug, Clone, Copy)]
struct Facts<'a> {
    path: &'a str,
    kind: Kind,
    has_query: bool,
    has_body: bool,
}

/// Routes whose failures have the same causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Read,
    Change,
    Gateway,
    /// MCP messages in a body: a refusal may be JSON-RPC's.
    Message,
}

impl Kind {
    fn of(route: &Route) -> Self {
        match route.access {
            Access::Open => Self::Open,
            Access::Needs(Scope::Read) | Access::Redacted(_) => Self::Read,
            Access::Needs(Scope::Gateway) if route.method == "POST" && route.path.ends_with("/mcp") => {
                Self::Message
            }
            Access::Needs(Scope::Gateway) => Self::Gateway,
            Access::Needs(Scope::Deploy | Scope::Credentials | Scope::Admin) if route.mutates() => {
                Self::Change
            }
            Access::Needs(Scope::Deploy | Scope::Credentials | Scope::Admin) => Self::Read,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Read => "Read",
            Self::Change => "Change",
            Self::Gateway => "Gateway",
            Self::Message => "Message",
        }
    }
}

impl Facts<'_> {
    fn names(self, parameter: &str) -> bool {
        self.path.contains(parameter)
    }

    /// A door of the gateway.
    fn gateway(self) -> bool {
        matches!(self.kind, Kind::Gateway | Kind::Message)
    }

    /// The engine may be asked.
    fn engine(self) -> bool {
        self.kind == Kind::Change
            || self.path == "/readyz"
            || self.kind == Kind::Read && self.path.starts_with("/mcp/")
    }
}

/// A code, its status, and when it can come.
type Row = (u16, &'static str, fn(Facts<'_>) -> bool);

/// Every code that an operation can answer with.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    (400, "malformed_json", |f| f.has_body && !f.gateway()),
    (400, "body_incomplete", |f| f.has_body),
    (400, "invalid_request", |f| f.has_body && !f.gateway()),
    (400, "invalid_query", |f| f.has_query),
    (400, "invalid_name", |f| f.names("{")),
    (400, "invalid_mcp_header", |f| f.gateway()),
    (400, "header_doubled", |f| f.kind != Kind::Open),
    (400, "invalid_idempotency_key", |f| f.kind == Kind::Change),
    (401, "token_missing", |f| f.kind != Kind::Open),
    (401, "token_unknown", |f| f.kind != Kind::Open),
    (401, "token_expired", |f| f.kind != Kind::Open),
    (403, "scope_missing", |f| f.kind != Kind::Open),
    (403, "no_connection", |f| f.gateway()),
    (403, "foreign_origin", |f| f.kind != Kind::Open),
    (404, "no_such_group", |f| (f.names("{groupId}") || f.names("/container-groups/{id}")) && !f.gateway()),
    (404, "no_such_server", |f| f.names("{instanceName}") || f.names("/tools/{name}") || f.names("/mcp-servers/{id}")),
    (404, "no_such_template", |f| f.names("{name}") && f.kind == Kind::Read),
    (404, "no_such_generation", |f| f.kind == Kind::Change),
    (404, "no_such_operation", |f| f.names("{operationId}")),
    (404, "not_an_mcp_server", |f| f.gateway() || f.names("/contract")),
    (404, "no_such_tool", |f| f.kind == Kind::Change),
    (404, "no_such_connection", |f| f.names("{connectionId}")),
    (404, "no_such_session", |f| f.gateway()),
    (406, "not_acceptable", |f| f.gateway()),
    (408, "body_too_slow", |f| f.has_body),
    (409, "group_changed", |f| f.kind == Kind::Change),
    (409, "being_removed", |f| f.kind == Kind::Change),
    (409, "instance_taken", |f| f.kind == Kind::Change),
    (409, "container_name_taken", |f| f.kind == Kind::Change),
    (409, "port_taken", |f| f.kind == Kind::Change),
    (409, "busy", |f| f.kind == Kind::Change),
    (409, "superseded", |f| f.kind == Kind::Change),
    (409, "outdated_generation", |f| f.kind == Kind::Change),
    (409, "generation_taken", |f| f.kind == Kind::Change),
    (409, "change_superseded", |f| f.kind == Kind::Change),
    (409, "account_id_taken", |f| f.kind == Kind::Change),
    (409, "depended_on", |f| f.kind == Kind::Change),
    (409, "engine_busy", |f| f.kind == Kind::Change),
    (409, "not_discovered", |f| f.kind == Kind::Change),
    (409, "not_running", |f| f.kind == Kind::Change),
    (409, "idempotency_key_reused", |f| f.kind == Kind::Change),
    (412, "stale_generation", |f| f.kind == Kind::Change),
    (412, "stale_connection", |f| f.names("{connectionId}")),
    (412, "offer_changed", |f| f.kind == Kind::Change),
    (413, "body_too_big", |f| f.has_body),
    (415, "unsupported_media_type", |f| f.has_body),
    (422, "invalid_spec", |f| f.kind == Kind::Change),
    (422, "image_missing", |f| f.kind == Kind::Change),
    (422, "engine_refused", |f| f.kind == Kind::Change),
    (426, "upgrade_required", |f| f.names("/ws")),
    (429, "rate_limited", |f| f.kind != Kind::Open),
    (429, "too_many_operations", |f| f.kind == Kind::Change),
    (500, "internal", |_| true),
    (502, "capability_failed", |f| f.kind == Kind::Change),
    (502, "servers_failed", |f| f.kind == Kind::Change),
    (502, "update_failed", |f| f.kind == Kind::Change),
    (502, "operation_failed", |f| f.kind == Kind::Change),
    (502, "engine_lost_object", |f| f.kind == Kind::Change),
    (502, "engine_failed", |f| f.engine()),
    (502, "server_not_running", |f| f.gateway()),
    (503, "engine_away", |f| f.engine()),
    (503, "store_failed", |f| f.kind == Kind::Change),
    (503, "audit_failed", |f| f.kind == Kind::Change),
    (503, "shutting_down", |f| f.kind != Kind::Open),
    (504, "deadline", |f| f.kind == Kind::Change),
    (504, "engine_timeout", |f| f.engine()),
    (504, "pull_stalled", |f| f.kind == Kind::Change),
    (507, "out_of_space", |f| f.kind == Kind::Change),
];

/// Adds to an operation every failure it can answer with, and to the components what it then refers to. What the
/// handler documents itself stays.
pub(super) fn add(operation: &mut Operation, components: &mut Components, route: &Route) {
    let has_query = operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    });
    let kind = Kind::of(route);
    let facts = Facts { path: route.path, kind, has_query, has_body: operation.request_body.is_some() };
    for (status, _, _) in TABLE.iter().filter(|(_, _, when)| when(facts)) {
        let name = format!("{}{status}", kind.name());
        components.responses.entry(name.clone()).or_insert_with(|| RefOr::T(answer(kind, *status)));
        let answer = RefOr::Ref(Ref::from_response_name(name));
        operation.responses.responses.entry(status.to_string()).or_insert(answer);
    }
}

/// What routes of a kind answer with a status: the codes of all of them.
fn answer(kind: Kind, status: u16) -> Response {
    let any = |path| Facts { path, kind, has_query: true, has_body: true };
    let paths = ["/mcp/{groupId}{instanceName}{name}{connectionId}/contract", "/readyz", "/ws"];
    let comes = |when: &fn(Facts<'_>) -> bool| paths.iter().any(|path| when(any(path)));
    let codes: Vec<&str> =
        TABLE.iter().filter(|(s, _, when)| *s == status && comes(when)).map(|(_, c, _)| *c).collect();
    let means = |code: &&str| explain::explain(code).map(|entry| format!("- `{code}`: {}", entry.means));
    let description: Vec<String> = codes.iter().filter_map(means).collect();
    let ours = Ref::from_schema_name("ErrorBody");
    let schema: RefOr<Schema> = match kind {
        Kind::Message => {
            let either = OneOfBuilder::new().item(ours).item(Ref::from_schema_name("JsonRpcFailure"));
            Schema::from(either).into()
        }
        Kind::Open | Kind::Read | Kind::Change | Kind::Gateway => ours.into(),
    };
    let body =
        ContentBuilder::new().schema(Some(schema)).example(codes.first().map(|code| example(code))).build();
    ResponseBuilder::new()
        .description(description.join("\n"))
        .content("application/json", body)
        .extensions(Some(Extensions::builder().add("x-dtma-codes", json!(codes)).build()))
        .build()
}

fn example(code: &str) -> Value {
    let means = explain::explain(code).map_or("", |entry| entry.means);
    json!({
        "success": false, "message": means, "error": means, "code": code,
        "requestId": "5f0c6a7e9f3b4d7c8a1e2d3c4b5a6978",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Codes of requests that reach no operation.
    const NOWHERE: [&str; 2] = ["no_such_route", "method_not_allowed"];

    #[test]
    fn every_code_is_told_by_some_operation_with_its_own_status() {
        let text = include_str!("../error.rs");
        let said: BTreeSet<(u16, &str)> = text
            .split("(StatusCode::")
            .skip(1)
            .filter_map(|rest| {
                let (status, rest) = rest.split_once(", \"")?;
                let code = rest.split_once("\")")?.0;
                Some((number(status)?, code))
            })
            .filter(|(_, code)| !NOWHERE.contains(code))
            .collect();
        assert!(said.len() > 40, "the table of errors is no longer read: {said:?}");
        let told: BTreeSet<(u16, &str)> = TABLE.iter().map(|(status, code, _)| (*status, *code)).collect();
        assert_eq!(said, told);
    }

    fn number(name: &str) -> Option<u16> {
        let all = (400..600).filter_map(|code| http::StatusCode::from_u16(code).ok());
        let shouted = |status: &http::StatusCode| {
            status.canonical_reason().map(|reason| reason.to_uppercase().replace([' ', '-'], "_"))
        };
        all.into_iter().find(|status| shouted(status).as_deref() == Some(name)).map(|status| status.as_u16())
    }
}
