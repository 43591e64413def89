//! `/docs`: the OpenAPI document for people, from files inside the program. The page holds nothing by itself: it
//! asks for `/openapi.json` with the token that the person gives, which stays in the page.

use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

const PAGE: &str = include_str!("docs/docs.html");
const SCRIPT: &str = include_str!("docs/docs.js");
const STYLE: &str = include_str!("docs/docs.css");

/// Nothing comes from anywhere else, and the page is shown inside no other.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The API for people
#[utoipa::path(get, path = "/docs", operation_id = "getDocs", tag = "daemon",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub(crate) async fn get_docs() -> Response {
    asset("text/html; charset=utf-8", PAGE)
}

/// The page's program
#[utoipa::path(get, path = "/docs/docs.js", operation_id = "getDocsScript", tag = "daemon",
    responses((status = 200, description = "JavaScript", body = String, content_type = "text/javascript")))]
pub(crate) async fn get_docs_script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// The page's looks
#[utoipa::path(get, path = "/docs/docs.css", operation_id = "getDocsStyle", tag = "daemon",
    responses((status = 200, description = "CSS", body = String, content_type = "text/css")))]
pub(crate) async fn get_docs_style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
