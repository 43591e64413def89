//! What servers ask and note reaches the client, and what the client says about it reaches that server.

use super::*;
use futures_util::future::poll_immediate;
use tokio::sync::mpsc;

fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": tool, "_meta": {"progressToken": "t"}}})
}

fn stream(reply: PostReply) -> MessageStream {
    match reply {
        PostReply::Stream(messages) => messages,
        other => panic!("no stream: {other:?}"),
    }
}

/// Read all the time, as clients do.
fn pumped(mut messages: MessageStream) -> (JoinSet<()>, mpsc::UnboundedReceiver<Bytes>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(message) = messages.next().await {
            drop(sender.send(message));
        }
    });
    (tasks, receiver)
}

#[tokio::test]
async fn servers_that_ask_at_the_same_time_under_the_same_id_each_get_their_own_answer() {
    let (house, _a, _b) = House::pair().await;
    let client = house.client().await;
    let mut calls =
        [stream(client.post(call(1, "a__ask")).await), stream(client.post(call(2, "b__ask")).await)];
    let questions = [next(&mut calls[0]).await, next(&mut calls[1]).await];
    assert_ne!(questions[0]["id"], questions[1]["id"]);
    for (question, name) in questions.iter().zip(["Ada", "Bob"]).rev() {
        assert_eq!(question["method"], "elicitation/create");
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"content": {"name": name}}});
        assert!(matches!(client.post(answer).await, PostReply::Accepted));
    }
    for (call, (id, name)) in calls.iter_mut().zip([(1, "Ada"), (2, "Bob")]) {
        let answer = next(call).await;
        assert_eq!((&answer["id"], &called(&answer)["content"]["name"]), (&json!(id), &json!(name)));
    }
}

#[tokio::test]
async fn an_answer_to_a_question_of_another_client_reaches_nobody() {
    let (house, a, _b) = House::pair().await;
    let (client, other) = (house.client().await, house.client().await);
    other.call("b__echo").await;
    let mut asks = stream(client.post(call(1, "a__ask")).await);
    let question = next(&mut asks).await;
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"content": {"name": "Eve"}}});
    for id in [question["id"].clone(), json!(1), json!("a__1"), json!("z__1")] {
        let mut forged = answer.clone();
        forged["id"] = id;
        assert!(matches!(other.post(forged).await, PostReply::Accepted));
    }
    client
        .post(json!({"jsonrpc": "2.0", "id": question["id"], "result": {"content": {"name": "Ada"}}}))
        .await;
    assert_eq!(called(&next(&mut asks).await)["content"]["name"], "Ada");
    let answers = a.heard.lock().unwrap().iter().filter(|heard| heard.get("method").is_none()).count();
    assert_eq!(answers, 1);
}

#[tokio::test]
async fn logs_bear_the_name_of_their_server_and_progress_the_clients_token() {
    let (house, _a, b) = House::pair().await;
    let client = house.client().await;
    let (answer, before) = told(client.post(call(1, "b__note")).await).await;
    assert_eq!(answer["id"], 1);
    assert_eq!(before[0]["params"]["logger"], "b");
    assert_eq!(before[1]["params"]["progressToken"], "t");
    let mut heard = pumped(client.listen());
    let is_listening = async {
        // Its stream is opened beside; until then what belongs to no call goes with the calls.
        while !told(client.post(call(2, "b__note")).await)
            .await
            .1
            .iter()
            .all(|note| note["params"].get("logger").is_none())
        {}
    };
    tokio::time::timeout(PATIENCE, is_listening).await.unwrap();
    let log = tokio::time::timeout(PATIENCE, heard.1.recv()).await.unwrap().unwrap();
    assert_eq!(decoded(&log)["params"]["logger"], "b");
    assert!(b.heard("tools/call").len() > 1);
}

#[tokio::test]
async fn what_is_cancelled_is_cancelled_where_it_is_worked_on() {
    let (house, a, b) = House::pair().await;
    let client = house.client().await;
    client.call("b__echo").await;
    let mut calls = JoinSet::new();
    let hanging = client.clone();
    calls.spawn(async move { hanging.post(call(7, "a__hang")).await });
    a.hears("tools/call").await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    assert!(matches!(client.post(cancel).await, PostReply::Accepted));
    let (answer, _) = told(calls.join_next().await.unwrap().unwrap()).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32800)));
    a.hears("notifications/cancelled").await;
    assert!(b.heard("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn the_level_of_the_log_is_set_everywhere_and_where_a_server_is_used_later() {
    let (mut house, a, b) = House::pair().await;
    let client = house.client().await;
    assert_eq!(client.ask("logging/setLevel", json!({"level": "debug"})).await, json!({}));
    for server in [&a, &b] {
        assert!(server.heard("logging/setLevel").iter().all(|params| params["level"] == "debug"));
        assert!(!server.heard("logging/setLevel").is_empty());
    }
    let c = house.server("c", Script::full()).await;
    client.call("c__echo").await;
    assert_eq!(c.heard("logging/setLevel"), [json!({"level": "debug"})]);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_stream_holds_none_of_its_calls_up() {
    let (house, _a, _b) = House::pair().await;
    let client = house.client().await;
    let mut unread = client.listen();
    // It begins to open what it needs, and is left there.
    assert!(poll_immediate(unread.next()).await.is_none());
    for tool in ["a__echo", "b__echo"] {
        let answer = tokio::time::timeout(PATIENCE, client.call(tool)).await.expect("nobody waits");
        assert_eq!(called(&answer)["name"], "echo");
    }
}

#[tokio::test]
async fn a_second_stream_ends_the_first_and_a_list_that_changed_is_told() {
    let (house, a, _b) = House::pair().await;
    let client = house.client().await;
    let mut first = client.listen();
    let mut second = client.listen();
    let ended = tokio::time::timeout(PATIENCE, first.next()).await;
    assert!(ended.expect("it ends").is_none());
    a.dies().await;
    let mut house = house;
    let again = Script { lists: json!({"tools": [{"name": "other"}]}), ..Script::full() };
    let _a = house.start(a.door, a.handle, again).await;
    // One server tells of itself, or the group of one that was missing: in either case the client looks again.
    client.tools().await;
    drop(house.server("z", Script::full()).await);
    assert_eq!(next(&mut second).await["method"], "notifications/tools/list_changed");
}
