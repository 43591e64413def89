//! Which tools a server's clients see and may call: a filter for all of them, and one for each. Nothing of this is done
//! while none is set.

use super::Door;
use super::table::Table;
use crate::envelope::Message;
use crate::json::{Cursor, Fault, find, member, within};
use crate::rpc::{self, code};
use crate::server::state::Tool;
use crate::splice::{Edit, splice};
use crate::{MessageStream, PostReply, SessionId};
use bytes::Bytes;
use futures_util::StreamExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Judges tools.
pub trait ToolFilter: Send + Sync {
    /// Why nobody is to see or call the tool of this name, in a person's words; `None`: everybody may. `raw` is the tool
    /// as the server lists it, where that is known.
    fn refuses(&self, name: &str, raw: Option<&str>) -> Option<String>;
}

/// What either refuses is refused, with the words of the first.
struct Both(Arc<dyn ToolFilter>, Arc<dyn ToolFilter>);

impl ToolFilter for Both {
    fn refuses(&self, name: &str, raw: Option<&str>) -> Option<String> {
        self.0.refuses(name, raw).or_else(|| self.1.refuses(name, raw))
    }
}

/// A door's filter, if it has one.
#[derive(Default)]
pub(super) struct Gate {
    /// Looked at for every message; the rest only where this says so.
    set: AtomicBool,
    filter: Mutex<Option<Arc<dyn ToolFilter>>>,
}

impl Gate {
    /// What was there before comes back.
    fn put(&self, filter: Option<Arc<dyn ToolFilter>>) -> Option<Arc<dyn ToolFilter>> {
        let mut held = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        self.set.store(filter.is_some(), Ordering::Release);
        std::mem::replace(&mut held, filter)
    }

    fn get(&self) -> Option<Arc<dyn ToolFilter>> {
        let held = || self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.set.load(Ordering::Acquire).then(held).flatten()
    }
}

impl Door {
    /// From now on only the tools that `filter` does not refuse are listed and called; `None`: all. Calls in flight are
    /// answered. Where that makes another list of what a server lists now, clients that listen are told, if the server
    /// declares `listChanged`.
    pub fn set_tool_filter(&self, filter: Option<Arc<dyn ToolFilter>>) {
        let now = filter.clone();
        let before = self.inner.gate.put(filter);
        let differs = |tool: &Tool| refuses(before.as_deref(), tool) != refuses(now.as_deref(), tool);
        let members: Vec<_> = {
            let table = self.table();
            table.serving.iter().cloned().chain(table.lodgers().map(|(_, at)| at)).collect()
        };
        for member in members {
            let ready = member.handle.ready();
            if ready.is_some_and(|ready| ready.tools.known().iter().any(differs)) {
                member.handle.tools_show_otherwise();
            }
        }
    }

    /// What is kept from whoever comes in here.
    fn filter(&self) -> Option<Arc<dyn ToolFilter>> {
        match (self.inner.gate.get(), self.kept_from.clone()) {
            (Some(of_all), Some(of_one)) => Some(Arc::new(Both(of_one, of_all))),
            (of_all, of_one) => of_all.or(of_one),
        }
    }

    /// [`request`](Self::request), as far as the filter lets it.
    pub(super) async fn filtered(&self, session: SessionId, message: &Message) -> PostReply {
        let Some(filter) = self.filter() else { return self.request(session, message).await };
        if message.is("tools/call") {
            self.wait_for_tools().await;
            let params = message.raw(message.envelope.params).unwrap_or_default();
            if let Some(why) = self.refusal(Some(session), &*filter, params) {
                let known = self.table().sessions.contains_key(&session);
                let id = message.raw(message.envelope.id);
                let refused = || PostReply::Body(rpc::error(id, code::INVALID_PARAMS, &why));
                return if known { refused() } else { PostReply::UnknownSession };
            }
        }
        let reply = self.request(session, message).await;
        if message.is("tools/list") { sifted(filter, reply) } else { reply }
    }

