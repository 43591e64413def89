//! What every [`ContainerRuntime`] does.
//!
//! A case works in a group of its own on whatever engine the harness has, and leaves nothing behind: what it made is
//! removed at its end, and by the harness when it fails before.

mod attachments;
mod dial;
mod events;
mod exec;
mod images;
mod lifecycle;
mod logs;
mod rooms;

pub use attachments::*;
pub use dial::*;
pub use events::*;
pub use exec::*;
pub use images::*;
pub use lifecycle::*;
pub use logs::*;
pub use rooms::*;

use crate::sample;
use async_trait::async_trait;
use dtma_core::container::{CreateContainer, ImageFacts, RunAs};
use dtma_core::id::{ContainerId, GroupId, ImageRef, OwnerId, SlotId, VolumeName, network_name, volume_name};
use dtma_core::label;
use dtma_core::observation::{ContainerObservation, ContainerState};
use dtma_core::port::runtime::{ContainerRuntime, CreateNetwork, EnsureVolume, RuntimeError, Scope};
use dtma_core::spec::{NetworkMode, PullPolicy};
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
    /// What this engine does otherwise than Docker Engine.
    fn traits(&self) -> Traits {
        Traits::default()
    }
    /// The engine loses its connections (events, attachments) and gets them back, processes going on.
    /// Returns when calls are answered again.
    async fn break_connections(&self);
}

/// In what engines differ that the port cannot hide. The cases hold either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// A process's input stays open when the client that was attached to it goes away. Where it does not, a server that
    /// reads its input ends with its client.
    pub input_outlives_its_client: bool,
    /// A container's address leads there from where the test runs.
    pub addresses_lead_there: bool,
}

impl Default for Traits {
    fn default() -> Self {
        Self { input_outlives_its_client: true, addresses_lead_there: true }
    }
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
    /// Writes 400,000 bytes, then a line of complaint, and ends with code 5.
    Flood,
    /// Answers a request by HTTP on port 8080 with `It works.`, until SIGTERM.
    Serve,
}

impl Script {
    /// Every script.
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Stubborn,
        Self::Succeed,
        Self::FailLoudly,
        Self::Echo,
        Self::AnswerOnce,
        Self::CountAndStay,
        Self::Flood,
        Self::Serve,
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
            Self::Flood => "head -c 400000 /dev/zero; echo too much >&2; exit 5",
            Self::Serve => "exec httpd -f -p 8080 -h /www",
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
            a_process_is_ended_to_be_started_again
            a_container_can_be_started_again_and_that_is_another_run
            exit_code_and_times_are_seen
            a_taken_name_is_said_to_be_taken
            what_does_not_exist_is_not_found
            start_of_a_running_and_stop_of_a_stopped_container_are_fine
            a_container_is_paused_and_goes_on_as_the_same_run
            a_paused_container_is_ended_in_every_way
            a_process_that_ignores_the_signal_is_killed_after_its_grace
            a_running_container_can_be_renamed
            a_running_container_is_removed_by_force
            ten_containers_are_made_at_once
            only_the_asked_scope_is_seen
            a_container_of_a_forged_name_is_not_seen
            a_missing_image_is_named
            an_image_that_is_there_is_not_fetched
            many_ask_for_one_image_at_once
            an_image_for_another_platform_is_not_available
            a_volume_or_network_that_is_not_there_is_named
            attach_sees_output_and_eof
            attach_before_start_misses_nothing
            attach_carries_input_both_ways
            two_clients_see_the_same_output
            attach_can_be_taken_up_again
            a_command_runs_beside_the_process
            a_command_reads_what_it_is_given_to_the_end
            a_command_without_input_reads_nothing
            a_command_that_says_too_much_is_cut_and_not_held_up
            a_command_that_is_late_is_given_up
            a_command_needs_a_running_container
            logs_tell_when_and_where_each_line_was_written
            logs_can_be_followed_to_the_end
            a_container_without_a_log_refuses_to_show_one
            a_port_that_is_listened_on_is_dialled
            a_port_where_nobody_listens_is_closed_at_once
            a_container_is_dialled_while_it_runs
            a_container_that_joins_no_network_is_not_dialled
            events_begin_with_a_resync
            events_tell_a_life_in_order
            events_tell_an_exit_within_a_second
            events_resume_after_a_break_and_say_so
            events_of_others_are_not_told
            a_network_is_made_once
            a_network_in_use_is_not_removed
            members_of_a_network_are_seen_to_have_joined_it
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
        let image = runtime.ensure_image(&harness.image(), PullPolicy::Never, None, &|_| {}).await;
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
        self.runtime.start(&id, &sample::launch()).await.expect("start");
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
        let name = network_name(&self.owner, &self.group, NetworkMode::Group);
        CreateNetwork { name, group: self.group.clone(), mode: NetworkMode::Group, labels: self.labels() }
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
