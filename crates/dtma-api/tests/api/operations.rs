//! Operations over HTTP, requests with an `Idempotency-Key`, and clients that hang up.

use crate::house::{House, one_tool};
use crate::wire::{Answer, LONG};
use dtma_api::auth::Scope;
use dtma_api::openapi;
use dtma_client::types::{OperationKind, OperationState};
use dtma_client::{Mutation, OperationQuery, RemoveOptions, Wait};
use dtma_testing::fake_runtime::Verb;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn keyed(house: &House, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    let headers =
        [("Authorization", "Bearer deploy"), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    house.send(method, path, &headers, &body).await
}

async fn deploy(house: &House, key: &str, body: &Value) -> Answer {
    keyed(house, "POST", "/mcp/groups", key, body).await
}

fn operation(answer: &Answer) -> String {
    answer.header("x-operation-id").unwrap_or_else(|| panic!("no operation: {answer:?}")).to_owned()
}

#[tokio::test]
async fn every_answer_to_a_mutation_names_its_operation_also_when_it_failed() {
    let house = House::new().await;
    let done = house.ask("POST", "/mcp/groups", Some(&one_tool("demo"))).await;
    assert_eq!(done.json()["data"]["operationId"], operation(&done));
    let missing =
        json!({"groupId": "g", "servers": [{"instanceName": "a", "kind": "tool", "image": "nowhere"}]});
    let undone = house.ask("POST", "/mcp/groups", Some(&missing)).await;
    assert_eq!(
        (undone.status, undone.json()["operationId"].as_str()),
        (422, undone.header("x-operation-id"))
    );
    let client = house.client("read");
    let failed = client.get_operation(&operation(&undone)).await.unwrap();
    assert_eq!((failed.state, failed.author.as_str()), (OperationState::Failed, "admin"));
    assert!(failed.error.unwrap().contains("nowhere") && failed.finished_at.is_some());
    let _not_yet = house.engine.hold(Verb::Dial);
    let late = house.ask("POST", "/mcp/servers/web/restart?timeout=100ms", None).await;
    assert_eq!((late.status, late.json()["operationId"].as_str()), (504, late.header("x-operation-id")));
    assert_eq!(client.get_operation(&operation(&late)).await.unwrap().state, OperationState::Running);
    let refused = house.ask("POST", "/mcp/servers/nobody/restart", None).await;
    assert_eq!((refused.status, refused.header("x-operation-id")), (404, None), "there is no operation");
}

#[tokio::test]
async fn operations_are_listed_filtered_and_bounded() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    client.stop_server("web", &Mutation::default()).await.unwrap();
    client.remove_group("demo", &RemoveOptions::default()).await.unwrap();
    let kinds = async |which: &OperationQuery| {
        let list = client.list_operations(which).await.unwrap().operations;
        list.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>().join(" ")
    };
    let all = OperationQuery::default;
    assert_eq!(kinds(&all()).await, "remove stop deploy");
    assert_eq!(kinds(&OperationQuery { limit: Some(1), ..all() }).await, "remove");
    assert_eq!(kinds(&OperationQuery { instance: Some("web".into()), ..all() }).await, "stop");
    assert_eq!(kinds(&OperationQuery { kind: Some(OperationKind::Deploy), ..all() }).await, "deploy");
    assert_eq!(kinds(&OperationQuery { group: Some("other".into()), ..all() }).await, "");
    assert_eq!(kinds(&OperationQuery { state: Some(OperationState::Running), ..all() }).await, "");
    for bad in ["limit=0", "limit=1001", "state=odd", "kind=odd", "groupId=a%2Fb", "x=1"] {
        assert_eq!(house.ask("GET", &format!("/operations?{bad}"), None).await.status, 400, "{bad}");
    }
    let unknown = house.ask("GET", "/operations/nobody", None).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "no_such_operation"));
}

