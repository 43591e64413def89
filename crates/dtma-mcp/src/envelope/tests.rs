//! What the scan must find and what it must refuse, compared with a full decoder.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(text: &str) -> Result<Message, ScanError> {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), 1 << 20)
}

fn refused(text: &str) -> &'static str {
    match read(text) {
        Err(ScanError::NotRpc { why, .. }) => why,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_request_shows_its_parts_as_raw_text() {
    let text = r#"{"jsonrpc":"2.0","id": 1.0 ,"method":"tools/call","params":{"name":"x","_meta":{"a":{},"progressToken":"t\n"}}}"#;
    let message = read(text).unwrap();
    assert_eq!(message.kind(), Kind::Request);
    assert_eq!(message.raw(message.envelope.id), Some(&b"1.0"[..]));
    assert_eq!(message.raw(message.envelope.meta_token), Some(&br#""t\n""#[..]));
    assert!(message.is("tools/call") && !message.is("tools/list"));
    assert_eq!(message.envelope.progress_token, None);
}

#[test]
fn escaped_keys_mean_what_they_mean() {
    let message = read(r#"{"jsonrpc":"2.0","\u0069d":7,"meth\u006fd":"pi\u006eg"}"#).unwrap();
    assert_eq!(message.raw(message.envelope.id), Some(&b"7"[..]));
    assert!(message.is("ping"));
}

#[test]
fn notifications_show_the_ids_they_speak_of() {
    let cancelled =
        read(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"1"}}"#).unwrap();
    assert_eq!(cancelled.kind(), Kind::Notification);
    assert_eq!(cancelled.raw(cancelled.envelope.request_id), Some(&br#""1""#[..]));
    let progress = read(
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"progress":1}}"#,
    )
    .unwrap();
    assert_eq!(progress.raw(progress.envelope.progress_token), Some(&b"5"[..]));
}

#[test]
fn what_stands_deeper_is_not_taken_for_the_envelope() {
    let text =
        r#"{"jsonrpc":"2.0","id":1,"result":{"id":2,"method":"x","error":{},"_meta":{"progressToken":3}}}"#;
    let message = read(text).unwrap();
    assert_eq!((message.kind(), message.raw(message.envelope.id)), (Kind::Response, Some(&b"1"[..])));
    assert_eq!(message.envelope.meta_token, None);
}

#[test]
fn a_member_of_the_envelope_may_not_be_there_twice() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{},"_meta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":1,"_meta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":1,"progressToken":2}}}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":{"requestId":1,"requestId":2}}"#,
    ] {
        assert_eq!(refused(text), "a member of the envelope is there twice", "{text}");
    }
    read(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":2},"other":1,"other":2}"#).unwrap();
}

