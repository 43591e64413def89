//! Clients of the stateless version, in front of servers that speak it and of servers that do not.

use super::*;
use crate::{Claims, stateless_status};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http::StatusCode;

const PATIENCE: Duration = Duration::from_secs(300);

/// A request, and the headers that go with it.
struct Asks(Claims, Value);

impl Asks {
    fn new(id: u64, method: &str, params: &Value) -> Self {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
        let mut params = params.clone();
        let own = params["_meta"].as_object().cloned().unwrap_or_default();
        params["_meta"] = meta;
        params["_meta"].as_object_mut().unwrap().extend(own);
        let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
        let version = Some("2026-07-28".to_owned());
        let claims = Claims { version, method: Some(method.to_owned()), name, ..Claims::default() };
        Self(claims, json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    }

    fn tool(id: u64) -> Self {
        Self::new(id, "tools/call", &json!({"name": "echo", "_meta": {"progressToken": "t"}}))
    }

    fn begin(self, fleet: &Fleet, calls: &mut JoinSet<PostReply>) {
        let door = fleet.door.clone();
        calls.spawn(async move { door.post_stateless(&self.0, Bytes::from(self.1.to_string())).await });
    }

    async fn reply(self, fleet: &Fleet) -> PostReply {
        fleet.door.post_stateless(&self.0, Bytes::from(self.1.to_string())).await
    }
}

/// One server; `discover` is what it answers to that, an error when it is `None`.
async fn server(discover: Option<&str>) -> (Fleet, Process) {
    let mut fleet = Fleet::new();
    let mut process = fleet.member("a").await;
    fleet.door.serve(&["a".into()]);
    let mut calls = JoinSet::new();
    Asks::tool(1).begin(&fleet, &mut calls);
    let probe = process.read().await;
    assert_eq!(probe["method"], "server/discover");
    match discover {
        Some(result) => process.answer(&probe["id"], result),
        None => process
            .say(json!({"jsonrpc":"2.0","id":probe["id"],"error":{"code":-32601,"message":"?"}}).to_string()),
    }
    let id = process.asked("tools/call").await;
    process.answer(&id, "{}");
    assert_eq!(reply_of(&mut calls).await["id"], 1);
    (fleet, process)
}

async fn reply_of(calls: &mut JoinSet<PostReply>) -> Value {
    let (status, body) = alone(next_of(calls).await);
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// A response that comes alone, and its status.
#[track_caller]
fn alone(reply: PostReply) -> (StatusCode, Value) {
    let status = stateless_status(&reply);
    match reply {
        PostReply::Body(body) | PostReply::Refused(body) => (status, serde_json::from_slice(&body).unwrap()),
        other => panic!("no response: {other:?}"),
    }
}

async fn stream_of(calls: &mut JoinSet<PostReply>) -> crate::MessageStream {
    match next_of(calls).await {
        PostReply::Stream(stream) => stream,
        other => panic!("no stream: {other:?}"),
    }
}

async fn next_of(calls: &mut JoinSet<PostReply>) -> PostReply {
    tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("no answer").unwrap().unwrap()
}

async fn heard(stream: &mut crate::MessageStream) -> Value {
    let text = tokio::time::timeout(PATIENCE, stream.next()).await.expect("nothing is said");
    serde_json::from_slice(&text.expect("the stream ended")).unwrap()
}

const KNOWS: Option<&str> = Some(r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#);

fn progress(id: &Value) -> String {
    json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":id,"progress":1}})
        .to_string()
}

const LOG: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

#[tokio::test(start_paused = true)]
async fn headers_must_say_what_the_body_says() {
    let (fleet, _process) = server(KNOWS).await;
    let check = async |change: &dyn Fn(&mut Asks), status: u16, code: i64| {
        let mut asks = Asks::tool(7);
        change(&mut asks);
        let told = format!("{:?} {}", asks.0, asks.1);
        let (is, body) = alone(asks.reply(&fleet).await);
        let seen = (is.as_u16(), &body["error"]["code"], &body["id"]);
        assert_eq!(seen, (status, &json!(code), &json!(7)), "{told}");
    };
    check(&|asks| asks.0.method = None, 400, -32020).await;
    check(&|asks| asks.0.method = Some("tools/list".into()), 400, -32020).await;
    check(&|asks| asks.0.name = Some("other".into()), 400, -32020).await;
    check(&|asks| asks.0.version = Some("2025-11-25".into()), 400, -32020).await;
    let meta = |name: &str| format!("/params/_meta/io.modelcontextprotocol~1{name}");
    check(
        &|asks| {
            asks.0.version = Some("2099-01-01".into());
            *asks.1.pointer_mut(&meta("protocolVersion")).unwrap() = json!("2099-01-01");
        },
        400,
        -32022,
    )
    .await;
    check(&|asks| *asks.1.pointer_mut(&meta("clientCapabilities")).unwrap() = json!(1), 400, -32602).await;
    for gone in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
        check(
            &|asks| {
                asks.0.method = Some(gone.into());
                asks.1["method"] = json!(gone);
            },
            404,
            -32601,
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn arguments_that_a_tool_wants_in_headers_must_be_the_same_there() {
    let mut fleet = Fleet::new();
    let handle = fleet.admit("a");
    let (mut process, attached) = Process::new();
    handle.connect(run(1), attached, Attachment::Fresh).await.unwrap();
    let tool = r#"[{"name":"echo","inputSchema":{"properties":{"where":{"type":"string","x-mcp-header":"Region"}}}}]"#;
    process.greet_as(GREETING, tool).await;
    handle.state().wait_for(|state| state.ready().is_some()).await.unwrap();
    fleet.door.serve(&["a".into()]);
    let asks = |argument: Option<&str>, header: Option<&str>| {
        let arguments = argument.map_or(json!({}), |argument| json!({"where": argument}));
        let mut asks = Asks::new(1, "tools/call", &json!({"name": "echo", "arguments": arguments}));
        asks.0.params.extend(header.map(|header| ("region".to_owned(), header.to_owned())));
        asks
    };
    for (argument, header) in [(Some("eu"), None), (Some("eu"), Some("us")), (None, Some("eu"))] {
        let (status, _) = alone(asks(argument, header).reply(&fleet).await);
        assert_eq!(status, 400, "{argument:?} {header:?}");
    }
    let mut calls = JoinSet::new();
    for (argument, header) in [(Some("eu"), Some("eu")), (Some("ü"), Some("=?base64?w7w=?=")), (None, None)]
    {
        asks(argument, header).begin(&fleet, &mut calls);
        let mut asked = process.read().await;
        if asked["method"] == "server/discover" {
            process.answer(&asked["id"], KNOWS.unwrap());
            asked = process.read().await;
        }
        process.answer(&asked["id"], "{}");
        assert_eq!(reply_of(&mut calls).await["id"], 1, "{argument:?} {header:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_stand_in_a_header_comes_encoded() {
    let (fleet, mut process) = server(KNOWS).await;
    let named = |header: &str| {
        let mut asks = Asks::new(7, "resources/read", &json!({"uri": "test://größe"}));
        asks.0.name = Some(header.to_owned());
        asks
    };
    for wrong in ["=?base64?dGVzdDovL2dyb2Vzc2U=?=", "=?base64?dGVzdDovL2dyw7bDn2U?=", "test://gr"] {
        let (status, _) = alone(named(wrong).reply(&fleet).await);
        assert_eq!(status, 400, "{wrong}");
    }
    let mut calls = JoinSet::new();
    named("=?base64?dGVzdDovL2dyw7bDn2U=?=").begin(&fleet, &mut calls);
    let id = process.asked("resources/read").await;
    process.answer(&id, "{}");
    assert_eq!(reply_of(&mut calls).await["id"], 7);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_speaks_itself_passes_as_it_is() {
    let (fleet, mut process) = server(KNOWS).await;
    let mut calls = JoinSet::new();
    Asks::tool(5).begin(&fleet, &mut calls);
    let asked = process.read().await;
    assert_eq!(asked["params"]["_meta"]["progressToken"], asked["id"]);
    assert_eq!(
        asked["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"],
        json!({"elicitation": {}})
    );
    process.say(progress(&asked["id"]));
    let mut stream = stream_of(&mut calls).await;
    assert_eq!(heard(&mut stream).await["params"]["progressToken"], "t");
    let result = r#"{"resultType":"input_required","inputRequests":{"a":1.0},"requestState":"theirs"}"#;
    process.answer(&asked["id"], result);
    assert_eq!(
        text(stream.next().await.unwrap()),
        format!(r#"{{"jsonrpc":"2.0","id":5,"result":{result}}}"#)
    );
    assert_eq!(stream.next().await, None);
    let back = json!({"name": "echo", "requestState": "theirs", "inputResponses": {"a": {}}});
    Asks::new(6, "tools/call", &back).begin(&fleet, &mut calls);
    let asked = process.read().await;
    assert_eq!(
        (&asked["params"]["requestState"], &asked["params"]["inputResponses"]),
        (&json!("theirs"), &json!({"a": {}}))
    );
    process.say(json!({"jsonrpc":"2.0","id":asked["id"],"error":{"code":-32021,"message":"?"}}).to_string());
    let (status, _) = alone(next_of(&mut calls).await);
    assert_eq!(status, 400, "a status of the version's own");
}

#[tokio::test(start_paused = true)]
async fn notifications_of_a_subscription_go_to_it_alone_and_hanging_up_ends_it() {
    let (fleet, mut process) = server(KNOWS).await;
    let mut calls = JoinSet::new();
    let listen = json!({"notifications": {"toolsListChanged": true}});
    Asks::new(5, "subscriptions/listen", &listen).begin(&fleet, &mut calls);
    let id = process.asked("subscriptions/listen").await;
    let mark = |id: &Value| json!({"io.modelcontextprotocol/subscriptionId": id});
    let changed =
        json!({"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":mark(&id)}});
    process.say(CHANGED);
    let relisted = process.asked("tools/list").await;
    process.answer(&relisted, r#"{"tools":[]}"#);
    process.say(changed.to_string());
    let mut stream = stream_of(&mut calls).await;
    assert_eq!(heard(&mut stream).await["params"]["_meta"], mark(&json!(5)), "with the client's id");
    drop(stream);
    let mut cancelled = process.read().await;
    while cancelled["method"] == "tools/list" {
        cancelled = process.read().await;
    }
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &id)
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_nothing_of_it_is_translated() {
    let (fleet, mut process) = server(None).await;
    let mut calls = JoinSet::new();
    let (_, discovered) = alone(Asks::new(4, "server/discover", &json!({})).reply(&fleet).await);
    let result = &discovered["result"];
    assert_eq!(
        (&result["supportedVersions"], &result["resultType"]),
        (&json!(["2026-07-28"]), &json!("complete"))
    );
    assert_eq!(
        (&result["capabilities"]["tools"]["listChanged"], &result["ttlMs"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "scripted");
    Asks::tool(5).begin(&fleet, &mut calls);
    let id = process.asked("tools/call").await;
    process.say(LOG);
    process.say(progress(&id));
    process.answer(&id, r#"{"content":[]}"#);
    let mut stream = stream_of(&mut calls).await;
    assert_eq!(heard(&mut stream).await["method"], "notifications/progress", "the log was not wanted");
    let answer = heard(&mut stream).await;
    assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(5), &json!("complete")));
    assert_eq!(stream.next().await, None);
    Asks::tool(6).begin(&fleet, &mut calls);
    let asked = process.read().await;
    let id = asked["id"].clone();
    assert_eq!(asked["params"]["_meta"], json!({"progressToken": id}), "nothing of the version's own");
    calls.shutdown().await;
    let cancelled = process.read().await;
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &id)
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_is_for_a_client_that_wants_it_and_is_alone() {
    let (fleet, mut process) = server(None).await;
    let mut calls = JoinSet::new();
    let wants = |id: u64, level: &str| {
        let meta = json!({"io.modelcontextprotocol/logLevel": level});
        Asks::new(id, "tools/call", &json!({"name": "echo", "_meta": meta}))
    };
    for (level, hears) in [("debug", true), ("error", false)] {
        wants(5, level).begin(&fleet, &mut calls);
        let id = process.asked("tools/call").await;
        process.say(LOG);
        process.answer(&id, "{}");
        let reply = next_of(&mut calls).await;
        let PostReply::Stream(mut stream) = reply else { panic!("{reply:?}") };
        let first = heard(&mut stream).await;
        assert_eq!(first["method"] == "notifications/message", hears, "{first}");
    }
    for id in [6, 7] {
        wants(id, "debug").begin(&fleet, &mut calls);
    }
    let ids = [process.asked("tools/call").await, process.asked("tools/call").await];
    process.say(LOG);
    ids.iter().for_each(|id| process.answer(id, "{}"));
    for _ in ids {
        reply_of(&mut calls).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_is_an_answer_and_its_answer_goes_on_with_the_call() {
    let (fleet, mut process) = server(None).await;
    let mut calls = JoinSet::new();
    Asks::tool(5).begin(&fleet, &mut calls);
    let call = process.asked("tools/call").await;
    process.say(r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"who?"}}"#);
    let mut stream = stream_of(&mut calls).await;
    let asked = heard(&mut stream).await;
    assert_eq!(stream.next().await, None);
    let result = &asked["result"];
    assert_eq!((&asked["id"], &result["resultType"]), (&json!(5), &json!("input_required")));
    let question = json!({"method": "elicitation/create", "params": {"message": "who?"}});
    let (key, request) = result["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(*request, question);
    let back = |state: &Value, responses: Value| json!({"name": "echo", "requestState": state, "inputResponses": responses});
    Asks::new(6, "tools/call", &back(&result["requestState"], json!({}))).begin(&fleet, &mut calls);
    let again = reply_of(&mut calls).await;
    assert_eq!(again["result"]["inputRequests"][key], question, "nothing was answered");
    let state = &again["result"]["requestState"];
    let answer = json!({"action": "accept", "content": {"name": "Ada"}});
    Asks::new(7, "tools/call", &back(state, json!({key: answer}))).begin(&fleet, &mut calls);
    let mut stream = stream_of(&mut calls).await;
    let heard_answer = heard(&mut stream);
    let told = process.read().await;
    assert_eq!((&told["id"], &told["result"]), (&json!("q"), &answer));
    process.answer(&call, r#"{"content":[]}"#);
    let end = heard_answer.await;
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(7), &json!("complete")));
    Asks::new(8, "tools/call", &back(state, json!({key: answer}))).begin(&fleet, &mut calls);
    assert_eq!(reply_of(&mut calls).await["error"]["code"], -32602, "it was used up");
    assert!(!process.has_more().await);
}

#[tokio::test(start_paused = true)]
async fn what_is_listened_to_is_what_was_asked_for() {
    let (fleet, process) = server(None).await;
    let listen = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true}});
    let reply = Asks::new(5, "subscriptions/listen", &listen).reply(&fleet).await;
    let PostReply::Stream(mut stream) = reply else { panic!("{reply:?}") };
    let first = heard(&mut stream).await;
    let mark = json!({"io.modelcontextprotocol/subscriptionId": 5});
    assert_eq!(
        (&first["method"], &first["params"]["_meta"]),
        (&json!("notifications/subscriptions/acknowledged"), &mark)
    );
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true}),
        "of prompts it tells nothing"
    );
    process.say(r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#);
    process.say(LOG);
    process.say(CHANGED);
    let changed = heard(&mut stream).await;
    assert_eq!(
        (&changed["method"], &changed["params"]["_meta"]),
        (&json!("notifications/tools/list_changed"), &mark)
    );
    assert_eq!(stream.next().now_or_never(), None);
}
