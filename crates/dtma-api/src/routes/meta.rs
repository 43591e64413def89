//! The daemon about itself.

use super::table;
use crate::answer::{Answer, json, ok};
use crate::app::App;
use crate::auth::Access;
use crate::error::ApiError;
use crate::openapi::openapi_json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dtma_api_types::{Envelope, HealthView, IndexEntry, IndexView, ReadyView};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::sync::LazyLock;

/// What can be asked
#[utoipa::path(get, path = "/", operation_id = "getIndex", tag = "daemon",
    responses((status = 200, description = "Every endpoint", body = Envelope<IndexView>)))]
pub(crate) async fn get_index() -> Answer {
    let entry = |route: super::Route| IndexEntry {
        method: route.method.to_owned(),
        path: route.path.to_owned(),
        operation_id: route.operation.to_owned(),
        scope: match route.access {
            Access::Open => None,
            Access::Needs(scope) | Access::Redacted(scope) => Some(scope.to_string()),
        },
    };
    ok(
        "dtma",
        IndexView {
            service: "dtma".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            documentation: "/docs".into(),
            endpoints: table().into_iter().map(entry).collect(),
        },
    )
}

/// Is anybody there?
#[utoipa::path(get, path = "/health", operation_id = "getHealth", tag = "daemon",
    responses((status = 200, description = "`OK`", body = String, content_type = "text/plain")))]
pub(crate) async fn get_health() -> &'static str {
    "OK"
}

/// Is the daemon alive?
///
/// Liveness only: it says nothing about the engine.
#[utoipa::path(get, path = "/healthz", operation_id = "getHealthz", tag = "daemon",
    responses((status = 200, description = "Alive", body = Envelope<HealthView>)))]
pub(crate) async fn get_healthz(State(app): State<App>) -> Answer {
    ok("alive", HealthView { status: "ok".into(), uptime_seconds: app.uptime_seconds() })
}

/// Can the daemon do its work?
///
/// It can when the container engine answered the last time it was asked, a second ago or a few at most.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadyz", tag = "daemon",
    responses((status = 200, description = "Ready", body = Envelope<ReadyView>)))]
pub(crate) async fn get_readyz(State(app): State<App>) -> Answer {
    app.manager().engine().await?;
    ok("ready", ReadyView { status: "ready".into() })
}

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "getOpenapi", tag = "daemon",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")))]
pub(crate) async fn get_openapi() -> Response {
    // Made for the first who asks: most daemons are never asked, and it costs some megabytes to make.
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi_json().into());
    json(StatusCode::OK, DOCUMENT.clone())
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "daemon",
    responses((status = 200, description = "OpenMetrics text", body = String,
               content_type = "application/openmetrics-text")))]
pub(crate) async fn get_metrics(State(app): State<App>) -> Answer {
    let text = app.metrics().text().map_err(|error| ApiError::Internal(error.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
