//! Every request goes to the server that it is about, and its answer can be used again.

use super::*;

#[tokio::test]
async fn a_call_reaches_its_server_under_the_servers_own_name() {
    let (house, a, b) = House::pair().await;
    let client = house.client().await;
    assert_eq!(called(&client.call("b__echo").await), json!({"name": "echo", "arguments": {"n": 1}}));
    assert_eq!((a.heard("tools/call").len(), b.heard("tools/call").len()), (0, 1));
    let prompt = client.ask("prompts/get", json!({"name": "a__greet"})).await;
    assert_eq!(prompt["messages"][0]["content"]["text"], "greet");
    let read = client.ask("resources/read", json!({"uri": "dtma://a/test://a?b=c"})).await;
    assert_eq!(read["contents"][0]["uri"], "dtma://a/test://a?b=c");
    assert_eq!(a.heard("resources/read"), [json!({"uri": "test://a?b=c"})]);
    let linked = client.call("b__link").await;
    let uri = linked["result"]["content"][0]["uri"].as_str().unwrap();
    assert_eq!(client.ask("resources/read", json!({"uri": uri})).await["contents"][0]["text"], "read");
    assert_eq!(b.heard("resources/read"), [json!({"uri": "test://a"})]);
    for (reference, own) in [
        (json!({"type": "ref/prompt", "name": "b__greet"}), json!({"type": "ref/prompt", "name": "greet"})),
        (
            json!({"type": "ref/resource", "uri": "dtma://b/x:{y}"}),
            json!({"type": "ref/resource", "uri": "x:{y}"}),
        ),
    ] {
        client.ask("completion/complete", json!({"ref": reference, "argument": {}})).await;
        assert_eq!(b.heard("completion/complete").last().unwrap()["ref"], own);
    }
    client.ask("resources/subscribe", json!({"uri": "dtma://b/test://a"})).await;
    assert_eq!((a.heard("resources/subscribe").len(), b.heard("resources/subscribe").len()), (0, 1));
}

#[tokio::test]
async fn what_nobody_bears_is_an_error_that_names_what_is_near() {
    let (house, a, b) = House::pair().await;
    let client = house.client().await;
    for (tool, near) in
        [("a__ehco", json!(["a__echo"])), ("echo", json!(["a__echo", "b__echo"])), ("weather", json!([]))]
    {
        let error = client.call(tool).await["error"].clone();
        assert_eq!((&error["code"], &error["data"]["nearby"]), (&json!(-32602), &near), "{error}");
        assert!(error["message"].as_str().unwrap().contains(tool), "{error}");
    }
    for (method, params) in [
        ("prompts/get", json!({"name": "z__greet"})),
        ("resources/read", json!({"uri": "test://a"})),
        ("resources/read", json!({"uri": "dtma://zz/test://a"})),
        ("tools/call", json!({})),
        ("completion/complete", json!({"ref": {}})),
    ] {
        assert_eq!(
            client.exchange(method, params.clone()).await.0["error"]["code"],
            -32602,
            "{method} {params}"
        );
    }
    assert_eq!(client.exchange("tasks/list", json!({})).await.0["error"]["code"], -32601);
    assert_eq!(a.heard("tools/call").len() + b.heard("tools/call").len(), 0, "no server was bothered");
}

#[tokio::test]
async fn a_tool_that_came_a_moment_ago_is_called_before_anybody_has_listed_it() {
    let mut house = House::new();
    let (door, handle) = house.admit("a", Limits::default());
    // It lists one tool to the house and another to whoever asks afterwards.
    let server = house.start(door, handle, Script::tools(&["old"])).await;
    server.process.abort();
    server.handle.state().wait_for(|state| state.ready().is_none()).await.unwrap();
    let server = house.start(server.door, server.handle, Script::tools(&["new"])).await;
    let client = house.client().await;
    assert_eq!(called(&client.call("a__new").await)["name"], "new");
    assert_eq!(client.call("a__old").await["error"]["code"], -32602);
    assert_eq!(server.heard("tools/call").len(), 1);
}

