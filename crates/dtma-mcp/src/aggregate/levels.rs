//! `logging/setLevel`: for all servers that write a log.

use super::Aggregate;
use super::gather::{COMING, last, result_of};
use super::members::Member;
use super::post::Asked;
use super::way::Ask;
use crate::PostReply;
use crate::rpc;
use bytes::Bytes;
use futures_util::future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a server may take.
const WITHIN: Duration = Duration::from_secs(5);

impl Aggregate {
    /// Answered when all have heard of it that answer now; the others hear of it when they are used. The first refusal is
    /// the answer.
    pub(super) async fn set_level(&self, asked: &Asked<'_>) -> PostReply {
        if let Some(session) = asked.way.session() {
            session.set_level(Bytes::copy_from_slice(asked.params));
        }
        let members: Vec<Arc<Member>> =
            self.members().into_iter().filter(|member| member.can("logging") == Some(true)).collect();
        let told = members.iter().map(|member| timeout(WITHIN.max(COMING), told(asked, member)));
        let refused = future::join_all(told).await.into_iter().filter_map(Result::ok).flatten().next();
        PostReply::Body(refused.unwrap_or_else(|| rpc::result(asked.id, b"{}")))
    }
}

/// Why not, if it would not.
async fn told(asked: &Asked<'_>, member: &Member) -> Option<Bytes> {
    let (notes, _nobody) = mpsc::channel(1);
    let (id, method, text) = (asked.id, "logging/setLevel", asked.message.text.clone());
    let reply = asked.way.ask(member, &Ask { id, method, name: None, text }).await;
    let response = last(reply, member, &notes).await?;
    result_of(&response).is_err().then_some(response)
}
