//! Two tools of the group's own, for clients that do not want to see hundreds: one that finds tools by words, and one that
//! calls what was found, because many clients call nothing that is not in their list.
//!
//! Finding is counting words, in names before descriptions before the rest, so that the same words find the same tools in
//! the same order. No model is asked.

use super::Aggregate;
use super::page::{TOOLS, name_of};
use super::post::Asked;
use crate::PostReply;
use crate::json::member;
use crate::rpc;
use crate::splice::Edit;
use bytes::Bytes;
use dtma_core::spec::gateway::{CALL_TOOL as CALL, FIND_TOOLS as FIND};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Tools that are found where the client does not say how many it wants, and at most.
const USUAL: usize = 10;
const MOST: usize = 50;

/// What a word is worth in a name, in a description, and elsewhere.
const WORTH: [usize; 3] = [16, 4, 1];

/// A tool of the group's own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ours {
    Find,
    Call,
}

impl Ours {
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            FIND => Some(Self::Find),
            CALL => Some(Self::Call),
            _ => None,
        }
    }
}

/// Both, as they are listed.
pub(super) fn tools() -> Vec<Bytes> {
    let find = json!({
        "name": FIND,
        "title": "Find tools",
        "description": "Finds tools of this group of servers by words and returns their names, descriptions and input \
            schemas, the best first. There are too many to list them all. Call what was found by its name, or with \
            call_tool.",
        "inputSchema": {"type": "object", "properties": {
            "query": {"type": "string", "description": "Words about what is to be done; none: the first of all tools"},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}}},
        "annotations": {"readOnlyHint": true, "openWorldHint": false},
    });
    let call = json!({
        "name": CALL,
        "title": "Call a tool",
        "description": "Calls a tool that find_tools has found.",
        "inputSchema": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string", "description": "As find_tools returned it"},
            "arguments": {"type": "object", "description": "What the tool's inputSchema wants"}}},
    });
    [find, call].iter().map(|tool| tool.to_string().into()).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Find {
    #[serde(default)]
    query: String,
    #[serde(default = "usual")]
    limit: usize,
}

fn usual() -> usize {
    USUAL
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl Aggregate {
    pub(super) async fn call_ours(&self, ours: Ours, asked: &Asked<'_>) -> PostReply {
        let arguments = member(asked.params, "arguments").filter(|raw| *raw != b"null").unwrap_or(b"{}");
        match ours {
            Ours::Find => match serde_json::from_slice::<Find>(arguments) {
                Ok(find) => self.find(asked, &find).await,
                Err(problem) => asked.wrong(&format!(
                    "the arguments of {FIND} are wrong: {problem}; it takes query, a text, and limit, 1 to {MOST}"
                )),
            },
            Ours::Call => match serde_json::from_slice::<Call<'_>>(arguments) {
                Ok(call) => self.call_found(asked, &call).await,
                Err(problem) => asked.wrong(&format!(
                    "the arguments of {CALL} are wrong: {problem}; it takes name, a text, and arguments, an object"
                )),
            },
        }
    }

    async fn find(&self, asked: &Asked<'_>, find: &Find) -> PostReply {
        let (notes, _nobody) = mpsc::channel(1);
        let gathered = self.gather(asked.way, &TOOLS, self.members(), asked.id, &notes).await;
        let tools: Vec<&Bytes> = gathered.parts.iter().flat_map(|part| &part.elements).collect();
        let found = ranked(&find.query, &tools, find.limit.clamp(1, MOST));
        let found: Vec<Value> = found.iter().filter_map(|raw| serde_json::from_slice(raw).ok()).collect();
        let missing: Vec<&String> = gathered.missing.iter().map(|(server, _)| server).collect();
        let told = json!({"tools": found, "total": tools.len(), "missingServers": missing});
        let result =
            json!({"content": [{"type": "text", "text": told.to_string()}], "structuredContent": told});
        PostReply::Body(rpc::result(asked.id, result.to_string().as_bytes()))
    }

    /// The same request for the tool that is named in the arguments.
    async fn call_found(&self, asked: &Asked<'_>, call: &Call<'_>) -> PostReply {
        if Ours::of(&call.name).is_some() {
            return asked.wrong(&format!("{} is called by its own name", call.name));
        }
        let arguments = call.arguments.map_or("{}", RawValue::get);
        let text = |own: &str| {
            let (text, params) = (&asked.message.text, asked.message.envelope.params);
            let name = crate::json::within(text, params, "name");
            let given = crate::json::within(text, params, "arguments");
            let own = rpc::quoted(own);
            let edits = [(name, own.as_bytes()), (given, arguments.as_bytes())];
            let mut edits: Vec<Edit<'_>> =
                edits.into_iter().filter_map(|(at, text)| Some(Edit { at: at?, text })).collect();
            asked.message.to_text(&mut edits)
        };
        self.call_named(asked, &call.name, text).await
    }
}

