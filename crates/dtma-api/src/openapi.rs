//! The contract: the OpenAPI document as a pure function. Paths and bodies come from the handlers, security and the
//! answers that every route can give from the table of routes.

mod failures;

use crate::auth::Access;
use crate::routes::table;
use crate::{gateway, routes};
use dtma_api_types::explain::{self, Explanation};
use dtma_api_types::{ErrorBody, EventView, GroupRequest, JsonRpcFailure, LogLineView};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, PathItem, RefOr, Required};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DTMA daemon",
        description = "Deploys and supervises groups of MCP servers and tools in hardened containers.\n\n\
            Every answer carries `X-Request-Id`. Success is `{\"success\":true,\"message\",\"data\"}`, failure is \
            `ErrorBody` and lists every mistake of the request at once. Unknown fields and parameters are refused."
    ),
    paths(
        routes::meta::get_index, routes::meta::get_health, routes::meta::get_healthz, routes::meta::get_readyz,
        routes::meta::get_openapi, routes::docs::get_docs, routes::docs::get_docs_script, routes::docs::get_docs_style, routes::meta::get_metrics, routes::events::stream_events,
        routes::audit::list_audit, routes::audit::list_egress, routes::audit::list_calls, routes::operations::list_operations, routes::operations::get_operation,
        routes::groups::deploy_group, routes::groups::list_groups, routes::groups::get_group,
        routes::changes::put_group, routes::changes::get_history, routes::changes::rollback_group,
        routes::changes::scale_server, routes::groups::remove_group, routes::groups::restart_group, routes::groups::validate_group,
        routes::status::get_status, routes::stats::get_stats, routes::daemon_status::get_daemon_status, routes::exec::exec_server,
        routes::tools::deploy_tool, routes::tools::list_tools, routes::tools::get_tools_status,
        routes::tools::remove_tool, routes::tools::start_tool, routes::tools::stop_tool, routes::tools::execute_tool,
        routes::mcp_servers::deploy_mcp_server, routes::mcp_servers::deploy_mcp_servers,
        routes::mcp_servers::get_mcp_servers_status, routes::mcp_servers::scale_mcp_server, routes::mcp_servers::remove_mcp_server,
        routes::discovery::get_mcp_servers_discovery, routes::discovery::get_mcp_server_contract, routes::discovery::approve_mcp_server_contract,
        routes::container_groups::create_container_group, routes::container_groups::get_container_group,
        routes::container_groups::restart_container_group,
        routes::servers::restart_server, routes::servers::start_server, routes::servers::stop_server,
        routes::logs::get_logs, routes::templates::list_templates, routes::templates::get_template,
        gateway::gateway_post, gateway::gateway_listen, gateway::gateway_close,
        gateway::pair::gateway_sse, gateway::pair::gateway_messages, gateway::websocket::gateway_ws,
        gateway::connections::list_connections, gateway::connections::get_connection,
        gateway::connections::put_connection, gateway::connections::remove_connection,
        gateway::groups::gateway_group_post, gateway::groups::gateway_group_listen, gateway::groups::gateway_group_close,
        gateway::groups::gateway_group_sse, gateway::groups::gateway_group_messages, gateway::groups::gateway_group_ws,
        gateway::card::get_server_card, gateway::well_known::get_catalogue,
        gateway::well_known::get_protection, gateway::well_known::get_door_protection,
        gateway::well_known::get_group_door_protection,
    ),
    components(schemas(GroupRequest, ErrorBody, JsonRpcFailure, EventView, LogLineView)),
    modifiers(&FromTheTable),
    tags(
        (name = "groups", description = "Groups of servers, deployed and removed together"),
        (name = "servers", description = "One server"),
        (name = "templates", description = "Configuration templates"),
        (name = "tools", description = "One tool or MCP server at a time, in the words of the original"),
        (name = "mcp-servers", description = "MCP servers, in the words of the original"),
        (name = "container-groups", description = "Groups, in the words of the original"),
        (name = "gateway", description = "Where agents come in: MCP onto the servers"),
        (name = "daemon", description = "The daemon itself")
    )
)]
struct Contract;

/// The OpenAPI 3.1 document of everything that works.
#[must_use]
pub fn openapi() -> Document {
    Contract::openapi()
}

/// The document as kept at `docs/openapi.json`: indented, with a newline at its end.
#[must_use]
pub fn openapi_json() -> String {
    let mut text = serde_json::to_string_pretty(&openapi()).unwrap_or_default();
    text.push('\n');
    text
}

/// Adds to each operation what the table of routes knows about it.
struct FromTheTable;

const SCHEME: &str = "bearer";

impl Modify for FromTheTable {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(SCHEME, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        document.extensions.get_or_insert_default().insert("x-error-codes".to_owned(), error_codes());
        for route in table() {
            let Some(item) = document.paths.paths.get_mut(route.path) else { continue };
            let Some(operation) = operation(item, route.method) else { continue };
            failures::add(operation, components, &route);
            if route.mutates() {
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            }
            let (scope, alternatives) = match route.access {
                Access::Open => continue,
                Access::Needs(scope) => (scope, None),
                Access::Redacted(scope) => (scope, Some(SecurityRequirement::default())),
            };
            let needed = SecurityRequirement::new(SCHEME, [scope.as_str()]);
            operation.security = Some(std::iter::once(needed).chain(alternatives).collect());
            let extensions = operation.extensions.get_or_insert_default();
            extensions.insert("x-dtma-scope".to_owned(), scope.as_str().into());
        }
    }
}

