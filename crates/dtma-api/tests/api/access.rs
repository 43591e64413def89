//! Who may ask for what: every route with no token, a wrong one, each scope, and from another site's page.

use crate::house::House;
use dtma_api::auth::Scope;
use dtma_api::openapi;

/// Every route: method, a path with parameters filled in, the scope it needs.
fn routes() -> Vec<(String, String, Option<Scope>)> {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope = operation["security"][0]["bearer"][0].as_str().map(|scope| scope.parse().unwrap());
            let path = path
                .replace("{groupId}", "g")
                .replace("{instanceName}", "i")
                .replace("{door}", "mcp")
                .replace("{name}", "n")
                .replace("{id}", "d");
            let path = path.replace("{operationId}", "o");
            routes.push((method.to_uppercase(), path, scope));
        }
    }
    routes
}

async fn status(house: &House, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    // A body that no route takes: what passes the guard ends with another 4xx, never with a stream or a change.
    let headers: Vec<_> = headers.iter().copied().chain([("Content-Type", "text/plain")]).collect();
    let path = if path == "/events" { "/events?unknown=1" } else { path };
    house.send(method, path, &headers, "x").await.status
}

#[tokio::test]
async fn without_a_known_token_only_the_open_routes_answer() {
    let house = House::new().await;
    for (method, path, scope) in routes() {
        for headers in [
            &[][..],
            &[("Authorization", "Bearer nobody")],
            &[("Authorization", "Bearer ")],
            &[("Authorization", "Basic YWRtaW46")],
            &[("Authorization", "admin")],
        ] {
            // Who sends no token at all is told a little there.
            let stranger = path == "/status" && headers.is_empty();
            let expected = if scope.is_some() && !stranger { 401 } else { 200 };
            assert_eq!(
                status(&house, &method, &path, headers).await,
                expected,
                "{method} {path} {headers:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_opens_what_its_scope_covers_and_nothing_else() {
    let house = House::new().await;
    for (method, path, needed) in routes() {
        for held in Scope::ALL {
            let token = format!("Bearer {held}");
            let status = status(&house, &method, &path, &[("Authorization", &token)]).await;
            let refused = needed.is_some_and(|needed| !held.covers(needed));
            assert_eq!(status == 403, refused, "{method} {path} with {held}: {status}");
        }
    }
}

#[tokio::test]
async fn requests_of_other_sites_pages_are_refused_even_with_a_token() {
    let house = House::new().await;
    let token = ("Authorization", "Bearer admin");
    for (method, path, needed) in routes() {
        let foreign = status(&house, &method, &path, &[token, ("Origin", "http://evil.example")]).await;
        let ours = status(&house, &method, &path, &[token, ("Origin", "http://localhost:3000")]).await;
        assert_eq!(foreign == 403, needed.is_some(), "{method} {path}: {foreign}");
        assert_ne!(ours, 403, "{method} {path}");
    }
    let rebound = b"GET /mcp/groups HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer admin\r\nConnection: close\r\n\r\n";
    assert_eq!(crate::wire::exchange(house.address, rebound).await.status, 403);
}

#[tokio::test]
async fn what_is_no_token_opens_nothing_and_breaks_nothing() {
    let house = House::new().await;
    let long = format!("Authorization: Bearer {}", "x".repeat(8 << 10));
    for (method, path, scope) in routes() {
        for (lines, expected) in [
            ("Authorization: Bearer admin\r\nAuthorization: Bearer admin", 400),
            ("Authorization: Bearer admin\r\nAuthorization: Bearer wrong", 400),
            ("Authorization: Bearer admin, Bearer admin", 401),
            (long.as_str(), 401),
            ("Authorization: Bearer admin x", 401),
            ("Authorization: Bearer adm\u{ef}n", 401),
        ] {
            let answer = with_lines(&house, &method, &path, lines).await;
            let expected = if scope.is_some() { expected } else { 200 };
            assert_eq!(answer.status, expected, "{method} {path} {lines:.60}: {answer:?}");
        }
        // HTTP itself knows no NUL in a header: no route is reached, not even an open one.
        let nul = with_lines(&house, &method, &path, "Authorization: Bearer admin\0").await;
        assert_eq!(nul.status, 400, "{method} {path}: {nul:?}");
    }
}

/// A request with these header lines as they stand.
async fn with_lines(house: &House, method: &str, path: &str, lines: &str) -> crate::wire::Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\nContent-Length: 0\r\n\r\n"
    );
    crate::wire::exchange(house.address, request.as_bytes()).await
}

#[tokio::test]
async fn the_page_for_people_needs_no_token_and_holds_nothing() {
    let house = House::new().await;
    let page = house.send("GET", "/docs", &[], "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let client = house.client("-");
    let texts = [page.body, client.get_docs_script().await.unwrap(), client.get_docs_style().await.unwrap()];
    for text in &texts {
        assert!(
            !text.contains("://") && !text.contains("innerHTML") && !text.contains("deployGroup"),
            "{text}"
        );
    }
    for linked in ["docs/docs.js", "docs/docs.css"] {
        assert!(texts[0].contains(linked), "{linked}");
    }
}

#[tokio::test]
async fn a_refusal_says_how_to_do_better() {
    let house = House::new().await;
    let answer = house.send("GET", "/mcp/groups", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_missing"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"dtma\""));
    assert_eq!(answer.json()["requestId"].as_str(), answer.header("x-request-id"));
    assert!(!answer.body.contains("admin"));
}
