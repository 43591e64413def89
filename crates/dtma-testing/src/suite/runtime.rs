//! What every [`ContainerRuntime`] does.
//!
//! A case works in a group of its own on whatever engine the harness has, and leaves nothing behind: what it made is
//! removed at its end, and by the harness when it fails before.

use crate::sample;
use async_trait::async_trait;
use dtma_core::container::{ContainerMount, CreateContainer, ImageFacts, LogDriver, RunAs};
use dtma_core::id::{
    ContainerId, GroupId, ImageRef, NetworkId, OwnerId, SlotId, VolumeName, network_name, volume_name,
};
use dtma_core::label;
use dtma_core::observation::{ContainerObservation, ContainerState};
use dtma_core::port::runtime::{
    Attached, ContainerChange, ContainerRuntime, CreateNetwork, EngineEvent, EnsureVolume, LogLine, LogQuery,
    OutputStream, RuntimeError, Scope,
};
use dtma_core::spec::{NetworkMode, PullPolicy};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// An engine to try, and what must be known of it.
#[async_trait]
pub trait RuntimeHarness: Send + Sync {
    /// The engine.
    fn runtime(&self) -> Arc<dyn ContainerRuntime>;
    /// The installation that the engine's client works for. No other case may use it at the same time.
    fn owner(&self) -> OwnerId;
    /// An image in the engine, and in no registry, that runs any [`Script`] given as its command.
    fn image(&self) -> ImageRef;
    /// The engine loses its connections (events, attachments) and gets them back, processes going on.
    /// Returns when calls are answered again.
    async fn break_connections(&self);
}

/// What the suite lets run inside containers: shell text for a real one, looked up by the fake one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Runs until SIGTERM.
    Idle,
    /// Ignores SIGTERM.
    Stubborn,
    /// Ends at once, cleanly.
    Succeed,
    /// Ends at once with code 3, after a line on each output.
    FailLoudly,
    /// Copies its input to its output.
    Echo,
    /// Reads a line, writes it to both outputs, in two parts the first time, and ends with code 0.
    AnswerOnce,
    /// Writes three numbered lines and then runs until SIGTERM.
    CountAndStay,
}

impl Script {
    /// Every script.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Stubborn,
        Self::Succeed,
        Self::FailLoudly,
        Self::Echo,
        Self::AnswerOnce,
        Self::CountAndStay,
    ];

    /// The script as shell text.
    #[must_use]
    pub fn shell(self) -> &'static str {
        match self {
            Self::Idle => "exec sleep 86400",
            Self::Stubborn => "trap '' TERM; while true; do sleep 1; done",
            Self::Succeed => "exit 0",
            Self::FailLoudly => "echo to stdout; echo to stderr >&2; exit 3",
            Self::Echo => "exec cat",
            Self::AnswerOnce => "read line; printf 'first '; sleep 0.2; echo \"$line\"; echo \"$line\" >&2",
            Self::CountAndStay => "echo 1; echo 2 >&2; echo 3; exec sleep 86400",
        }
    }

    /// The script as a container's command.
    #[must_use]
    pub fn command(self) -> Vec<String> {
        ["sh", "-c", self.shell()].map(str::to_owned).into()
    }
}

/// Lists every case of [`suite::runtime`](crate::suite::runtime) as a `#[tokio::test]`. The argument is an
/// expression that makes a [`RuntimeHarness`]; it may await.
#[macro_export]
macro_rules! runtime_suite {
    ($harness:expr) => {
        $crate::__cases! { runtime, $harness, ();
            the_engine_says_who_it_is
            a_container_lives_and_dies
            a_container_can_be_started_again_and_that_is_another_run
            exit_code_and_times_are_seen
            a_taken_name_is_said_to_be_taken
            what_does_not_exist_is_not_found
            start_of_a_running_and_stop_of_a_stopped_container_are_fine
            a_process_that_ignores_the_signal_is_killed_after_its_grace
            a_running_container_is_removed_by_force
            ten_containers_are_made_at_once
            only_the_asked_scope_is_seen
            a_container_of_a_forged_name_is_not_seen
            a_missing_image_is_named
            an_image_that_is_there_is_not_fetched
            many_ask_for_one_image_at_once
            a_volume_or_network_that_is_not_there_is_named
            attach_sees_output_and_eof
            attach_before_start_misses_nothing
            attach_carries_input_both_ways
            two_clients_see_the_same_output
            attach_can_be_taken_up_again
            logs_tell_when_and_where_each_line_was_written
            logs_can_be_followed_to_the_end
            a_container_without_a_log_refuses_to_show_one
            events_begin_with_a_resync
            events_tell_a_life_in_order
            events_tell_an_exit_within_a_second
            events_resume_after_a_break_and_say_so
            events_of_others_are_not_told
            a_network_is_made_once
            a_network_in_use_is_not_removed
            members_of_a_network_have_addresses
            a_taken_network_name_is_said_to_be_taken
            a_volume_is_made_once_and_belongs_to_its_group
            a_volume_in_use_is_not_removed
            a_taken_volume_name_is_said_to_be_taken
        }
    };
}

