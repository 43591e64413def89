//! Requests about one thing of one server: a tool, a prompt, a resource, a completion.

use super::Aggregate;
use super::find;
use super::gather::WITHIN;
use super::members::Member;
use super::names;
use super::nearby::nearest;
use super::page::{self, List, PROMPTS, TOOLS};
use super::post::Asked;
use super::rewrite::{Answers, Voice};
use super::way::Ask;
use crate::PostReply;
use crate::json::{Span, within};
use crate::rpc::{self, code};
use crate::splice::Edit;
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a request names, and at which server.
struct Target {
    member: Arc<Member>,
    /// As its server knows it.
    own: String,
}

/// One thing of a server's.
struct Meant<'a> {
    /// Its name where nobody knows better.
    likely: &'a str,
    is_it: &'a (dyn Fn(&str) -> bool + Sync),
    /// It can be called nothing but that.
    certain: bool,
}

impl Aggregate {
    pub(super) async fn call_tool(&self, asked: &Asked<'_>) -> PostReply {
        let Some((at, name)) = named(asked, "name") else {
            return asked.wrong("the call must name one tool");
        };
        if let Some(ours) = find::Ours::of(&name) {
            return self.call_ours(ours, asked).await;
        }
        let Some(target) = self.tool(asked, &name).await else { return self.no_tool(asked, &name) };
        let text = rpc::quoted(&target.own);
        let text = asked.message.to_text(&mut [Edit { at, text: text.as_bytes() }]);
        self.forward(asked, "tools/call", &target, text, Answers::Content).await
    }

    /// The same for a tool that is called by way of another ([`find`]): `text` makes the request from the tool's own name.
    pub(super) async fn call_named(
        &self,
        asked: &Asked<'_>,
        name: &str,
        text: impl FnOnce(&str) -> Bytes,
    ) -> PostReply {
        let Some(target) = self.tool(asked, name).await else { return self.no_tool(asked, name) };
        let text = text(&target.own);
        self.forward(asked, "tools/call", &target, text, Answers::Content).await
    }

    /// The tool of that name that this client may call.
    async fn tool(&self, asked: &Asked<'_>, name: &str) -> Option<Target> {
        let (member, own) = match self.renamed(name) {
            Some((member, own)) => {
                let meant = Meant { likely: &own, is_it: &|listed| listed == own, certain: true };
                let own = self.own_name(asked, &TOOLS, &member, &meant).await?;
                (member, own)
            }
            None => {
                let (member, part) = self.owner(name)?;
                let own = self.own_part(asked, &TOOLS, &member, part).await?;
                let own = Some(own).filter(|own| !member.is_renamed(own))?;
                (member, own)
            }
        };
        self.shows_tool(&member, &own).then_some(Target { member, own })
    }

    pub(super) async fn get_prompt(&self, asked: &Asked<'_>) -> PostReply {
        let Some((at, name)) = named(asked, "name") else {
            return asked.wrong("the request must name one prompt");
        };
        let Some(target) = self.prompt(asked, &name).await else {
            return self.no_server(asked, "prompt", &name);
        };
        let text = rpc::quoted(&target.own);
        let text = asked.message.to_text(&mut [Edit { at, text: text.as_bytes() }]);
        self.forward(asked, "prompts/get", &target, text, Answers::Messages).await
    }

    async fn prompt(&self, asked: &Asked<'_>, name: &str) -> Option<Target> {
        let (member, part) = self.owner(name)?;
        let own = match names::may_be_altered(part) {
            true => self.own_part(asked, &PROMPTS, &member, part).await?,
            false => part.to_owned(),
        };
        Some(Target { member, own })
    }

    pub(super) async fn of_resource(&self, asked: &Asked<'_>, method: &str) -> PostReply {
        let Some((at, uri)) = named(asked, "uri") else {
            return asked.wrong("the request must have one uri");
        };
        let Some(target) = self.resource(&uri) else { return self.no_server(asked, "resource", &uri) };
        let text = rpc::quoted(&target.own);
        let text = asked.message.to_text(&mut [Edit { at, text: text.as_bytes() }]);
        self.forward(asked, method, &target, text, Answers::Contents).await
    }

    fn resource(&self, uri: &str) -> Option<Target> {
        let (server, own) = names::split_uri(uri)?;
        Some(Target { member: self.named(server)?, own: own.to_owned() })
    }

