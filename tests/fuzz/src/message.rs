//! JSON-RPC messages: what is found in them, and what they are with other ids, held against a decoder.

use dtma_mcp::fuzzing::{given_back, renumbered, scan, split};
use serde_json::{Value, json};

/// What a decoder makes of a text that passed; `None` where it has bounds of its own (numbers that no float holds, halves
/// of a character).
fn decoded(text: &[u8]) -> Option<Value> {
    match serde_json::from_slice(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let own = ["number out of range", "surrogate", "hex escape", "recursion limit"];
            let said = error.to_string();
            assert!(
                own.iter().any(|bound| said.contains(bound)),
                "{said}: {}",
                String::from_utf8_lossy(text)
            );
            None
        }
    }
}

/// Where the parts are by a decoder's account.
fn model<'a>(whole: &'a Value, part: &str) -> Option<&'a Value> {
    let scalar = |value: &&Value| value.is_string() || value.is_number();
    match part {
        "_meta.progressToken" => whole.pointer("/params/_meta/progressToken").filter(scalar),
        "subscription" => {
            whole.pointer("/params/_meta/io.modelcontextprotocol~1subscriptionId").filter(scalar)
        }
        "progressToken" | "requestId" => whole.get("params")?.as_object()?.get(part).filter(scalar),
        part => whole.get(part),
    }
}

/// The scan finds what a decoder finds, and takes nothing that is no message to a decoder.
pub(crate) fn envelope(input: &[u8]) {
    for part in split(input).unwrap_or_default() {
        decoded(&part);
    }
    let Some(found) = scan(input) else { return };
    let Some(whole) = decoded(input) else { return };
    assert_eq!(whole["jsonrpc"], "2.0");
    let names = ["id", "method", "params", "result", "error"];
    let tokens = ["_meta.progressToken", "progressToken", "requestId", "subscription"];
    for name in names.into_iter().chain(tokens) {
        let raw = found.parts.iter().find(|(found, _)| *found == name);
        let raw = raw.map(|(_, raw)| decoded(raw).expect("a part of what was decoded"));
        assert_eq!(raw.as_ref(), model(&whole, name), "{name}: {}", String::from_utf8_lossy(input));
    }
    let kind = match (whole.get("method"), whole.get("id")) {
        (Some(_), Some(_)) => "request",
        (Some(_), None) => "notification",
        (None, _) => "response",
    };
    assert_eq!(found.kind, kind);
}

/// What is spliced is, decoded, the message with other ids, and in one line.
pub(crate) fn splice(input: &[u8]) {
    let whole = || decoded(input);
    if let Some((line, mut model)) = renumbered(input, 42).and_then(|line| Some((line, whole()?))) {
        replace(&mut model, "/id", &json!(42));
        replace(&mut model, "/params/_meta/progressToken", &json!(42));
        assert_eq!(decoded(&line), Some(model), "{}", String::from_utf8_lossy(input));
        let (last, before) = line.split_last().expect("a line");
        assert!(*last == b'\n' && !before.contains(&b'\n') && !before.contains(&b'\r'));
    }
    let (id, token) = (json!("\"\\ä"), json!(-7));
    let back = given_back(input, id.to_string().as_bytes(), token.to_string().as_bytes());
    if let Some((text, mut model)) = back.and_then(|text| Some((text, whole()?))) {
        // An error about what could not be read has no id, or null, and gets one.
        if model.get("id").is_some() {
            model["id"] = id;
        }
        replace(&mut model, "/params/progressToken", &token);
        assert_eq!(decoded(&text), Some(model), "{}", String::from_utf8_lossy(input));
        assert!(!text.contains(&b'\n') && !text.contains(&b'\r'));
    }
}

/// Only ids and tokens are replaced, never what is none.
fn replace(whole: &mut Value, at: &str, new: &Value) {
    let scalar = |value: &&mut Value| value.is_string() || value.is_number();
    if let Some(place) = whole.pointer_mut(at).filter(scalar) {
        *place = new.clone();
    }
}
