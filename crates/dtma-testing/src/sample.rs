//! Small, sound values of core's larger types, so that a test writes down only what it is about.

mod credential;

pub use credential::{api_key, credential_id, credentials, oauth_tokens, revealed, told};

use dtma_core::Timestamp;
use dtma_core::catalogue::{Catalogue, Items, Offers};
use dtma_core::connection::{Agent, CallRate, Connection, Grant, Servers, Terms};
use dtma_core::container::{
    ContainerConfig, ContainerMount, CreateContainer, ImageFacts, Isolation, Launch, Limits, LogDriver, RunAs,
};
use dtma_core::contract::{Contract, FIRST};
use dtma_core::history::{Exit, GroupHistory};
use dtma_core::id::{
    ConfigHash, ContainerId, Generation, GroupId, ImageRef, InstanceName, OwnerId, ReplicaId, RunKey, SlotId,
    container_name,
};
use dtma_core::idempotency::{IdempotencyKey, KeptAnswer};
use dtma_core::label;
use dtma_core::record::{
    Cause, Fate, GatewaySession, GroupGoal, GroupRecord, Handshake, Operation, OperationKind, Outcome,
    Revision, Rollout, ServerGoal, ServerRecord, Wishes,
};
use dtma_core::spec::{GroupSpec, NetworkMode, PullPolicy, ServerKind, ServerSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
/// What every sample was rendered to.
const SAMPLE_HASH: &str = "sample-hash";

/// A group id.
#[must_use]
pub fn group(name: &str) -> GroupId {
    name.parse().expect("a valid group id")
}

/// An instance name.
#[must_use]
pub fn instance(name: &str) -> InstanceName {
    name.parse().expect("a valid instance name")
}

/// So many seconds after 2026-01-01T00:00:00Z.
#[must_use]
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).expect("a time within range")
}

/// The first replica's place.
#[must_use]
pub fn slot(group_id: &str, name: &str) -> SlotId {
    SlotId { group: group(group_id), instance: instance(name), replica: 0 }
}

/// The hardened defaults: the limits and isolation of the `standard` template, `/tmp` and `/run` in memory, no
/// network, standard input open, no log.
#[must_use]
pub fn container_config(image: &str) -> ContainerConfig {
    let tmpfs = |target: &str, size| ContainerMount::Tmpfs { target: target.to_owned(), size, exec: false };
    ContainerConfig {
        image: image.into(),
        platform: None,
        pull: PullPolicy::Never,
        command: None,
        args: None,
        environment: BTreeMap::new(),
        labels: BTreeMap::new(),
        mounts: vec![tmpfs("/tmp", 64 * MIB), tmpfs("/run", 16 * MIB)],
        network: NetworkMode::None,
        limits: limits(),
        isolation: isolation(),
        open_stdin: true,
        log: LogDriver::None,
        stop_grace: Duration::from_secs(10),
        shim: false,
        egress: Vec::new(),
        connects: Vec::new(),
    }
}

fn limits() -> Limits {
    Limits {
        memory: 256 * MIB,
        cpu_millis: 500,
        pids: 128,
        nofile_soft: 1024,
        nofile_hard: 4096,
        oom_score_adj: 500,
    }
}

fn isolation() -> Isolation {
    Isolation { read_only_root: true, cap_drop: vec!["ALL".to_owned()], no_new_privileges: true, init: true }
}

/// A request to make the container of `slot`, with its proper name and labels.
#[must_use]
pub fn create_container(
    owner: &OwnerId,
    slot: &SlotId,
    config: ContainerConfig,
    image: &ImageFacts,
) -> CreateContainer {
    let config_hash = ConfigHash::from(SAMPLE_HASH);
    let labels = label::for_container(owner, slot, ServerKind::Tool, Generation(1), &config_hash);
    CreateContainer {
        name: container_name(owner, slot),
        slot: slot.clone(),
        generation: Generation(1),
        config_hash,
        config,
        image: image.clone(),
        run_as: RunAs { uid: 65_532, gid: 65_532 },
        network: None,
        labels,
        shim: None,
    }
}

/// What the process of a [`create_container`] without an environment is begun with.
#[must_use]
pub fn launch() -> Launch {
    Launch { generation: Generation(1), config_hash: SAMPLE_HASH.into(), ..Launch::default() }
}