    /// The same for a call of no session, made by `call`.
    pub(super) async fn gated(
        &self,
        message: &Message,
        call: impl AsyncFnOnce() -> Option<PostReply>,
    ) -> Option<PostReply> {
        let Some(filter) = self.filter() else { return call().await };
        let params = message.raw(message.envelope.params).unwrap_or_default();
        if message.is("tools/call")
            && let Some(why) = self.refusal(None, &*filter, params)
        {
            let id = message.raw(message.envelope.id);
            return Some(PostReply::Body(rpc::error(id, code::INVALID_PARAMS, &why)));
        }
        let reply = call().await?;
        Some(if message.is("tools/list") { sifted(filter, reply) } else { reply })
    }

    /// What a server that rests lists is known, or it is waited for.
    async fn wait_for_tools(&self) {
        if self.lies_down() && !self.tells() {
            // Where it does not come in time, it is as with one that is down.
            let _waited = self.ready_within(self.inner.parts.limits.ready_wait).await;
        }
    }

    /// Why a call with these parameters is not passed on.
    pub(crate) fn refused(&self, method: &str, params: Option<&[u8]>) -> Option<String> {
        let filter = self.filter().filter(|_| method == "tools/call")?;
        self.refusal(None, &*filter, params.unwrap_or_default())
    }

    fn refusal(&self, session: Option<SessionId>, filter: &dyn ToolFilter, params: &[u8]) -> Option<String> {
        let name = member(params, "name").and_then(|raw| serde_json::from_slice::<String>(raw).ok());
        let Some(name) = name else { return Some("the call must name one tool".to_owned()) };
        let mut listed = self.table().listed(session, &name);
        if listed.is_empty() {
            listed.extend(self.remembered_tool(&name));
        }
        let judge = |raw| filter.refuses(&name, raw);
        match listed.is_empty() {
            true => judge(None),
            false => listed.iter().find_map(|raw| judge(std::str::from_utf8(raw).ok())),
        }
    }
}

impl Table {
    /// The tool of this name as each process lists it that may serve this session, where they differ.
    pub(super) fn listed(&self, session: Option<SessionId>, name: &str) -> Vec<Bytes> {
        let of = |ready: &crate::Ready| {
            let tools = ready.tools.known().iter().filter(|tool| tool.name == name);
            tools.map(|tool| tool.raw.clone()).collect::<Vec<_>>()
        };
        let there = self.hoped_for(session);
        let states = there.iter().map(|member| member.handle.state());
        let mut listed: Vec<Bytes> =
            states.filter_map(|state| state.borrow().known().map(|ready| of(ready))).flatten().collect();
        listed.dedup();
        listed
    }
}

fn refuses(filter: Option<&dyn ToolFilter>, tool: &Tool) -> bool {
    let raw = std::str::from_utf8(&tool.raw).ok();
    filter.is_some_and(|filter| filter.refuses(&tool.name, raw).is_some())
}

/// A listing without what is refused; all that is left stays as it is.
fn sifted(filter: Arc<dyn ToolFilter>, reply: PostReply) -> PostReply {
    match reply {
        PostReply::Body(body) => PostReply::Body(sift(&*filter, body)),
        PostReply::Stream(messages) => {
            let messages = messages.map(move |message| sift(&*filter, message));
            PostReply::Stream(MessageStream::merged(messages.boxed()))
        }
        other => other,
    }
}

fn sift(filter: &dyn ToolFilter, message: Bytes) -> Bytes {
    let Some(list) = within(&message, find(&message, "result"), "tools") else { return message };
    let (mut kept, mut refused) = (Vec::new(), false);
    let elements = list.of(&message);
    let mut cursor = Cursor::new(elements);
    let walked: Result<(), Fault> = cursor.array(|cursor| {
        let raw = cursor.value(1)?.of(elements);
        match passes(filter, raw) {
            true => kept.push(raw),
            false => refused = true,
        }
        Ok(())
    });
    if walked.is_err() || !refused {
        return message;
    }
    let text = [b"[".as_slice(), &kept.join(&b","[..]), b"]"].concat();
    splice(&message, &mut [Edit { at: list, text: &text }], 0).into()
}

/// What has no name cannot be called.
fn passes(filter: &dyn ToolFilter, raw: &[u8]) -> bool {
    let name = member(raw, "name").and_then(|name| serde_json::from_slice::<String>(name).ok());
    name.is_some_and(|name| filter.refuses(&name, std::str::from_utf8(raw).ok()).is_none())
}
