//! A server that nobody uses: put to rest by whoever keeps its processes, and told to them when somebody needs it. What
//! needs no process is answered meanwhile: `initialize` and `ping`, and the lists as the server gave them last.

use super::Door;
use super::member::Seat;
use super::table::Table;
use crate::envelope::Message;
use crate::json;
use crate::server::state::Tool;
use crate::{Greeting, Ready, ServerState, ToolList};
use bytes::Bytes;
use dtma_core::catalogue::{Catalogue, Items};
use dtma_core::id::RunKey;
use futures_util::future::join_all;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is remembered of a server at rest: all that its process would say.
#[derive(Debug, Clone)]
pub struct Memory {
    ready: Arc<Ready>,
    catalogue: Arc<Catalogue>,
}

impl Memory {
    /// Of the process of this run, which said all that and has said nothing else since. `None`: it cannot be read.
    #[must_use]
    pub fn of(run: RunKey, catalogue: Arc<Catalogue>) -> Option<Self> {
        let offers = &catalogue.offers;
        let greeting = Arc::new(Greeting::read(Bytes::copy_from_slice(offers.greeting.as_bytes())).ok()?);
        let tool = |raw: &String| {
            let name = json::member(raw.as_bytes(), "name").and_then(json::read::<String>)?;
            Some(Tool { name, raw: Bytes::copy_from_slice(raw.as_bytes()) })
        };
        let tools = ToolList::Listed(offers.tools.raw.iter().filter_map(tool).collect());
        let ready = Arc::new(Ready { run, since: catalogue.at, greeting, tools });
        Some(Self { ready, catalogue })
    }

    fn list(&self, is: impl Fn(&str) -> bool) -> Option<&Items> {
        let offers = &self.catalogue.offers;
        let lists = [
            ("tools/list", &offers.tools),
            ("prompts/list", &offers.prompts),
            ("resources/list", &offers.resources),
            ("resources/templates/list", &offers.templates),
        ];
        lists.into_iter().find_map(|(method, items)| is(method).then_some(items))
    }
}

/// What a door knows of its server's rest.
#[derive(Default)]
pub(super) struct Rest {
    /// Looked at for every message; the memory only where this says so.
    lies: AtomicBool,
    memory: Mutex<Option<Memory>>,
    needed: AtomicBool,
    news: Notify,
}

impl Rest {
    /// Somebody waits for a process.
    pub(super) fn need(&self) {
        if !self.needed.swap(true, Ordering::AcqRel) {
            self.news.notify_one();
        }
    }

    fn memory(&self) -> Option<Memory> {
        let held = || self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.lies.load(Ordering::Acquire).then(held).flatten()
    }

    fn put(&self, lies: bool, memory: Option<Memory>) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
        self.lies.store(lies, Ordering::Release);
    }
}

/// For whoever keeps the server's processes.
impl Door {
    /// When somebody last used it, as far as that is over.
    #[must_use]
    pub fn last_use(&self) -> Option<Instant> {
        let table = self.table();
        table.members.values().map(|member| member.handle.last_use()).max()
    }

    /// Puts all members to rest, if nobody has used them since then and nobody uses them now. From then on calls wait,
    /// and [`needed`](Self::needed) says so; the processes may be frozen or ended. Each goes on when it is told so.
    pub async fn put_to_rest(&self, unused_since: Instant) -> bool {
        self.inner.rest.needed.store(false, Ordering::Release);
        let members: Vec<_> = self.table().members.values().cloned().collect();
        let asked = members.iter().map(|member| member.handle.rest(unused_since));
        let all = join_all(asked).await.into_iter().all(|rests| rests) && !members.is_empty();
        if !all {
            join_all(members.iter().map(|member| member.handle.go_on())).await;
        }
        all
    }

    /// Its processes are at rest, whoever put them to it. What they would say is answered from memory, where there is one.
    pub fn lie_down(&self, memory: Option<Memory>) {
        self.inner.rest.put(true, memory);
    }

    /// They answer again, or are to be others.
    pub fn get_up(&self) {
        self.inner.rest.put(false, None);
    }

