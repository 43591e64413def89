//! The engine's own time: scripted delays and failures around every call, and the tasks that are its processes.

use super::program::{Process, ProcessOutput, Stdin};
use super::script::{Call, Script, Verb, When};
use super::world::{Run, World};
use dtma_core::Timestamp;
use dtma_core::container::Launch;
use dtma_core::id::{ContainerId, OwnerId};
use dtma_core::port::RuntimeError;
use dtma_core::port::runtime::{EngineEvent, OutputStream};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) const ENDPOINT: &str = "fake://engine";

#[derive(Debug)]
pub(super) struct Engine {
    world: Mutex<World>,
    script: Mutex<Script>,
    away: Mutex<bool>,
    /// The processes; they end with the engine.
    processes: Mutex<JoinSet<()>>,
    me: Mutex<Weak<Engine>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the fake engine is held")
}

impl Engine {
    pub(super) fn new() -> Self {
        Self {
            world: Mutex::new(World::new()),
            script: Mutex::new(Script::default()),
            away: Mutex::new(false),
            processes: Mutex::new(JoinSet::new()),
            me: Mutex::new(Weak::new()),
        }
    }

    pub(super) fn introduce(self: &Arc<Self>) {
        *lock(&self.me) = Arc::downgrade(self);
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    pub(super) fn now(&self) -> Timestamp {
        lock(&self.world().clock).peek()
    }

    pub(super) fn name_of(&self, id: &ContainerId) -> String {
        let world = self.world();
        world.containers.get(id).map_or_else(|| id.to_string(), |container| container.request.name.clone())
    }

    /// One whole call: noted, delayed, failed as scripted, done.
    pub(super) async fn call<T>(
        &self,
        verb: Verb,
        subject: &str,
        effect: impl FnOnce(&mut World) -> Result<T, RuntimeError>,
    ) -> Result<T, RuntimeError> {
        self.enter(verb, subject).await?;
        let done = effect(&mut self.world())?;
        self.leave(verb, subject)?;
        Ok(done)
    }

    pub(super) async fn enter(&self, verb: Verb, subject: &str) -> Result<(), RuntimeError> {
        self.note(verb, subject);
        self.check_away()?;
        let delay = self.script().delay_of(verb);
        let gate = self.script().gate_of(verb);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(mut gate) = gate {
            // Nobody sends: it ends when the test drops its `Held`.
            while gate.changed().await.is_ok() {}
        }
        self.check_away()?;
        self.script().failure(verb, subject, When::Before)
    }

    pub(super) fn leave(&self, verb: Verb, subject: &str) -> Result<(), RuntimeError> {
        self.script().failure(verb, subject, When::After)
    }

    fn note(&self, verb: Verb, subject: &str) {
        let at = self.now();
        self.script().calls.push(Call { verb, subject: subject.to_owned(), at });
    }

    fn check_away(&self) -> Result<(), RuntimeError> {
        let problem = "connection refused".to_owned();
        let away = RuntimeError::EngineAway { endpoint: ENDPOINT.to_owned(), problem };
        if *lock(&self.away) { Err(away) } else { Ok(()) }
    }

    pub(super) fn set_away(&self, away: bool) {
        *lock(&self.away) = away;
        let mut world = self.world();
        if away {
            world.events_broken = true;
            world.cut_attachments();
        } else {
            world.mend_events();
        }
    }

    pub(super) fn listen(&self, owner: &OwnerId) -> mpsc::UnboundedReceiver<EngineEvent> {
        self.note(Verb::Events, owner.as_str());
        self.world().listen(owner)
    }

    pub(super) fn start(
        &self,
        world: &mut World,
        id: &ContainerId,
        launch: &Launch,
    ) -> Result<(), RuntimeError> {
        let Some(started_at) = world.startable(id)? else { return Ok(()) };
        let terminated = CancellationToken::new();
        let container = world.container(id)?;
        container.begin(launch);
        let stream = |stream| ProcessOutput { stream, sinks: Arc::downgrade(&container.sinks) };
        let Some(stdin) = container.unread.take() else { return Ok(()) };
        let process = Process {
            container: container.process(),
            stdin: Stdin::new(stdin).freezing_with(container.frozen.subscribe()),
            stdout: stream(OutputStream::Stdout),
            stderr: stream(OutputStream::Stderr),
            ports: container.ports.clone(),
            terminated: terminated.clone(),
        };
        if let Some(log) = &lock(&container.sinks).log {
            log.open();
        }
        let program = Arc::clone(&container.program);
        let (engine, ended_id) = (lock(&self.me).clone(), id.clone());
        let mut processes = lock(&self.processes);
        while processes.try_join_next().is_some() {}
        let task = processes.spawn(async move {
            let code = program.run(process).await;
            if let Some(engine) = engine.upgrade() {
                engine.world().ended(&ended_id, started_at, code, false);
            }
        });
        world.started(id, Run { started_at, terminated, ended: CancellationToken::new(), task })
    }

    pub(super) async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let Some(ended) = self.terminate(id)? else { return Ok(()) };
        if tokio::time::timeout(grace, ended.cancelled()).await.is_err() {
            self.world().kill(id)?;
        }
        Ok(())
    }

    /// Sends SIGTERM, and says how to hear of the end when there is a process.
    fn terminate(&self, id: &ContainerId) -> Result<Option<CancellationToken>, RuntimeError> {
        let mut world = self.world();
        // Nobody hears a signal who is frozen.
        world.unpause(id)?;
        let Some(run) = &world.container(id)?.run else { return Ok(None) };
        run.terminated.cancel();
        Ok(Some(run.ended.clone()))
    }
}
