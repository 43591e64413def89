//! What of its servers is part of a group, and what it is called there, by the group's spec.

use super::*;
use crate::demand::Demand;
use dtma_core::connection::Pattern;

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn renames(renames: &[(&str, &str)]) -> GatewaySpec {
    let rename = renames.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
    GatewaySpec { rename, ..GatewaySpec::default() }
}

impl House {
    fn look(&mut self, gateway: GatewaySpec) {
        self.gateway = gateway;
        self.all.set_servers(self.doors.clone(), &self.gateway);
    }
}

async fn is_unknown(client: &Client, tool: &str) {
    let error = client.call(tool).await["error"].clone();
    assert_eq!(error["code"], -32602, "{tool}: {error}");
    assert!(error["message"].as_str().unwrap().starts_with("there is no tool"), "{tool}: {error}");
}

#[tokio::test]
async fn a_tool_bears_its_new_name_on_lists_and_calls_and_no_longer_the_old_one() {
    let mut house = House::new();
    let server = house.server("git.main", Script::tools(&["log", "admin.list"])).await;
    house.look(renames(&[("git.main__admin.list", "admins"), ("git.main__gone", "ghost")]));
    let client = house.client().await;
    assert_eq!(client.tools().await, ["git-main__log", "admins"]);
    assert_eq!(called(&client.call("admins").await)["name"], "admin.list");
    assert_eq!(called(&client.call("git-main__log").await)["name"], "log");
    let before = server.heard("tools/call").len();
    for unknown in ["git-main__admin.list", "ghost", "admin", "git.main__log"] {
        is_unknown(&client, unknown).await;
    }
    assert_eq!(server.heard("tools/call").len(), before, "no server was bothered");
    assert_eq!(client.call("amdins").await["error"]["data"]["nearby"], json!(["admins"]));
    let text = |name: &str| {
        let params = json!({"name": name});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        Bytes::from(call.to_string())
    };
    let demanded = vec![("git.main".parse().unwrap(), Demand::Tool("admin.list".to_owned()))];
    assert_eq!(house.all.demands(&text("admins")), demanded);
    let naming = house.all.naming();
    let of = |name: &str| naming.server_of(name).map(ToString::to_string);
    assert_eq!(of("admins").as_deref(), Some("git.main"));
    assert_eq!(of("git-main__log").as_deref(), Some("git.main"));
    assert_eq!((of("dtma://git.main/x:y").as_deref(), of("nothing")), (Some("git.main"), None));
}

#[tokio::test]
async fn tools_that_are_not_allowed_are_as_if_they_were_not_there() {
    let (mut house, a, b) = House::pair().await;
    let (allow, deny) = (Some(patterns(&["a__*", "b__echo"])), patterns(&["*__link"]));
    house.look(GatewaySpec { allow, deny, ..GatewaySpec::default() });
    let client = house.client().await;
    assert_eq!(client.tools().await, ["a__echo", "a__ask", "a__note", "a__hang", "b__echo"]);
    for tool in ["a__link", "b__link", "b__ask"] {
        is_unknown(&client, tool).await;
        let near = client.call(tool).await["error"]["data"]["nearby"].to_string();
        assert!(!near.contains("link") && !near.contains("b__ask"), "{near}");
    }
    let found = client.call_with("find_tools", json!({"query": ""})).await;
    assert_eq!(found["result"]["structuredContent"]["total"], 5, "{found}");
    let by_another = client.call_with("call_tool", json!({"name": "b__ask", "arguments": {}})).await;
    assert_eq!(by_another["error"]["code"], -32602, "{by_another}");
    assert_eq!(a.heard("tools/call").len() + b.heard("tools/call").len(), 0, "no server was bothered");
    assert_eq!(client.names("prompts/list", "prompts", "name").await, ["a__greet", "b__greet"]);
}

#[tokio::test]
async fn a_server_that_is_left_out_is_as_if_it_were_not_there() {
    let (mut house, _a, b) = House::pair().await;
    house.look(GatewaySpec { servers: Some(patterns(&["a*"])), ..GatewaySpec::default() });
    let client = house.client().await;
    assert!(client.tools().await.iter().all(|tool| tool.starts_with("a__")));
    assert_eq!(client.names("resources/list", "resources", "uri").await, ["dtma://a/test://a"]);
    is_unknown(&client, "b__echo").await;
    for (method, params) in [
        ("prompts/get", json!({"name": "b__greet"})),
        ("resources/read", json!({"uri": "dtma://b/test://a"})),
    ] {
        assert_eq!(client.exchange(method, params).await.0["error"]["code"], -32602, "{method}");
    }
    assert_eq!((b.door.sessions(), house.all.servers().len()), (0, 1));
}

#[tokio::test]
async fn another_spec_holds_at_once_and_clients_that_listen_are_told() {
    let (mut house, _a, _b) = House::pair().await;
    let client = house.client().await;
    let mut heard = client.listen();
    house.look(renames(&[("a__echo", "say")]));
    for list in ["tools", "prompts", "resources"] {
        assert_eq!(next(&mut heard).await["method"], format!("notifications/{list}/list_changed"));
    }
    assert_eq!(called(&client.call("say").await)["name"], "echo");
    is_unknown(&client, "a__echo").await;
    house.look(house.gateway.clone());
    house.look(GatewaySpec { servers: Some(patterns(&["a"])), ..house.gateway.clone() });
    for list in ["tools", "prompts", "resources"] {
        assert_eq!(next(&mut heard).await["method"], format!("notifications/{list}/list_changed"));
    }
}
