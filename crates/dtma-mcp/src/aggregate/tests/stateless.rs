//! Clients without a handshake.

use super::*;
use crate::{Claims, stateless_status};
use http::StatusCode;

const VERSION: &str = "2026-07-28";

/// A request as its client sends it, and the claims of its headers.
fn request(method: &str, mut params: Value) -> (Claims, Bytes) {
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
    let claims = Claims {
        version: Some(VERSION.to_owned()),
        method: Some(method.to_owned()),
        name,
        params: std::collections::BTreeMap::new(),
    };
    (claims, json!({"jsonrpc": "2.0", "id": "x", "method": method, "params": params}).to_string().into())
}

async fn ask(house: &House, method: &str, params: Value) -> (StatusCode, Value) {
    let (claims, body) = request(method, params);
    let reply = house.all.post_stateless(&claims, body).await;
    (stateless_status(&reply), told(reply).await.0)
}

async fn result(house: &House, method: &str, params: Value) -> Value {
    let (status, answer) = ask(house, method, params).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["result"].clone()
}

#[tokio::test]
async fn the_group_is_discovered_listed_and_called() {
    let (house, a, _b) = House::pair().await;
    let discovered = result(&house, "server/discover", json!({})).await;
    assert_eq!(discovered["supportedVersions"], json!([VERSION]));
    assert_eq!(discovered["resultType"], "complete");
    assert_eq!(discovered["capabilities"]["resources"]["subscribe"], true);
    let listed = result(&house, "tools/list", json!({})).await;
    assert_eq!(names(&listed["tools"], "name")[5], "b__echo");
    assert_eq!((&listed["ttlMs"], &listed["cacheScope"]), (&json!(0), &json!("private")));
    let answer = result(&house, "tools/call", json!({"name": "a__echo", "arguments": {"n": 1}})).await;
    assert_eq!(called(&json!({"result": answer}))["name"], "echo");
    let read = result(&house, "resources/read", json!({"uri": "dtma://a/test://a"})).await;
    assert_eq!(read["contents"][0]["uri"], "dtma://a/test://a");
    assert_eq!(result(&house, "prompts/get", json!({"name": "a__greet"})).await["resultType"], "complete");
    assert_eq!((house.all.sessions(), a.door.sessions()), (0, 0), "nobody has a session");
}

#[tokio::test]
async fn what_headers_and_body_disagree_about_is_refused_before_a_server_hears_of_it() {
    let (house, a, _b) = House::pair().await;
    let (mut claims, body) = request("tools/call", json!({"name": "a__echo"}));
    claims.name = Some("echo".to_owned());
    let reply = house.all.post_stateless(&claims, body).await;
    assert_eq!(stateless_status(&reply), StatusCode::BAD_REQUEST);
    assert!(
        matches!(&reply, PostReply::Refused(body) if decoded(body)["error"]["code"] == -32020),
        "{reply:?}"
    );
    assert_eq!(ask(&house, "initialize", json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&house, "tasks/list", json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&house, "tools/call", json!({"name": "zz"})).await.1["error"]["code"], -32602);
    assert!(a.heard("tools/call").is_empty());
}

#[tokio::test]
async fn a_question_is_an_answer_and_goes_on_where_it_was_asked() {
    let (house, _a, _b) = House::pair().await;
    let call = json!({"name": "b__ask"});
    let asked = result(&house, "tools/call", call.clone()).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert_eq!(asked["inputRequests"]["request"]["method"], "elicitation/create");
    let mut again = call;
    again["requestState"] = asked["requestState"].clone();
    again["inputResponses"] = json!({"request": {"content": {"name": "Ada"}}});
    let answer = result(&house, "tools/call", again).await;
    assert_eq!(called(&json!({"result": answer}))["content"]["name"], "Ada");
}

#[tokio::test]
async fn who_listens_hears_of_all_servers_under_one_subscription() {
    let (mut house, a, _b) = House::pair().await;
    let wanted = json!({"toolsListChanged": true,
        "resourceSubscriptions": ["dtma://a/test://a", "dtma://zz/test://a"]});
    let (claims, body) = request("subscriptions/listen", json!({"notifications": wanted}));
    let PostReply::Stream(mut heard) = house.all.post_stateless(&claims, body).await else { panic!() };
    let first = next(&mut heard).await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    let told = json!({"toolsListChanged": true, "resourceSubscriptions": ["dtma://a/test://a"]});
    assert_eq!(first["params"]["notifications"], told);
    assert_eq!(a.heard("resources/subscribe"), [json!({"uri": "test://a"})]);
    house.server("c", Script::tools(&["x"])).await;
    let news = next(&mut heard).await;
    assert_eq!(news["method"], "notifications/tools/list_changed");
    assert_eq!(news["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "x");
}

#[tokio::test]
async fn who_hangs_up_has_cancelled() {
    let (house, a, _b) = House::pair().await;
    let (claims, body) = request("tools/call", json!({"name": "a__hang"}));
    let all = house.all.clone();
    let mut calls = JoinSet::new();
    calls.spawn(async move { drop(all.post_stateless(&claims, body).await) });
    a.hears("tools/call").await;
    calls.abort_all();
    a.hears("notifications/cancelled").await;
}
