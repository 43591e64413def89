//! A group of real servers as one: what they offer under names of their own, each request at its server, what a server
//! asks and says at its client; and one server's death is that server's.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_client::ChangeOptions;
use dtma_client::mcp::Target;
use dtma_tests::command_line::dtma;
use dtma_tests::engine::{container_ids, docker};
use dtma_tests::inspector::{Door, calls, lists};
use dtma_tests::mcp::{call, call_with_progress};
use dtma_tests::{McpClient, Toolbox, WsClient, eventually, groups, text};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const SOON: Duration = Duration::from_secs(60);

/// A server of npm, one of PyPI, and a tool that is none.
async fn toolbox() -> Toolbox {
    with(&[groups::everything("everything"), groups::time("time"), groups::web("web")]).await
}

/// The same with one that asks its clients. They have more tools than are listed at once.
async fn large() -> Toolbox {
    with(&[groups::everything("everything"), groups::time("time"), groups::fixture("asks")]).await
}

async fn with(servers: &[Value]) -> Toolbox {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("all", servers)).await;
    toolbox
}

async fn client(toolbox: &Toolbox, capabilities: &Value) -> McpClient {
    let target = Target::Group(toolbox.named("all"));
    McpClient::open_at(&toolbox.client(), target, capabilities).await.expect("a session")
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// All pages of a list.
async fn listed(client: &McpClient, method: &str, of: &str) -> Vec<Value> {
    let (mut all, mut params) = (Vec::new(), json!({}));
    loop {
        let answer = client.exchange(&request(1, method, &params)).await.pop().expect("an answer");
        let page = answer["result"][of].as_array().unwrap_or_else(|| panic!("{method}: {answer}"));
        all.extend(page.iter().cloned());
        match &answer["result"]["nextCursor"] {
            Value::Null => return all,
            cursor => params = json!({"cursor": cursor}),
        }
    }
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().filter_map(|one| one["name"].as_str()).collect()
}

const LONDON: &str = r#"{"timezone": "Europe/London"}"#;

fn london() -> Value {
    serde_json::from_str(LONDON).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_servers_offer_is_listed_and_reached_under_their_names() {
    let toolbox = toolbox().await;
    let client = client(&toolbox, &json!({})).await;
    let tools = listed(&client, "tools/list", "tools").await;
    let servers: Vec<&str> = names(&tools).iter().filter_map(|name| Some(name.split_once("__")?.0)).collect();
    let mut sorted = servers.clone();
    sorted.sort_unstable();
    assert_eq!(servers, sorted, "by server");
    for tool in ["everything__echo", "time__get_current_time"] {
        assert!(names(&tools).contains(&tool), "{tool} is not in {:?}", names(&tools));
    }
    let echoed = client.call(&json!("x"), "everything__echo", &json!({"message": "hello"})).await;
    assert_eq!((text(&echoed), &echoed["id"]), ("Echo: hello", &json!("x")));
    let time = client.call(&json!(2), "time__get_current_time", &london()).await;
    assert!(text(&time).contains("Europe/London"), "{time}");
    let unknown = client.call(&json!(3), "everything__ecko", &json!({})).await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");

    let resources = listed(&client, "resources/list", "resources").await;
    let uri = resources.first().and_then(|one| one["uri"].as_str()).expect("a resource");
    assert!(uri.contains("everything"), "{uri}");
    let read =
        client.exchange(&request(4, "resources/read", &json!({"uri": uri}))).await.pop().expect("an answer");
    assert_eq!(read["result"]["contents"][0]["uri"], *uri, "{read}");
    let prompts = listed(&client, "prompts/list", "prompts").await;
    assert!(names(&prompts).contains(&"everything__simple-prompt"), "{prompts:?}");
    let prompt = request(5, "prompts/get", &json!({"name": "everything__simple-prompt"}));
    let prompt = client.exchange(&prompt).await.pop().expect("an answer");
    assert!(prompt["result"]["messages"].is_array(), "{prompt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_tools_a_client_is_shown_how_to_find_them() {
    let toolbox = large().await;
    let client = client(&toolbox, &json!({})).await;
    let tools = listed(&client, "tools/list", "tools").await;
    assert_eq!(names(&tools), ["find_tools", "call_tool"]);
    let found = client.call(&json!(1), "find_tools", &json!({"query": "echo"})).await;
    for tool in ["asks__echo", "everything__echo"] {
        assert!(found["result"].to_string().contains(tool), "{tool} is not in {found}");
        let arguments = json!({"message": "found"});
        let by_name = client.call(&json!(2), tool, &arguments).await;
        assert_eq!(text(&by_name), "Echo: found");
        let called = json!({"name": tool, "arguments": arguments});
        let by_another = client.call(&json!(3), "call_tool", &called).await;
        assert_eq!((text(&by_another), &by_another["id"]), ("Echo: found", &json!(3)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_questions_of_a_server_reach_the_client_and_answers_the_server() {
    let toolbox = large().await;
    let told = client(&toolbox, &json!({})).await;
    let mut said = told
        .exchange(&call_with_progress(&json!(1), "asks__test_tool_with_progress", &json!({}), &json!("t")))
        .await;
    assert_eq!(said.pop().expect("an answer")["id"], 1);
    assert!(said.iter().filter(|one| one["params"]["progressToken"] == "t").count() >= 3, "{said:?}");

    let mut asked = WsClient::open_group(&toolbox, &toolbox.named("all")).await;
    asked.say(&call(&json!(7), "asks__test_elicitation", &json!({"message": "who?"}))).await;
    let question = loop {
        let heard = asked.hear().await;
        if heard["method"] == "elicitation/create" {
            break heard;
        }
    };
    let accepted = json!({"action": "accept", "content": {"username": "ann", "email": "ann@example.org"}});
    asked.say(&json!({"jsonrpc": "2.0", "id": question["id"], "result": accepted})).await;
    let answer = asked.answer(&json!(7)).await;
    assert!(
        answer["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains("ann")),
        "{answer}"
    );
}

/// Nothing begins anew for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_groups_spec_says_what_is_part_of_it_and_how_it_is_called() {
    let toolbox = with(&[groups::time("time"), groups::fixture("asks")]).await;
    let client = client(&toolbox, &json!({})).await;
    let group = toolbox.named("all");
    let (before, mut stream) = (container_ids(&group), client.listen().await);
    let with = |gateway: &Value| {
        let mut document = toolbox.group("all", &[groups::time("time"), groups::fixture("asks")]);
        document["gateway"] = gateway.clone();
        document
    };
    let apply = async |gateway: &Value| {
        toolbox.client().put_group(&group, &with(gateway), &ChangeOptions::default()).await
    };
    let tools = json!({"allow": ["time__*", "asks__echo"], "deny": ["*__convert_time"],
        "rename": {"time__get_current_time": "now"}});
    let (planned, plan) = (with(&json!({"tools": tools})), ChangeOptions::default());
    let planned = toolbox.client().plan_group(&group, &planned, &plan).await.expect("a plan");
    assert!(planned.changed && planned.changes.is_empty(), "{planned:#?}");
    apply(&json!({"tools": tools})).await.expect("it is applied");
    let told = async {
        while let Some(message) = stream.next().await {
            if message.expect("a message")["method"] == "notifications/tools/list_changed" {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, told).await.expect("clients are told");
    assert_eq!(names(&listed(&client, "tools/list", "tools").await), ["asks__echo", "now"]);
    let now = client.call(&json!(2), "now", &json!({"timezone": "Europe/Berlin"})).await;
    assert!(text(&now).contains("Europe/Berlin"), "{now}");
    for tool in ["time__get_current_time", "time__convert_time", "asks__sleep"] {
        let unknown = client.call(&json!(3), tool, &json!({})).await;
        assert_eq!(unknown["error"]["code"], -32602, "{tool}: {unknown}");
    }
    assert_eq!(container_ids(&group), before, "no container was replaced");
    let same = json!({"time__get_current_time": "now", "time__convert_time": "now"});
    let refused = apply(&json!({"tools": {"rename": same}})).await.expect_err("two tools, one name");
    let refused = format!("{refused:?}");
    assert!(
        ["422", "gateway.conflict", "time__convert_time"].iter().all(|word| refused.contains(word)),
        "{refused}"
    );
    let path = format!("/audit/calls?group={group}&instance=time");
    let audited = || async {
        let audited = toolbox.get(&path).await.text;
        if audited.contains("\"now\"") { Ok(()) } else { Err(audited) }
    };
    eventually("it is written down whose the tool is", SOON, audited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_dies_and_the_others_go_on_until_it_is_back() {
    let toolbox = toolbox().await;
    let client = client(&toolbox, &json!({})).await;
    let before = listed(&client, "tools/list", "tools").await;
    let group = toolbox.named("all");
    let (_, time) =
        container_ids(&group).into_iter().find(|(name, _)| name == "time").expect("its container");
    docker(&["kill", &time]);
    let echoed = client.call(&json!(1), "everything__echo", &json!({"message": "still"})).await;
    assert_eq!(text(&echoed), "Echo: still");
    let back = client.call(&json!(2), "time__get_current_time", &london()).await;
    assert!(text(&back).contains("Europe/London"), "the call waited for it: {back}");
    eventually("all is listed again", SOON, async || match listed(&client, "tools/list", "tools").await {
        now if now == before => Ok(()),
        now => Err(now),
    })
    .await;
    client.close().await.expect("it is ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_and_the_stdio_door_take_a_group_for_a_server() {
    let toolbox = toolbox().await;
    let group = toolbox.named("all");
    lists(&toolbox, Door::Group, &group, "time__get_current_time").await;
    calls(&toolbox, Door::Group, &group, "everything__echo", &["message=hello"], "Echo: hello").await;

    let mut command = tokio::process::Command::from(dtma(&toolbox, &["mcp", "connect", "--group", &group]));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut door = command.spawn().expect("dtma");
    let (mut input, output) = (door.stdin.take().expect("stdin"), door.stdout.take().expect("stdout"));
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    for message in [
        request(1, "initialize", &hello),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        call(&json!(2), "everything__echo", &json!({"message": "by stdio"})),
    ] {
        input.write_all(format!("{message}\n").as_bytes()).await.expect("it reads");
    }
    let mut lines = BufReader::new(output).lines();
    let answer = async {
        loop {
            let line = lines.next_line().await.expect("it writes").expect("it goes on");
            let message: Value = serde_json::from_str(&line).expect("a message");
            if message["id"] == 2 {
                return message;
            }
        }
    };
    let answer = tokio::time::timeout(SOON, answer).await.expect("an answer in time");
    assert_eq!(text(&answer), "Echo: by stdio");
}
