//! Arguments that a tool wants to see in headers, too (`x-mcp-header` in its schema): learnt from the lists that pass,
//! repeated as `Mcp-Param-…` with each call (2026-07-28, Streamable HTTP).

use super::posted::encoded;
use crate::envelope::Message;
use crate::json::{self, member, members};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

const MARK: &str = "x-mcp-header";

/// What is known of a server's tools.
#[derive(Default)]
pub(in crate::upstream) struct Mirrors(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Requests for a list that are not answered yet.
    asked: HashSet<Bytes>,
    /// The headers of each argument, of tools that want any.
    tools: HashMap<String, BTreeMap<String, HeaderName>>,
}

impl Mirrors {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to this request is a list of tools.
    pub(in crate::upstream) fn expect(&self, id: &[u8]) {
        self.known().asked.insert(Bytes::copy_from_slice(id));
    }

    /// Nobody waits for that answer any more.
    pub(in crate::upstream) fn leave(&self, id: &[u8]) {
        self.known().asked.remove(id);
    }

    /// Learns from the answer to a request, if it is a list of tools; of others nothing is decoded.
    pub(in crate::upstream) fn learn(&self, answer: &Message) {
        let Some(id) = answer.raw(answer.envelope.id) else { return };
        if !self.known().asked.remove(id) {
            return;
        }
        let tools = answer.raw(answer.envelope.result).and_then(|result| member(result, "tools"));
        let tools: Vec<Value> = tools.and_then(json::read).unwrap_or_default();
        let mut known = self.known();
        for tool in &tools {
            let Some(name) = tool["name"].as_str() else { continue };
            let wanted = wanted(&tool["inputSchema"]);
            match wanted.is_empty() {
                true => known.tools.remove(name),
                false => known.tools.insert(name.to_owned(), wanted),
            };
        }
    }

    /// What a call repeats in headers. An argument that is missing has none.
    pub(in crate::upstream) fn headers(&self, call: &Message) -> Vec<(HeaderName, HeaderValue)> {
        let params = call.raw(call.envelope.params).filter(|_| call.is("tools/call")).unwrap_or(b"{}");
        let [name, arguments] = members(params, ["name", "arguments"]);
        let name = name.and_then(json::read::<String>).unwrap_or_default();
        let Some(wanted) = self.known().tools.get(&name).cloned() else { return Vec::new() };
        let argument = |(argument, header): (String, HeaderName)| {
            let text = said(member(arguments?, &argument)?)?;
            Some((header, HeaderValue::try_from(encoded(text)).ok()?))
        };
        wanted.into_iter().filter_map(argument).collect()
    }
}

fn wanted(schema: &Value) -> BTreeMap<String, HeaderName> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let header = |(argument, schema): (&String, &Value)| {
        let name = format!("mcp-param-{}", schema[MARK].as_str()?.to_ascii_lowercase());
        Some((argument.clone(), HeaderName::try_from(name).ok()?))
    };
    properties.filter_map(header).collect()
}

/// A text as it is, anything else as it is written in JSON.
fn said(raw: &[u8]) -> Option<String> {
    match json::read(raw)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}
