//! What a client's text asks which server to do, for those who count that before it is passed on.

use super::Aggregate;
use super::find::Ours;
use super::names;
use crate::demand::{Demand, messages};
use crate::envelope::{Kind, Message};
use crate::json::member;
use bytes::Bytes;
use dtma_core::id::InstanceName;

impl Aggregate {
    /// The calls in a text, and whose they are. What is nobody's is none: it is refused later.
    #[must_use]
    pub fn demands(&self, text: &Bytes) -> Vec<(InstanceName, Demand)> {
        messages(text).iter().filter_map(|message| self.demand(message)).collect()
    }

    fn demand(&self, message: &Message) -> Option<(InstanceName, Demand)> {
        let params = message.raw(message.envelope.params).filter(|_| message.kind() == Kind::Request)?;
        if message.is("tools/call") {
            return self.tool_demanded(params);
        }
        if message.is("prompts/get") {
            let (member, _) =
                self.owner(&text(params, "name")?).map(|(member, part)| (member, part.to_owned()))?;
            return Some((member.name.clone(), Demand::Other));
        }
        let uri = text(params, "uri").filter(|_| message.is("resources/read"))?;
        let (server, _) = names::split_uri(&uri)?;
        Some((self.named(server)?.name.clone(), Demand::Other))
    }

    /// Also one that is called by way of another.
    fn tool_demanded(&self, params: &[u8]) -> Option<(InstanceName, Demand)> {
        let name = match (text(params, "name")?, member(params, "arguments")) {
            (name, Some(arguments)) if matches!(Ours::of(&name), Some(Ours::Call)) => {
                text(arguments, "name")?
            }
            (name, _) => name,
        };
        if let Some((member, own)) = self.renamed(&name) {
            return Some((member.name.clone(), Demand::Tool(own)));
        }
        let (member, part) = self.owner(&name)?;
        let mut known = member.known_tools().into_iter();
        let own = known.find(|own| names::exposed(&member.alias, own) == name);
        Some((member.name.clone(), Demand::Tool(own.unwrap_or_else(|| part.to_owned()))))
    }
}

fn text(object: &[u8], key: &str) -> Option<String> {
    serde_json::from_slice(member(object, key)?).ok()
}