#[test]
fn what_is_no_message_is_refused_with_its_id_when_that_is_sure() {
    let id_of = |text: &str| match read(text) {
        Err(ScanError::NotRpc { id, .. }) => id.map(|id| String::from_utf8(id.to_vec()).unwrap()),
        other => panic!("{text}: {other:?}"),
    };
    for (text, id) in [
        ("{}", None),
        ("3", None),
        ("[]", None),
        (r#"{"jsonrpc":"1.0","id":"a","method":"x"}"#, Some(r#""a""#)),
        (r#"{"id":1,"method":"x"}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, None),
        (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":"y"}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":1}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","result":1}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#, None),
    ] {
        assert_eq!(id_of(text).as_deref(), id, "{text}");
    }
    assert_eq!(read(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#).unwrap().kind(), Kind::Response);
}

#[test]
fn bounds_hold() {
    assert_eq!(
        Packet::read(Bytes::from_static(b"{}        "), 9).unwrap_err(),
        ScanError::TooLong { limit: 9 }
    );
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}"#, "[".repeat(1000));
    assert_eq!(read(&deep).unwrap_err(), ScanError::TooDeep);
    assert_eq!(read("{\"a\":\"\u{1}\"}").unwrap_err(), ScanError::NotJson { at: 6 });
    let latin = Packet::read(Bytes::from_static(b"{\"a\":\"\xe9\"}"), 99).unwrap_err();
    assert_eq!(latin, ScanError::NotUtf8 { at: 6 });
}

#[test]
fn a_batch_is_split() {
    let Ok(Packet::Batch(parts)) = Packet::read(Bytes::from_static(b" [ {\"a\":[1]} , 2 ] "), 99) else {
        panic!("not a batch")
    };
    assert_eq!(parts, [&b"{\"a\":[1]}"[..], b"2"]);
    assert!(Packet::read(Bytes::from_static(b"[1"), 99).is_err());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("progressToken".to_owned()),
        Just("_meta".to_owned()),
        Just("requestId".to_owned()),
        Just("id".to_owned()),
        Just("method".to_owned()),
        "\\PC{0,6}",
    ]
}

proptest! {
    /// Whatever a decoder finds in a message, the scan finds as the same raw text.
    #[test]
    fn the_scan_agrees_with_a_decoder(
        id in prop_oneof![any::<i64>().prop_map(Value::from), "\\PC{0,8}".prop_map(Value::from)],
        method in "\\PC{0,12}",
        params in proptest::collection::btree_map(key(), value(), 0..5),
        extra in proptest::collection::btree_map("x\\PC{0,6}", value(), 0..3),
        pretty in any::<bool>(),
    ) {
        let mut whole = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        whole.as_object_mut().unwrap().extend(extra);
        let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }.unwrap();
        let message = read(&text).unwrap();
        let decoded = |part| message.raw(part).map(|raw| serde_json::from_slice::<Value>(raw).unwrap());
        let scalar = |value: &Value| Some(value.clone()).filter(|v| v.is_string() || v.is_number());
        prop_assert_eq!(decoded(message.envelope.id), Some(whole["id"].clone()));
        prop_assert_eq!(decoded(message.envelope.params), Some(whole["params"].clone()));
        prop_assert!(message.is(&method));
        prop_assert_eq!(decoded(message.envelope.meta_token), scalar(&whole["params"]["_meta"]["progressToken"]));
        prop_assert_eq!(decoded(message.envelope.progress_token), scalar(&whole["params"]["progressToken"]));
        prop_assert_eq!(decoded(message.envelope.request_id), scalar(&whole["params"]["requestId"]));
        prop_assert_eq!(message.envelope.line_breaks, text.contains('\n'));
    }

    /// What goes to the server is, decoded, the message with another id and token, and nothing else; what comes back is
    /// what was sent, byte for byte.
    #[test]
    fn what_is_spliced_decodes_to_the_message_with_other_ids(
        id in prop_oneof![any::<i64>().prop_map(Value::from), "\\PC{0,8}".prop_map(Value::from)],
        method in "\\PC{0,12}",
        params in proptest::collection::btree_map(key(), value(), 0..5),
        token in prop_oneof![Just(None), any::<i64>().prop_map(|n| Some(json!(n))), "\\PC{0,8}".prop_map(|t| Some(json!(t)))],
        new in any::<u64>(),
        pretty in any::<bool>(),
    ) {
        let mut whole = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        if let Some(token) = &token {
            whole["params"]["_meta"] = json!({"first": {"id": 7}, "progressToken": token, "last": [1, {"id": 2}]});
        }
        let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }.unwrap();
        let message = read(&text).unwrap();
        let line = message.with_id(new, Message::to_line);
        let mut model = whole.clone();
        model["id"] = json!(new);
        let is_scalar = |value: &Value| value.is_string() || value.is_number();
        if let Some(token) = model.pointer_mut("/params/_meta/progressToken").filter(|token| is_scalar(token)) {
            *token = json!(new);
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), model);
        prop_assert_eq!(line.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);

        let there = Message::read(line.slice(..line.len() - 1), 1 << 20).unwrap();
        let mut edits = Vec::new();
        for (there, here) in [(there.envelope.id, message.envelope.id), (there.envelope.meta_token, message.envelope.meta_token)] {
            edits.extend(there.zip(message.raw(here)).map(|(at, text)| Edit { at, text }));
        }
        prop_assert_eq!(there.to_text(&mut edits), message.to_text(&mut []));
    }

    /// No text whatever makes it panic, and what it takes a decoder takes too.
    #[test]
    fn what_passes_is_json(text in r#"\{("jsonrpc":"2.0"|"id":[01"]+|"method":"[a\\]*"|[,:\[\]{}" ])*\}"#) {
        if read(&text).is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }
    }
}
