//! The hash that answers "is this still the wanted configuration?".

use dtma_core::container::ContainerConfig;
use dtma_core::id::ConfigHash;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The first 32 hex digits of the SHA-256 over the configuration's canonical JSON: keys sorted, no white space.
/// Independent of the order in which fields are declared, so that moving one restarts nothing.
#[must_use]
pub fn config_hash(config: &ContainerConfig) -> ConfigHash {
    // A configuration of strings and integers always serialises; should that ever change, its debug form still
    // tells two configurations apart.
    let text = serde_json::to_value(config).map_or_else(|_| format!("{config:?}"), |value| canonical(&value));
    let mut hex = String::with_capacity(32);
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        let _ = write!(hex, "{byte:02x}");
    }
    ConfigHash(hex)
}

/// Sorts by itself instead of trusting `serde_json`, whose map order depends on a feature that any crate of a build
/// may switch on.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let fields =
                sorted.into_iter().map(|(key, value)| format!("{}:{}", quoted(key), canonical(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn quoted(key: &str) -> String {
    Value::from(key).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_has_sorted_keys_and_no_space() {
        let value: Value =
            serde_json::from_str(r#" {"b": [1, {"z": null, "a": "x\"y"}], "a": true} "#).unwrap();
        assert_eq!(canonical(&value), r#"{"a":true,"b":[1,{"a":"x\"y","z":null}]}"#);
    }
}
