//! Groups that offer more than a client wants to see at once.

use super::*;

#[tokio::test]
async fn of_too_many_tools_a_client_sees_how_to_find_them_and_calls_what_it_found() {
    let (mut house, _a, b) = House::pair().await;
    assert_eq!(house.client().await.tools().await.len(), 10, "by default that is not many");
    house.all = house.all.with_most_tools(9);
    let client = house.client().await;
    assert_eq!(client.tools().await, ["find_tools", "call_tool"]);
    let found = client
        .ask("tools/call", json!({"name": "find_tools", "arguments": {"query": "b echo", "limit": 2}}))
        .await;
    assert_eq!(names(&found["structuredContent"]["tools"], "name"), ["b__echo", "a__echo"]);
    assert_eq!(found["structuredContent"]["total"], 10);
    assert_eq!(found["structuredContent"]["tools"][0]["inputSchema"], json!({"type": "object"}));
    let text: Value = serde_json::from_str(found["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, found["structuredContent"]);
    let by_name = client
        .exchange(
            "tools/call",
            json!({"name": "call_tool",
        "arguments": {"name": "b__echo", "arguments": {"n": 2}}, "_meta": {"x": 1}}),
        )
        .await
        .0;
    assert_eq!(called(&by_name), json!({"name": "echo", "arguments": {"n": 2}, "_meta": {"x": 1}}));
    assert_eq!(called(&client.call("b__echo").await)["name"], "echo", "what it knows it may call as ever");
    assert_eq!(b.heard("tools/call").len(), 2);
}

#[tokio::test]
async fn wrong_arguments_of_our_own_tools_are_named() {
    let (mut house, _a, _b) = House::pair().await;
    house.all = house.all.with_most_tools(0);
    let client = house.client().await;
    for (tool, arguments, told) in [
        ("find_tools", json!({"words": "x"}), "words"),
        ("find_tools", json!({"limit": "x"}), "limit"),
        ("call_tool", json!({}), "name"),
        ("call_tool", json!({"name": "find_tools"}), "its own name"),
        ("call_tool", json!({"name": "b__ehco"}), "b__echo"),
    ] {
        let answer = client.exchange("tools/call", json!({"name": tool, "arguments": arguments})).await.0;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(told), "{answer}");
    }
}