#[tokio::test]
async fn the_same_key_and_request_has_one_effect_and_the_same_answer() {
    let house = House::new().await;
    let first = deploy(&house, "k-1", &one_tool("demo")).await;
    let again = deploy(&house, "k-1", &one_tool("demo")).await;
    assert_eq!((first.status, again.status), (201, 201), "the second would be a 200 by itself");
    assert_eq!(first.body, again.body);
    assert_eq!(operation(&first), operation(&again));
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true"))
    );
    let stop = || keyed(&house, "POST", "/mcp/servers/web/restart", "k-2", &Value::Null);
    let (first, again) = (stop().await, stop().await);
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(house.engine.count(Verb::EndProcess), 1, "it was restarted once");
    let removed = keyed(&house, "DELETE", "/mcp/groups/demo", "k-3", &Value::Null).await;
    let again = keyed(&house, "DELETE", "/mcp/groups/demo", "k-3", &Value::Null).await;
    assert_eq!((removed.status, &removed.body), (again.status, &again.body), "a 404 by itself");
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_caller() {
    let house = House::new().await;
    assert_eq!(deploy(&house, "k", &one_tool("demo")).await.status, 201);
    for (method, path, body) in [
        ("POST", "/mcp/groups", one_tool("other")),
        ("POST", "/mcp/groups?wait=false", one_tool("demo")),
        ("POST", "/mcp/servers/web/restart", Value::Null),
        ("DELETE", "/mcp/groups/demo", Value::Null),
    ] {
        let answer = keyed(&house, method, path, "k", &body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (409, "idempotency_key_reused"),
            "{method} {path}"
        );
    }
    let headers =
        [("Authorization", "Bearer admin"), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    let others = house.send("POST", "/mcp/groups", &headers, &one_tool("demo").to_string()).await;
    assert_eq!(others.status, 200, "another caller's key: the group stands already");
    assert_eq!(house.client("read").list_groups().await.unwrap().groups.len(), 1);
}

#[tokio::test]
async fn a_key_that_is_none_is_a_400() {
    let house = House::new().await;
    for bad in ["", "a b", "\u{e9}", &"k".repeat(256)] {
        let answer = deploy(&house, bad, &one_tool("demo")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_idempotency_key"), "{bad:?}");
    }
    let twice = [("Authorization", "Bearer deploy"), ("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    assert_eq!(house.send("DELETE", "/mcp/groups/g", &twice, "").await.code(), "invalid_idempotency_key");
    assert_eq!(deploy(&house, &"k".repeat(255), &one_tool("demo")).await.status, 201);
}

#[tokio::test]
async fn many_at_the_same_moment_share_one_effect() {
    let house = House::new().await;
    let held = house.engine.hold(Verb::Start);
    let body = one_tool("demo");
    let asking = futures_util::future::join_all((0..16).map(|_| deploy(&house, "k", &body)));
    let let_go = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(held);
    };
    let (answers, ()) = tokio::join!(asking, let_go);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
    }
    assert_eq!(
        house.client("read").list_operations(&OperationQuery::default()).await.unwrap().operations.len(),
        1
    );
    let replayed = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_some());
    assert_eq!(replayed.count(), 15);
}

#[tokio::test]
async fn a_refused_request_uses_no_key_up() {
    let house = House::new().await;
    assert_eq!(deploy(&house, "k", &json!({"groupId": "demo"})).await.status, 400);
    assert_eq!(deploy(&house, "k", &one_tool("demo")).await.status, 201);
}

#[tokio::test]
async fn whoever_was_told_that_the_work_goes_on_asks_again_and_hears_the_end() {
    let house = House::new().await;
    let not_yet = house.engine.hold(Verb::Dial);
    let ask =
        |house| async move { keyed(house, "POST", "/mcp/groups?timeout=2s", "k", &one_tool("demo")).await };
    let late = ask(&house).await;
    assert_eq!((late.status, late.code().as_str()), (504, "deadline"));
    drop(not_yet);
    let done = ask(&house).await;
    assert_eq!((done.status, operation(&done)), (201, operation(&late)));
    let failed =
        json!({"groupId": "g", "servers": [{"instanceName": "a", "kind": "tool", "image": "nowhere"}]});
    let (first, again) = (deploy(&house, "f", &failed).await, deploy(&house, "f", &failed).await);
    assert_eq!((first.status, &first.body), (again.status, &again.body), "a failure that is final");
}

#[tokio::test]
async fn a_client_that_hangs_up_changes_nothing_and_finds_its_operation() {
    let house = House::new().await;
    let held = house.engine.hold(Verb::Start);
    let body = one_tool("demo").to_string();
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "POST /mcp/groups HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer deploy\r\n\
         Content-Type: application/json\r\nIdempotency-Key: gone\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let client = house.client("read");
    let running = OperationQuery { state: Some(OperationState::Running), ..OperationQuery::default() };
    let found = async || client.list_operations(&running).await.unwrap().operations;
    while found().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let id = found().await[0].id.clone();
    drop(stream);
    drop(held);
    let done = async {
        while client.get_operation(&id).await.unwrap().state != OperationState::Done {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, done).await.expect("the work goes on");
    let again = deploy(&house, "gone", &one_tool("demo")).await;
    assert_eq!((again.status, operation(&again)), (201, id), "the answer it did not hear");
}

#[tokio::test]
async fn the_typed_client_sends_its_key() {
    let house = House::new().await;
    let client = house.client("deploy");
    let asked = Mutation { wait: Wait::UntilDone, key: Some("k".into()) };
    let first = client.deploy_group(&one_tool("demo"), &asked).await.unwrap();
    let again = client.deploy_group(&one_tool("demo"), &asked).await.unwrap();
    assert_eq!((first.operation_id, first.changed), (again.operation_id, again.changed));
}

#[tokio::test]
async fn every_route_that_changes_something_takes_a_key() {
    let house = House::new().await;
    let document = serde_json::to_value(openapi()).unwrap();
    let mut taking = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scope =
                operation["security"][0]["bearer"][0].as_str().map(|scope| scope.parse::<Scope>().unwrap());
            let mutates = method != "get" && !matches!(scope, None | Some(Scope::Read | Scope::Gateway));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let documented = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
            let filled = path.replace(['{', '}'], "");
            let answer = if path == "/events" || path.starts_with("/gateway") {
                continue;
            } else {
                let headers = [("Authorization", "Bearer admin"), ("Idempotency-Key", "a b")];
                house.send(&method.to_uppercase(), &filled, &headers, "").await
            };
            let taken = answer.status == 400 && answer.body.contains("invalid_idempotency_key");
            assert_eq!((documented, taken), (mutates, mutates), "{method} {path}: {answer:?}");
            taking += usize::from(taken);
        }
    }
    assert!(taking >= 6, "{taking} routes take a key");
}
