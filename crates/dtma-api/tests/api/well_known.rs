//! What clients may know before they speak MCP: how a door is protected, who a server is, which ones there are.

use crate::house::{House, one_mcp, one_tool};
use dtma_client::Mutation;
use serde_json::json;

const TOKEN: (&str, &str) = ("Authorization", "Bearer gateway");
const CARD: &str = "/gateway/servers/time/mcp/server-card";
const PROTECTION: &str = "/.well-known/oauth-protected-resource";

async fn deployed() -> House {
    let house = House::new().await;
    for group in [one_mcp("demo"), one_tool("tools")] {
        house.client("deploy").deploy_group(&group, &Mutation::default()).await.unwrap();
    }
    house
}

#[tokio::test]
async fn who_is_turned_away_at_a_door_finds_out_how_it_is_protected() {
    let house = deployed().await;
    let accept = ("Accept", "application/json, text/event-stream");
    for (door, metadata) in [("mcp", "mcp"), ("sse", "sse"), ("ws", "ws"), ("mcp/server-card", "mcp")] {
        let path = format!("/gateway/servers/time/{door}");
        for (token, status, error) in [
            (None, 401, ""),
            (Some("Bearer nobody"), 401, "error=\"invalid_token\", "),
            (Some("Bearer read"), 403, "error=\"insufficient_scope\", "),
        ] {
            let headers: Vec<_> =
                token.map(|token| ("Authorization", token)).into_iter().chain([accept]).collect();
            let answer = house.send("GET", &path, &headers, "").await;
            let url = format!("http://localhost{PROTECTION}/gateway/servers/time/{metadata}");
            let expected =
                format!("Bearer realm=\"dtma\", {error}scope=\"gateway\", resource_metadata=\"{url}\"");
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (status, Some(&*expected)),
                "{path}"
            );
        }
        let told =
            house.send("GET", &format!("{PROTECTION}/gateway/servers/time/{metadata}"), &[], "").await.json();
        assert_eq!(told["resource"], format!("http://localhost/gateway/servers/time/{metadata}"));
        assert_eq!(told["scopes_supported"], json!(["gateway"]));
        assert!(told.get("authorization_servers").is_none(), "nobody said that there is one");
    }
    let elsewhere = house.send("GET", "/mcp/groups", &[], "").await;
    assert_eq!(elsewhere.header("www-authenticate"), Some("Bearer realm=\"dtma\""), "that is no MCP server");
}

#[tokio::test]
async fn metadata_does_not_tell_which_servers_there_are() {
    let house = deployed().await;
    let of = async |name: &str| {
        let path = format!("{PROTECTION}/gateway/servers/{name}/mcp");
        let answer = house.send("GET", &path, &[], "").await;
        (answer.status, answer.body.replace(name, "NAME"))
    };
    assert_eq!(of("time").await, of("nobody").await);
    assert_eq!(house.send("GET", PROTECTION, &[], "").await.json()["resource"], "http://localhost/gateway");
    let odd = format!("{PROTECTION}/gateway/servers/time/other");
    assert_eq!(house.send("GET", &odd, &[], "").await.code(), "invalid_name");
    let odd = format!("{PROTECTION}/gateway/servers/%20/mcp");
    assert_eq!(house.send("GET", &odd, &[], "").await.code(), "invalid_name");
}

#[tokio::test]
async fn a_server_has_a_card_and_the_catalogue_leads_to_it() {
    let house = deployed().await;
    let catalogue = house.send("GET", "/.well-known/ai-catalog.json", &[TOKEN], "").await;
    assert_eq!(catalogue.header("content-type"), Some("application/ai-catalog+json"));
    assert_eq!(
        catalogue.json(),
        json!({"specVersion": "1.0", "entries": [{"identifier": "urn:air:localhost:mcp:time",
            "type": "application/mcp-server-card+json", "url": format!("http://localhost{CARD}")}]})
    );
    let card = house.send("GET", CARD, &[TOKEN], "").await;
    assert_eq!(card.header("content-type"), Some("application/mcp-server-card+json"));
    let told = card.json();
    assert_eq!((&told["name"], &told["title"]), (&json!("localhost/time"), &json!("fake-mcp-server")));
    assert_eq!(told["remotes"][0]["url"], "http://localhost/gateway/servers/time/mcp");
    let tag = card.header("etag").unwrap();
    let again = house.send("GET", CARD, &[TOKEN, ("If-None-Match", tag)], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));

    house.client("deploy").stop_server("time", &Mutation::default()).await.unwrap();
    let stopped = house.send("GET", CARD, &[TOKEN], "").await;
    assert_eq!(stopped.json()["title"], "fake-mcp-server", "what it said is remembered");
    let code = async |name: &str| house.send("GET", &CARD.replace("time", name), &[TOKEN], "").await.code();
    assert_eq!(
        (code("web").await.as_str(), code("nobody").await.as_str()),
        ("not_an_mcp_server", "no_such_server")
    );
}

#[tokio::test]
async fn which_servers_there_are_is_told_nobody_without_a_token() {
    let house = deployed().await;
    for path in ["/.well-known/ai-catalog.json", CARD] {
        let answer = house.send("GET", path, &[], "").await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(!answer.body.contains("time"), "{answer:?}");
    }
}