const SHORT: Duration = Duration::from_secs(10);
const NO_GRACE: Duration = Duration::ZERO;

/// One case's corner of the engine.
struct Room {
    runtime: Arc<dyn ContainerRuntime>,
    owner: OwnerId,
    group: GroupId,
    image: ImageFacts,
}

impl Room {
    async fn enter(harness: &impl RuntimeHarness) -> Self {
        let runtime = harness.runtime();
        let image = runtime.ensure_image(&harness.image(), PullPolicy::Never, &|_| {}).await;
        let image = image.expect("the harness brings its image");
        Self { runtime, owner: harness.owner(), group: sample::group("suite"), image }
    }

    fn request(&self, instance: &str, script: Script) -> CreateContainer {
        let mut config = sample::container_config("the suite's image");
        config.command = Some(script.command());
        let slot = SlotId { group: self.group.clone(), instance: sample::instance(instance), replica: 0 };
        sample::create_container(&self.owner, &slot, config, &self.image)
    }

    async fn create(&self, instance: &str, script: Script) -> ContainerId {
        self.runtime.create(&self.request(instance, script)).await.expect("create")
    }

    async fn run(&self, instance: &str, script: Script) -> ContainerId {
        let id = self.create(instance, script).await;
        self.runtime.start(&id).await.expect("start");
        id
    }

    async fn state(&self, id: &ContainerId) -> ContainerState {
        self.runtime.inspect(id).await.expect("inspect").state
    }

