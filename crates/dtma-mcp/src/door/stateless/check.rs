//! Whether a request says what it must, and the same in its headers as in its body (2026-07-28, Streamable HTTP).

use super::header::decoded;
use crate::PostReply;
use crate::envelope::Message;
use crate::json::{self, member, members};
use crate::rpc::{self, code};
use crate::version;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the headers of a request claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// `MCP-Protocol-Version`.
    pub version: Option<String>,
    /// `Mcp-Method`.
    pub method: Option<String>,
    /// `Mcp-Name`: of a tool or prompt, or the URI of a resource.
    pub name: Option<String>,
    /// `Mcp-Param-*`, by the rest of the header's name in small letters.
    pub params: BTreeMap<String, String>,
}

/// What a request asks, as far as the door has to know.
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The object of the client's capabilities, raw.
    pub(crate) capabilities: Bytes,
    /// The least level of the log that the client wants to hear of.
    pub(crate) log_level: Option<String>,
    /// What the client was given with the last answer to this question.
    pub(crate) state: Option<String>,
    /// The client's answers to what was asked then, raw.
    pub(crate) responses: Option<Bytes>,
}

/// Why a request is not even looked at by a server.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    code: i64,
    why: String,
    data: Option<Value>,
}

/// What other versions have and this one has not.
const GONE: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// What the protocol says of a request in its `_meta`.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

impl Asked {
    /// `listed` knows tools as their server lists them.
    pub(crate) fn check(
        claims: &Claims,
        message: &Message,
        listed: impl Fn(&str) -> Option<Bytes>,
    ) -> Result<Self, Fault> {
        let params = message.raw(message.envelope.params).unwrap_or(b"{}");
        let parts = ["_meta", "name", "uri", "arguments", "requestState", "inputResponses"];
        let [meta, name, uri, arguments, state, responses] = members(params, parts);
        let [version, capabilities, log_level] =
            members(meta.unwrap_or(b"{}"), [VERSION, CAPABILITIES, LOG_LEVEL]);
        let method = message.raw(message.envelope.method).and_then(json::read::<String>).unwrap_or_default();
        versions(claims, version.and_then(json::read))?;
        same("Mcp-Method", claims.method.as_deref(), &method)?;
        if GONE.contains(&method.as_str()) {
            let why = format!("{method} is not a method of {}", version::STATELESS);
            return Err(Fault::new(code::METHOD_NOT_FOUND, why));
        }
        let named = match method.as_str() {
            "tools/call" | "prompts/get" => Some(name),
            "resources/read" => Some(uri),
            _ => None,
        };
        if let Some(name) = named {
            let name: String = name.and_then(json::read).unwrap_or_default();
            says("Mcp-Name", claims.name.as_deref(), &name)?;
            if method == "tools/call" {
                mirrored(claims, arguments, listed(&name).as_deref())?;
            }
        }
        let missing = || Fault::new(code::INVALID_PARAMS, format!("_meta must have {CAPABILITIES}"));
        let capabilities = capabilities.filter(|raw| raw.starts_with(b"{")).ok_or_else(missing)?;
        Ok(Self {
            method,
            capabilities: Bytes::copy_from_slice(capabilities),
            log_level: log_level.and_then(json::read),
            state: state.and_then(json::read),
            responses: responses.map(Bytes::copy_from_slice),
        })
    }
}

fn versions(claims: &Claims, said: Option<String>) -> Result<(), Fault> {
    let Some(said) = said else {
        return Err(Fault::new(code::INVALID_PARAMS, format!("_meta must have {VERSION}")));
    };
    same("MCP-Protocol-Version", claims.version.as_deref(), &said)?;
    if said == version::STATELESS {
        return Ok(());
    }
    let data = json!({"supported": [version::STATELESS], "requested": said});
    let why = format!("protocol version {said} is not spoken here");
    Err(Fault { data: Some(data), ..Fault::new(code::UNSUPPORTED_VERSION, why) })
}

fn same(header: &str, claimed: Option<&str>, said: &str) -> Result<(), Fault> {
    match claimed {
        Some(claimed) if claimed == said => Ok(()),
        Some(claimed) => {
            Err(Fault::mismatch(format!("the header {header} says {claimed:?} and the body {said:?}")))
        }
        None => Err(Fault::mismatch(format!("the header {header} is missing; it must say {said:?}"))),
    }
}

/// The same for what may be encoded in the header.
fn says(header: &str, claimed: Option<&str>, said: &str) -> Result<(), Fault> {
    match claimed.map(decoded) {
        Some(None) => Err(Fault::mismatch(format!("the header {header} is no base64 of UTF-8: {claimed:?}"))),
        Some(Some(claimed)) => same(header, Some(&claimed), said),
        None => same(header, None, said),
    }
}

/// Arguments that the tool wants to see in headers (`x-mcp-header` in its schema).
fn mirrored(claims: &Claims, arguments: Option<&[u8]>, tool: Option<&[u8]>) -> Result<(), Fault> {
    let schema = tool.and_then(|tool| member(tool, "inputSchema"));
    let Some(schema) = schema.filter(|schema| memchr::memmem::find(schema, b"x-mcp-header").is_some()) else {
        return Ok(());
    };
    let schema: Value = json::read(schema).unwrap_or_default();
    let arguments: Value = arguments.and_then(json::read).unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (property, header) in
        properties.filter_map(|(name, schema)| Some((name, schema["x-mcp-header"].as_str()?)))
    {
        let said = match &arguments[property] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let claimed = claims.params.get(&header.to_ascii_lowercase());
        let name = format!("Mcp-Param-{header}");
        match (said, claimed) {
            (Some(said), claimed) => says(&name, claimed.map(String::as_str), &said)?,
            (None, None) => {}
            (None, Some(claimed)) => {
                return Err(Fault::mismatch(format!(
                    "the header {name} says {claimed:?} and the body nothing"
                )));
            }
        }
    }
    Ok(())
}

impl Fault {
    fn new(code: i64, why: String) -> Self {
        Self { code, why, data: None }
    }

    fn mismatch(why: String) -> Self {
        Self::new(code::HEADER_MISMATCH, why)
    }

    pub(crate) fn reply(self, message: &Message) -> PostReply {
        let Self { code, why, data } = self;
        let id = message.raw(message.envelope.id);
        PostReply::Refused(match data {
            Some(data) => rpc::error_with(id, code, &why, &data),
            None => rpc::error(id, code, &why),
        })
    }
}
