//! Requests held against the JSON Schema of the OpenAPI document: one contract, written once.

use crate::suggest::nearest;
use dtma_api_types::compat::{
    DeployServersRequest, ExecRequestBody, ExecuteRequest, ScaleMcpServerRequest, ToolRequest,
};
use dtma_api_types::{ApproveRequest, ConnectionRequest, GroupRequest, RollbackRequest, ScaleRequest};
use dtma_core::violation::{Violation, pointer_token};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Mistakes listed in one answer; the rest of a body that is nothing but mistakes is not worth its bytes.
const MOST: usize = 200;

/// A schema for each request body.
#[derive(Debug)]
pub(crate) struct Schemas(BTreeMap<String, Schema>);

/// The schema of one request body, with all it refers to.
#[derive(Debug)]
struct Schema {
    document: Value,
    validator: Validator,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let all = [
            Schema::of::<GroupRequest>(),
            Schema::of::<RollbackRequest>(),
            Schema::of::<ApproveRequest>(),
            Schema::of::<ConnectionRequest>(),
            Schema::of::<ScaleRequest>(),
            Schema::of::<ScaleMcpServerRequest>(),
            Schema::of::<ToolRequest>(),
            Schema::of::<DeployServersRequest>(),
            Schema::of::<ExecuteRequest>(),
            Schema::of::<ExecRequestBody>(),
        ];
        Self(all.into_iter().flatten().collect())
    }

    /// Every way in which `value` is not the request called `name`.
    pub(crate) fn check(&self, name: &str, value: &Value) -> Vec<Violation> {
        self.0.get(name).map(|schema| schema.check(value)).unwrap_or_default()
    }
}

impl Schema {
    /// What the OpenAPI document says of a type, without the rest of that document.
    fn of<T: ToSchema>() -> Option<(String, Self)> {
        let name = T::name().into_owned();
        let mut components = vec![(name.clone(), T::schema())];
        T::schemas(&mut components);
        let components: BTreeMap<_, _> = components.into_iter().collect();
        let mut document = json!({
            "$ref": format!("#/components/schemas/{name}"),
            "components": {"schemas": components},
        });
        bound(&mut document["components"]["schemas"]);
        let validator = jsonschema::draft202012::new(&document)
            .inspect_err(|error| tracing::error!(name, %error, "a schema of ours is broken"));
        Some((name, Self { validator: validator.ok()?, document }))
    }

    fn check(&self, value: &Value) -> Vec<Violation> {
        let mut found = Vec::new();
        for error in self.validator.iter_errors(value) {
            self.explain(&error, &mut found);
            if found.len() >= MOST {
                break;
            }
        }
        found
    }

    fn explain(&self, error: &ValidationError<'_>, found: &mut Vec<Violation>) {
        match error.kind() {
            ValidationErrorKind::Required { property } => found.push(missing(error, property)),
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                found.extend(unexpected.iter().map(|field| self.unknown(error, field)));
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                for inner in most_specific(context) {
                    self.explain(inner, found);
                }
            }
            kind => {
                let rule = format!("schema.{}", kind.keyword());
                let message = error.masked_with(described(error.instance())).to_string();
                found.push(Violation::new(error.instance_path().as_str(), rule, message));
            }
        }
    }

    fn unknown(&self, error: &ValidationError<'_>, field: &str) -> Violation {
        let pointer = child(error, field);
        let shown: String = field.chars().take(60).collect();
        let violation =
            Violation::new(pointer, "schema.unknown", format!("the field {shown:?} is not known"));
        let properties = error
            .schema_path()
            .as_str()
            .rsplit_once('/')
            .and_then(|(parent, _)| self.document.pointer(&format!("{parent}/properties"))?.as_object());
        let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
        match nearest(field, names) {
            Some(known) => violation.hint(format!("did you mean {known}?")),
            None => violation,
        }
    }
}

