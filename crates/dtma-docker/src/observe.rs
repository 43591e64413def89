//! Seeing containers: what the engine's inspection says, as an observation.
//!
//! A container counts as ours only when every reserved label is there, well formed, and agrees with its name: an
//! image's own labels become container labels too.

use crate::connect::Link;
use crate::errors::{Op, path_segment};
use crate::raw::{self, percent_encoded};
use bollard::models::{ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use dtma_core::Timestamp;
use dtma_core::id::{ContainerId, OwnerId};
use dtma_core::label::{self, Identity};
use dtma_core::observation::{ContainerObservation, ContainerState};
use dtma_core::port::runtime::{RuntimeError, Scope};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::HashMap;
use std::net::IpAddr;

/// Inspections under way at the same time.
const INSPECTIONS: usize = 8;

/// The engine's filter for this scope.
pub(crate) fn label_filter(scope: &Scope) -> HashMap<String, Vec<String>> {
    let mut labels = vec![format!("{}=true", label::MANAGED), format!("{}={}", label::OWNER, scope.owner)];
    labels.extend(scope.group.as_ref().map(|group| format!("{}={group}", label::GROUP)));
    [("label".to_owned(), labels)].into()
}

/// Whether labels are of this scope: Podman (4.3, measured) takes several label filters of volumes for alternatives.
pub(crate) fn in_scope(scope: &Scope, labels: &HashMap<String, String>) -> bool {
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    is(label::MANAGED, "true")
        && is(label::OWNER, scope.owner.as_str())
        && scope.group.as_ref().is_none_or(|group| is(label::GROUP, group.as_str()))
}

pub(crate) async fn containers(
    link: &Link,
    scope: &Scope,
) -> Result<Vec<ContainerObservation>, RuntimeError> {
    let op = Op::new("list containers", "engine", link.endpoint());
    let filter = label_filter(scope);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
    let ask = |docker: bollard::Docker| async move { docker.list_containers(Some(options)).await };
    let filter = percent_encoded(&serde_json::json!(filter).to_string());
    let path = format!("/containers/json?all=true&filters={filter}");
    let listed = raw::read(link, op, &path, ask).await?;
    let ids = listed.into_iter().filter_map(|summary| summary.id.map(ContainerId::from));
    let seen = stream::iter(ids).map(|id| look(link, &scope.owner, id)).buffered(INSPECTIONS);
    seen.try_filter_map(async |found| Ok(found)).try_collect().await
}

/// One of a list; it may be gone by now.
async fn look(
    link: &Link,
    owner: &OwnerId,
    id: ContainerId,
) -> Result<Option<ContainerObservation>, RuntimeError> {
    match raw_inspect(link, &id).await {
        Err(RuntimeError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(raw) => Ok(seen(link, owner, raw)
            .inspect_err(
                |problem| tracing::warn!(container = %id, problem, "a container is not taken for ours"),
            )
            .ok()),
    }
}

pub(crate) async fn inspect(
    link: &Link,
    owner: &OwnerId,
    id: &ContainerId,
) -> Result<ContainerObservation, RuntimeError> {
    let raw = raw_inspect(link, id).await?;
    seen(link, owner, raw)
        .map_err(|problem| RuntimeError::NotFound { what: format!("container {id} of ours ({problem})") })
}

pub(crate) async fn raw_inspect(
    link: &Link,
    id: &ContainerId,
) -> Result<ContainerInspectResponse, RuntimeError> {
    let op = Op::new("inspect container", "container", id.as_str());
    let id = path_segment(op)?;
    let ask = |docker: bollard::Docker| async move {
        docker.inspect_container(id, None::<InspectContainerOptions>).await
    };
    raw::read(link, op, &format!("/containers/{id}/json"), ask).await
}

/// The observation, completed with what was heard, or why this container is none of ours. Its address is noted.
fn seen(
    link: &Link,
    owner: &OwnerId,
    raw: ContainerInspectResponse,
) -> Result<ContainerObservation, &'static str> {
    let address = address(&raw);
    let seen = observation(raw, owner)?;
    link.addresses.note(&seen, address);
    Ok(link.ooms.complete(seen))
}

/// That of the network which has one.
fn address(raw: &ContainerInspectResponse) -> Option<IpAddr> {
    let networks = raw.network_settings.as_ref()?.networks.as_ref()?;
    networks.values().find_map(|endpoint| endpoint.ip_address.as_ref()?.parse().ok())
}

/// The observation, or why this container is none of ours.
fn observation(raw: ContainerInspectResponse, owner: &OwnerId) -> Result<ContainerObservation, &'static str> {
    let has_address = address(&raw).is_some();
    let labels = raw.config.and_then(|config| config.labels).unwrap_or_default();
    let name = raw.name.unwrap_or_default().trim_start_matches('/').to_owned();
    let identity = identity(&labels, &name, owner)?;
    Ok(ContainerObservation {
        id: raw.id.ok_or("it has no id")?.into(),
        name,
        slot: identity.slot,
        generation: identity.generation,
        made_from: identity.config_hash.clone(),
        config_hash: identity.config_hash,
        shape: identity.shape,
        in_doubt: false,
        image_id: raw.image.unwrap_or_default().into(),
        state: state(raw.state.as_ref().ok_or("it has no state")?)?,
        joined: has_address.then_some(identity.network),
        shim: identity.shim,
    })
}

