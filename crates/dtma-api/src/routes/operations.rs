//! Operations: what was asked, by whom, and what became of it.

use crate::answer::{Answer, ok};
use crate::app::App;
use crate::error::ApiError;
use crate::path::Named;
use crate::query::Asked;
use crate::view;
use axum::extract::State;
use dtma_api_types as wire;
use dtma_api_types::{Envelope, OperationList, OperationView};
use dtma_core::id::OperationId;
use dtma_manager::OperationFilter;
use serde::Deserialize;
use std::str::FromStr;
use utoipa::IntoParams;

/// Operations given when nobody says how many.
const DEFAULT_LIMIT: usize = 100;
/// The most of one answer.
const MOST: usize = 1000;

/// Which operations.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperationsQuery {
    /// Only of this group.
    group_id: Option<String>,
    /// Only of this server alone.
    instance_name: Option<String>,
    /// Only of this kind.
    kind: Option<wire::OperationKind>,
    /// Only those that are so far.
    state: Option<wire::OperationState>,
    /// At most so many (default 100, at most 1000).
    limit: Option<usize>,
}

impl OperationsQuery {
    fn filter(&self) -> Result<OperationFilter, ApiError> {
        Ok(OperationFilter {
            group: name(self.group_id.as_deref())?,
            instance: name(self.instance_name.as_deref())?,
            kind: self.kind.map(view::operation_kind_of),
            state: self.state.map(view::operation_state_of),
        })
    }

    fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MOST => Ok(limit),
            limit => Err(ApiError::Query(format!("limit: {limit} is not between 1 and {MOST}"))),
        }
    }
}

fn name<T: FromStr>(text: Option<&str>) -> Result<Option<T>, ApiError>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| text.parse().map_err(|problem: T::Err| ApiError::Query(problem.to_string()))).transpose()
}

/// List operations
///
/// The newest first. All that are under way, and the newest thousand that ended, also of groups that are gone.
#[utoipa::path(get, path = "/operations", operation_id = "listOperations", tag = "daemon",
    params(OperationsQuery),
    responses((status = 200, description = "Operations, the newest first", body = Envelope<OperationList>)))]
pub(crate) async fn list_operations(State(app): State<App>, Asked(query): Asked<OperationsQuery>) -> Answer {
    let found = app.manager().operations(&query.filter()?, query.limit()?);
    let operations: Vec<OperationView> = found.iter().map(view::operation).collect();
    ok(format!("{} operation(s)", operations.len()), OperationList { operations })
}

/// Look at an operation
///
/// Also after its client hung up, after a restart of the daemon, and after its group is gone.
#[utoipa::path(get, path = "/operations/{operationId}", operation_id = "getOperation", tag = "daemon",
    params(("operationId" = String, Path, description = "The operation")),
    responses((status = 200, description = "The operation", body = Envelope<OperationView>)))]
pub(crate) async fn get_operation(State(app): State<App>, Named(id): Named<String>) -> Answer {
    let found = app.manager().operation(&OperationId::from(id.as_str()));
    let operation = found.ok_or_else(|| ApiError::NoOperation(id.chars().take(64).collect()))?;
    let shown = view::operation(&operation);
    ok(format!("{} of group {} is {}", shown.kind, shown.group_id, shown.state), shown)
}
