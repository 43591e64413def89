//! Lists of all servers as one.

use super::Aggregate;
use super::find;
use super::gather::{Gathered, Notes};
use super::members::Member;
use super::page::{self, List, Place, TOOLS};
use super::post::Asked;
use super::way::Way;
use crate::json::member;
use crate::{MessageStream, PostReply, rpc};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages that may wait for a client while servers are asked.
const NOTES: usize = 256;
/// Where a list says what is not in it, in its `_meta`.
const MISSING: &str = "io.dtma/missing";
/// How long a list holds, for clients that may keep it: no longer than now, and for nobody else.
const HOLDS: [(&str, &str); 3] =
    [("resultType", "\"complete\""), ("ttlMs", "0"), ("cacheScope", "\"private\"")];

impl Aggregate {
    pub(super) async fn list(&self, asked: &Asked<'_>, list: &'static List) -> PostReply {
        let cursor = member(asked.params, "cursor").filter(|raw| *raw != b"null");
        let cursor = cursor.map(|raw| serde_json::from_slice::<String>(raw).unwrap_or_default());
        let from = match cursor.as_deref().map(|cursor| Place::read(list, cursor)) {
            Some(None) => return asked.wrong("this cursor is of no page of this list"),
            from => from.flatten(),
        };
        let (notes, told) = mpsc::channel(NOTES);
        let (all, way, id) = (self.clone(), asked.way.clone(), Bytes::copy_from_slice(asked.id));
        let work = async move { all.listing(&way, list, from, &id, notes).await };
        with_notes(Box::pin(work), told).await
    }

    async fn listing(&self, way: &Way, list: &List, from: Option<Place>, id: &[u8], notes: Notes) -> Bytes {
        let at_place = |member: &Arc<Member>| from.as_ref().is_none_or(|from| member.name >= from.server);
        let members: Vec<Arc<Member>> = self.members().into_iter().filter(at_place).collect();
        let gathered = self.gather(way, list, members, id, &notes).await;
        let (elements, next) =
            match list.method == TOOLS.method && gathered.len() > self.most_tools && from.is_none() {
                true => (find::tools(), None),
                false => page::page(list, &gathered.parts, from.as_ref()),
            };
        let meta = way.session().map_or_else(|| self.own_meta(), |_| Value::Null);
        rpc::result(id, &told(way, list, &elements, next, &gathered, &meta))
    }
}

/// The result.
fn told(
    way: &Way,
    list: &List,
    elements: &[Bytes],
    next: Option<String>,
    gathered: &Gathered,
    own_meta: &Value,
) -> Vec<u8> {
    let mut out = format!("{{\"{}\":[", list.member).into_bytes();
    out.extend_from_slice(&elements.join(&b','));
    out.push(b']');
    let mut more = Map::new();
    more.extend(next.map(|next| ("nextCursor".to_owned(), Value::from(next))));
    let mut meta = own_meta.as_object().cloned().unwrap_or_default();
    if !gathered.missing.is_empty() {
        let missing: Vec<Value> =
            gathered.missing.iter().map(|(server, why)| json!({"server": server, "reason": why})).collect();
        meta.insert(MISSING.to_owned(), missing.into());
    }
    if !meta.is_empty() {
        more.insert("_meta".to_owned(), meta.into());
    }
    for (key, value) in &more {
        out.extend_from_slice(format!(",{}:{value}", rpc::quoted(key)).as_bytes());
    }
    out.extend_from_slice(&holds(way));
    out.push(b'}');
    out
}

/// What the stateless version wants of every answer that could be kept.
pub(super) fn holds(way: &Way) -> Vec<u8> {
    match way {
        Way::Session(_) => Vec::new(),
        Way::Guest(_) => {
            HOLDS.iter().flat_map(|(key, value)| format!(",\"{key}\":{value}").into_bytes()).collect()
        }
    }
}

/// The answer alone; where servers say something before it is there, a stream with that.
async fn with_notes(mut work: BoxFuture<'static, Bytes>, mut told: mpsc::Receiver<Bytes>) -> PostReply {
    let first = tokio::select! {
        biased;
        // Goes on in the stream where it is not the first.
        answer = &mut work => return PostReply::Body(answer),
        // Fails only when the work is done.
        Some(first) = told.recv() => first,
    };
    let rest = stream::unfold((Some(work), told), |(work, mut told)| async move {
        let mut work = work?;
        tokio::select! {
            biased;
            Some(note) = told.recv() => Some((note, (Some(work), told))),
            answer = &mut work => Some((answer, (None, told))),
        }
    });
    PostReply::Stream(MessageStream::merged(stream::iter([first]).chain(rest).boxed()))
}
