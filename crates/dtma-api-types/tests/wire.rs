//! The wire as callers see it: the documented example is a request, requests refuse what they do not know, and
//! events keep their flat shape.

use dtma_api_types::{
    ByteSize, Condition, EventKind, EventView, GroupRequest, MountType, PhaseWord, Resources,
};
use serde_json::json;

#[test]
fn the_minimal_request_survives_a_round_trip() {
    let text = json!({"groupId":"demo","servers":[
        {"instanceName":"time","image":"dtma/mcp-server-time:dev","transport":"stdio"},
        {"instanceName":"web","kind":"tool","image":"dtma/busybox:dev","port":8080,
         "command":["httpd","-f","-p","8080"],"dependsOn":[{"instance":"time","condition":"started"}]}]});
    let request: GroupRequest = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&request).unwrap(), text);
}

#[test]
fn unknown_fields_of_a_request_are_refused() {
    for text in [
        json!({"groupId":"g","servers":[],"replicas":2}),
        json!({"groupId":"g","servers":[{"instanceName":"a","image":"i","replica":2}]}),
        json!({"groupId":"g","servers":[],"options":{"speed":"high"}}),
    ] {
        assert!(serde_json::from_value::<GroupRequest>(text.clone()).is_err(), "{text}");
    }
}

#[test]
fn a_size_is_a_number_or_text() {
    let read = |text: serde_json::Value| serde_json::from_value::<Resources>(json!({"memory": text}));
    assert_eq!(read(json!(1024)).unwrap().memory, Some(ByteSize::Bytes(1024)));
    assert_eq!(read(json!("1KiB")).unwrap().memory, Some(ByteSize::Text("1KiB".into())));
    assert!(read(json!(true)).is_err());
}

#[test]
fn words_are_written_as_they_are_called() {
    for phase in PhaseWord::ALL {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
    }
    for condition in Condition::ALL {
        assert_eq!(serde_json::to_value(condition).unwrap(), condition.as_str());
    }
    for kind in MountType::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}

#[test]
fn an_event_is_flat_and_a_kind_of_tomorrow_can_be_read() {
    let event = EventView {
        seq: 7,
        at: "2026-01-01T00:00:00Z".into(),
        group_id: "demo".into(),
        instance_name: Some("time".into()),
        kind: EventKind::Phase { phase: PhaseWord::Ready, reason: None },
    };
    let text = serde_json::to_value(&event).unwrap();
    let expected = json!({"seq":7,"at":"2026-01-01T00:00:00Z","groupId":"demo","instanceName":"time",
        "kind":"phase","phase":"ready"});
    assert_eq!(text, expected);
    assert_eq!(serde_json::from_value::<EventView>(text).unwrap(), event);
    let tomorrow = json!({"seq":8,"at":"x","groupId":"g","kind":"scaled","replicas":2});
    assert_eq!(serde_json::from_value::<EventView>(tomorrow).unwrap().kind, EventKind::Unknown);
}