/// What each `code` means and what to do about it.
fn error_codes() -> serde_json::Value {
    let entry = |code: &Explanation| {
        (code.word.to_owned(), serde_json::json!({"means": code.means, "remedy": code.remedy}))
    };
    serde_json::Value::Object(explain::CODES.iter().map(entry).collect())
}

fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut utoipa::openapi::path::Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

fn idempotency_key() -> Parameter {
    let text = "Your own name for this request, 1 to 255 visible ASCII characters. The same key with the same \
                request has one effect and gets the same answer for 24 hours, also after a restart of the daemon; with \
                another request it is a 409 `idempotency_key_reused`.";
    let text_of_255 =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(text))
        .schema(Some(text_of_255.pattern(Some("^[!-~]+$"))))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_document_is_the_present_one() {
        let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let kept = std::fs::read_to_string(kept).unwrap_or_default();
        assert!(kept == openapi_json(), "docs/openapi.json is old: run cargo xtask openapi");
    }

    fn operations(document: &serde_json::Value) -> Vec<(String, &serde_json::Value)> {
        let paths = document["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        all.collect()
    }

    #[test]
    fn every_operation_tells_its_failures_with_the_envelope_and_codes() {
        let document = serde_json::to_value(openapi()).unwrap();
        for (name, operation) in operations(&document) {
            let responses = operation["responses"].as_object().unwrap();
            let failures = responses.iter().filter(|(status, _)| status.starts_with(['4', '5']));
            let mut statuses = Vec::new();
            for (status, response) in failures {
                statuses.push(status.as_str());
                let response = match response["$ref"].as_str() {
                    Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                    None => response,
                };
                let body = &response["content"]["application/json"];
                // A message of MCP may also be refused as JSON-RPC does it.
                let ours = body["schema"].get("oneOf").map_or(&body["schema"], |either| &either[0]);
                assert_eq!(ours["$ref"], "#/components/schemas/ErrorBody", "{name} {status}");
                let codes = response["x-dtma-codes"].as_array().unwrap_or_else(|| panic!("{name} {status}"));
                assert!(codes.contains(&body["example"]["code"]), "{name} {status}: {codes:?}");
            }
            assert!(statuses.contains(&"500"), "{name}: {statuses:?}");
            let guarded = ["401", "403", "429"].iter().filter(|status| statuses.contains(status)).count();
            assert_eq!(guarded, if operation["security"].is_array() { 3 } else { 0 }, "{name}: {statuses:?}");
            assert_eq!(operation["x-dtma-scope"], operation["security"][0]["bearer"][0], "{name}");
        }
    }

    #[test]
    fn every_request_body_has_an_example() {
        let document = serde_json::to_value(openapi()).unwrap();
        for (name, operation) in operations(&document) {
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                let referred =
                    content["schema"]["$ref"].as_str().unwrap_or("#/nowhere").trim_start_matches('#');
                let schema = document.pointer(referred).unwrap_or(&content["schema"]);
                let given =
                    [&content["example"], &content["examples"], &schema["example"], &schema["examples"]];
                assert!(given.iter().any(|example| !example.is_null()), "{name} {kind} has no example");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
        let mut count = 0;
        for pointer in references {
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count > 100, "{count}");
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    }

    #[test]
    fn every_code_and_every_rule_is_explained() {
        let explained = |word: &str| explain::explain(word).is_some();
        let text = include_str!("error.rs");
        let codes: Vec<&str> = text
            .split("(StatusCode::")
            .skip(1)
            .filter_map(|rest| rest.split_once(", \"")?.1.split_once("\")"))
            .map(|(code, _)| code)
            .filter(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
            .collect();
        assert!(codes.len() > 40, "the table of errors is no longer read: {codes:?}");
        let warnings = [
            dtma_config::rule::WARN_IMAGE_UNPINNED,
            dtma_config::rule::WARN_ENVIRONMENT_SECRET,
            dtma_config::rule::WARN_NETWORK_HOST,
            dtma_config::rule::WARN_TMPFS_OVER_MEMORY,
            dtma_config::rule::WARN_NEVER_COMPLETES,
        ];
        let words = codes.iter().chain(dtma_config::rule::ALL).chain(&warnings);
        let missing: Vec<&&str> = words.filter(|word| !explained(word)).collect();
        assert!(missing.is_empty(), "add these to dtma-api-types/src/explain: {missing:?}");
    }

    #[test]
    fn the_document_explains_every_code() {
        let document = serde_json::to_value(openapi()).unwrap();
        let codes = document["x-error-codes"].as_object().unwrap();
        assert!(codes["port_taken"]["remedy"].as_str().unwrap().contains("hostPort"));
        assert_eq!(codes.len(), explain::CODES.len());
    }

    #[test]
    fn requests_refuse_unknown_fields_and_explain_every_field() {
        let document = serde_json::to_value(openapi()).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas["ServerRequest"]["additionalProperties"], false);
        for (name, schema) in schemas {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                let explained = property.to_string().contains("\"description\":");
                assert!(explained, "{name}.{field} has no description");
            }
        }
    }
}
