//! `/mcp-servers/discovery` and the contracts of servers.

use crate::answer::{Answer, json, ok};
use crate::app::App;
use crate::asker::Asker;
use crate::body::Shaped;
use crate::discovery::{self, Filter, Told};
use crate::error::ApiError;
use crate::path::Named;
use crate::query::Asked;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use dtma_api_types::{ApproveRequest, ContractView, DiscoveryView, Envelope};
use dtma_core::id::InstanceName;
use dtma_manager::{Approval, Discovered, ManagerError};
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Which servers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiscoveryQuery {
    /// Only those of this group.
    group: Option<String>,
    /// Only this server.
    instance: Option<String>,
    /// Only those that offer a tool of this name.
    tool: Option<String>,
    /// Only those that declared this capability (`tools`, `prompts`, `resources`, …).
    #[param(example = "prompts")]
    capability: Option<String>,
}

/// What MCP servers offer
///
/// Their tools, prompts and resources as they sent them, from the daemon's memory: no server is asked, and one that
/// stands still is told of by what it offered last (`stale`). The answer has an `ETag`; its `ageSeconds` alone may
/// differ under the same one.
#[utoipa::path(get, path = "/mcp-servers/discovery", operation_id = "getMcpServersDiscovery", tag = "mcp-servers",
    params(DiscoveryQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer")),
    responses((status = 200, description = "The servers that fit", body = Envelope<DiscoveryView>),
        (status = 304, description = "The same as under that `ETag`")))]
pub(crate) async fn get_mcp_servers_discovery(
    State(app): State<App>,
    Asked(query): Asked<DiscoveryQuery>,
    headers: HeaderMap,
) -> Answer {
    let DiscoveryQuery { group, instance, tool, capability } = query;
    let Told { body, tag } = app.prepared().tell(&app, &Filter { group, instance, tool, capability });
    let mut response = match matches(&headers, &tag) {
        true => not_modified(),
        false => json(StatusCode::OK, body),
    };
    let tag = HeaderValue::from_str(&tag).map_err(|error| ApiError::Internal(error.to_string()))?;
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let said = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|said| said.trim() == "*" || weak(said) == weak(tag))
}

fn not_modified() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// The contract of an MCP server
///
/// What was approved of its tools (at first what it offered when it was first discovered), and field by field what
/// differs since.
#[utoipa::path(get, path = "/mcp-servers/{instanceName}/contract", operation_id = "getMcpServerContract",
    tag = "mcp-servers", params(("instanceName" = String, Path, description = "The server")),
    responses((status = 200, description = "Its contract", body = Envelope<ContractView>)))]
pub(crate) async fn get_mcp_server_contract(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
) -> Answer {
    tell(&*known(&app, &instance)?)
}

/// Approve of what an MCP server offers
///
/// From now on its tools are held against this. What was kept from clients passes again.
#[utoipa::path(post, path = "/mcp-servers/{instanceName}/contract/approve", operation_id = "approveMcpServerContract",
    tag = "mcp-servers", params(("instanceName" = String, Path, description = "The server")),
    request_body = ApproveRequest,
    responses((status = 200, description = "Its contract now", body = Envelope<ContractView>)))]
pub(crate) async fn approve_mcp_server_contract(
    State(app): State<App>,
    asker: Asker,
    Named(instance): Named<InstanceName>,
    Shaped(request): Shaped<ApproveRequest>,
) -> Answer {
    known(&app, &instance)?;
    let approval = Approval { tool: request.tool, hash: request.hash };
    let manager = app.manager().clone();
    let approved =
        app.finish(async move { manager.approve(&instance, &approval, &asker.author).await }).await?;
    tell(&approved)
}

fn known(app: &App, instance: &InstanceName) -> Result<Arc<Discovered>, ApiError> {
    let manager = app.manager();
    manager.discovered(instance).ok_or_else(|| match manager.group_of(instance) {
        Some(_) => ApiError::NotMcp(instance.clone()),
        None => ManagerError::NoSuchServer(instance.clone()).into(),
    })
}

fn tell(known: &Discovered) -> Answer {
    let said = match (&known.contract, known.warning()) {
        (_, Some(warning)) => warning,
        (Some(_), None) => format!("the tools of {} are as approved", known.instance),
        (None, None) => format!("nothing was approved of {} yet", known.instance),
    };
    ok(said, discovery::contract(known))
}