    async fn exited(&self, id: &ContainerId) -> ContainerState {
        within("the process ends", async {
            loop {
                let state = self.state(id).await;
                if matches!(state, ContainerState::Exited { .. }) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    fn scope(&self) -> Scope {
        Scope { owner: self.owner.clone(), group: Some(self.group.clone()) }
    }

    async fn seen(&self) -> Vec<ContainerObservation> {
        self.runtime.containers(&self.scope()).await.expect("containers")
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            (label::MANAGED, "true".to_owned()),
            (label::OWNER, self.owner.to_string()),
            (label::GROUP, self.group.to_string()),
        ];
        labels.map(|(key, value)| (key.to_owned(), value)).into()
    }

    fn network(&self) -> CreateNetwork {
        let name = network_name(&self.owner, &self.group);
        CreateNetwork { name, group: self.group.clone(), labels: self.labels() }
    }

    fn volume(&self, name: &str) -> EnsureVolume {
        let volume: VolumeName = name.parse().expect("a valid volume name");
        EnsureVolume {
            name: volume_name(&self.owner, &self.group, &volume),
            labels: self.labels().into_iter().chain([(label::VOLUME.to_owned(), name.to_owned())]).collect(),
            owner: RunAs { uid: 65_532, gid: 65_532 },
        }
    }

    /// Removes everything of this owner.
    async fn leave(self) {
        sweep(&*self.runtime, &self.owner).await;
        let left = self.seen().await;
        assert_eq!(left, vec![], "containers are left");
    }
}

/// Removes every container, network and volume of this owner. For a harness, to clean up after a failed case.
pub async fn sweep(runtime: &dyn ContainerRuntime, owner: &OwnerId) {
    let scope = Scope { owner: owner.clone(), group: None };
    for container in runtime.containers(&scope).await.unwrap_or_default() {
        let _ = runtime.remove(&container.id).await;
    }
    for network in runtime.networks(&scope).await.unwrap_or_default() {
        let _ = runtime.remove_network(&network.id).await;
    }
    for volume in runtime.volumes(&scope).await.unwrap_or_default() {
        let _ = runtime.remove_volume(&volume.name).await;
    }
}

#[track_caller]
fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let what = format!("{what} within {SHORT:?}, at {}", std::panic::Location::caller());
    async move { timeout(SHORT, future).await.unwrap_or_else(|_| panic!("expected that {what}")) }
}

#[track_caller]
fn assert_not_found<T: std::fmt::Debug>(result: Result<T, RuntimeError>) {
    match result {
        Err(RuntimeError::NotFound { .. }) => {}
        other => panic!("expected NotFound, got {other:?}"),
    }
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(result: Result<T, RuntimeError>) {
    match result {
        Err(RuntimeError::Conflict { .. }) => {}
        other => panic!("expected Conflict, got {other:?}"),
    }
}

/// What an attachment showed until it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    stdout: String,
    stderr: String,
}

impl Heard {
    fn add(&mut self, stream: OutputStream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match stream {
            OutputStream::Stdout => self.stdout.push_str(&text),
            OutputStream::Stderr => self.stderr.push_str(&text),
        }
    }
}

async fn hear_to_the_end(attached: &mut Attached) -> Heard {
    let mut heard = Heard::default();
    let listen = async {
        while let Some(chunk) = attached.output.next().await {
            let chunk = chunk.expect("output");
            heard.add(chunk.stream, &chunk.bytes);
        }
    };
    within("the output ends", listen).await;
    heard
}

async fn hear_until(attached: &mut Attached, expected: &str) {
    let mut heard = Heard::default();
    let listen = async {
        while !heard.stdout.contains(expected) {
            let chunk = attached.output.next().await.expect("the output goes on").expect("output");
            heard.add(chunk.stream, &chunk.bytes);
        }
    };
    within(&format!("{expected:?} is heard"), listen).await;
}

/// Product, version and address, for people.
pub async fn the_engine_says_who_it_is(harness: impl RuntimeHarness) {
    let info = harness.runtime().info().await.expect("info");
    let version: Vec<u32> = info.api_version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    assert!(version >= vec![1, 41], "{info:?}");
    assert!(!info.product.is_empty() && info.endpoint.contains("://"), "{info:?}");
}

/// Created, running, exited, gone; and every state shows the same identity.
pub async fn a_container_lives_and_dies(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let request = room.request("a", Script::Idle);
    let id = room.runtime.create(&request).await.expect("create");
    let created = room.runtime.inspect(&id).await.expect("inspect");
    let expected = ContainerObservation {
        id: id.clone(),
        name: request.name.clone(),
        slot: request.slot.clone(),
        generation: request.generation,
        config_hash: request.config_hash.clone(),
        image_id: request.image_id.clone(),
        state: ContainerState::Created,
        ip: None,
    };
    assert_eq!(created, expected);

    room.runtime.start(&id).await.expect("start");
    let running = room.runtime.inspect(&id).await.expect("inspect");
    assert!(matches!(running.state, ContainerState::Running { .. }), "{running:?}");
    assert_eq!(room.seen().await, vec![running.clone()]);

    room.runtime.stop(&id, SHORT).await.expect("stop");
    let state = room.state(&id).await;
    let run = running.run().expect("it runs");
    assert!(
        matches!(state, ContainerState::Exited { started_at, oom: false, .. } if started_at == run.started_at),
        "the run that ended is the run that began: {state:?} after {running:?}"
    );
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.inspect(&id).await);
    room.leave().await;
}

/// Restart budgets count runs.
pub async fn a_container_can_be_started_again_and_that_is_another_run(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Succeed).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        room.runtime.start(&id).await.expect("start");
        room.exited(&id).await;
        runs.push(room.runtime.inspect(&id).await.expect("inspect").run().expect("it ran").started_at);
    }
    assert!(runs.is_sorted_by(|earlier, later| earlier < later), "{runs:?}");
    room.leave().await;
}

/// The clock is the engine's.
pub async fn exit_code_and_times_are_seen(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::FailLoudly).await;
    let state = room.exited(&id).await;
    let ContainerState::Exited { started_at, finished_at, code, oom } = state else { panic!("{state:?}") };
    assert_eq!((code, oom), (3, false));
    // Docker notes the start after the fact: a process that ends at once seems to take no time.
    assert!(started_at <= finished_at, "{state:?}");
    room.leave().await;
}