    /// Waits until somebody has asked for something, since it was put to rest, that only a process can answer.
    pub async fn needed(&self) {
        let rest = &self.inner.rest;
        while !rest.needed.load(Ordering::Acquire) {
            rest.news.notified().await;
        }
    }
}

/// For its clients.
impl Door {
    /// Whether its processes rest.
    pub(super) fn lies_down(&self) -> bool {
        self.inner.rest.lies.load(Ordering::Acquire)
    }

    /// What is known of the server: by a process that answers, or would if it did not rest.
    pub(crate) fn known(&self) -> Option<Arc<Ready>> {
        let remembered = || self.inner.rest.memory().map(|memory| memory.ready);
        match self.state() {
            ServerState::Ready(ready) => Some(ready),
            ServerState::Resting(ready) => Some(remembered().unwrap_or(ready)),
            ServerState::Down { .. }
            | ServerState::Connecting { .. }
            | ServerState::Expecting { .. }
            | ServerState::Failed { .. } => remembered(),
        }
    }

    /// Whether its lists can be told right now, by a process or from memory.
    pub(crate) fn tells(&self) -> bool {
        self.is_ready() || self.inner.rest.memory().is_some()
    }

    /// A place for a session at a server that rests: no process is needed to open it.
    pub(super) fn bed(&self) -> Option<(Seat, Arc<Greeting>)> {
        let memory = self.inner.rest.memory()?;
        let seat = self.table().bed()?;
        Some((seat, Arc::clone(&memory.ready.greeting)))
    }

    /// The tool of this name as a server that rests listed it.
    pub(super) fn remembered_tool(&self, name: &str) -> Option<Bytes> {
        let memory = self.inner.rest.memory()?;
        memory.ready.tools.known().iter().find(|tool| tool.name == name).map(|tool| tool.raw.clone())
    }

    /// The result that a server that rests would give, where that is known.
    pub(super) fn remembered(&self, message: &Message) -> Option<Bytes> {
        let params = message.raw(message.envelope.params);
        self.remembered_list(|method| message.is(method), params)
    }

    /// The same for any method.
    pub(super) fn remembered_list(&self, is: impl Fn(&str) -> bool, params: Option<&[u8]>) -> Option<Bytes> {
        let memory = self.inner.rest.memory()?;
        let items = memory.list(is)?;
        let answer = items.answer(cursor(params.unwrap_or(b"{}"))?.as_deref())?;
        let holds = json::member(answer.as_bytes(), "ttlMs").and_then(json::read::<u64>);
        let age = (self.inner.parts.wall)().duration_since(memory.catalogue.at).as_millis();
        // Where the server says for how long it is good, no longer.
        holds.is_none_or(|holds| age <= i128::from(holds)).then(|| answer.into())
    }
}

/// Which part of a list is asked for. `None`: something else is asked for, too, and only the server knows what.
fn cursor(params: &[u8]) -> Option<Option<String>> {
    let others = json::without(params, |name| name == "cursor" || name == "_meta");
    match json::member(params, "cursor") {
        _ if others != b"{}" => None,
        None | Some(b"null") => Some(None),
        Some(raw) => json::read::<String>(raw).map(Some),
    }
}

impl Table {
    fn bed(&self) -> Option<Seat> {
        let there = self.serving.iter().filter(|member| member.handle.takes_new());
        there.min_by_key(|member| member.load().sessions).map(Seat::at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_of_every_server_alike_is_remembered() {
        for (params, expected) in [
            ("{}", Some(None)),
            (r#"{"cursor":null}"#, Some(None)),
            (r#"{ "_meta" : {"progressToken":1,"x":{}} }"#, Some(None)),
            (r#"{"cursor":"a\u0062","_meta":{}}"#, Some(Some("ab"))),
            (r#"{"cursor":7}"#, None),
            (r#"{"filter":"x"}"#, None),
            (r#"{"cursor":"a","more":1}"#, None),
        ] {
            assert_eq!(cursor(params.as_bytes()).as_ref().map(Option::as_deref), expected, "{params}");
        }
    }
}
