//! Streamable HTTP.

use super::fake::{
    Fake, Reply, Seen, answer_to, attach, dial, event, json_of, open_stream, request, status, stream_of,
    text, until,
};
use crate::upstream::{Protocol, Upstream};
use http::Method;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;

const HTTP: Protocol = Protocol::StreamableHttp;

/// Greets with a session and leaves the rest to another.
fn greeting(seen: &Seen, rest: impl Fn(&Seen) -> Reply) -> Reply {
    match (&seen.method, seen.called()) {
        (&Method::POST, "initialize") => {
            let mut reply = json_of(&answer_to(&seen.body["id"]));
            reply.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
            reply
        }
        (&Method::POST, "notifications/initialized") => status(202),
        (&Method::DELETE, _) => status(200),
        _ => rest(seen),
    }
}

#[tokio::test]
async fn a_session_is_begun_used_and_given_back() {
    let fake = Fake::serve(|seen| {
        greeting(seen, |seen| {
            if seen.method == Method::GET { status(405) } else { json_of(&answer_to(&seen.body["id"])) }
        })
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp?x=1");
    talk.greet().await;
    talk.say(&request(2, "tools/list")).await;
    assert_eq!(talk.heard().await["id"], 2);
    fake.until_seen(|seen| seen.len() == 4).await;
    drop(talk);
    let seen = fake.until_seen(|seen| seen.iter().any(|seen| seen.method == Method::DELETE)).await;
    for one in &seen {
        let first = one.called() == "initialize";
        assert_eq!(one.path, "/mcp?x=1");
        assert_eq!(one.header("mcp-session-id"), (!first).then_some("s1"), "{one:?}");
        assert_eq!(one.header("mcp-protocol-version"), (!first).then_some("2025-06-18"), "{one:?}");
        assert_eq!(one.header("host"), Some(format!("localhost:{}", fake.port).as_str()));
        let accept = if one.method == Method::GET {
            "text/event-stream"
        } else {
            "application/json, text/event-stream"
        };
        assert_eq!(one.header("accept"), Some(accept));
    }
    until(|| fake.connections.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn what_comes_on_a_stream_comes_out_in_order_and_in_single_lines() {
    let fake = Fake::serve(|seen| {
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress"});
        let answer = "data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":7,\"result\":{}}\n\n: a remark\n\n";
        let after = json!({"jsonrpc": "2.0", "method": "notifications/message"});
        let called = seen.called().to_owned();
        assert_eq!(called, "tools/call");
        stream_of(&[&event(&progress), "event: other\ndata: {}\n\n", answer, &event(&after)])
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.say(&request(7, "tools/call")).await;
    assert_eq!(talk.heard().await["method"], "notifications/progress");
    assert_eq!(talk.heard().await["id"], 7);
    assert_eq!(talk.heard().await["method"], "notifications/message");
}

#[tokio::test]
async fn a_message_that_is_part_of_a_trace_says_so_in_its_headers() {
    let fake = Fake::serve(|seen| json_of(&answer_to(&seen.body["id"]))).await;
    let mut talk = fake.attach(HTTP, "/mcp");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = json!({"jsonrpc": "2.0", "id": 1, "method": "x",
        "params": {"_meta": {"traceparent": parent, "tracestate": "a=b"}}});
    talk.say(&traced).await;
    talk.heard().await;
    let seen = fake.until_seen(|seen| seen.iter().any(|seen| seen.called() == "x")).await;
    let called = seen.iter().find(|seen| seen.called() == "x").unwrap();
    assert_eq!((called.header("traceparent"), called.header("tracestate")), (Some(parent), Some("a=b")));
}

#[tokio::test]
async fn arguments_that_a_tool_wants_in_headers_are_repeated_there() {
    let lists = AtomicUsize::new(0);
    let fake = Fake::serve(move |seen| {
        let id = &seen.body["id"];
        if seen.called() != "tools/list" {
            return json_of(&answer_to(id));
        }
        let region = match lists.fetch_add(1, Ordering::SeqCst) {
            0 => json!({"type": "string", "x-mcp-header": "Region"}),
            _ => json!({"type": "string"}),
        };
        let properties = json!({"region": region, "count": {"type": "integer", "x-mcp-header": "Count"},
            "dry": {"type": "boolean", "x-mcp-header": "Dry"}, "text": {"type": "string"},
            "odd": {"x-mcp-header": "no header"}});
        let tool = json!({"name": "ask", "inputSchema": {"type": "object", "properties": properties}});
        json_of(&json!({"jsonrpc": "2.0", "id": id, "result": {"tools": [tool, {"name": "plain"}]}}))
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    let mut answered = async |id: u64, method: &str, name: &str, arguments: Value| {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        let params = json!({"name": name, "arguments": arguments, "_meta": meta});
        talk.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        assert_eq!(talk.heard().await["id"], id);
    };
    let full = json!({"region": "z\u{fc}rich", "count": 3, "dry": null, "text": "t", "odd": "o"});
    answered(1, "tools/list", "", json!({})).await;
    answered(2, "tools/call", "ask", full.clone()).await;
    answered(3, "tools/call", "ask", json!({"region": "west", "dry": true})).await;
    answered(4, "tools/call", "plain", full.clone()).await;
    answered(5, "prompts/get", "ask", full.clone()).await;
    answered(6, "tools/list", "", json!({})).await;
    answered(7, "tools/call", "ask", full).await;
    let seen = fake.until_seen(|seen| seen.len() == 7).await;
    let params = |index: usize| {
        let all = ["region", "count", "dry"].map(|name| seen[index].header(&format!("mcp-param-{name}")));
        let number =
            seen[index].headers.keys().filter(|name| name.as_str().starts_with("mcp-param-")).count();
        (all, number)
    };
    assert_eq!(params(1), ([Some("=?base64?esO8cmljaA==?="), Some("3"), None], 2));
    assert_eq!(params(2), ([Some("west"), None, Some("true")], 2));
    assert_eq!((params(3).1, params(4).1), (0, 0), "of other tools, and of prompts, nothing is repeated");
    assert_eq!(params(6), ([None, Some("3"), None], 1), "the last list counts");
}

#[tokio::test]
async fn a_request_without_a_session_repeats_itself_in_its_headers_and_is_cancelled_by_hanging_up() {
    let open = std::sync::Arc::<Mutex<Vec<_>>>::default();
    let held = std::sync::Arc::clone(&open);
    let fake = Fake::serve(move |seen| match seen.header("mcp-name") {
        Some("slow") => {
            let (send, reply) = open_stream();
            held.lock().unwrap().push(send);
            reply
        }
        _ => json_of(&answer_to(&seen.body["id"])),
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    let call = |id: u64, name: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": name, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}})
    };
    talk.say(&call(1, "\u{fc}")).await;
    assert_eq!(talk.heard().await["id"], 1);
    let seen = fake.until_seen(|seen| seen.len() == 1).await;
    let headers =
        ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id"].map(|name| seen[0].header(name));
    assert_eq!(headers, [Some("2026-07-28"), Some("tools/call"), Some("=?base64?w7w=?="), None]);
    talk.say(&call(2, "slow")).await;
    until(|| open.lock().unwrap().len() == 1).await;
    talk.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}))
        .await;
    until(|| open.lock().unwrap()[0].is_closed()).await;
    talk.say(&call(3, "quick")).await;
    assert_eq!(talk.heard().await["id"], 3);
    assert_eq!(fake.until_seen(|seen| seen.len() >= 3).await.len(), 3, "hanging up says it all");
}

#[tokio::test]
async fn a_batch_is_split_and_banners_are_passed_on_for_the_log() {
    let fake = Fake::serve(|seen| match seen.called() {
        "batch" => json_of(&json!([{"jsonrpc": "2.0", "method": "a"}, answer_to(&seen.body["id"])])),
        _ => text(200, "application/json", "hello\nthere"),
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.say(&request(1, "batch")).await;
    assert_eq!(talk.heard().await["method"], "a");
    assert_eq!(talk.heard().await["id"], 1);
    talk.say(&request(2, "banner")).await;
    assert_eq!(talk.line().await, "hello there");
    assert_eq!(talk.heard().await["error"]["data"]["may_have_executed"], true);
}

#[tokio::test]
async fn a_request_that_is_refused_or_not_answered_gets_an_error_of_its_own() {
    let fake = Fake::serve(|seen| match seen.called() {
        "words" => text(500, "text/plain", "out of\norder"),
        "rpc" => {
            text(400, "application/json", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-7,"message":"m"}}"#)
        }
        "gone" => status(404),
        "accepted" => status(202),
        "early" => stream_of(&["data: {\"jsonrpc\":\"2.0\",\"id\":9"]),
        other => panic!("{other}"),
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    for (id, method, code, words) in [
        (1, "words", -32000, "500 Internal Server Error: out of\norder"),
        (2, "rpc", -7, "m"),
        (3, "gone", -32000, "404"),
        (4, "accepted", -32000, "202"),
        (5, "early", -32000, "ended early"),
    ] {
        talk.say(&request(id, method)).await;
        let answer = talk.heard().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(code)), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{answer}");
    }
}

#[tokio::test]
async fn a_session_that_the_server_forgot_ends_the_output() {
    let fake = Fake::serve(|seen| {
        greeting(seen, |seen| if seen.method == Method::GET { status(405) } else { status(404) })
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.greet().await;
    talk.say(&request(2, "tools/list")).await;
    let answer = talk.heard().await;
    assert_eq!((&answer["id"], &answer["error"]["data"]["may_have_executed"]), (&json!(2), &json!(false)));
    assert!(talk.end().await.to_string().contains("does not know the session"));
    drop(talk);
    until(|| fake.connections.load(Ordering::SeqCst) == 0).await;
    assert!(fake.seen().iter().all(|seen| seen.method != Method::DELETE), "it is gone already");
}

#[tokio::test]
async fn the_server_speaks_by_itself_and_its_stream_is_taken_up_where_it_broke() {
    let streams: Mutex<Vec<UnboundedSender<String>>> = Mutex::default();
    let fake = Fake::serve(move |seen| {
        greeting(seen, |seen| {
            if seen.method == Method::POST {
                return status(202);
            }
            let (send, reply) = open_stream();
            let asked = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create"});
            let mut streams = streams.lock().unwrap();
            send.send(format!("id: e{}\nretry: 10\n{}", streams.len(), event(&asked))).unwrap();
            // The first one breaks off, the others stay.
            streams.push(send);
            if streams.len() == 1 {
                streams.clear();
                streams.push(open_stream().0);
            }
            reply
        })
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.greet().await;
    assert_eq!(talk.heard().await["method"], "elicitation/create");
    assert_eq!(talk.heard().await["method"], "elicitation/create");
    talk.say(&json!({"jsonrpc": "2.0", "id": "q", "result": {}})).await;
    let seen = fake.until_seen(|seen| seen.iter().any(|seen| seen.body["id"] == "q")).await;
    let last: Vec<_> = seen
        .iter()
        .filter(|seen| seen.method == Method::GET)
        .map(|seen| seen.header("last-event-id"))
        .collect();
    assert_eq!(last, [None, Some("e0")]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_taken_up_from_the_last_event() {
    let fake = Fake::serve(|seen| match (&seen.method, seen.header("last-event-id")) {
        (&Method::POST, _) => stream_of(&["id: 1\nretry: 5\ndata: \n\n"]),
        (_, Some("1")) => stream_of(&["id: 2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n\n"]),
        (_, Some("2")) => stream_of(&[&event(&answer_to(&json!(5)))]),
        other => panic!("{other:?}"),
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.say(&request(5, "tools/call")).await;
    assert_eq!(talk.heard().await["method"], "m");
    assert_eq!(talk.heard().await["id"], 5);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_taken_up_for_ever() {
    let fake = Fake::serve(|seen| match seen.method {
        Method::POST => stream_of(&["id: 1\nretry: 1\ndata: \n\n"]),
        _ => stream_of(&[": nothing\n\n"]),
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.say(&request(5, "tools/call")).await;
    assert!(talk.heard().await["error"]["message"].as_str().unwrap().contains("ended early"));
    assert!(fake.seen().len() <= 7);
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut talk = attach(HTTP, port, "/mcp");
    talk.say(&request(1, "initialize")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = AtomicUsize::new(0);
    let fake = Fake::on(TcpListener::bind(("127.0.0.1", port)).await.unwrap(), move |seen| {
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => status(503),
            _ => json_of(&answer_to(&seen.body["id"])),
        }
    });
    assert_eq!(talk.heard().await["id"], 1);
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_gone_ends_the_output_though_nobody_asks() {
    let fake = Fake::serve(|seen| {
        greeting(seen, |_| {
            let (send, reply) = open_stream();
            // It is never ended but by the end of the server.
            std::mem::forget(send);
            reply
        })
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.greet().await;
    fake.until_seen(|seen| seen.iter().any(|seen| seen.method == Method::GET)).await;
    drop(fake);
    assert_eq!(talk.end().await.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_request_that_no_server_takes_was_not_executed() {
    let fake = Fake::serve(|seen| greeting(seen, |_| status(405))).await;
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.greet().await;
    fake.until_seen(|seen| seen.iter().any(|seen| seen.method == Method::GET)).await;
    drop(fake);
    tokio::time::sleep(Duration::from_millis(50)).await;
    talk.say(&request(2, "tools/call")).await;
    assert_eq!(talk.heard().await["error"]["data"]["may_have_executed"], false);
    talk.end().await;
}

#[tokio::test]
async fn big_messages_pass_and_those_over_the_limit_do_not() {
    let fake = Fake::serve(|seen| {
        let size = usize::try_from(seen.body["params"]["size"].as_u64().unwrap()).unwrap();
        let answer = json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": "x".repeat(size)});
        if seen.body["params"]["stream"] == true { stream_of(&[&event(&answer)]) } else { json_of(&answer) }
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    for (id, stream, size) in
        [(1, false, 900_000), (2, true, 900_000), (3, false, 1_100_000), (4, true, 1_200_000)]
    {
        let padding = "p".repeat(900_000);
        let params = json!({"size": size, "stream": stream, "padding": padding});
        talk.say(&json!({"jsonrpc": "2.0", "id": id, "method": "m", "params": params})).await;
        let answer = talk.heard().await;
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"].as_str().map(str::len), (id < 3).then_some(size), "{id}");
    }
}

#[tokio::test]
async fn many_requests_at_once_get_their_own_answers_over_few_connections() {
    let fake = Fake::serve(|seen| json_of(&answer_to(&seen.body["id"]))).await;
    let mut talk = fake.attach(HTTP, "/mcp");
    for round in 0..5_u64 {
        let lines: String = (0..200).map(|n| format!("{}\n", request(round * 200 + n, "m"))).collect();
        talk.say_raw(&lines).await;
        let mut ids = Vec::new();
        for _ in 0..200 {
            ids.push(talk.heard().await["id"].as_u64().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (round * 200..(round + 1) * 200).collect::<Vec<_>>());
        assert!(fake.connections.load(Ordering::SeqCst) <= 64);
    }
}

#[tokio::test]
async fn answers_and_cancellations_pass_while_every_place_is_taken() {
    let waiting: Mutex<Vec<(Value, UnboundedSender<String>)>> = Mutex::default();
    let fake = Fake::serve(move |seen| {
        if seen.called() == "notifications/cancelled" {
            for (id, send) in waiting.lock().unwrap().drain(..) {
                send.send(event(&answer_to(&id))).unwrap();
            }
            return status(202);
        }
        let (send, reply) = open_stream();
        waiting.lock().unwrap().push((seen.body["id"].clone(), send));
        reply
    })
    .await;
    let mut talk = fake.attach(HTTP, "/mcp");
    for id in 0..70 {
        talk.say(&request(id, "m")).await;
    }
    fake.until_seen(|seen| seen.len() == 64).await;
    talk.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled"})).await;
    for _ in 0..64 {
        assert!(talk.heard().await["result"].is_object());
    }
}

#[tokio::test]
async fn when_it_is_dropped_nothing_is_left() {
    let fake = Fake::serve(|seen| {
        greeting(seen, |_| {
            let (send, reply) = open_stream();
            std::mem::forget(send);
            reply
        })
    })
    .await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut talk = fake.attach(HTTP, "/mcp");
    talk.greet().await;
    for id in 0..10 {
        talk.say(&request(id, "m")).await;
    }
    fake.until_seen(|seen| seen.len() == 13).await;
    drop(talk);
    until(|| fake.connections.load(Ordering::SeqCst) == 0).await;
    until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before).await;
    assert_eq!(fake.seen().last().unwrap().method, Method::DELETE);
}

#[tokio::test]
async fn a_session_that_waits_for_its_server_ends_at_once_too() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let upstream = Upstream { protocol: HTTP, dial: dial(1), port: 1, path: "/".into(), message: 100 };
    let mut attached = upstream.attach();
    attached.input.send(format!("{}\n", request(1, "initialize")).into()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(attached);
    until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before).await;
}
