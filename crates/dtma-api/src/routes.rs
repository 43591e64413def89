//! The table of routes: what exists, which scope it needs, and who answers it. Everything else follows from it: the
//! router, the front page, the security part of the OpenAPI document, and the tests over all routes.

pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod container_groups;
pub(crate) mod daemon_status;
pub(crate) mod discovery;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod groups;
pub(crate) mod logs;
pub(crate) mod mcp_servers;
pub(crate) mod meta;
pub(crate) mod operations;
pub(crate) mod servers;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod templates;
pub(crate) mod tools;

use crate::app::App;
use crate::auth::{Access, Guard, Scope, authorise};
use crate::error::ApiError;
use crate::gateway;
use crate::mutation::mutate;
use crate::observe::observe;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post, put};

/// One route.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// With parameters in braces, as in the OpenAPI document.
    pub(crate) path: &'static str,
    /// Its name in the OpenAPI document and, in other case, in the client.
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
    handler: MethodRouter<App>,
}

fn route(
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    access: Access,
    handler: MethodRouter<App>,
) -> Route {
    Route { method, path, operation, access, handler }
}

impl Route {
    /// True when the route changes something: it takes an `Idempotency-Key` and is done to its end whatever its
    /// client does.
    pub(crate) fn mutates(&self) -> bool {
        let scope = matches!(self.access, Access::Needs(Scope::Deploy | Scope::Credentials | Scope::Admin));
        scope && self.method != "GET"
    }
}