/// How a create whose reply was lost is found out.
pub async fn a_taken_name_is_said_to_be_taken(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let request = room.request("a", Script::Idle);
    room.runtime.create(&request).await.expect("create");
    let again = room.runtime.create(&request).await;
    assert_eq!(again, Err(RuntimeError::NameTaken { name: request.name }));
    room.leave().await;
}

/// With every call that names a thing.
pub async fn what_does_not_exist_is_not_found(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let nobody = ContainerId::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    let runtime = &room.runtime;
    assert_not_found(runtime.inspect(&nobody).await);
    assert_not_found(runtime.start(&nobody).await);
    assert_not_found(runtime.stop(&nobody, NO_GRACE).await);
    assert_not_found(runtime.kill(&nobody).await);
    assert_not_found(runtime.remove(&nobody).await);
    assert_not_found(runtime.attach(&nobody).await.map(drop));
    assert_not_found(runtime.logs(&nobody, &LogQuery::default()).await.map(drop));
    assert_not_found(runtime.remove_network(&NetworkId::from(nobody.as_str())).await);
    assert_not_found(runtime.remove_volume(&room.volume("nobody").name).await);
    room.leave().await;
}

/// A repeated step after a lost reply is no error.
pub async fn start_of_a_running_and_stop_of_a_stopped_container_are_fine(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Idle).await;
    room.runtime.stop(&id, NO_GRACE).await.expect("stop of what never ran");
    room.runtime.start(&id).await.expect("start");
    let before = room.state(&id).await;
    room.runtime.start(&id).await.expect("start again");
    assert_eq!(room.state(&id).await, before, "it is the same run");
    for _ in 0..2 {
        room.runtime.kill(&id).await.expect("kill");
        room.exited(&id).await;
        room.runtime.stop(&id, NO_GRACE).await.expect("stop");
        room.runtime.kill(&id).await.expect("kill of what is dead");
    }
    room.leave().await;
}

/// And `stop` returns only then.
pub async fn a_process_that_ignores_the_signal_is_killed_after_its_grace(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Stubborn).await;
    // It must have reached its `trap` before it can ignore anything.
    tokio::time::sleep(Duration::from_millis(300)).await;
    room.runtime.stop(&id, Duration::from_secs(1)).await.expect("stop");
    let state = room.state(&id).await;
    assert!(matches!(state, ContainerState::Exited { code: 137, .. }), "{state:?}");
    room.leave().await;
}

/// Removal does not ask.
pub async fn a_running_container_is_removed_by_force(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Stubborn).await;
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.remove(&id).await);
    room.leave().await;
}

/// A group starts as fast as the engine allows.
pub async fn ten_containers_are_made_at_once(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let names: Vec<String> = (0..10).map(|number| format!("a{number}")).collect();
    join_all(names.iter().map(|name| room.run(name, Script::Idle))).await;
    let mut seen: Vec<_> = room.seen().await.into_iter().map(|c| c.slot.instance.to_string()).collect();
    seen.sort();
    assert_eq!(seen, names);
    room.leave().await;
}

