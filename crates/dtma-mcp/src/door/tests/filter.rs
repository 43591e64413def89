//! Tools that are kept from clients.

use super::*;
use crate::CallError;
use crate::door::filter::ToolFilter;

/// Refuses what is not as it was: a tool of that text.
struct Only(&'static str);

impl ToolFilter for Only {
    fn refuses(&self, name: &str, raw: Option<&str>) -> Option<String> {
        (raw.is_none_or(|raw| raw != self.0)).then(|| format!("{name} is kept from you"))
    }
}

/// What `greet` lists.
const ECHO: &str = r#"{"name":"echo","x":1.0}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;

fn calling(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

async fn listing(client: &Client, process: &mut Process, tools: &str) -> String {
    let mut calls = JoinSet::new();
    client.begin(&mut calls, LIST);
    process.list(tools).await;
    body(outcome(&mut calls).await)
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_neither_listed_nor_called() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let both = format!(r#"[ {ECHO} , {{"name":"other"}} , 7]"#);
    let untouched = format!(r#"{{"jsonrpc":"2.0","id":"l","result":{{"tools":{both}}}}}"#);
    assert_eq!(listing(&client, &mut process, &both).await, untouched);
    house.door.set_tool_filter(Some(Arc::new(Only(ECHO))));
    let sifted = format!(r#"{{"jsonrpc":"2.0","id":"l","result":{{"tools":[{ECHO}]}}}}"#);
    assert_eq!(listing(&client, &mut process, &both).await, sifted);
    let refused = json_of(client.post(calling("other")).await);
    assert_eq!(refused["error"], json!({"code": -32602, "message": "other is kept from you"}));
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"other"}}"#;
    assert_eq!(json_of(client.post(twice).await)["error"]["message"], "the call must name one tool");
    assert!(!process.has_more().await, "the server hears nothing of it");
    let mut calls = JoinSet::new();
    client.begin(&mut calls, calling("echo"));
    let id = process.asked("tools/call").await;
    process.answer(&id, "1");
    assert_eq!(json_of(outcome(&mut calls).await)["result"], 1);
    house.door.set_tool_filter(None);
    assert_eq!(listing(&client, &mut process, &both).await, untouched);
}

/// Refuses a tool of that name.
struct Not(&'static str);

impl ToolFilter for Not {
    fn refuses(&self, name: &str, _: Option<&str>) -> Option<String> {
        (name == self.0).then(|| format!("{name} is not for you"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_from_one_client_is_not_kept_from_others() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    let both = format!(r#"[{ECHO},{{"name":"other"}}]"#);
    let limited = Client { door: house.door.filtered_by(Arc::new(Not("echo"))), id: client.id.clone() };
    let refused = json_of(limited.post(calling("echo")).await);
    assert_eq!(refused["error"]["message"], "echo is not for you");
    let sifted = r#"{"jsonrpc":"2.0","id":"l","result":{"tools":[{"name":"other"}]}}"#;
    assert_eq!(listing(&limited, &mut process, &both).await, sifted);
    assert!(listing(&client, &mut process, &both).await.contains("echo"), "another client sees it");
    house.door.set_tool_filter(Some(Arc::new(Only(ECHO))));
    let kept = json_of(limited.post(calling("other")).await);
    assert_eq!(
        kept["error"]["message"], "other is kept from you",
        "and what is kept from all is kept from it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_became_another_is_refused_without_delay() {
    let (mut house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    house.door.set_tool_filter(Some(Arc::new(Only(ECHO))));
    process.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    process.list(r#"[{"name":"echo","x":2}]"#).await;
    let changed = |state: &crate::ServerState| {
        state.ready().is_some_and(|ready| ready.tools.known()[0].raw != ECHO.as_bytes())
    };
    house.until(changed).await;
    assert!(body(client.post(calling("echo")).await).contains("echo is kept from you"));
    let own = house.door.call("tools/call", Some(br#"{"name":"echo"}"#), Duration::from_secs(1)).await;
    assert!(matches!(own, Err(CallError::Refused { .. })), "{own:?}");
    house.tasks.abort_all();
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_comes_behind_other_messages_is_sifted_too() {
    let (house, mut process) = House::ready().await;
    let client = house.client(json!({})).await;
    house.door.set_tool_filter(Some(Arc::new(Only(ECHO))));
    let mut calls = JoinSet::new();
    client.begin(
        &mut calls,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":"t"}}}"#,
    );
    let asked = process.read().await;
    let token = &asked["params"]["_meta"]["progressToken"];
    process.say(format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#));
    let mut messages = messages(outcome(&mut calls).await);
    assert!(next(&mut messages).await.contains("progress"));
    process.answer(&asked["id"], &format!(r#"{{"tools":[{{"name":"other"}},{ECHO}],"nextCursor":"c"}}"#));
    let sifted = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{ECHO}],"nextCursor":"c"}}}}"#);
    assert_eq!(next(&mut messages).await, sifted);
}