/// The document says `int32` and `int64`, which JSON Schema takes for remarks: a number beyond them is refused as said.
fn bound(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let most = match fields.get("format").and_then(Value::as_str) {
                Some("int32") => Some(i64::from(i32::MAX)),
                Some("int64") => Some(i64::MAX),
                Some(_) | None => None,
            };
            if let Some(most) = most {
                fields.entry("maximum").or_insert(most.into());
            }
            fields.values_mut().for_each(bound);
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn missing(error: &ValidationError<'_>, property: &Value) -> Violation {
    let name = property.as_str().unwrap_or_default();
    Violation::new(child(error, name), "schema.required", format!("the field {name:?} is missing"))
}

fn child(error: &ValidationError<'_>, field: &str) -> String {
    format!("{}/{}", error.instance_path().as_str(), pointer_token(field))
}

/// An optional object is "null or that object": the mistakes of the branch that came furthest are the real ones.
fn most_specific<'a>(branches: &'a [Vec<ValidationError<'static>>]) -> &'a [ValidationError<'static>] {
    let depth = |errors: &&'a Vec<ValidationError<'static>>| {
        let deepest = errors.iter().map(|error| error.instance_path().segments().count()).max().unwrap_or(0);
        let wrong_type = errors.iter().any(|error| matches!(error.kind(), ValidationErrorKind::Type { .. }));
        (deepest, !wrong_type)
    };
    branches.iter().max_by_key(depth).map_or(&[], Vec::as_slice)
}

/// The kind of a value; never the value itself, which may be long or secret.
fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "this number",
        Value::String(_) => "this string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[track_caller]
    fn check(request: &Value, expected: &[(&str, &str)]) {
        let found = Schemas::new().check("GroupRequest", request);
        let mut found: Vec<_> = found.iter().map(|v| (v.pointer.as_str(), v.rule.as_str())).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{request}");
    }

    #[test]
    fn every_request_has_its_validator() {
        let document = serde_json::to_value(crate::openapi::openapi()).unwrap();
        let known: Vec<_> = Schemas::new().0.into_keys().collect();
        assert_eq!(known, Vec::from_iter(requests(&document)));
    }

    /// The names of the schemas of all request bodies.
    fn requests(document: &Value) -> BTreeSet<String> {
        let paths = document["paths"].as_object().into_iter().flat_map(serde_json::Map::values);
        let operations = paths.filter_map(Value::as_object).flat_map(serde_json::Map::values);
        let bodies = operations.filter_map(|operation| {
            operation.pointer("/requestBody/content/application~1json/schema/$ref")?.as_str()
        });
        bodies.filter_map(|schema| schema.rsplit('/').next().map(str::to_owned)).collect()
    }

    #[test]
    fn a_sound_request_has_no_mistakes() {
        check(
            &json!({"groupId": "demo", "options": {"sharedNetworking": false}, "servers": [
                {"instanceName": "a", "image": "i", "resources": {"memory": "512MiB", "cpus": 0.5},
                 "mounts": [{"type": "tmpfs", "target": "/x", "size": 1024}], "overrides": {"Env": ["A=b"]}}]}),
            &[],
        );
    }

    #[test]
    fn every_mistake_is_listed_at_once() {
        check(
            &json!({"groupID": "demo", "servers": [
                {"instanceName": 7, "kind": "robot", "port": 0, "environment": {"A": 1},
                 "resources": {"memory": true, "cpu": 1}, "mounts": [{"type": "volume"}]},
                "text"], "labels": []}),
            &[
                ("/groupID", "schema.unknown"),
                ("/groupId", "schema.required"),
                ("/labels", "schema.type"),
                ("/servers/0/environment/A", "schema.type"),
                ("/servers/0/image", "schema.required"),
                ("/servers/0/instanceName", "schema.type"),
                ("/servers/0/kind", "schema.enum"),
                ("/servers/0/mounts/0/target", "schema.required"),
                ("/servers/0/port", "schema.minimum"),
                ("/servers/0/resources/cpu", "schema.unknown"),
                ("/servers/0/resources/memory", "schema.type"),
                ("/servers/1", "schema.type"),
            ],
        );
    }

    #[test]
    fn a_mistake_in_one_of_two_forms_is_told_as_one_of_that_form() {
        let with = |session: Value| json!({"groupId": "g", "servers": [{"instanceName": "a", "image": "i", "session": session}]});
        check(&with(json!("per-session")), &[]);
        check(&with(json!({"mode": "per-session", "max": 4})), &[]);
        check(&with(json!("mine")), &[("/servers/0/session", "schema.enum")]);
        check(&with(json!({"maximum": 4})), &[("/servers/0/session/maximum", "schema.unknown")]);
        check(&with(json!({"max": 0})), &[("/servers/0/session/max", "schema.minimum")]);
    }

    #[test]
    fn an_unknown_field_comes_with_a_hint() {
        let found = Schemas::new().check("GroupRequest", &json!({"groupId": "g", "server": []}));
        let hints: Vec<_> = found.iter().filter_map(|violation| violation.hint.as_deref()).collect();
        assert_eq!(hints, ["did you mean servers?"]);
    }

    #[test]
    fn numbers_beyond_their_format_are_refused() {
        let with = |grace: u64, delay: u64| {
            json!({"groupId": "g", "servers": [{"instanceName": "a", "image": "i", "stopGraceMs": grace,
                "restart": {"delayMs": delay}}]})
        };
        let most = u64::try_from(i64::MAX).unwrap();
        check(&with(most, most), &[]);
        check(
            &with(most + 1, most + 1),
            &[("/servers/0/restart/delayMs", "schema.maximum"), ("/servers/0/stopGraceMs", "schema.maximum")],
        );
    }

    #[test]
    fn values_never_stand_in_messages() {
        let request = json!({"groupId": "g", "servers": [{"instanceName": "a", "image": "i",
            "environment": {"TOKEN": ["s3cret"]}, "kind": "s3cret", "port": 99999}]});
        let found = Schemas::new().check("GroupRequest", &request);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|violation| !violation.message.contains("s3cret")), "{found:?}");
    }
}
