//! What agents may reach: two agents, two servers, every door, and grants that are changed, taken away, run out and
//! outlive the daemon's `kill -9`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken; it starts processes and looks at the clock"
)]

use bytes::Bytes;
use dtma_client::sse::SseEvent;
use dtma_client::{AuditQuery, Client, Error};
use dtma_tests::command_line::{dtma, ends};
use dtma_tests::mcp::call;
use dtma_tests::program::{run, run_aside};
use dtma_tests::{McpClient, Toolbox, WsClient, binaries, eventually, groups, text};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const UNGRANTED: &str = "is not granted to this token";

/// A token of that name with the scope `gateway`, once the daemon knows it.
async fn agent(toolbox: &Toolbox, name: &str) -> String {
    let mut command = Command::new(binaries::daemon());
    command.args(["token", "create", name, "--scope", "gateway", "--state-dir"]);
    command.arg(toolbox.dir().join("state"));
    let token = run(&mut command, SOON).expect_success("token create").trim().to_owned();
    let rest = toolbox.rest().with_token(Some(&token));
    eventually("the token is known", SOON, async || {
        match rest.get("/.well-known/ai-catalog.json").await.status {
            200 => Ok(()),
            status => Err(status),
        }
    })
    .await;
    token
}

fn client(toolbox: &Toolbox, token: &str) -> Client {
    Client::builder(toolbox.url()).token(token.into()).timeout(SOON).build().expect("a client")
}

async fn grants(toolbox: &Toolbox, words: &[&str]) {
    let words: Vec<&str> = ["mcp", "grants"].iter().chain(words).copied().collect();
    drop(ends(toolbox, &words, 0).await);
}

/// The tools that a session lists.
async fn tools(client: &McpClient) -> Vec<String> {
    let listed = client.exchange(&json!({"jsonrpc": "2.0", "id": "l", "method": "tools/list"})).await;
    let tools = listed.last().expect("an answer")["result"]["tools"].clone();
    let name = |tool: &Value| tool["name"].as_str().unwrap_or_default().to_owned();
    tools.as_array().map(|tools| tools.iter().map(name).collect()).unwrap_or_default()
}

fn echo(id: &Value) -> Value {
    call(id, "echo", &json!({"message": "hello"}))
}

/// The status and code with which a session is refused.
async fn refused(client: &Client, instance: &str) -> (u16, String) {
    match client.gateway_listen(instance, http::HeaderMap::new(), None).await {
        Err(Error::Refused(refusal)) => (refusal.status, refusal.code),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{instance} may be listened to"),
    }
}

/// The next message of a stream of events.
async fn hear(events: &mut BoxStream<'static, Result<SseEvent, Error>>) -> String {
    let next = tokio::time::timeout(SOON, events.next()).await.expect("something in time");
    next.expect("the stream is open").expect("an event").data
}

/// Waits for the end of a stream, whatever comes before.
async fn end_of<T>(mut events: BoxStream<'static, Result<T, Error>>) {
    let rest = async { while let Some(Ok(_)) = events.next().await {} };
    tokio::time::timeout(SOON, rest).await.expect("the stream ends");
}

