//! What a client is told that comes back to another member than the one it knows: which lists may have changed
//! (`notifications/tools/list_changed` and its kin), first thing on its GET stream.
//!
//! It is told of nothing but what the server declared (`listChanged`) in the handshake that this client saw. Tools are
//! compared; of prompts and resources nobody here has a list, so that another generation is taken for another list
//! where that declares them too. To look once too often does no harm.

use super::member::Member;
use super::{Door, Inner};
use crate::rpc;
use crate::server::state::{Ready, ServerState, Tool, ToolList};
use crate::{Event, SessionId};
use bytes::Bytes;
use dtma_core::id::Generation;
use dtma_core::record::GatewaySession;
use futures_util::future;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// What a client may know of a member; of an earlier run of the daemon nothing is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    generation: Option<Generation>,
    tools: Option<Arc<[Tool]>>,
}

impl Seen {
    pub(crate) fn of(generation: Generation, ready: Option<&Arc<Ready>>) -> Self {
        let tools = ready.and_then(|ready| match &ready.tools {
            ToolList::Listed(tools) => Some(Arc::clone(tools)),
            ToolList::Unknown { .. } => None,
        });
        Self { generation: Some(generation), tools }
    }

    /// Whether the list of that kind may be another one.
    fn differs(&self, kind: &str, now: &Self, ready: &Ready) -> bool {
        let elsewhere = self.generation != now.generation;
        match (kind, &self.tools, &now.tools) {
            ("tools", Some(before), Some(now)) => !same(before, now),
            ("tools", _, _) => elsewhere,
            (kind, _, _) => elsewhere && ready.greeting.list_changed.iter().any(|declared| declared == kind),
        }
    }
}

/// In whatever order.
fn same(before: &[Tool], now: &[Tool]) -> bool {
    let sorted = |tools: &[Tool]| {
        let mut tools: Vec<_> = tools.iter().map(|tool| (tool.name.clone(), tool.raw.clone())).collect();
        tools.sort_unstable();
        tools
    };
    before == now || sorted(before) == sorted(now)
}

impl Door {
    /// The stream, and on it what is different from what its client knows, as soon as that can be said.
    pub(super) fn with_news(
        &self,
        session: SessionId,
        at: &Arc<Member>,
        stream: BoxStream<'static, Event>,
    ) -> BoxStream<'static, Event> {
        let before = self.table().before(session, at);
        let Some((kept, before)) = before else { return stream };
        let teller = Teller { door: Arc::downgrade(&self.inner), session, kept, before };
        let news = teller.news(at.origin.generation, at.handle.state());
        let news = stream::once(news).flat_map(stream::iter).map(Event::unnumbered).map(Some);
        // What ends the one ends the other: a member that never answers has no news.
        let rest = stream.map(Some).chain(stream::iter([None]));
        let both = stream::select(news, rest).take_while(|message| future::ready(message.is_some()));
        both.filter_map(future::ready).boxed()
    }
}

/// Who is told what. Holds no door open.
struct Teller {
    door: Weak<Inner>,
    session: SessionId,
    kept: Arc<GatewaySession>,
    before: Arc<Seen>,
}

impl Teller {
    async fn news(self, generation: Generation, mut state: watch::Receiver<ServerState>) -> Vec<Bytes> {
        let ready = state.wait_for(|state| state.ready().is_some()).await;
        let Some(ready) = ready.ok().and_then(|state| state.ready().cloned()) else { return Vec::new() };
        if let Some(door) = self.door.upgrade() {
            door.table().told(self.session, &self.before);
        }
        let now = Seen::of(generation, Some(&ready));
        let changed = self.kept.list_changed.iter().filter(|kind| self.before.differs(kind, &now, &ready));
        changed
            .map(|kind| rpc::notification(&format!("notifications/{kind}/list_changed"), None).into())
            .collect()
    }
}
