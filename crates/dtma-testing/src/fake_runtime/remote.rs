//! The remote control of the engine in memory.

use super::FakeRuntime;
use super::engine::Engine;
use super::program::Program;
use super::script::{Call, Held, Verb, When};
use super::world;
use crate::sample;
use dtma_core::Timestamp;
use dtma_core::container::{CreateContainer, ImageFacts};
use dtma_core::id::{ContainerId, ImageRef};
use dtma_core::image_gc::DiskUsage;
use dtma_core::observation::ContainerObservation;
use dtma_core::port::RuntimeError;
use std::sync::Arc;
use std::time::Duration;

/// Scripts a [`FakeRuntime`], does to its containers what the world does to real ones, and looks into it without
/// making a call. Containers are named by the server's instance name; the newest of several is meant.
#[derive(Debug, Clone)]
pub struct FakeRuntimeRemote {
    engine: Arc<Engine>,
}

impl FakeRuntimeRemote {
    pub(super) fn of(engine: Arc<Engine>) -> Self {
        engine.introduce();
        Self { engine }
    }

    /// Another client of the same engine, as a restarted daemon has.
    #[must_use]
    pub fn connect(&self) -> FakeRuntime {
        FakeRuntime { engine: Arc::clone(&self.engine) }
    }

    /// The time on the engine's clock: 2026-01-01T00:00:00Z plus tokio's time since it was made.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    // Images

    /// Adds an image whose program does nothing until it is told to end.
    pub fn add_image(&self, image: &str) -> ImageFacts {
        self.put_image(image, sample::image_facts(&image.into()), world::idle())
    }

    /// Adds an image that runs this program.
    pub fn add_image_running(&self, image: &str, program: impl Program) -> ImageFacts {
        self.put_image(image, sample::image_facts(&image.into()), Arc::new(program))
    }

    /// Adds an image that says this about itself and runs this program.
    pub fn add_image_with(&self, image: &str, facts: ImageFacts, program: impl Program) -> ImageFacts {
        self.put_image(image, facts, Arc::new(program))
    }

    fn put_image(&self, image: &str, facts: ImageFacts, program: Arc<dyn Program>) -> ImageFacts {
        self.engine.world().add_image(&ImageRef::from(image), facts.clone(), program);
        facts
    }

    /// Moves an image that was added to a registry: it must be pulled.
    pub fn only_in_registry(&self, image: &str) {
        let mut world = self.engine.world();
        let found = world.images.get_mut(&image.into()).expect("the image was added before");
        (found.local, found.in_registry) = (false, true);
    }

    /// Puts an image that was added into a registry, too, as one that somebody else fetched.
    pub fn also_in_registry(&self, image: &str) {
        let mut world = self.engine.world();
        world.images.get_mut(&image.into()).expect("the image was added before").in_registry = true;
    }

    /// How full the engine's disk is; `None`: it cannot be seen.
    pub fn set_disk(&self, disk: Option<DiskUsage>) {
        self.engine.world().disk = disk;
    }

    /// Forgets an image. Its containers go on.
    pub fn remove_image(&self, image: &str) {
        self.engine.world().images.remove(&image.into());
    }

    // Calls

    /// The next `times` calls of `verb` fail with `error` and change nothing.
    pub fn fail(&self, verb: Verb, times: usize, error: RuntimeError) {
        self.fail_on(verb, "", times, error);
    }

    /// The next `times` calls of `verb` whose [`Call::subject`] contains `subject` fail with `error` and change
    /// nothing.
    pub fn fail_on(&self, verb: Verb, subject: &str, times: usize, error: RuntimeError) {
        self.engine.script().fail(verb, subject, When::Before, times, error);
    }

    /// The next `times` calls of `verb` have their effect, and the caller gets a timeout.
    pub fn lose_reply(&self, verb: Verb, times: usize) {
        let error = RuntimeError::Timeout { call: "scripted call", after: Duration::from_secs(30) };
        self.engine.script().fail(verb, "", When::After, times, error);
    }

    /// The next `times` starts succeed and start nothing, as far as can be seen.
    pub fn start_nothing(&self, times: usize) {
        self.engine.script().empty_starts(times);
    }