/// Another group's and another installation's containers are not ours.
pub async fn only_the_asked_scope_is_seen(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mine = room.create("a", Script::Idle).await;
    let other_slot = SlotId { group: sample::group("other"), instance: sample::instance("b"), replica: 0 };
    let config = room.request("b", Script::Idle).config;
    let request = sample::create_container(&room.owner, &other_slot, config, &room.image);
    let theirs = room.runtime.create(&request).await.expect("create");
    let ids = |seen: Vec<ContainerObservation>| {
        let mut ids: Vec<_> = seen.into_iter().map(|container| container.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(room.seen().await), vec![mine.clone()]);
    let all = Scope { owner: room.owner.clone(), group: None };
    let mut both = vec![mine, theirs];
    both.sort();
    assert_eq!(ids(room.runtime.containers(&all).await.expect("containers")), both);
    let stranger = Scope { owner: "ffffffff-0000-4000-8000-000000000000".into(), group: None };
    assert_eq!(room.runtime.containers(&stranger).await, Ok(vec![]));
    room.leave().await;
}

/// An image can carry our labels; only together with the right name do they prove anything.
pub async fn a_container_of_a_forged_name_is_not_seen(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut request = room.request("a", Script::Idle);
    request.name = format!("{}-forged", request.name);
    let id = room.runtime.create(&request).await.expect("create");
    assert_eq!(room.seen().await, vec![]);
    assert_not_found(room.runtime.inspect(&id).await);
    room.runtime.remove(&id).await.expect("remove");
    room.leave().await;
}

/// And not confused with other absent things.
pub async fn a_missing_image_is_named(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let missing = ImageRef::from("localhost:1/dtma/does-not-exist:1");
    for policy in [PullPolicy::Never, PullPolicy::Missing, PullPolicy::Always] {
        let answer = room.runtime.ensure_image(&missing, policy, &|_| {}).await;
        assert!(
            matches!(&answer, Err(RuntimeError::ImageMissing { image, .. }) if *image == missing),
            "{policy:?}: {answer:?}"
        );
    }
    let mut request = room.request("a", Script::Idle);
    request.image_id = format!("sha256:{}", "0".repeat(64)).as_str().into();
    let answer = room.runtime.create(&request).await;
    assert!(matches!(answer, Err(RuntimeError::ImageMissing { .. })), "{answer:?}");
    room.leave().await;
}

/// No registry is asked: there is none.
pub async fn an_image_that_is_there_is_not_fetched(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let progress = |progress| panic!("nothing is to be fetched: {progress:?}");
    let facts = room.runtime.ensure_image(&harness.image(), PullPolicy::Missing, &progress).await;
    assert_eq!(facts.as_ref(), Ok(&room.image));
    assert!(!room.image.id.as_str().is_empty());
    room.leave().await;
}

/// Twenty servers of one image are common.
pub async fn many_ask_for_one_image_at_once(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let missing = ImageRef::from("localhost:1/dtma/does-not-exist:1");
    let ask = |image: ImageRef| {
        let runtime = Arc::clone(&room.runtime);
        async move { runtime.ensure_image(&image, PullPolicy::Missing, &|_| {}).await }
    };
    let answers = join_all((0..20).map(|_| ask(missing.clone()))).await;
    assert!(answers.iter().all(|a| matches!(a, Err(RuntimeError::ImageMissing { .. }))), "{answers:?}");
    let answers = join_all((0..20).map(|_| ask(harness.image()))).await;
    assert!(answers.iter().all(|answer| answer.as_ref() == Ok(&room.image)), "{answers:?}");
    room.leave().await;
}

/// The engine must not make an unlabelled volume on the side.
pub async fn a_volume_or_network_that_is_not_there_is_named(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut request = room.request("a", Script::Idle);
    let name = room.volume("absent").name;
    let (target, read_only) = ("/data".to_owned(), false);
    request.config.mounts.push(ContainerMount::Volume { name: name.clone(), target, read_only });
    let answer = room.runtime.create(&request).await;
    assert!(matches!(&answer, Err(RuntimeError::NotFound { what }) if what.contains(&name)), "{answer:?}");
    assert_not_found(room.runtime.remove_volume(&name).await);

    let mut request = room.request("b", Script::Idle);
    let absent = NetworkId::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    request.config.network = NetworkMode::Group;
    request.network = Some(absent.clone());
    let id = room.runtime.create(&request).await;
    // Docker notices at the start only; either way nothing else is blamed.
    let answer = match id {
        Ok(id) => room.runtime.start(&id).await,
        Err(error) => Err(error),
    };
    assert!(
        matches!(&answer, Err(RuntimeError::NotFound { what }) if what.contains(absent.as_str())),
        "{answer:?}"
    );
    room.leave().await;
}

/// Both outputs, told apart, and the end.
pub async fn attach_sees_output_and_eof(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::FailLoudly).await;
    let mut attached = room.runtime.attach(&id).await.expect("attach");
    room.runtime.start(&id).await.expect("start");
    let heard = hear_to_the_end(&mut attached).await;
    assert_eq!(heard, Heard { stdout: "to stdout\n".to_owned(), stderr: "to stderr\n".to_owned() });
    room.leave().await;
}

/// Input included, and a line that arrives in parts is not completed by the other output.
pub async fn attach_before_start_misses_nothing(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::AnswerOnce).await;
    let mut attached = room.runtime.attach(&id).await.expect("attach");
    room.runtime.start(&id).await.expect("start");
    attached.input.send("half a ".into()).await.expect("send");
    tokio::time::sleep(Duration::from_millis(100)).await;
    attached.input.send("line\n".into()).await.expect("send");
    let heard = hear_to_the_end(&mut attached).await;
    let expected = Heard { stdout: "first half a line\n".to_owned(), stderr: "half a line\n".to_owned() };
    assert_eq!(heard, expected);
    room.leave().await;
}

