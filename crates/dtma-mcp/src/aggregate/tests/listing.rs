//! Lists of several servers as one.

use super::*;
use crate::aggregate::GroupFilter;
use dtma_core::id::InstanceName;

#[tokio::test]
async fn lists_come_by_servers_and_then_in_the_servers_own_order() {
    let mut house = House::new();
    for (name, tools) in
        [("time", &["now", "convert"][..]), ("fs", &["write", "read"]), ("git.main", &["a.b"])]
    {
        house.server(name, Script::tools(tools)).await;
    }
    let client = house.client().await;
    let tools = client.tools().await;
    assert_eq!(&tools[..2], ["fs__write", "fs__read"]);
    assert!(tools[2].starts_with("git-main__a_b_"), "{tools:?}");
    assert_eq!(&tools[3..], ["time__now", "time__convert"]);
    assert_eq!(called(&client.call(&tools[2]).await)["name"], "a.b", "a name that no model takes leads back");
    for _ in 0..3 {
        assert_eq!(client.tools().await, tools);
    }
}

#[tokio::test]
async fn everything_else_that_servers_list_is_there_too_and_what_they_can_together() {
    let (mut house, _a, _b) = House::pair().await;
    house.server("c", Script::tools(&["x"])).await;
    let (client, told) = house.client_with("2024-11-05").await;
    assert_eq!(told["protocolVersion"], "2024-11-05");
    assert_eq!(told["capabilities"]["resources"], json!({"listChanged": true, "subscribe": true}));
    assert_eq!(told["capabilities"]["logging"], json!({}));
    assert!(
        told["instructions"].as_str().unwrap().contains("# b (names begin with b__)\n\nBe kind."),
        "{told}"
    );
    assert_eq!(client.names("prompts/list", "prompts", "name").await, ["a__greet", "b__greet"]);
    let resources = client.names("resources/list", "resources", "uri").await;
    assert_eq!(resources, ["dtma://a/test://a", "dtma://b/test://a"]);
    let templates = client.names("resources/templates/list", "resourceTemplates", "uriTemplate").await;
    assert_eq!(templates, ["dtma://a/test://{x}", "dtma://b/test://{x}"]);
}

#[tokio::test]
async fn pages_go_through_all_servers_whatever_pages_those_have() {
    let mut house = House::new();
    let many: Vec<String> = (0..300).map(|number| format!("tool{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (name, page) in [("a", 7), ("b", 300)] {
        house.server(name, Script { page, ..Script::tools(&many) }).await;
    }
    house.all = house.all.with_most_tools(1000);
    let client = house.client().await;
    let (mut listed, mut params, mut pages) = (Vec::new(), json!({}), 0);
    loop {
        let page = client.ask("tools/list", params).await;
        listed.extend(names(&page["tools"], "name"));
        pages += 1;
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        params = json!({"cursor": cursor});
    }
    let expected: Vec<String> = ["a", "b"]
        .iter()
        .flat_map(|server| many.iter().map(move |tool| format!("{server}__{tool}")))
        .collect();
    assert_eq!((listed, pages), (expected, 3));
    for odd in [json!("x"), json!(1), json!("")] {
        let answer = client.exchange("tools/list", json!({"cursor": odd})).await.0;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}

struct Narrow;

impl GroupFilter for Narrow {
    fn shows_server(&self, server: &InstanceName) -> bool {
        server.as_str() == "a"
    }

    fn shows_tool(&self, _: &InstanceName, tool: &str) -> bool {
        tool != "link"
    }
}

#[tokio::test]
async fn a_client_that_may_see_less_sees_and_reaches_no_more() {
    let (mut house, _a, _b) = House::pair().await;
    house.all = house.all.seen_by(Arc::new(Narrow));
    let client = house.client().await;
    assert_eq!(client.tools().await, ["a__echo", "a__ask", "a__note", "a__hang"]);
    assert_eq!(client.names("prompts/list", "prompts", "name").await, ["a__greet"]);
    for tool in ["a__link", "b__echo"] {
        let answer = client.call(tool).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let near = answer["error"]["data"]["nearby"].to_string();
        assert!(!near.contains("b__") && !near.contains("link"), "{near}");
    }
    for (method, params) in [
        ("prompts/get", json!({"name": "b__greet"})),
        ("resources/read", json!({"uri": "dtma://b/test://a"})),
        ("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "dtma://b/test://{x}"}})),
    ] {
        assert_eq!(client.exchange(method, params).await.0["error"]["code"], -32602, "{method}");
    }
    assert_eq!(client.call("a__echo").await["error"], Value::Null);
}