/// Every route there is.
#[rustfmt::skip]
pub(crate) fn table() -> Vec<Route> {
    const OPEN: Access = Access::Open;
    const READ: Access = Access::Needs(Scope::Read);
    const DEPLOY: Access = Access::Needs(Scope::Deploy);
    const ADMIN: Access = Access::Needs(Scope::Admin);
    const GATEWAY: Access = Access::Needs(Scope::Gateway);
    vec![
        route("GET", "/", "getIndex", READ, get(meta::get_index)),
        route("GET", "/health", "getHealth", OPEN, get(meta::get_health)),
        route("GET", "/healthz", "getHealthz", OPEN, get(meta::get_healthz)),
        route("GET", "/readyz", "getReadyz", OPEN, get(meta::get_readyz)),
        route("GET", "/status", "getDaemonStatus", Access::Redacted(Scope::Read), get(daemon_status::get_daemon_status)),
        route("GET", "/openapi.json", "getOpenapi", READ, get(meta::get_openapi)),
        route("GET", "/docs", "getDocs", OPEN, get(docs::get_docs)),
        route("GET", "/docs/docs.js", "getDocsScript", OPEN, get(docs::get_docs_script)),
        route("GET", "/docs/docs.css", "getDocsStyle", OPEN, get(docs::get_docs_style)),
        route("GET", "/metrics", "getMetrics", READ, get(meta::get_metrics)),
        route("GET", "/events", "streamEvents", READ, get(events::stream_events)),
        route("GET", "/operations", "listOperations", READ, get(operations::list_operations)),
        route("GET", "/operations/{operationId}", "getOperation", READ, get(operations::get_operation)),
        route("GET", "/audit", "listAudit", ADMIN, get(audit::list_audit)),
        route("GET", "/audit/egress", "listEgress", ADMIN, get(audit::list_egress)),
        route("GET", "/audit/calls", "listCalls", ADMIN, get(audit::list_calls)),
        route("POST", "/mcp/groups", "deployGroup", DEPLOY, post(groups::deploy_group)),
        route("GET", "/mcp/groups", "listGroups", READ, get(groups::list_groups)),
        route("GET", "/mcp/groups/{groupId}", "getGroup", READ, get(groups::get_group)),
        route("PUT", "/mcp/groups/{groupId}", "putGroup", DEPLOY, put(changes::put_group)),
        route("GET", "/mcp/groups/{groupId}/history", "getHistory", READ, get(changes::get_history)),
        route("POST", "/mcp/groups/{groupId}/rollback", "rollbackGroup", DEPLOY, post(changes::rollback_group)),
        route("PUT", "/mcp/servers/{instanceName}/scale", "scaleServer", DEPLOY, put(changes::scale_server)),
        route("DELETE", "/mcp/groups/{groupId}", "removeGroup", DEPLOY, delete(groups::remove_group)),
        route("POST", "/mcp/groups/{groupId}/restart", "restartGroup", DEPLOY, post(groups::restart_group)),
        route("POST", "/mcp/validate", "validateGroup", READ, post(groups::validate_group)),
        route("GET", "/mcp/status", "getStatus", READ, get(status::get_status)),
        route("GET", "/mcp/stats", "getStats", READ, get(stats::get_stats)),
        route("POST", "/mcp/servers/{instanceName}/restart", "restartServer", DEPLOY, post(servers::restart_server)),
        route("POST", "/mcp/servers/{instanceName}/start", "startServer", DEPLOY, post(servers::start_server)),
        route("POST", "/mcp/servers/{instanceName}/stop", "stopServer", DEPLOY, post(servers::stop_server)),
        route("POST", "/mcp/servers/{instanceName}/exec", "execServer", ADMIN, post(exec::exec_server)),
        route("GET", "/mcp/servers/{instanceName}/logs", "getLogs", READ, get(logs::get_logs)),
        route("GET", "/mcp/templates", "listTemplates", READ, get(templates::list_templates)),
        route("GET", "/mcp/templates/{name}", "getTemplate", READ, get(templates::get_template)),
        route("POST", "/tools", "deployTool", DEPLOY, post(tools::deploy_tool)),
        route("GET", "/tools", "listTools", READ, get(tools::list_tools)),
        route("GET", "/tools/status", "getToolsStatus", READ, get(tools::get_tools_status)),
        route("DELETE", "/tools/{name}", "removeTool", DEPLOY, delete(tools::remove_tool)),
        route("POST", "/tools/{name}/start", "startTool", DEPLOY, post(tools::start_tool)),
        route("POST", "/tools/{name}/stop", "stopTool", DEPLOY, post(tools::stop_tool)),
        route("POST", "/tools/{name}/execute", "executeTool", ADMIN, post(tools::execute_tool)),
        route("POST", "/mcp-servers", "deployMcpServer", DEPLOY, post(mcp_servers::deploy_mcp_server)),
        route("POST", "/mcp-servers/deploy", "deployMcpServers", DEPLOY, post(mcp_servers::deploy_mcp_servers)),
        route("GET", "/mcp-servers/status", "getMcpServersStatus", READ, get(mcp_servers::get_mcp_servers_status)),
        route("GET", "/mcp-servers/discovery", "getMcpServersDiscovery", READ, get(discovery::get_mcp_servers_discovery)),
        route("GET", "/mcp-servers/{instanceName}/contract", "getMcpServerContract", READ, get(discovery::get_mcp_server_contract)),
        route("POST", "/mcp-servers/{instanceName}/contract/approve", "approveMcpServerContract", DEPLOY, post(discovery::approve_mcp_server_contract)),
        route("PUT", "/mcp-servers/scale", "scaleMcpServer", DEPLOY, put(mcp_servers::scale_mcp_server)),
        route("DELETE", "/mcp-servers/{id}", "removeMcpServer", DEPLOY, delete(mcp_servers::remove_mcp_server)),
        route("POST", "/container-groups", "createContainerGroup", DEPLOY, post(container_groups::create_container_group)),
        route("GET", "/container-groups/{id}", "getContainerGroup", READ, get(container_groups::get_container_group)),
        route("PUT", "/container-groups/{id}/restart", "restartContainerGroup", DEPLOY, put(container_groups::restart_container_group)),
        route("POST", "/gateway/servers/{instanceName}/mcp", "gatewayPost", GATEWAY, post(gateway::gateway_post)),
        route("GET", "/gateway/servers/{instanceName}/mcp", "gatewayListen", GATEWAY, get(gateway::gateway_listen)),
        route("DELETE", "/gateway/servers/{instanceName}/mcp", "gatewayClose", GATEWAY, delete(gateway::gateway_close)),
        route("GET", "/gateway/servers/{instanceName}/sse", "gatewaySse", GATEWAY, get(gateway::pair::gateway_sse)),
        route("POST", "/gateway/servers/{instanceName}/messages", "gatewayMessages", GATEWAY, post(gateway::pair::gateway_messages)),
        route("GET", "/gateway/servers/{instanceName}/ws", "gatewayWs", GATEWAY, get(gateway::websocket::gateway_ws)),
        route("POST", "/gateway/groups/{groupId}/mcp", "gatewayGroupPost", GATEWAY, post(gateway::groups::gateway_group_post)),
        route("GET", "/gateway/groups/{groupId}/mcp", "gatewayGroupListen", GATEWAY, get(gateway::groups::gateway_group_listen)),
        route("DELETE", "/gateway/groups/{groupId}/mcp", "gatewayGroupClose", GATEWAY, delete(gateway::groups::gateway_group_close)),
        route("GET", "/gateway/groups/{groupId}/sse", "gatewayGroupSse", GATEWAY, get(gateway::groups::gateway_group_sse)),
        route("POST", "/gateway/groups/{groupId}/messages", "gatewayGroupMessages", GATEWAY, post(gateway::groups::gateway_group_messages)),
        route("GET", "/gateway/groups/{groupId}/ws", "gatewayGroupWs", GATEWAY, get(gateway::groups::gateway_group_ws)),
        route("GET", "/gateway/servers/{instanceName}/mcp/server-card", "getServerCard", GATEWAY, get(gateway::card::get_server_card)),
        route("GET", "/gateway/connections", "listConnections", READ, get(gateway::connections::list_connections)),
        route("GET", "/gateway/connections/{connectionId}", "getConnection", READ, get(gateway::connections::get_connection)),
        route("PUT", "/gateway/connections/{connectionId}", "putConnection", ADMIN, put(gateway::connections::put_connection)),
        route("DELETE", "/gateway/connections/{connectionId}", "removeConnection", ADMIN, delete(gateway::connections::remove_connection)),
        route("GET", "/.well-known/ai-catalog.json", "getCatalogue", GATEWAY, get(gateway::well_known::get_catalogue)),
        route("GET", "/.well-known/oauth-protected-resource", "getProtection", OPEN, get(gateway::well_known::get_protection)),
        route("GET", "/.well-known/oauth-protected-resource/gateway/servers/{instanceName}/{door}", "getDoorProtection", OPEN, get(gateway::well_known::get_door_protection)),
        route("GET", "/.well-known/oauth-protected-resource/gateway/groups/{groupId}/{door}", "getGroupDoorProtection", OPEN, get(gateway::well_known::get_group_door_protection)),
    ]
}

/// The router, with what surrounds every request.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in table() {
        let (access, action, mutates) = (route.access, route.operation, route.mutates());
        let guard = Guard { app: app.clone(), access, action, mutates };
        let guard = from_fn_with_state(guard, authorise);
        let handler = match mutates {
            true => route.handler.route_layer(from_fn_with_state((app.clone(), action), mutate)),
            false => route.handler,
        };
        router = router.route(route.path, handler.route_layer(guard));
    }
    router
        .fallback(|| async { ApiError::NoRoute })
        .method_not_allowed_fallback(|| async { ApiError::NoMethod })
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::openapi;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_and_the_document_tell_the_same() {
        let document = serde_json::to_value(openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let documented: BTreeSet<(String, String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().iter().map(move |(method, operation)| {
                    let id = operation["operationId"].as_str().unwrap().to_owned();
                    (method.to_uppercase(), path.clone(), id)
                })
            })
            .collect();
        let table = table().iter().map(|r| (r.method.into(), r.path.into(), r.operation.into())).collect();
        assert_eq!(documented, table);
    }
}