/// As large as MCP messages get.
pub async fn attach_carries_input_both_ways(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Echo).await;
    let mut attached = room.runtime.attach(&id).await.expect("attach");
    room.runtime.start(&id).await.expect("start");
    let big = format!("{}\n", "0123456789".repeat(100_000));
    for line in ["ping\n", &big, "pong\n"] {
        let (input, output) = (&mut attached.input, &mut attached.output);
        let send = async { input.send(line.to_owned().into()).await.expect("send") };
        let hear = async {
            let mut heard = Vec::new();
            while heard.len() < line.len() {
                let chunk = output.next().await.expect("the output goes on").expect("output");
                heard.extend_from_slice(&chunk.bytes);
            }
            assert!(heard == line.as_bytes(), "{} bytes came back changed", line.len());
        };
        within("a line comes back", async { tokio::join!(send, hear) }).await;
    }
    room.leave().await;
}

/// A second client does not steal from the first.
pub async fn two_clients_see_the_same_output(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Echo).await;
    let mut first = room.runtime.attach(&id).await.expect("attach");
    let mut second = room.runtime.attach(&id).await.expect("attach again");
    first.input.send("hello\n".into()).await.expect("send");
    hear_until(&mut first, "hello\n").await;
    hear_until(&mut second, "hello\n").await;
    room.leave().await;
}

/// A client that goes away does not end the process's input.
pub async fn attach_can_be_taken_up_again(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Echo).await;
    for word in ["one\n", "two\n"] {
        let mut attached = room.runtime.attach(&id).await.expect("attach");
        attached.input.send(word.into()).await.expect("send");
        hear_until(&mut attached, word).await;
    }
    assert!(matches!(room.state(&id).await, ContainerState::Running { .. }));
    room.leave().await;
}

fn logging(mut request: CreateContainer) -> CreateContainer {
    request.config.log = LogDriver::Bounded { max_size: 1024 * 1024, max_files: 2 };
    request
}

async fn read_log(room: &Room, id: &ContainerId, query: LogQuery) -> Vec<LogLine> {
    let lines = room.runtime.logs(id, &query).await.expect("logs");
    let lines: Vec<_> = within("the log ends", lines.collect()).await;
    lines.into_iter().map(|line| line.expect("a log line")).collect()
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    let mut texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    // The two outputs are two pipes: only lines of one are ordered.
    texts.sort_unstable();
    texts
}

/// And can be asked for by time and number.
pub async fn logs_tell_when_and_where_each_line_was_written(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.runtime.create(&logging(room.request("a", Script::FailLoudly))).await.expect("create");
    room.runtime.start(&id).await.expect("start");
    let state = room.exited(&id).await;
    let ContainerState::Exited { started_at, .. } = state else { panic!("{state:?}") };
    // Docker notes the start a little after the process began to write.
    let before = started_at.checked_sub(Duration::from_secs(1)).expect("in range");

    let all = read_log(&room, &id, LogQuery::default()).await;
    assert_eq!(texts(&all), ["to stderr", "to stdout"]);
    for line in &all {
        let expected = if line.text == "to stdout" { OutputStream::Stdout } else { OutputStream::Stderr };
        assert_eq!(line.stream, expected);
        assert!(line.at >= before, "{line:?} is older than its process, {started_at}");
    }
    let tail = read_log(&room, &id, LogQuery { tail: Some(1), ..LogQuery::default() }).await;
    assert_eq!(tail.len(), 1);
    let last = all.iter().map(|line| line.at).max().expect("there are lines");
    let later = last.checked_add(Duration::from_nanos(1)).expect("in range");
    let since = |since| LogQuery { since: Some(since), ..LogQuery::default() };
    assert_eq!(read_log(&room, &id, since(later)).await, vec![]);
    assert!(!read_log(&room, &id, since(last)).await.is_empty());
    let until = LogQuery { until: Some(before), ..LogQuery::default() };
    assert_eq!(read_log(&room, &id, until).await, vec![]);
    room.leave().await;
}