/// What a client that only starts commands gets for a call.
fn by_command(toolbox: &Toolbox, token: &str, instance: &str, request: &Value) -> Value {
    let mut command = dtma(toolbox, &["mcp", "connect", instance]);
    command.env("DTMA_TOKEN", token).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut door = command.spawn().expect("start the door");
    let mut input = door.stdin.take().expect("its input");
    let mut output = BufReader::new(door.stdout.take().expect("its output"));
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params});
    let mut ask = |request: &Value| -> Value {
        writeln!(input, "{request}").expect("the door reads");
        loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).expect("the door writes"), 0, "it ended");
            let message: Value = serde_json::from_str(&line).expect("a message");
            if message["id"] == request["id"] {
                return message;
            }
        }
    };
    let greeting = ask(&hello);
    let answer = if greeting.get("error").is_some() { greeting } else { ask(request) };
    drop(input);
    door.wait().expect("reap the door");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn each_agent_reaches_what_is_granted_to_it_by_every_door() {
    let mut toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("two", &[groups::fixture("alpha"), groups::fixture("beta")])).await;
    let (ann, bob) = (agent(&toolbox, "ann").await, agent(&toolbox, "bob").await);
    let (of_ann, of_bob) = (client(&toolbox, &ann), client(&toolbox, &bob));
    let before = McpClient::open(&of_ann, "beta").await;
    assert!(tools(&before).await.len() > 1, "nothing is granted to anybody: everything may be reached");

    grants(&toolbox, &["set", "ann-alpha", "--agent", "ann", "--server", "alpha=ec*"]).await;
    grants(
        &toolbox,
        &["set", "bob-beta", "--agent", "bob", "--server", "beta", "--rate", "1", "--burst", "2"],
    )
    .await;
    let late = before.try_exchange(&echo(&json!(1))).await.expect_err("taken away on an open session");
    assert!(late.contains("no_such_server"), "{late}");

    let session = McpClient::open(&of_ann, "alpha").await;
    assert_eq!(tools(&session).await, ["echo"]);
    assert_eq!(text(&session.call(&json!(1), "echo", &json!({"message": "hello"})).await), "Echo: hello");
    let sleep = session.call(&json!(2), "sleep", &json!({"ms": 1})).await;
    assert!(sleep["error"]["message"].to_string().contains(UNGRANTED), "{sleep}");
    for (agent, instance) in [(&of_ann, "beta"), (&of_bob, "alpha"), (&of_bob, "nobody")] {
        assert_eq!(refused(agent, instance).await, (404, "no_such_server".to_owned()), "{instance}");
        assert!(agent.gateway_sse(instance).await.is_err(), "{instance}");
        assert!(agent.get_server_card(instance).await.is_err(), "{instance}");
    }
    let catalogue = of_ann.get_catalogue().await.expect("the catalogue").to_string();
    assert!(catalogue.contains("alpha") && !catalogue.contains("beta"), "{catalogue}");

    let bearer = format!("Bearer {ann}");
    assert!(WsClient::connect(&toolbox, "beta", &[("Authorization", &bearer)]).await.is_err());
    let connected = WsClient::connect(&toolbox, "alpha", &[("Authorization", &bearer)]).await;
    let mut socket = connected.unwrap_or_else(|error| panic!("{error}"));
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"}});
    let hello = json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params});
    assert!(socket.ask(&hello).await["result"].is_object());
    assert_eq!(text(&socket.ask(&echo(&json!(1))).await), "Echo: hello");
    let sleep = socket.ask(&call(&json!(2), "sleep", &json!({"ms": 1}))).await;
    assert!(sleep["error"]["message"].to_string().contains(UNGRANTED), "{sleep}");

    let mut pair = of_bob.gateway_sse("beta").await.expect("a stream");
    let endpoint = hear(&mut pair).await;
    let id = endpoint.rsplit('=').next().expect("a session").to_owned();
    let post = async |message: &Value| {
        of_bob.gateway_messages("beta", &id, Bytes::from(message.to_string())).await.expect("taken");
    };
    post(&hello).await;
    assert!(hear(&mut pair).await.contains("serverInfo"));
    post(&echo(&json!(1))).await;
    assert!(hear(&mut pair).await.contains("Echo: hello"));
    let answer = by_command(&toolbox, &bob, "beta", &echo(&json!(7)));
    assert_eq!(text(&answer), "Echo: hello");
    post(&echo(&json!(2))).await;
    let limited = hear(&mut pair).await;
    assert!(limited.contains("-32029") && limited.contains("retry_after_ms"), "{limited}");
    let limited = by_command(&toolbox, &bob, "beta", &echo(&json!(8))).to_string();
    assert!(limited.contains("too many calls"), "{limited}");
    let unknown = by_command(&toolbox, &bob, "alpha", &echo(&json!(9))).to_string();
    assert!(unknown.contains("there is no server alpha"), "{unknown}");

    in_the_log_of_calls(&toolbox).await;
    toolbox.kill9();
    toolbox.start_again();
    toolbox.ready(&toolbox.named("two"), SOON).await;
    let of_ann = client(&toolbox, &ann);
    let session = session.over(&of_ann);
    assert_eq!(tools(&session).await, ["echo"], "grants and sessions outlive the daemon");
    assert_eq!(refused(&of_ann, "beta").await.0, 404);
    let listed = ends(&toolbox, &["mcp", "grants", "ls", "-o", "wide"], 0).await.stdout;
    assert!(listed.contains("alpha=ec*") && listed.contains("1/min, 2 at once"), "{listed}");
}

