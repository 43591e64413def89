//! The hashes that answer "is this still the wanted configuration?" and "could this container run the wanted one?".

use crate::container::ContainerConfig;
use crate::id::{ConfigHash, ShapeHash};
use crate::spec::PullPolicy;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The first 32 hex digits of the SHA-256 over the configuration's canonical JSON: keys sorted, no white space.
/// Independent of the order in which fields are declared, so that moving one restarts nothing.
#[must_use]
pub fn config_hash(config: &ContainerConfig) -> ConfigHash {
    ConfigHash(digest(config))
}

/// The same over what a container with a shim is made from: the configuration without what its process is only given
/// when it begins. Two configurations of one shape can run in one container, one after the other. `None`: a container
/// of this configuration is never given another one's process, because it has no shim, or because its image is to be
/// fetched each time.
#[must_use]
pub fn shape(config: &ContainerConfig) -> Option<ShapeHash> {
    if !config.shim || config.pull == PullPolicy::Always {
        return None;
    }
    let mut made_from = ContainerConfig { environment: BTreeMap::new(), ..config.clone() };
    if config.own_argv().is_some() {
        (made_from.command, made_from.args) = (Some(Vec::new()), None);
    }
    Some(ShapeHash(digest(&made_from)))
}

fn digest(config: &ContainerConfig) -> String {
    // A configuration of strings and integers always serialises; should that ever change, its debug form still
    // tells two configurations apart.
    let text = serde_json::to_value(config).map_or_else(|_| format!("{config:?}"), |value| canonical(&value));
    let mut hex = String::with_capacity(32);
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
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
    use crate::container::testing;
    use std::time::Duration;

    fn with(change: impl FnOnce(&mut ContainerConfig)) -> ContainerConfig {
        let mut config = ContainerConfig { shim: true, ..testing::config() };
        change(&mut config);
        config
    }

    #[test]
    fn what_a_process_is_only_given_when_it_begins_is_not_of_the_shape() {
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect());
        let variable = |config: &mut ContainerConfig| drop(config.environment.insert("A".into(), "1".into()));
        assert_eq!(shape(&with(variable)), shape(&with(|_| {})));
        let command = |command| shape(&with(|config| config.command = command));
        assert_eq!(command(words("sh -c x")), command(words("cat")));
        assert_ne!(
            command(words("sh")),
            command(None),
            "the image's command is known to the container alone"
        );
        let args = |args| shape(&with(|config| config.args = args));
        assert_ne!(args(words("-v")), args(None), "they follow the image's entrypoint");
        for other in [
            with(|config| config.limits.memory += 1),
            with(|config| config.image = "other".into()),
            with(|config| config.stop_grace += Duration::from_secs(1)),
            with(|config| drop(config.labels.insert("a".into(), "1".into()))),
        ] {
            assert_ne!(shape(&other), shape(&with(|_| {})), "{other:?}");
        }
    }

    #[test]
    fn what_has_no_shim_or_is_fetched_anew_each_time_is_never_changed_in_place() {
        assert_eq!(shape(&with(|config| config.shim = false)), None);
        assert_eq!(shape(&with(|config| config.pull = PullPolicy::Always)), None);
        assert!(shape(&with(|_| {})).is_some());
    }

    #[test]
    fn canonical_json_has_sorted_keys_and_no_space() {
        let value: Value =
            serde_json::from_str(r#" {"b": [1, {"z": null, "a": "x\"y"}], "a": true} "#).unwrap();
        assert_eq!(canonical(&value), r#"{"a":true,"b":[1,{"a":"x\"y","z":null}]}"#);
    }
}