/// What is there, what comes, and then the end.
pub async fn logs_can_be_followed_to_the_end(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.runtime.create(&logging(room.request("a", Script::CountAndStay))).await.expect("create");
    room.runtime.start(&id).await.expect("start");
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = room.runtime.logs(&id, &query).await.expect("logs");
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(within("a line", lines.next()).await.expect("the log goes on").expect("a log line"));
    }
    assert_eq!(texts(&heard), ["1", "2", "3"]);
    room.runtime.kill(&id).await.expect("kill");
    assert_eq!(within("the log ends", lines.next()).await, None);
    room.leave().await;
}

/// Its messages are nobody's business.
pub async fn a_container_without_a_log_refuses_to_show_one(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::FailLoudly).await;
    room.exited(&id).await;
    let answer = room.runtime.logs(&id, &LogQuery::default()).await.map(drop);
    assert!(matches!(answer, Err(RuntimeError::Refused { .. })), "{answer:?}");
    room.leave().await;
}

type Events = BoxStream<'static, EngineEvent>;

async fn next_event(events: &mut Events) -> EngineEvent {
    within("an event", events.next()).await.expect("events never end")
}

async fn listen(room: &Room) -> Events {
    let mut events = room.runtime.events(&room.owner);
    assert_eq!(next_event(&mut events).await, EngineEvent::Resync);
    events
}

/// What happened before it is found by looking, what happens after it is told.
pub async fn events_begin_with_a_resync(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut events = listen(&room).await;
    let id = room.run("a", Script::Idle).await;
    let started = EngineEvent::Container { id, group: room.group.clone(), change: ContainerChange::Started };
    assert_eq!(next_event(&mut events).await, started);
    room.leave().await;
}

/// Once each.
pub async fn events_tell_a_life_in_order(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut events = listen(&room).await;
    let id = room.run("a", Script::FailLoudly).await;
    room.exited(&id).await;
    room.runtime.remove(&id).await.expect("remove");
    for change in [ContainerChange::Started, ContainerChange::Died, ContainerChange::Destroyed] {
        let expected = EngineEvent::Container { id: id.clone(), group: room.group.clone(), change };
        assert_eq!(next_event(&mut events).await, expected);
    }
    room.leave().await;
}

/// A crash is answered at once, not at the next look.
pub async fn events_tell_an_exit_within_a_second(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Idle).await;
    let mut events = listen(&room).await;
    room.runtime.kill(&id).await.expect("kill");
    let died = EngineEvent::Container { id, group: room.group.clone(), change: ContainerChange::Died };
    let heard = timeout(Duration::from_secs(1), events.next()).await;
    assert_eq!(heard.expect("an event within a second"), Some(died));
    room.leave().await;
}

/// So that nobody misses what happened in between.
pub async fn events_resume_after_a_break_and_say_so(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut events = listen(&room).await;
    let started = |id| {
        let (group, change) = (room.group.clone(), ContainerChange::Started);
        EngineEvent::Container { id, group, change }
    };
    // An event heard proves that there is a connection to break.
    let before = room.run("before", Script::Idle).await;
    assert_eq!(next_event(&mut events).await, started(before));
    harness.break_connections().await;
    assert_eq!(next_event(&mut events).await, EngineEvent::Resync);
    let after = room.run("after", Script::Idle).await;
    loop {
        match next_event(&mut events).await {
            // A second look does no harm.
            EngineEvent::Resync => {}
            event @ EngineEvent::Container { .. } => break assert_eq!(event, started(after)),
        }
    }
    room.leave().await;
}

/// Another installation on the same engine is none of our business.
pub async fn events_of_others_are_not_told(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut strangers = room.runtime.events(&"ffffffff-0000-4000-8000-000000000000".into());
    assert_eq!(next_event(&mut strangers).await, EngineEvent::Resync);
    let mut events = listen(&room).await;
    let id = room.run("a", Script::Succeed).await;
    let is_death = |event: &EngineEvent| matches!(event, EngineEvent::Container { id: of, change: ContainerChange::Died, .. } if *of == id);
    while !is_death(&next_event(&mut events).await) {}
    let overheard = timeout(Duration::from_millis(100), strangers.next()).await;
    assert!(overheard.is_err(), "{overheard:?}");
    room.leave().await;
}

/// Whatever became of the first reply.
pub async fn a_network_is_made_once(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let first = room.runtime.create_network(&room.network()).await.expect("create_network");
    let again = room.runtime.create_network(&room.network()).await.expect("create_network again");
    assert_eq!(first, again);
    let seen = room.runtime.networks(&room.scope()).await.expect("networks");
    assert_eq!(seen.iter().map(|network| &network.id).collect::<Vec<_>>(), [&first]);
    assert_eq!(seen[0].name, room.network().name);
    room.runtime.remove_network(&first).await.expect("remove_network");
    assert_eq!(room.runtime.networks(&room.scope()).await, Ok(vec![]));
    assert_not_found(room.runtime.remove_network(&first).await);
    room.leave().await;
}

