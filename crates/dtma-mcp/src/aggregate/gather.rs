//! Asks all servers at once for one of their lists. One that does not answer in time is missing, and said to be; nobody
//! waits for it longer than that, and a second time not at all.

use super::Aggregate;
use super::members::Member;
use super::page::{List, Part, TOOLS, elements, name_of, renamed};
use super::way::{Ask, Way};
use crate::PostReply;
use crate::envelope::{Kind, Message};
use crate::json::{find, member};
use crate::rpc::code;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a server may take over its whole list.
pub(super) const WITHIN: Duration = Duration::from_secs(10);
/// How long one that does not answer at the moment is waited for.
pub(super) const COMING: Duration = Duration::from_secs(1);
/// Most pages, elements and bytes that are read of one server; what is more is left out, and said.
const PAGES: usize = 100;
const ELEMENTS: usize = 2000;
const BYTES: usize = 4 << 20;

/// What servers say while they are asked for their lists. What finds no room is lost, as with every slow client.
pub(super) type Notes = mpsc::Sender<Bytes>;

/// What all servers listed.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) parts: Vec<Part>,
    /// What is not in there: of which server, and why.
    pub(super) missing: Vec<(String, String)>,
}

/// One server's list.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) elements: Vec<Bytes>,
    bytes: usize,
    cut: Option<String>,
}

impl Aggregate {
    /// What these servers list, in their order.
    pub(super) async fn gather(
        &self,
        way: &Way,
        list: &List,
        members: Vec<Arc<Member>>,
        id: &[u8],
        notes: &Notes,
    ) -> Gathered {
        let asked = members.iter().map(|member| timeout(WITHIN, self.listed(way, list, member, id, notes)));
        let answers = future::join_all(asked).await;
        let mut gathered = Gathered::default();
        for (member, answer) in members.iter().zip(answers) {
            let late = || Err(format!("it took longer than {WITHIN:?}"));
            match answer.unwrap_or_else(|_| late()) {
                Ok(listed) => gathered.take(self, list, member, listed),
                Err(why) => gathered.miss(way, member, why),
            }
        }
        gathered
    }

    pub(super) async fn listed(
        &self,
        way: &Way,
        list: &List,
        member: &Member,
        id: &[u8],
        notes: &Notes,
    ) -> Result<Listed, String> {
        let known_to_be_down = way.session().is_some_and(|session| session.is_owed(member));
        let patience = if known_to_be_down { Duration::ZERO } else { COMING };
        if !member.door.tells() && !member.door.ready_within(patience).await {
            return Err(member.door.state().why_not_ready().to_owned());
        }
        match member.can(list.capability) {
            Some(true) => read(way, list, member, id, notes).await,
            Some(false) => Ok(Listed::default()),
            None => Err(member.door.state().why_not_ready().to_owned()),
        }
    }
}

impl Gathered {
    fn take(&mut self, all: &Aggregate, list: &List, member: &Member, listed: Listed) {
        if list.method == TOOLS.method && listed.cut.is_none() {
            let names: Vec<String> = listed.elements.iter().filter_map(|tool| name_of(tool)).collect();
            member.look_for_renamed(&names);
        }
        let seen = listed.elements.iter().filter(|element| all.shows(list, member, element));
        let elements = seen.filter_map(|element| renamed(list, member, element)).collect();
        self.parts.push(Part { server: member.name.clone(), elements });
        self.missing.extend(listed.cut.map(|why| (member.name.to_string(), why)));
    }

    fn miss(&mut self, way: &Way, member: &Member, why: String) {
        tracing::debug!(server = %member.name, why, "it is missing in a list of its group");
        if let Some(session) = way.session() {
            session.misses(member);
        }
        self.missing.push((member.name.to_string(), why));
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.elements.len()).sum()
    }
}

/// All pages of one server's.
async fn read(way: &Way, list: &List, member: &Member, id: &[u8], notes: &Notes) -> Result<Listed, String> {
    let (mut listed, mut params, mut cursors) = (Listed::default(), String::new(), HashSet::new());
    for _ in 0..PAGES {
        let text = way.text(id, list.method, &params);
        let reply = way.ask(member, &Ask { id, method: list.method, name: None, text }).await;
        let response = last(reply, member, notes).await.ok_or("it ended")?;
        let result = match result_of(&response) {
            Ok(result) => result,
            Err((code::METHOD_NOT_FOUND, _)) => return Ok(listed),
            Err((_, why)) => return Err(why),
        };
        let Some(cursor) = listed.take(result, list)? else { return Ok(listed) };
        params = format!("\"cursor\":{cursor}");
        if !cursors.insert(cursor) {
            return Ok(listed.cut("it gave a cursor a second time"));
        }
    }
    Ok(listed.cut(&format!("there are more than {PAGES} pages")))
}

impl Listed {
    /// The elements of one page, and the cursor of the next, raw.
    fn take(&mut self, result: &[u8], list: &List) -> Result<Option<String>, String> {
        for element in elements(result, list)? {
            if self.elements.len() >= ELEMENTS || self.bytes + element.len() > BYTES {
                self.cut = Some(format!("there are more than {ELEMENTS} or {BYTES} bytes of them"));
                return Ok(None);
            }
            self.bytes += element.len();
            self.elements.push(element);
        }
        let cursor = member(result, "nextCursor").filter(|cursor| cursor.starts_with(b"\""));
        Ok(cursor.map(|cursor| String::from_utf8_lossy(cursor).into_owned()))
    }

    fn cut(mut self, why: &str) -> Self {
        self.cut = Some(why.to_owned());
        self
    }
}

/// The response; what comes before it goes to the client as it comes.
pub(super) async fn last(reply: PostReply, member: &Member, notes: &Notes) -> Option<Bytes> {
    match reply {
        PostReply::Body(body)
        | PostReply::Refused(body)
        | PostReply::Opened { body, .. }
        | PostReply::Crowded { body, .. } => Some(body),
        PostReply::Stream(mut messages) => {
            let voice = super::rewrite::Voice::of(&member.name);
            while let Some(text) = messages.next().await {
                let message = Message::read(text.clone(), usize::MAX).ok()?;
                match message.kind() {
                    Kind::Response => return Some(text),
                    Kind::Request | Kind::Notification => drop(notes.try_send(voice.message(text))),
                }
            }
            None
        }
        PostReply::Accepted | PostReply::UnknownSession | PostReply::Closed => None,
    }
}

/// The result, or the error's code and words.
pub(super) fn result_of(response: &[u8]) -> Result<&[u8], (i64, String)> {
    if let Some(at) = find(response, "result") {
        return Ok(at.of(response));
    }
    let error = member(response, "error").unwrap_or(b"{}");
    let code = member(error, "code").and_then(|raw| serde_json::from_slice(raw).ok());
    let why = member(error, "message").and_then(|raw| serde_json::from_slice(raw).ok());
    Err((code.unwrap_or(code::INTERNAL_ERROR), why.unwrap_or_else(|| "it answered an error".to_owned())))
}