#[tokio::test]
async fn sessions_are_told_apart_and_end_with_what_they_have_at_servers() {
    let (house, a, _b) = House::pair().await;
    let (first, second) = (house.client().await, house.client().await);
    first.call("a__echo").await;
    second.call("a__echo").await;
    assert_eq!((house.all.sessions(), a.door.sessions()), (2, 2));
    house.all.close_session(&first.id).await.unwrap();
    assert_eq!((house.all.sessions(), a.door.sessions()), (1, 1));
    assert!(matches!(
        first.post(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await,
        PostReply::UnknownSession
    ));
    assert!(first.all.listen(&first.id).is_err() && house.all.close_session(&first.id).await.is_err());
    assert_eq!(second.ask("ping", json!({})).await, json!({}));
    let refused = house.all.post(None, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.into()).await;
    assert!(matches!(refused, PostReply::Refused(_)), "{refused:?}");
    let twice = second.post(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize"})).await;
    assert!(matches!(twice, PostReply::Refused(_)), "{twice:?}");
}

#[tokio::test]
async fn a_session_that_made_way_at_a_server_is_opened_there_again() {
    let mut house = House::new();
    let (door, handle) = house.admit("a", Limits { sessions: 1, ..Limits::default() });
    let server = house.start(door, handle, Script::full()).await;
    let (first, second) = (house.client().await, house.client().await);
    for _ in 0..3 {
        for client in [&first, &second] {
            assert_eq!(called(&client.call("a__echo").await)["name"], "echo");
        }
    }
    assert_eq!(server.door.sessions(), 1);
}

#[tokio::test]
async fn the_session_unused_for_longest_makes_way_when_there_are_too_many() {
    let mut house = House::new();
    house.all = Aggregate::new("group".parse().unwrap(), Limits { sessions: 2, ..Limits::default() });
    house.server("a", Script::full()).await;
    let (first, second) = (house.client().await, house.client().await);
    let _listens = first.listen();
    let third = house.client().await;
    assert!(house.all.session(&first.id).is_ok() && house.all.session(&third.id).is_ok());
    assert!(house.all.session(&second.id).is_err());
}

#[tokio::test]
async fn a_batch_is_answered_where_the_version_has_batches() {
    let (house, _a, _b) = House::pair().await;
    let call = |id: u64, tool: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}});
    let batch = json!([call(1, "a__echo"), call(2, "b__echo"), {"jsonrpc": "2.0", "method": "notifications/initialized"}]);
    let (client, _) = house.client_with("2025-03-26").await;
    let (last, before) = told(client.post(batch.clone()).await).await;
    let mut ids: Vec<u64> =
        before.iter().chain([&last]).map(|answer| answer["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    let notes = json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]);
    assert!(matches!(client.post(notes).await, PostReply::Accepted));
    let refused = house.client().await.post(batch).await;
    assert!(matches!(refused, PostReply::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends_with_those_that_it_has_at_servers() {
    let (house, a, _b) = House::pair().await;
    let (gone, listens) = (house.client().await, house.client().await);
    gone.call("a__echo").await;
    let stream = listens.listen();
    for _ in 0..crate::UNUSED_INTERVALS {
        assert_eq!(house.all.end_unused().await, 0);
    }
    assert_eq!((house.all.end_unused().await, house.all.expired(), house.all.sessions()), (1, 1, 1));
    let pinged = gone.post(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    assert!(matches!(pinged, PostReply::UnknownSession), "{pinged:?}");
    assert!(a.door.session(&gone.id).await.is_err());
    drop(stream);
}

#[tokio::test]
async fn a_seat_that_nobody_uses_ends_and_is_taken_again_when_it_is_needed() {
    let (house, a, _b) = House::pair().await;
    let client = house.client().await;
    client.call("a__echo").await;
    for _ in 0..=crate::UNUSED_INTERVALS {
        a.door.end_unused().await;
    }
    assert_eq!(a.door.sessions(), 0);
    assert_eq!(called(&client.call("a__echo").await)["name"], "echo");
}