    pub(super) async fn complete(&self, asked: &Asked<'_>) -> PostReply {
        let text = &asked.message.text;
        let reference = within(text, asked.message.envelope.params, "ref");
        let place = |key| {
            let at = within(text, reference, key)?;
            Some((at, serde_json::from_slice::<String>(at.of(text)).ok()?))
        };
        let (found, named) = match (place("name"), place("uri")) {
            (Some((at, name)), None) => (self.prompt(asked, &name).await.map(|target| (at, target)), name),
            (None, Some((at, uri))) => (self.resource(&uri).map(|target| (at, target)), uri),
            _ => return asked.wrong("its ref must name one prompt or one resource"),
        };
        let Some((at, target)) = found else { return self.no_server(asked, "prompt or resource", &named) };
        let own = rpc::quoted(&target.own);
        let text = asked.message.to_text(&mut [Edit { at, text: own.as_bytes() }]);
        self.forward(asked, "completion/complete", &target, text, Answers::Plain).await
    }

    async fn forward(
        &self,
        asked: &Asked<'_>,
        method: &str,
        target: &Target,
        text: Bytes,
        answers: Answers,
    ) -> PostReply {
        // The reference of a completion is no name in a header.
        let name = (method != "completion/complete").then_some(target.own.as_str());
        let reply = asked.way.ask(&target.member, &Ask { id: asked.id, method, name, text }).await;
        Voice { server: target.member.name.clone(), answers }.reply(reply)
    }

    /// The server's own name of what is called `part` behind its alias.
    async fn own_part(
        &self,
        asked: &Asked<'_>,
        list: &List,
        member: &Arc<Member>,
        part: &str,
    ) -> Option<String> {
        let exposed = |own: &str| {
            names::split(&names::exposed(&member.alias, own)).is_some_and(|(_, exposed)| exposed == part)
        };
        let meant = Meant { likely: part, is_it: &exposed, certain: !names::may_be_altered(part) };
        self.own_name(asked, list, member, &meant).await
    }

    /// The server's own name of what is meant. `None`: it has no such thing, as far as it says.
    async fn own_name(
        &self,
        asked: &Asked<'_>,
        list: &List,
        member: &Arc<Member>,
        meant: &Meant<'_>,
    ) -> Option<String> {
        let is_tool = list.method == TOOLS.method;
        if is_tool && let Some(own) = member.known_tools().into_iter().find(|own| (meant.is_it)(own)) {
            return Some(own);
        }
        // A server that does not answer just now, or lists nothing, is asked as it is.
        if is_tool && !member.is_listed() && meant.certain {
            return Some(meant.likely.to_owned());
        }
        match self.listed_now(asked, list, member).await {
            Some(own) => own.into_iter().find(|own| (meant.is_it)(own)),
            None => Some(meant.likely.to_owned()),
        }
    }

    /// What that server lists to this client now. `None`: nobody knows.
    async fn listed_now(&self, asked: &Asked<'_>, list: &List, member: &Arc<Member>) -> Option<Vec<String>> {
        let (notes, _nobody) = mpsc::channel(1);
        let listing = self.listed(asked.way, list, member, asked.id, &notes);
        let listed = tokio::time::timeout(WITHIN, listing).await.ok()?.ok()?;
        Some(listed.elements.iter().filter_map(|element| page::name_of(element)).collect())
    }

    fn no_tool(&self, asked: &Asked<'_>, name: &str) -> PostReply {
        let members = self.members();
        let shown = |member: &Arc<Member>| {
            let tools = member.tools().into_iter().filter(|tool| self.shows_tool(member, tool));
            tools.map(|tool| member.tool_name(&tool)).collect::<Vec<_>>()
        };
        let known: Vec<String> = members.iter().flat_map(shown).collect();
        not_there(asked, "tool", name, &nearest(name, known.iter().map(String::as_str)))
    }

    /// Nobody knows what a server would have; but which servers there are.
    fn no_server(&self, asked: &Asked<'_>, what: &str, name: &str) -> PostReply {
        let members = self.members();
        let alias = names::split(name).map_or(name, |(alias, _)| alias);
        let wanted = names::split_uri(name).map_or(alias, |(server, _)| server);
        let near = nearest(wanted, members.iter().map(|member| member.alias.as_str()));
        not_there(asked, what, name, &near)
    }
}

fn not_there(asked: &Asked<'_>, what: &str, name: &str, near: &[&str]) -> PostReply {
    let name: String = name.chars().take(200).collect();
    let hint = match near {
        [] => "names are as the lists of this group have them".to_owned(),
        near => format!("near to it: {}", near.join(", ")),
    };
    let why = format!("there is no {what} {name:?} in this group; {hint}");
    PostReply::Body(rpc::error_with(Some(asked.id), code::INVALID_PARAMS, &why, &json!({"nearby": near})))
}

/// A parameter that is a text.
fn named(asked: &Asked<'_>, key: &str) -> Option<(Span, String)> {
    let at = within(&asked.message.text, asked.message.envelope.params, key)?;
    Some((at, serde_json::from_slice(at.of(&asked.message.text)).ok()?))
}
