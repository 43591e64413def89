//! The contract: the OpenAPI document as a pure function. Paths and bodies come from the handlers, security and the
//! answers that every route can give from the table of routes.

use crate::auth::Access;
use crate::routes::table;
use crate::{gateway, routes};
use dtma_api_types::explain::{self, Explanation};
use dtma_api_types::{ErrorBody, EventView, GroupRequest, LogLineView};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, PathItem, Ref, RefOr, Response, ResponseBuilder};
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
        routes::meta::get_openapi, routes::meta::get_metrics, routes::events::stream_events,
        routes::groups::deploy_group, routes::groups::list_groups, routes::groups::get_group,
        routes::groups::remove_group, routes::groups::restart_group, routes::groups::validate_group,
        routes::status::get_status, routes::stats::get_stats,
        routes::servers::restart_server, routes::servers::start_server, routes::servers::stop_server,
        routes::logs::get_logs, routes::templates::list_templates, routes::templates::get_template,
        gateway::gateway_post, gateway::gateway_listen, gateway::gateway_close,
    ),
    components(schemas(GroupRequest, ErrorBody, EventView, LogLineView)),
    modifiers(&FromTheTable),
    tags(
        (name = "groups", description = "Groups of servers, deployed and removed together"),
        (name = "servers", description = "One server"),
        (name = "templates", description = "Configuration templates"),
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
            for (status, text) in failures(route.access) {
                let failure = RefOr::T(failure(text));
                operation.responses.responses.entry((*status).to_owned()).or_insert(failure);
            }
            if let Access::Needs(scope) = route.access {
                operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope.as_str()])]);
            }
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
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// What every route can say besides its own answers.
fn failures(access: Access) -> &'static [(&'static str, &'static str)] {
    match access {
        Access::Open => &[("5XX", "The daemon, the engine or a server failed")],
        Access::Needs(_) => &[
            ("401", "No token, or one that is not known"),
            ("403", "The token lacks the scope, or the request comes from another site's page"),
            ("4XX", "A mistake of the request: every one is listed"),
            ("5XX", "The daemon, the engine or a server failed"),
        ],
    }
}

fn failure(text: &str) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    ResponseBuilder::new().description(text).content("application/json", body).build()
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

    #[test]
    fn every_reference_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        let text = document.to_string();
        let references =
            text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in references {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
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
