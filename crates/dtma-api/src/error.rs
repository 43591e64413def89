//! Every way a request can fail, and the one place that chooses the HTTP status for it.

use dtma_api_types::{ErrorBody, ErrorDetail};
use dtma_core::id::InstanceName;
use dtma_core::port::RuntimeError;
use dtma_core::violation::Violation;
use dtma_manager::{GroupStatus, ManagerError};
use http::StatusCode;
use std::time::Duration;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Not JSON.
    Malformed(String),
    /// The body is of another type.
    ContentType,
    /// The client cannot take the answer.
    NotAcceptable(&'static str),
    /// The body is too big.
    TooBig(usize),
    /// The body did not arrive in time.
    SlowBody,
    /// The connection broke while the body was read.
    BrokenBody(String),
    /// The JSON Schema of the document refuses it.
    Shape(Vec<Violation>),
    /// Rules refuse it.
    Rules(Vec<Violation>),
    /// A query parameter is unknown or wrong.
    Query(String),
    /// A name in the path cannot be anybody's.
    PathName(String),
    /// A header of the MCP transport is missing or wrong.
    McpHeader(String),
    /// The path speaks WebSocket only.
    Upgrade,
    /// No token was sent.
    NoToken,
    /// The token is nobody's.
    WrongToken,
    /// The token was good once.
    ExpiredToken,
    /// A header that may stand once was sent twice.
    DoubledHeader(&'static str),
    /// Too many of these; how long to wait.
    TooMany(&'static str, Duration),
    /// The token may not do this.
    Scope(&'static str),
    /// Nothing is granted to the agent.
    NoConnection,
    /// A page of another site, or a host name that is not ours.
    Foreign(&'static str, String),
    /// No such route.
    NoRoute,
    /// The route is there, the method is not.
    NoMethod,
    /// No such template.
    NoTemplate(String),
    /// No such operation.
    NoOperation(String),
    /// The idempotency key is none.
    BadKey(String),
    /// The server is a tool: it speaks no MCP.
    NotMcp(InstanceName),
    /// The server stands still, for this reason, until a person starts it.
    StandsStill(InstanceName, String),
    /// No such session with this server.
    NoSession,
    /// Another server bears the caller's own id.
    IdTaken(String, InstanceName),
    /// Other servers of the group depend on it.
    DependedOn(InstanceName, Vec<InstanceName>),
    /// A capability was executed and failed.
    CapabilityFailed(String, String),
    /// The audit log cannot be written.
    Audit(String),
    /// The manager said no.
    Manager(ManagerError),
    /// The manager said no to something that stands at a place of the request.
    Located(ManagerError, Box<Violation>),
    /// A defect of ours. The text goes to the log only.
    Internal(String),
}

impl From<ManagerError> for ApiError {
    fn from(error: ManagerError) -> Self {
        Self::Manager(error)
    }
}

impl ApiError {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// The word for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.kind().1
    }

    /// Status and code, side by side so that nobody has to look in two places.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed_json"),
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::NotAcceptable(_) => (StatusCode::NOT_ACCEPTABLE, "not_acceptable"),
            Self::TooBig(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_big"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
            Self::BrokenBody(_) => (StatusCode::BAD_REQUEST, "body_incomplete"),
            Self::Shape(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Rules(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec"),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
            Self::PathName(_) => (StatusCode::BAD_REQUEST, "invalid_name"),
            Self::McpHeader(_) => (StatusCode::BAD_REQUEST, "invalid_mcp_header"),
            Self::Upgrade => (StatusCode::UPGRADE_REQUIRED, "upgrade_required"),
            Self::NoToken => (StatusCode::UNAUTHORIZED, "token_missing"),
            Self::WrongToken => (StatusCode::UNAUTHORIZED, "token_unknown"),
            Self::ExpiredToken => (StatusCode::UNAUTHORIZED, "token_expired"),
            Self::DoubledHeader(_) => (StatusCode::BAD_REQUEST, "header_doubled"),
            Self::TooMany(..) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::Scope(_) => (StatusCode::FORBIDDEN, "scope_missing"),
            Self::NoConnection => (StatusCode::FORBIDDEN, "no_connection"),
            Self::Foreign(..) => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_such_route"),
            Self::NoMethod => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NoTemplate(_) => (StatusCode::NOT_FOUND, "no_such_template"),
            Self::NoOperation(_) => (StatusCode::NOT_FOUND, "no_such_operation"),
            Self::BadKey(_) => (StatusCode::BAD_REQUEST, "invalid_idempotency_key"),
            Self::NotMcp(_) => (StatusCode::NOT_FOUND, "not_an_mcp_server"),
            Self::StandsStill(..) => (StatusCode::BAD_GATEWAY, "server_not_running"),
            Self::NoSession => (StatusCode::NOT_FOUND, "no_such_session"),
            Self::IdTaken(..) => (StatusCode::CONFLICT, "account_id_taken"),
            Self::DependedOn(..) => (StatusCode::CONFLICT, "depended_on"),
            Self::CapabilityFailed(..) => (StatusCode::BAD_GATEWAY, "capability_failed"),
            Self::Audit(_) => (StatusCode::SERVICE_UNAVAILABLE, "audit_failed"),
            Self::Manager(error) | Self::Located(error, _) => manager_kind(error),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// One sentence for people.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Malformed(problem) => format!("the body is not JSON: {problem}"),
            Self::ContentType => "the body must be of type application/json".into(),
            Self::NotAcceptable(wanted) => format!("the Accept header must allow {wanted}"),
            Self::TooBig(limit) => format!("the body is bigger than {limit} bytes"),
            Self::SlowBody => "the body did not arrive in time".into(),
            Self::BrokenBody(problem) => format!("the body did not arrive whole: {problem}"),
            Self::Shape(found) => format!("the request is not well formed: {}", count(found.len())),
            Self::Rules(found) => format!("the request is not valid: {}", count(found.len())),
            Self::Query(problem) => format!("the query is not valid: {problem}"),
            Self::PathName(problem) => problem.clone(),
            Self::McpHeader(problem) => problem.clone(),
            Self::Upgrade => {
                "this path speaks WebSocket: upgrade the connection (Upgrade: websocket, Sec-WebSocket-Version: 13)"
                    .into()
            }
            Self::NoToken => "a token is needed: send it as Authorization: Bearer".into(),
            Self::WrongToken => "the token is not known here".into(),
            Self::ExpiredToken => "the token has expired; make a new one with `dtma-daemon token`".into(),
            Self::DoubledHeader(name) => format!("the header {name} was sent more than once"),
            Self::TooMany(what, wait) => {
                format!("too many {what}; try again in {} s", whole_seconds(*wait))
            }
            Self::Scope(scope) => format!("the token lacks the scope {scope}"),
            Self::NoConnection => {
                "nothing is granted to this token: it has no connection that holds (dtma mcp grants set makes one)"
                    .into()
            }
            Self::Foreign(header, value) => format!("the {header} {value:?} is not allowed here"),
            Self::NoRoute => "there is nothing at this path; GET / lists what is there".into(),
            Self::NoMethod => "this path does not know that method; GET / lists what is there".into(),
            Self::NoTemplate(name) => format!("there is no template {name:?}; GET /mcp/templates lists them"),
            Self::NoOperation(id) => {
                format!("there is no operation {id:?}; the newest thousand that ended are kept")
            }
            Self::BadKey(problem) => problem.clone(),
            Self::NotMcp(instance) => format!("{instance} is a tool: it does not speak MCP"),
            Self::StandsStill(instance, why) => {
                format!(
                    "{instance} {why}; `dtma restart {instance}` starts it, `dtma logs {instance}` tells more"
                )
            }
            Self::NoSession => "there is no such session; begin anew with initialize".into(),
            Self::IdTaken(id, bearer) => format!("the accountToolInstanceId {id:?} is that of {bearer}"),
            Self::DependedOn(instance, others) => {
                let others: Vec<_> = others.iter().map(InstanceName::as_str).collect();
                format!("{} of its group depend on {instance}; remove them first", others.join(", "))
            }
            Self::CapabilityFailed(capability, why) => {
                format!("Failed to execute capability '{capability}': {why}")
            }
            Self::Audit(problem) => {
                format!("the audit log cannot be written ({problem}), so nothing is changed")
            }
            Self::Manager(ManagerError::Invalid(found)) => {
                format!("the request is not valid: {}", count(found.len()))
            }
            Self::Manager(error) | Self::Located(error, _) => error.to_string(),
            Self::Internal(_) => "a defect of the daemon; its log has more under this request id".into(),
        }
    }

    /// The body of the answer; the request id is filled in where the answer leaves.
    pub(crate) fn body(&self) -> ErrorBody {
        let message = self.message();
        ErrorBody {
            success: false,
            error: self.chain().unwrap_or_else(|| message.clone()),
            message,
            code: self.kind().1.to_owned(),
            request_id: String::new(),
            operation_id: None,
            details: self.violations().into_iter().map(detail).collect(),
        }
    }

    /// The message with its causes, where there are any that may be shown.
    fn chain(&self) -> Option<String> {
        let (Self::Manager(error) | Self::Located(error, _)) = self else { return None };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Some(text)
    }

    fn violations(&self) -> Vec<Violation> {
        if let Self::Shape(found) | Self::Rules(found) | Self::Manager(ManagerError::Invalid(found)) = self {
            found.clone()
        } else if let Self::Located(_, violation) = self {
            vec![violation.as_ref().clone()]
        } else if let Self::Manager(ManagerError::ServersFailed(status)) = self {
            failures(status)
        } else if let Self::Manager(error @ ManagerError::BeingRemoved(group)) = self {
            let hint = format!("wait until it is gone: dtma wait {group} --for removed");
            vec![Violation::new("", "group.being-removed", error.to_string()).hint(hint)]
        } else {
            Vec::new()
        }
    }

    /// How long to wait before trying again, where that is known: whole seconds.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        if let Self::TooMany(_, wait) = self { Some(whole_seconds(*wait)) } else { None }
    }

    /// What only the log may say.
    pub(crate) fn secret(&self) -> Option<&str> {
        if let Self::Internal(text) = self { Some(text) } else { None }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn manager_kind(error: &ManagerError) -> (StatusCode, &'static str) {
    match error {
        ManagerError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec"),
        ManagerError::NoSuchGroup(_) => (StatusCode::NOT_FOUND, "no_such_group"),
        ManagerError::NoSuchServer(_) => (StatusCode::NOT_FOUND, "no_such_server"),
        ManagerError::NotRunning(_) => (StatusCode::CONFLICT, "not_running"),
        ManagerError::GroupChanged(_) => (StatusCode::CONFLICT, "group_changed"),
        ManagerError::BeingRemoved(_) => (StatusCode::CONFLICT, "being_removed"),
        ManagerError::InstanceTaken { .. } => (StatusCode::CONFLICT, "instance_taken"),
        ManagerError::ContainerNameTaken { .. } => (StatusCode::CONFLICT, "container_name_taken"),
        ManagerError::PortTaken { .. } => (StatusCode::CONFLICT, "port_taken"),
        ManagerError::Busy(_) => (StatusCode::CONFLICT, "busy"),
        ManagerError::Superseded(_) => (StatusCode::CONFLICT, "superseded"),
        ManagerError::Stale { .. } => (StatusCode::PRECONDITION_FAILED, "stale_generation"),
        ManagerError::Outdated { .. } => (StatusCode::CONFLICT, "outdated_generation"),
        ManagerError::GenerationTaken { .. } => (StatusCode::CONFLICT, "generation_taken"),
        ManagerError::NoSuchGeneration { .. } => (StatusCode::NOT_FOUND, "no_such_generation"),
        ManagerError::UpdateFailed { .. } => (StatusCode::BAD_GATEWAY, "update_failed"),
        ManagerError::ChangeSuperseded(_) => (StatusCode::CONFLICT, "change_superseded"),
        ManagerError::Refused { source, .. } | ManagerError::Engine(source) => engine_kind(source),
        ManagerError::ServersFailed(_) => (StatusCode::BAD_GATEWAY, "servers_failed"),
        ManagerError::Deadline { .. } => (StatusCode::GATEWAY_TIMEOUT, "deadline"),
        ManagerError::TooManyOperations { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_operations"),
        ManagerError::KeyReused(_) => (StatusCode::CONFLICT, "idempotency_key_reused"),
        ManagerError::FailedBefore { .. } => (StatusCode::BAD_GATEWAY, "operation_failed"),
        ManagerError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_failed"),
        ManagerError::Defect(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        ManagerError::NotDiscovered(_) => (StatusCode::CONFLICT, "not_discovered"),
        ManagerError::NoSuchTool { .. } => (StatusCode::NOT_FOUND, "no_such_tool"),
        ManagerError::OfferChanged(_) => (StatusCode::PRECONDITION_FAILED, "offer_changed"),
        ManagerError::NoSuchConnection(_) => (StatusCode::NOT_FOUND, "no_such_connection"),
        ManagerError::ConnectionChanged { .. } => (StatusCode::PRECONDITION_FAILED, "stale_connection"),
        ManagerError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
    }
}

fn engine_kind(error: &RuntimeError) -> (StatusCode, &'static str) {
    match error {
        RuntimeError::NotFound { .. } => (StatusCode::BAD_GATEWAY, "engine_lost_object"),
        RuntimeError::NameTaken { .. } => (StatusCode::CONFLICT, "container_name_taken"),
        RuntimeError::PortTaken { .. } => (StatusCode::CONFLICT, "port_taken"),
        RuntimeError::ImageMissing { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "image_missing"),
        RuntimeError::PullStalled { .. } => (StatusCode::GATEWAY_TIMEOUT, "pull_stalled"),
        RuntimeError::EngineAway { .. } => (StatusCode::SERVICE_UNAVAILABLE, "engine_away"),
        RuntimeError::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "engine_timeout"),
        RuntimeError::OutOfSpace { .. } => (StatusCode::INSUFFICIENT_STORAGE, "out_of_space"),
        RuntimeError::Conflict { .. } => (StatusCode::CONFLICT, "engine_busy"),
        RuntimeError::Refused { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "engine_refused"),
        RuntimeError::Broken { .. } | RuntimeError::PortClosed { .. } => {
            (StatusCode::BAD_GATEWAY, "engine_failed")
        }
    }
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "1 mistake".into() } else { format!("{mistakes} mistakes") }
}

/// Which servers failed, with where to look.
fn failures(status: &GroupStatus) -> Vec<Violation> {
    let failed = status.servers.iter().enumerate().filter_map(|(index, server)| {
        let dtma_core::phase::Phase::Failed { reason, .. } = &server.phase else { return None };
        let message = format!("{}: {reason}", server.instance);
        let hint = format!("its log says more: dtma logs {}", server.instance);
        Some(Violation::new(format!("/servers/{index}"), "server.failed", message).hint(hint))
    });
    failed.collect()
}

fn detail(violation: Violation) -> ErrorDetail {
    let Violation { pointer, rule, message, hint } = violation;
    ErrorDetail { pointer, rule, message, hint }
}

pub(crate) fn details(violations: Vec<Violation>) -> Vec<ErrorDetail> {
    violations.into_iter().map(detail).collect()
}