async fn join(room: &Room, instance: &str, network: &NetworkId) -> ContainerId {
    let mut request = room.request(instance, Script::Idle);
    request.config.network = NetworkMode::Group;
    request.network = Some(network.clone());
    let id = room.runtime.create(&request).await.expect("create");
    room.runtime.start(&id).await.expect("start");
    id
}

/// Its members go first.
pub async fn a_network_in_use_is_not_removed(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let network = room.runtime.create_network(&room.network()).await.expect("create_network");
    let id = join(&room, "a", &network).await;
    assert_conflict(room.runtime.remove_network(&network).await);
    room.runtime.remove(&id).await.expect("remove");
    room.runtime.remove_network(&network).await.expect("remove_network");
    room.leave().await;
}

/// Of their own, while they run.
pub async fn members_of_a_network_have_addresses(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let network = room.runtime.create_network(&room.network()).await.expect("create_network");
    let (a, b) = (join(&room, "a", &network).await, join(&room, "b", &network).await);
    let alone = room.run("c", Script::Idle).await;
    let mut addresses = Vec::new();
    for id in [&a, &b, &alone] {
        addresses.push(room.runtime.inspect(id).await.expect("inspect").ip);
    }
    assert!(addresses[0].is_some() && addresses[1].is_some() && addresses[2].is_none(), "{addresses:?}");
    assert_ne!(addresses[0], addresses[1]);
    room.runtime.kill(&a).await.expect("kill");
    room.exited(&a).await;
    assert_eq!(room.runtime.inspect(&a).await.expect("inspect").ip, None);
    room.leave().await;
}

/// A network of somebody else is not taken over.
pub async fn a_taken_network_name_is_said_to_be_taken(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    room.runtime.create_network(&room.network()).await.expect("create_network");
    let mut request = room.network();
    request.labels.insert(label::GROUP.to_owned(), "other".to_owned());
    let answer = room.runtime.create_network(&request).await;
    assert_eq!(answer, Err(RuntimeError::NameTaken { name: request.name }));
    room.leave().await;
}

/// Asking again changes nothing.
pub async fn a_volume_is_made_once_and_belongs_to_its_group(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let request = room.volume("data");
    for _ in 0..2 {
        room.runtime.ensure_volume(&request).await.expect("ensure_volume");
    }
    let seen = room.runtime.volumes(&room.scope()).await.expect("volumes");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((&seen[0].name, &seen[0].labels), (&request.name, &request.labels));
    let other = Scope { group: Some(sample::group("other")), ..room.scope() };
    assert_eq!(room.runtime.volumes(&other).await, Ok(vec![]));
    room.runtime.remove_volume(&request.name).await.expect("remove_volume");
    assert_eq!(room.runtime.volumes(&room.scope()).await, Ok(vec![]));
    room.leave().await;
}

/// Not even when the container that uses it is stopped.
pub async fn a_volume_in_use_is_not_removed(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let volume = room.volume("data");
    room.runtime.ensure_volume(&volume).await.expect("ensure_volume");
    let mut request = room.request("a", Script::Idle);
    let (target, read_only) = ("/data".to_owned(), false);
    request.config.mounts.push(ContainerMount::Volume { name: volume.name.clone(), target, read_only });
    let id = room.runtime.create(&request).await.expect("create");
    assert_conflict(room.runtime.remove_volume(&volume.name).await);
    room.runtime.remove(&id).await.expect("remove");
    room.runtime.remove_volume(&volume.name).await.expect("remove_volume");
    room.leave().await;
}

/// A volume of somebody else is not taken over.
pub async fn a_taken_volume_name_is_said_to_be_taken(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    room.runtime.ensure_volume(&room.volume("data")).await.expect("ensure_volume");
    let mut request = room.volume("data");
    request.labels.insert(label::GROUP.to_owned(), "other".to_owned());
    let answer = room.runtime.ensure_volume(&request).await;
    assert_eq!(answer, Err(RuntimeError::NameTaken { name: request.name }));
    room.leave().await;
}