    /// From now on every call of `verb` takes this long.
    pub fn delay(&self, verb: Verb, delay: Duration) {
        self.engine.script().delay(verb, delay);
    }

    /// Calls of `verb` that arrive from now on wait until the answer is dropped.
    pub fn hold(&self, verb: Verb) -> Held {
        self.engine.script().hold(verb)
    }

    /// Every call so far, in order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.engine.script().calls.clone()
    }

    /// How often `verb` was called so far.
    #[must_use]
    pub fn count(&self, verb: Verb) -> usize {
        self.engine.script().calls.iter().filter(|call| call.verb == verb).count()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.engine.script().calls.clear();
    }

    // The engine as a whole

    /// The engine goes away (every call fails, attachments end, events stop) while processes go on; or it comes
    /// back.
    pub fn away(&self, away: bool) {
        self.engine.set_away(away);
    }

    /// Events are lost from now on, until [`mend_events`](Self::mend_events).
    pub fn break_events(&self) {
        self.engine.world().events_broken = true;
    }

    /// Events come again, after a resync.
    pub fn mend_events(&self) {
        self.engine.world().mend_events();
    }

    /// Every attachment ends while processes go on, as when the engine restarts under live-restore.
    pub fn cut_attachments(&self) {
        self.engine.world().cut_attachments();
    }

    /// The machine restarts: no process survives, every container does.
    pub fn reboot(&self) {
        self.engine.set_away(true);
        let mut world = self.engine.world();
        let ids: Vec<_> = world.containers.keys().cloned().collect();
        ids.iter().for_each(|id| world.end_now(id, 255, false));
        world.containers.values_mut().for_each(|container| container.launch = None);
        drop(world);
        self.engine.set_away(false);
    }

    // Containers

    /// The id of a server's container.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn id_of(&self, instance: &str) -> ContainerId {
        let world = self.engine.world();
        let newest =
            world.containers.iter().rev().find(|(_, c)| c.request.slot.instance.as_str() == instance);
        newest.map(|(id, _)| id.clone()).unwrap_or_else(|| panic!("{instance} has no container: {world:?}"))
    }

    /// A server's container as it is now.
    #[must_use]
    pub fn container(&self, instance: &str) -> Option<ContainerObservation> {
        self.containers().into_iter().rev().find(|seen| seen.slot.instance.as_str() == instance)
    }

    /// Every container of whatever owner whose identity can be read.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerObservation> {
        let world = self.engine.world();
        world.containers.iter().filter_map(|(id, container)| container.observe(id)).collect()
    }

    /// What a server's container was made from.
    #[must_use]
    pub fn request(&self, instance: &str) -> CreateContainer {
        let id = self.id_of(instance);
        let world = self.engine.world();
        world.containers.get(&id).map(|container| container.request.clone()).expect("it was just found")
    }

    /// How many networks there are.
    #[must_use]
    pub fn network_count(&self) -> usize {
        self.engine.world().networks.len()
    }

    /// The names of all volumes.
    #[must_use]
    pub fn volume_names(&self) -> Vec<String> {
        self.engine.world().volumes.keys().cloned().collect()
    }

    /// The server's process ends by itself.
    pub fn exit(&self, instance: &str, code: i64) {
        let id = self.id_of(instance);
        self.engine.world().end_now(&id, code, false);
    }

    /// The kernel kills the server's process for want of memory.
    pub fn oom(&self, instance: &str) {
        let id = self.id_of(instance);
        self.engine.world().end_now(&id, 137, true);
    }

    /// Somebody freezes the server's container.
    pub fn pause(&self, instance: &str) {
        let id = self.id_of(instance);
        self.engine.world().set_paused(&id, true);
    }

    /// Somebody thaws it.
    pub fn unpause(&self, instance: &str) {
        let id = self.id_of(instance);
        self.engine.world().set_paused(&id, false);
    }

    /// Somebody removes the server's container by force.
    pub fn destroy(&self, instance: &str) {
        let id = self.id_of(instance);
        self.engine.world().remove(&id).expect("it was just found");
    }

    /// A container of somebody else bears this name.
    pub fn take_name(&self, name: &str) {
        self.engine.world().foreign.insert(name.to_owned());
    }
}
