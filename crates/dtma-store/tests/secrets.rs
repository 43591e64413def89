//! No field of anything that is stored is a place for a secret.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a broken test should stop where it broke"
)]

mod support;

use serde_json::Value;
use support::content;

/// Maps whose keys are people's words, not our fields.
const FREE: [&str; 3] = ["environment", "labels", "overrides"];
/// Parts of names that secrets go by.
const SECRET: [&str; 9] =
    ["secret", "token", "password", "passwd", "credential", "apikey", "api_key", "authorization", "bearer"];

fn fields(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.push(key.to_lowercase());
                if !FREE.contains(&key.as_str()) {
                    fields(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The fixture names every field, and what is written here is the types' own words for it.
#[test]
fn no_stored_field_is_named_like_a_secret() {
    let mut names = Vec::new();
    fields(&serde_json::to_value(content(dtma_store::SCHEMA)).unwrap(), &mut names);
    assert!(names.iter().any(|name| name == "manual_restarts"), "the walk reaches the depths: {names:?}");
    for name in names {
        assert!(!SECRET.iter().any(|secret| name.contains(secret)), "{name}");
    }
}