/// The tools that have to do with these words, the best first, equals in their order.
fn ranked<'a>(query: &str, tools: &[&'a Bytes], limit: usize) -> Vec<&'a Bytes> {
    let words = words(query);
    let mut scored: Vec<(usize, &Bytes)> = tools.iter().map(|tool| (score(&words, tool), *tool)).collect();
    scored.retain(|(score, _)| words.is_empty() || *score > 0);
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().take(limit).map(|(_, tool)| tool).collect()
}

fn score(wanted: &[String], tool: &[u8]) -> usize {
    let text = |key| {
        member(tool, key).and_then(|raw| serde_json::from_slice::<String>(raw).ok()).unwrap_or_default()
    };
    let name = format!("{} {}", name_of(tool).unwrap_or_default(), text("title"));
    let schema = member(tool, "inputSchema").map(String::from_utf8_lossy).unwrap_or_default();
    let places = [name, text("description"), schema.into_owned()].map(|place| words(&place));
    let worth = |word: &String| -> usize {
        places.iter().zip(WORTH).map(|(place, worth)| worth * fits(word, place)).sum()
    };
    // One that has all words is before one that has one of them often.
    let all = wanted.iter().filter(|word| worth(word) > 0).count();
    wanted.iter().map(worth).sum::<usize>() * all
}

/// Twice for the word itself, once for one that begins with it or is its beginning.
fn fits(word: &str, place: &[String]) -> usize {
    let near = |other: &String| {
        word.len() > 2 && other.len() > 2 && (other.starts_with(word) || word.starts_with(other.as_str()))
    };
    if place.iter().any(|other| other == word) { 2 } else { usize::from(place.iter().any(near)) }
}

/// In small letters; `getCurrentTime` is three.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in text.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() && was_small {
            words.push(String::new());
        }
        was_small = c.is_lowercase();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, description: &str) -> Bytes {
        json!({"name": name, "description": description,
            "inputSchema": {"properties": {"timezone": {"type": "string"}}}})
        .to_string()
        .into()
    }

    #[track_caller]
    fn finds(query: &str, expected: &[&str]) {
        let tools = [
            tool("fs__read_file", "Reads a file"),
            tool("fs__write_file", "Writes a file"),
            tool("git__git_log", "Shows the commits, also those of one file"),
            tool("time__getCurrentTime", "Says how late it is"),
        ];
        let tools: Vec<&Bytes> = tools.iter().collect();
        let found: Vec<String> = ranked(query, &tools, 3).iter().filter_map(|tool| name_of(tool)).collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn tools_are_found_by_words_and_always_in_the_same_order() {
        finds("write a file", &["fs__write_file", "fs__read_file", "git__git_log"]);
        finds("current TIME", &["time__getCurrentTime", "fs__read_file", "fs__write_file"]);
        finds("commit", &["git__git_log"]);
        finds("", &["fs__read_file", "fs__write_file", "git__git_log"]);
        finds("entangled quanta", &[]);
    }

    #[test]
    fn both_tools_are_tools() {
        for (tool, name) in tools().iter().zip([FIND, CALL]) {
            assert_eq!(name_of(tool).as_deref(), Some(name));
            assert!(member(tool, "inputSchema").is_some() && Ours::of(name).is_some());
        }
    }
}
