//! The forms that messages have on either side.

use crate::envelope::{Message, ScanError};
use crate::json::{self, Cursor, Fault, member, members};
use crate::version;
use bytes::Bytes;

/// The prefix of the protocol's own names in `_meta`.
pub(super) const PREFIX: &str = "io.modelcontextprotocol/";
/// Says in a kept handshake that there was none.
const ERA: &str = "io.dtma/era";
/// The lists that may change, and how that is asked for.
pub(super) const LISTS: [(&str, &str); 3] =
    [("tools", "toolsListChanged"), ("prompts", "promptsListChanged"), ("resources", "resourcesListChanged")];
pub(super) fn read(line: &Bytes) -> Result<Message, ScanError> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    Message::read(line.slice_ref(text), line.len())
}

pub(super) fn with_newline(text: &Bytes) -> Bytes {
    [&text[..], b"\n"].concat().into()
}

/// Whether the result of `server/discover` names the version.
pub(crate) fn offers(result: &[u8]) -> bool {
    let versions = member(result, "supportedVersions").and_then(json::read::<Vec<String>>);
    versions.is_some_and(|versions| versions.iter().any(|one| one == version::STATELESS))
}

/// Lists that the server tells of when they change.
pub(super) fn announced(capabilities: &[u8]) -> Vec<&'static str> {
    let says = |list: &&str| {
        let list = member(capabilities, list);
        list.and_then(|list| member(list, "listChanged")) == Some(b"true")
    };
    LISTS.iter().map(|(list, _)| *list).filter(says).collect()
}

/// What a server would have answered to `initialize`.
pub(super) fn welcome(discovered: &[u8]) -> Vec<u8> {
    let [capabilities, instructions, meta, info] =
        members(discovered, ["capabilities", "instructions", "_meta", "serverInfo"]);
    let info = info.or_else(|| member(meta?, &format!("{PREFIX}serverInfo")));
    let mut out = format!(r#"{{"protocolVersion":"{}","capabilities":"#, version::LATEST).into_bytes();
    out.extend_from_slice(capabilities.unwrap_or(b"{}"));
    out.extend_from_slice(br#","serverInfo":"#);
    out.extend_from_slice(info.unwrap_or(br#"{"name":"","version":""}"#));
    if let Some(instructions) = instructions {
        out.extend_from_slice(br#","instructions":"#);
        out.extend_from_slice(instructions);
    }
    out.extend_from_slice(format!(r#","_meta":{{"{ERA}":"{}"}}}}"#, version::STATELESS).as_bytes());
    out
}

/// The members of an object, by name.
pub(super) fn entries(object: &[u8]) -> Vec<(String, Bytes)> {
    let mut entries = Vec::new();
    let walked: Result<(), Fault> = Cursor::new(object).object(|cursor, key| {
        let value = cursor.value(1)?;
        let name = json::read::<String>(key.of(object)).unwrap_or_default();
        entries.push((name, Bytes::copy_from_slice(value.of(object))));
        Ok(())
    });
    if walked.is_ok() { entries } else { Vec::new() }
}

/// What a kept handshake says the server announces; `None` when the server shook hands.
pub(super) fn recalled(handshake: &str) -> Option<Vec<&'static str>> {
    let [meta, capabilities] = members(handshake.as_bytes(), ["_meta", "capabilities"]);
    let era = member(meta?, ERA).and_then(json::read::<String>);
    era.filter(|era| era == version::STATELESS)?;
    Some(announced(capabilities.unwrap_or(b"{}")))
}