fn identity(labels: &HashMap<String, String>, name: &str, owner: &OwnerId) -> Result<Identity, &'static str> {
    let identity = label::identity(|key| labels.get(key).map(String::as_str));
    let identity = identity.ok_or("a reserved label is missing or malformed")?;
    if identity.owner != *owner {
        return Err("it belongs to another installation");
    }
    if !identity.may_bear(name) {
        return Err("its name does not belong to its labels");
    }
    Ok(identity)
}

fn state(raw: &EngineState) -> Result<ContainerState, &'static str> {
    let started_at = moment(raw.started_at.as_deref());
    let running = started_at.ok_or("it runs and has no start time");
    match raw.status.ok_or("it has no status")? {
        ContainerStateStatusEnum::CREATED => Ok(ContainerState::Created),
        // Its process exists until the stop is done.
        ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING => {
            Ok(ContainerState::Running { started_at: running? })
        }
        ContainerStateStatusEnum::PAUSED => Ok(ContainerState::Paused { started_at: running? }),
        // Between two runs of a restart policy that somebody set by hand: there is no process.
        ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::RESTARTING => {
            // An engine that was killed may not know when the process began.
            let Some(started_at) = started_at else { return Ok(ContainerState::Created) };
            let finished_at = moment(raw.finished_at.as_deref()).unwrap_or(started_at).max(started_at);
            let (code, oom) = (raw.exit_code.unwrap_or_default(), raw.oom_killed.unwrap_or_default());
            Ok(ContainerState::Exited { started_at, finished_at, code, oom })
        }
        ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD => Ok(ContainerState::Dead),
        ContainerStateStatusEnum::EMPTY => Err("its status is empty"),
    }
}