async fn in_the_log_of_calls(toolbox: &Toolbox) {
    let wanted = [("ann", "no_such_server"), ("ann", "rpc_error_-32602"), ("bob", "rate_limited")];
    eventually("what was refused is in the log of calls", SOON, async || {
        let lines = toolbox.client().list_calls(&AuditQuery::default()).await.expect("the log").entries;
        let said = |(who, code): &(&str, &str)| {
            let fits = |line: &dtma_client::types::AuditEntryView| {
                line.actor.as_deref() == Some(who) && line.code.as_deref() == Some(code)
            };
            lines.iter().any(fits)
        };
        let missing: Vec<_> = wanted.iter().filter(|line| !said(line)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_out_or_is_taken_away_ends_open_streams_for_good() {
    let mut toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("one", &[groups::fixture("alpha")])).await;
    let (ann, bob) = (agent(&toolbox, "ann").await, agent(&toolbox, "bob").await);
    let (of_ann, of_bob) = (client(&toolbox, &ann), client(&toolbox, &bob));
    grants(&toolbox, &["set", "ann", "--agent", "ann", "--group", &toolbox.named("one")]).await;
    grants(&toolbox, &["set", "bob", "--agent", "bob", "--server", "*"]).await;

    let session = McpClient::open(&of_ann, "alpha").await;
    let (listening, pair) = (session.listen().await, of_ann.gateway_sse("alpha").await.expect("a stream"));
    let bearer = format!("Bearer {ann}");
    let connected = WsClient::connect(&toolbox, "alpha", &[("Authorization", &bearer)]).await;
    let mut socket = connected.unwrap_or_else(|error| panic!("{error}"));
    let of_other = McpClient::open(&of_bob, "alpha").await;
    let under_way = asleep(session.clone());
    grants(&toolbox, &["rm", "ann"]).await;
    end_of(listening).await;
    end_of(pair).await;
    assert_eq!(socket.next().await, Err(1008));
    let call = session.try_exchange(&echo(&json!(1))).await.expect_err("nothing is granted any more");
    assert!(call.contains("no_connection"), "{call}");
    drop(under_way);
    assert_eq!(text(&of_other.call(&json!(1), "echo", &json!({"message": "hello"})).await), "Echo: hello");

    let listening = of_other.listen().await;
    expiring(&toolbox).await;
    end_of(listening).await;
    assert_eq!(refused(&of_bob, "alpha").await, (403, "no_connection".to_owned()), "its time is over");

    toolbox.kill9();
    toolbox.start_again();
    toolbox.ready(&toolbox.named("one"), SOON).await;
    for token in [&ann, &bob] {
        let agent = client(&toolbox, token);
        assert_eq!(
            refused(&agent, "alpha").await,
            (403, "no_connection".to_owned()),
            "the last one opens nothing"
        );
    }
    grants(&toolbox, &["set", "again", "--agent", "ann", "--server", "alpha"]).await;
    let session = session.over(&client(&toolbox, &ann));
    assert!(
        session.try_exchange(&echo(&json!(2))).await.is_ok(),
        "a session goes on when it is granted again"
    );
}

/// Grants bob everything for a moment. On a machine that is so busy that the moment was over before the daemon heard of it,
/// for a longer one.
async fn expiring(toolbox: &Toolbox) {
    for moment in ["2s", "20s", "60s"] {
        let words = ["mcp", "grants", "set", "bob", "--agent", "bob", "--server", "*", "--expires", moment];
        if run_aside(dtma(toolbox, &words), SOON).await.status.success() {
            return;
        }
    }
    panic!("nothing can be granted for a minute");
}

/// A call that is under way when its agent loses everything.
fn asleep(session: McpClient) -> tokio::task::JoinHandle<Result<Vec<Value>, String>> {
    tokio::spawn(
        async move { session.try_exchange(&call(&json!("s"), "sleep", &json!({"ms": 60_000}))).await },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn where_connections_are_required_nobody_comes_in_without() {
    let toolbox = Toolbox::start_with(|launch| launch.args.push("--require-connections".to_owned()));
    let eve = agent(&toolbox, "eve").await;
    assert_eq!(refused(&client(&toolbox, &eve), "alpha").await, (403, "no_connection".to_owned()));
    assert_eq!(refused(&toolbox.client(), "alpha").await.0, 404, "whoever administers is no agent");
    let wrong =
        ends(&toolbox, &["mcp", "grants", "set", "x", "--agent", "eve", "--server", "a b=*"], 7).await;
    assert!(wrong.stderr.contains("/servers/0/instanceName"), "{}", wrong.stderr);
}
