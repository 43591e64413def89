//! Calls and what is written down of them.

use super::*;
use crate::audit::Filter;
use dtma_api_types::AuditEntryView;
use dtma_core::Timestamp;
use dtma_mcp::PostReply;

fn open(dir: &tempfile::TempDir, arguments: bool) -> CallJournal {
    let wall: Wall = Arc::new(|| Timestamp::UNIX_EPOCH);
    CallJournal::open(dir.path(), AuditBounds::default(), wall, CallOptions { arguments, sink: None })
        .unwrap()
}

fn time() -> Target {
    Target::Server("time".parse().unwrap())
}

fn asked(journal: &CallJournal, text: &'static str) -> Pending {
    let caller = Caller { name: "ann".into(), digest: None, bearer: None };
    journal.asked(&caller, &time(), By::Http, &Bytes::from_static(text.as_bytes()))
}

fn body(text: &'static str) -> PostReply {
    PostReply::Body(Bytes::from_static(text.as_bytes()))
}

async fn told(journal: &CallJournal) -> Vec<AuditEntryView> {
    journal.finish().await;
    journal.log().look(&Filter::default(), 1000).unwrap().entries
}

const CALL: &str =
    r#"{"id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"secret"}}}"#;

#[tokio::test]
async fn a_call_is_told_with_everything_but_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, false);
    asked(&journal, CALL).answered(body(r#"{"id":1,"result":{"content":[]}}"#));
    asked(&journal, CALL).answered(body(r#"{"id":1,"result":{"isError":true}}"#));
    asked(&journal, r#"{"id":2,"method":"resources/read","params":{"uri":"a:\n"}}"#)
        .answered(body(r#"{"id":2,"error":{"code":-32602,"message":"no"}}"#));
    asked(&journal, r#"{"method":"notifications/initialized"}"#).answered(PostReply::Accepted);
    asked(&journal, "nonsense").answered(PostReply::Refused(Bytes::from_static(b"{}")));
    asked(&journal, CALL).answered(PostReply::UnknownSession);
    drop(asked(&journal, CALL));
    let told = told(&journal).await;
    let line = |entry: &AuditEntryView| {
        let (outcome, code) = (entry.outcome.as_str(), entry.code.as_deref().unwrap_or(""));
        format!("{} {} {outcome} {code}", entry.method, entry.path)
    };
    assert_eq!(
        told.iter().map(line).collect::<Vec<_>>(),
        [
            "tools/call echo failed client_left",
            "tools/call echo refused no_such_session",
            "  refused malformed_message",
            "resources/read a:\u{fffd} failed rpc_error_-32602",
            "tools/call echo failed tool_error",
            "tools/call echo done "
        ]
    );
    let first = told.last().unwrap();
    assert_eq!((first.actor.as_deref(), first.instance_name.as_deref()), (Some("ann"), Some("time")));
    let call = first.call.as_ref().unwrap();
    assert_eq!((call.door.as_str(), call.sent, call.received), ("http", CALL.len() as u64, 32));
    assert!(told.iter().all(|entry| entry.call.as_ref().unwrap().arguments.is_none()));
    let kept = std::fs::read_to_string(dir.path().join("audit.log")).unwrap();
    assert!(!kept.contains("secret"), "{kept}");
}

#[tokio::test]
async fn arguments_are_told_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, true);
    asked(&journal, CALL).answered(body("{}"));
    let told = told(&journal).await;
    let call = told[0].call.as_ref().unwrap();
    assert_eq!(call.arguments.as_deref(), Some(r#"{"message":"secret"}"#));
}

#[tokio::test]
async fn what_cannot_be_written_in_time_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, false);
    let big = Bytes::from(vec![b' '; HELD / 2 + 1]);
    let caller = Caller { name: "ann".into(), digest: None, bearer: None };
    // The thread reads them, but not that fast.
    for _ in 0..50 {
        journal.asked(&caller, &time(), By::Sse, &big).answered(PostReply::Closed);
    }
    journal.finish().await;
    asked(&journal, CALL).answered(body("{}"));
    let told = told(&journal).await;
    let left_out: u64 = told.iter().filter_map(|entry| entry.left_out).sum();
    assert!(left_out > 0 && journal.0.load.missed.get() == left_out, "{left_out}");
    assert_eq!(told.len() as u64 + left_out, 51);
    assert_eq!(journal.0.load.held.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn noting_a_call_costs_its_sender_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir, false);
    let caller = Caller { name: "ann".into(), digest: None, bearer: None };
    let (target, text) = (time(), Bytes::from(CALL));
    let answer = Bytes::from_static(b"{}");
    let spent = allocation_counter::measure(|| {
        for _ in 0..100 {
            drop(journal.asked(&caller, &target, By::Http, &text).answered(PostReply::Body(answer.clone())));
        }
    });
    // The name of the server, the note, and now and then room for more notes.
    assert!(spent.count_total <= 220, "{spent:?}");
    assert!(spent.bytes_total <= 100 * 400, "{spent:?}");
    assert_eq!(told(&journal).await.len(), 100);
}