/// The engine's time with all its nanoseconds; its year 1 means never.
fn moment(text: Option<&str>) -> Option<Timestamp> {
    text.filter(|text| !text.starts_with("0001-"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_core::spec::NetworkMode;
    use serde_json::{Value, json};

    const OWNER: &str = "0a0b0c0d-0000-4000-8000-000000000001";

    fn inspection(state: &Value) -> Value {
        json!({
            "Id": "ab12",
            "Name": "/dtma-0a0b0c0d-demo-time-0",
            "Image": "sha256:00ff",
            "State": state,
            "Config": { "Labels": {
                "io.dtma.managed": "true",
                "io.dtma.owner": OWNER,
                "io.dtma.group": "demo",
                "io.dtma.instance": "time",
                "io.dtma.replica": "0",
                "io.dtma.generation": "3",
                "io.dtma.config-hash": "h",
                "io.dtma.kind": "mcp",
            } },
            "NetworkSettings": { "Networks": { "none": { "IPAddress": "" } } },
        })
    }

    #[test]
    fn labels_of_another_installation_or_group_are_out_of_scope() {
        let scope =
            |group: Option<&str>| Scope { owner: OWNER.into(), group: group.map(|g| g.parse().unwrap()) };
        let labels = |owner: &str| {
            [(label::MANAGED, "true"), (label::OWNER, owner), (label::GROUP, "demo")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        };
        assert!(in_scope(&scope(None), &labels(OWNER)) && in_scope(&scope(Some("demo")), &labels(OWNER)));
        assert!(!in_scope(&scope(None), &labels("else")) && !in_scope(&scope(Some("other")), &labels(OWNER)));
        assert!(!in_scope(&scope(None), &HashMap::new()));
    }

    fn observe(raw: Value) -> Result<ContainerObservation, &'static str> {
        observation(serde_json::from_value(raw).unwrap(), &OWNER.into())
    }

    #[track_caller]
    fn check(state: &Value, expected: ContainerState) {
        assert_eq!(observe(inspection(state)).unwrap().state, expected);
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const BEGAN: &str = "2026-11-20T16:41:22.123456789Z";
    const ENDED: &str = "2026-11-20T16:41:23.000000001Z";
    const NEVER: &str = "0001-01-01T00:00:00Z";

    #[test]
    fn every_state_has_its_word() {
        let state = |status: &str, code: i64| json!({ "Status": status, "StartedAt": BEGAN, "FinishedAt": ENDED, "ExitCode": code, "OOMKilled": false });
        let (started_at, finished_at) = (at(BEGAN), at(ENDED));
        let never = json!({ "Status": "created", "StartedAt": NEVER, "FinishedAt": NEVER });
        check(&never, ContainerState::Created);
        check(&state("running", 0), ContainerState::Running { started_at });
        check(&state("paused", 0), ContainerState::Paused { started_at });
        let exited = |code| ContainerState::Exited { started_at, finished_at, code, oom: false };
        check(&state("exited", 3), exited(3));
        check(&state("restarting", 1), exited(1));
        check(&state("removing", 0), ContainerState::Dead);
        check(&state("dead", 0), ContainerState::Dead);
    }

    #[test]
    fn nanoseconds_are_kept() {
        assert_eq!(moment(Some(BEGAN)).unwrap().to_string(), BEGAN);
    }

    #[test]
    fn a_container_that_only_pretends_is_refused() {
        let state = json!({ "Status": "created", "StartedAt": NEVER });
        let mut forged = inspection(&state);
        forged["Name"] = json!("/dtma-0a0b0c0d-demo-other-0");
        assert_eq!(observe(forged), Err("its name does not belong to its labels"));
        let mut bare = inspection(&state);
        bare["Config"]["Labels"]["io.dtma.generation"] = json!("x");
        assert_eq!(observe(bare), Err("a reserved label is missing or malformed"));
        let stranger = observation(serde_json::from_value(inspection(&state)).unwrap(), &"else".into());
        assert_eq!(stranger, Err("it belongs to another installation"));
    }

    #[test]
    fn a_container_says_whether_it_has_a_shim() {
        let mut raw = inspection(&json!({ "Status": "running", "StartedAt": BEGAN }));
        assert!(!observe(raw.clone()).unwrap().shim);
        raw["Config"]["Labels"]["io.dtma.shim"] = json!("1");
        assert!(observe(raw).unwrap().shim);
    }

    #[test]
    fn the_address_is_that_of_the_network_which_has_one() {
        let mut raw = inspection(&json!({ "Status": "running", "StartedAt": BEGAN }));
        let address_of = |raw: &Value| address(&serde_json::from_value(raw.clone()).unwrap());
        assert_eq!((address_of(&raw), observe(raw.clone()).unwrap().joined), (None, None));
        raw["NetworkSettings"]["Networks"] = json!({ "dtma": { "IPAddress": "10.249.0.2" } });
        assert_eq!(address_of(&raw), "10.249.0.2".parse().ok());
        assert_eq!(observe(raw).unwrap().joined, Some(NetworkMode::Group));
    }
}
