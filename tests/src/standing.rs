//! Whether the engine shows of a group exactly what the daemon's own record says is wanted: for each replica of each
//! server one container, made from the wanted configuration or from one of its shape and then given its environment,
//! under its plain name.

use crate::daemon::shims;
use crate::engine::{self, environment};
use crate::rest::Rest;
use dtma_config::{Configurator, Policy, Rendered, Templates};
use dtma_core::hash::shape;
use dtma_core::id::{GroupId, OwnerId, SlotId, container_name};
use dtma_core::label;
use dtma_core::spec::GroupSpec;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything in which the engine differs from what is wanted of a group that runs; empty when nothing.
pub async fn deviations(rest: &Rest, group: &str) -> Vec<String> {
    match wanted_spec(rest, group).await {
        Ok(spec) => compare(&spec, &engine::containers(group)),
        Err(problem) => vec![problem],
    }
}

/// The spec of the generation that is wanted now.
async fn wanted_spec(rest: &Rest, group: &str) -> Result<GroupSpec, String> {
    let answer = rest.try_send(http::Method::GET, &format!("/mcp/groups/{group}/history"), "").await?;
    let generations = answer.json["data"]["generations"].as_array().cloned().unwrap_or_default();
    let current: Vec<Value> = generations.into_iter().filter(|one| one["current"] == true).collect();
    let [current] = current.as_slice() else {
        return Err(format!("not one generation is the present one: {}", answer.text));
    };
    serde_json::from_value(current["spec"].clone()).map_err(|error| format!("{error}: {current}"))
}

fn compare(spec: &GroupSpec, seen: &[Value]) -> Vec<String> {
    let wanted = wanted(spec, seen);
    let mut wrong = Vec::new();
    for container in seen {
        let (name, hash) = (name_of(container), label_of(container, label::CONFIG_HASH));
        match wanted.get(name) {
            None => wrong.push(format!("{name} ({}, {hash}) is not wanted", container["State"]["Status"])),
            Some(_) if container["State"]["Running"] != true => wrong.push(format!("{name} does not run")),
            Some(wanted) => wrong.extend(differs(container, wanted).map(|how| format!("{name}{how}"))),
        }
    }
    let missing = wanted.keys().filter(|name| !seen.iter().any(|container| name_of(container) == *name));
    wrong.extend(missing.map(|name| format!("{name} is missing")));
    wrong
}

/// How what runs in a container differs from what is wanted there. What a shim begins has to show it itself.
fn differs(container: &Value, wanted: &Rendered) -> Option<String> {
    let (hash, made) = (label_of(container, label::CONFIG_HASH), label_of(container, label::SHAPE));
    let shape = shape(&wanted.config).map(|shape| shape.to_string()).unwrap_or_default();
    if shape.is_empty() {
        return (hash != wanted.hash.as_str()).then(|| format!(" was made from {hash}, not {}", wanted.hash));
    }
    if made != shape {
        return Some(format!(" is of shape {made}, not {shape}"));
    }
    let environment = environment(container["Id"].as_str().unwrap_or_default());
    let missing =
        wanted.config.environment.iter().find(|(name, value)| environment.get(*name) != Some(value));
    missing.map(|(name, value)| format!(" is not told {name}={value}, but {:?}", environment.get(name)))
}

/// The names that containers are to have, and what is to run in them.
fn wanted(spec: &GroupSpec, seen: &[Value]) -> BTreeMap<String, Rendered> {
    // Without a container everything is missing, whoever's it is.
    let owner = seen.first().map_or("nobody", |container| label_of(container, label::OWNER));
    let owner = OwnerId::from(owner);
    let configurator = Configurator::new(Templates::builtin(), Policy::default()).with_shim(shims());
    let rendered = configurator.render(spec, &owner).expect("what the daemon accepted can be rendered");
    let mut wanted = BTreeMap::new();
    for server in &spec.servers {
        for place in server.places() {
            let slot = slot(&spec.group_id, place);
            wanted.insert(container_name(&owner, &slot), rendered[&server.instance].clone());
        }
    }
    wanted
}

fn slot(group: &GroupId, place: dtma_core::id::ReplicaId) -> SlotId {
    SlotId { group: group.clone(), instance: place.instance, replica: place.replica }
}

fn name_of(container: &Value) -> &str {
    container["Name"].as_str().unwrap_or_default().trim_start_matches('/')
}

fn label_of<'a>(container: &'a Value, label: &str) -> &'a str {
    container["Config"]["Labels"][label].as_str().unwrap_or_default()
}