/// What an image with this reference may say about itself.
#[must_use]
pub fn image_facts(image: &ImageRef) -> ImageFacts {
    ImageFacts {
        id: format!("sha256:{image}").into(),
        digest: None,
        user: None,
        volumes: Vec::new(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        platform: None,
    }
}

/// A standing group with one server, `<name>-web`.
#[must_use]
pub fn group_record(name: &str) -> GroupRecord {
    let server = ServerSpec::new(instance(&format!("{name}-web")), ServerKind::Tool, "example/web:1".into());
    let record = ServerRecord {
        config: container_config("example/web:1"),
        config_hash: SAMPLE_HASH.into(),
        generation: Generation(1),
        goal: ServerGoal::Run,
        restart: BTreeSet::new(),
    };
    GroupRecord {
        servers: [(server.instance.clone(), record)].into(),
        spec: GroupSpec::new(group(name), vec![server]),
        generation: Generation(1),
        goal: GroupGoal::Run,
        rollout: Rollout::Established,
        created_at: at(0),
        updated_at: at(0),
    }
}

/// An accepted generation of [`group_record`] that is on its way.
#[must_use]
pub fn revision(group_id: &str, generation: u64) -> Revision {
    Revision {
        generation: Generation(generation),
        spec: group_record(group_id).spec,
        at: at(0),
        author: "sample".to_owned(),
        cause: Cause::Apply,
        fate: Fate::Rolling,
    }
}

/// A history in which the server ran once and exited with this code.
#[must_use]
pub fn history(server: &str, code: i64) -> GroupHistory {
    let mut history = GroupHistory::default();
    let of_server = history.of_mut(&ReplicaId::first(&instance(server)));
    of_server.runs = 1;
    of_server.last_run = Some(run(server));
    of_server.exits.push(Exit { run: run(server), at: at(20), code, oom: false, asked: false, config: None });
    history
}

/// A run of the container called `container`.
#[must_use]
pub fn run(container: &str) -> RunKey {
    RunKey { container: ContainerId::from(container), started_at: at(10) }
}

/// A deploy of `group_id`, accepted so many seconds after [`at`]'s zero and not ended yet.
#[must_use]
pub fn operation(id: &str, group_id: &str, second: i64) -> Operation {
    Operation {
        id: id.into(),
        kind: OperationKind::Deploy,
        group: group(group_id),
        instance: None,
        author: "ann".to_owned(),
        key: None,
        accepted_at: at(second),
        outcome: None,
    }
}

/// The same operation, done.
#[must_use]
pub fn done(operation: &Operation) -> Operation {
    Operation { outcome: Some(Outcome::Done { at: at(3600) }), ..operation.clone() }
}

/// The answer to a question with this key, given at this second.
#[must_use]
pub fn answer(author: &str, key: &str, second: i64) -> KeptAnswer {
    KeptAnswer {
        author: author.to_owned(),
        key: IdempotencyKey { key: key.to_owned(), digest: "d".to_owned() },
        operation: format!("of-{key}").into(),
        status: 201,
        body: format!(r#"{{"at":{second}}}"#),
        at: at(second),
    }
}

/// A gateway session of this server.
#[must_use]
pub fn session(id: &str, server: &str) -> GatewaySession {
    GatewaySession {
        id: id.to_owned(),
        instance: instance(server),
        protocol_version: "2025-11-25".to_owned(),
        capabilities: r#"{"roots":{}}"#.to_owned(),
        list_changed: vec!["tools".to_owned()],
        wishes: Wishes { log_level: Some("info".to_owned()), watched: ["file:///a".to_owned()].into() },
        opened_at: at(5),
    }
}

/// What a server of that configuration offers at that second.
#[must_use]
pub fn catalogue(name: &str, config: &str, second: i64) -> Catalogue {
    let items = |raw: &str| Items { raw: vec![raw.to_owned()], ..Items::default() };
    Catalogue {
        instance: instance(name),
        config: ConfigHash(config.to_owned()),
        image: Some("sha256:0".into()),
        generation: Generation(1),
        at: at(second),
        offers: Offers {
            greeting: r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}"#.to_owned(),
            tools: items(r#"{"name": "echo", "inputSchema": {"type": "object"}}"#),
            prompts: Items { cut: Some("too many".to_owned()), ..Items::default() },
            ..Offers::default()
        },
    }
}

/// What was approved of a server at first sight.
#[must_use]
pub fn contract(name: &str) -> Contract {
    Contract::of(&catalogue(name, "c", 1), FIRST, at(1))
}

/// What an agent may reach, changed at this second.
///
/// # Panics
/// When the id is none.
#[must_use]
pub fn connection(id: &str, agent: &str, second: i64) -> Connection {
    let pattern = |text: &str| text.parse().expect("a pattern");
    let tools = Some(vec![pattern("get_*")]);
    let grants = vec![
        Grant { servers: Servers::Named(pattern("time")), tools },
        Grant { servers: Servers::Group(group("g")), tools: None },
    ];
    let rate = Some(CallRate { per_minute: 60, burst: 5 });
    Connection {
        id: id.parse().expect("a name"),
        terms: Terms { agent: Agent::Named(agent.to_owned()), grants, expires_at: Some(at(1_000_000)), rate },
        revision: 1,
        author: "ann".to_owned(),
        created_at: at(0),
        updated_at: at(second),
    }
}

/// The handshake with a run of `container`.
#[must_use]
pub fn handshake(container: &str) -> Handshake {
    Handshake { run: run(container), result: r#"{"protocolVersion":"2025-11-25"}"#.to_owned() }
}
