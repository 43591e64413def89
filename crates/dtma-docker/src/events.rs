//! What happens in the engine, without an end: a broken stream is taken up again.
//!
//! No gap: each connection first asks the engine for its time and then for the events since, so what happens before
//! the consumer looks (because of the resync) is seen by looking, and everything after is told. After a mere break
//! of the connection the events since the last one heard are told too; an engine that restarted has forgotten them.

use crate::connect::Link;
use crate::errors::Op;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use dtma_core::Timestamp;
use dtma_core::id::OwnerId;
use dtma_core::label;
use dtma_core::port::runtime::{ContainerChange, EngineEvent, RuntimeError};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Everything else (exec, attach, resize, …) would only wake us.
/// The last two are Podman's: it shows Docker's words and filters by its own.
const ACTIONS: [&str; 9] = ["start", "die", "oom", "destroy", "pause", "unpause", "rename", "died", "remove"];

pub(crate) fn listen(link: Arc<Link>, owner: &OwnerId) -> BoxStream<'static, EngineEvent> {
    let (owner, from) = (owner.clone(), Timestamp::MIN);
    let listener = Listener { link, owner, heard: None, from, wait: FIRST_WAIT, stream: None };
    stream::unfold(listener, |mut listener| async { Some((listener.next().await, listener)) }).boxed()
}

struct Listener {
    link: Arc<Link>,
    owner: OwnerId,
    /// The engine's time of the last event.
    heard: Option<Timestamp>,
    /// Podman counts whole seconds and tells what was before, too.
    from: Timestamp,
    /// Before the next attempt.
    wait: Duration,
    stream: Option<BoxStream<'static, Result<EventMessage, Error>>>,
}

impl Listener {
    async fn next(&mut self) -> EngineEvent {
        loop {
            let Some(stream) = &mut self.stream else {
                match self.connect().await {
                    Ok(()) => {
                        self.link.addresses.forget_all();
                        return EngineEvent::Resync;
                    }
                    Err(error) => self.pause(&error.to_string()).await,
                }
                continue;
            };
            match stream.next().await {
                Some(Ok(message)) => {
                    self.wait = FIRST_WAIT;
                    let at = time_of(&message);
                    if at.is_some_and(|at| at < self.from) {
                        continue;
                    }
                    self.heard = at.or(self.heard);
                    if let Some(event) = event(message) {
                        self.remember(&event);
                        return event;
                    }
                }
                Some(Err(error)) => self.give_up(&error.to_string()).await,
                None => self.give_up("the engine ended it").await,
            }
        }
    }

    fn remember(&self, event: &EngineEvent) {
        if let EngineEvent::Container { id, change, .. } = event {
            self.link.ooms.note(id, *change);
            self.link.addresses.heard(id, *change);
        }
    }

    async fn give_up(&mut self, problem: &str) {
        tracing::warn!(problem, "the event stream broke off; connecting anew");
        self.stream = None;
        self.pause(problem).await;
    }

    async fn pause(&mut self, problem: &str) {
        tracing::debug!(problem, wait = ?self.wait, "no event stream yet");
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    async fn connect(&mut self) -> Result<(), RuntimeError> {
        let op = Op::new("listen to events", "engine", self.link.endpoint());
        let info = self.link.read(op, |docker| async move { docker.info().await }).await?;
        let now: Option<Timestamp> = info.system_time.and_then(|time| time.parse().ok());
        let broken = |problem: &str| RuntimeError::Broken { call: op.call, problem: problem.to_owned() };
        let now = now.ok_or_else(|| broken("the engine does not say what time it is"))?;
        let docker = self.link.client(op).await?;
        let options = EventsOptionsBuilder::default().filters(&filters(&self.owner));
        self.from = since(self.heard, now);
        let options = options.since(&seconds(self.from)).build();
        self.stream = Some(docker.events(Some(options)).boxed());
        Ok(())
    }
}

fn filters(owner: &OwnerId) -> HashMap<String, Vec<String>> {
    [
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{}={owner}", label::OWNER)]),
        ("event".to_owned(), ACTIONS.map(str::to_owned).into()),
    ]
    .into()
}

/// Just after the last event, or now when there was none or the engine's clock was set back since.
fn since(heard: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let after = heard.and_then(|heard| heard.checked_add(Duration::from_nanos(1)).ok());
    after.filter(|after| *after <= now).unwrap_or(now)
}

fn seconds(at: Timestamp) -> String {
    format!("{}.{:09}", at.as_second(), at.subsec_nanosecond())
}

fn time_of(message: &EventMessage) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(message.time_nano?)).ok()
}

fn event(message: EventMessage) -> Option<EngineEvent> {
    let change = match message.action.as_deref()? {
        "start" => ContainerChange::Started,
        "die" | "died" => ContainerChange::Died,
        "oom" => ContainerChange::OutOfMemory,
        "destroy" | "remove" => ContainerChange::Destroyed,
        _ => ContainerChange::Other,
    };
    let actor = message.actor?;
    let group = actor.attributes?.get(label::GROUP)?.parse().ok()?;
    Some(EngineEvent::Container { id: actor.id?.into(), group, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn after(heard: Option<Timestamp>, now: Timestamp) -> String {
        seconds(since(heard, now))
    }

    #[test]
    fn listening_goes_on_just_after_the_last_event() {
        let (heard, now) = (at("2026-11-20T00:00:00.000000041Z"), at("2026-11-20T00:00:01Z"));
        assert_eq!(after(Some(heard), now), "1795132800.000000042");
        assert_eq!(after(None, now), "1795132801.000000000");
    }

    #[test]
    fn a_clock_that_was_set_back_hides_nothing() {
        let (heard, now) = (at("2026-11-20T00:00:10Z"), at("2026-11-20T00:00:01Z"));
        assert_eq!(after(Some(heard), now), "1795132801.000000000");
    }
}
