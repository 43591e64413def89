//! Servers that are down, slow, removed: the others go on.

use super::*;

const CHANGED: [&str; 3] = [
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
];

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_missing_and_said_to_be_and_told_of_when_it_is_back() {
    let (mut house, a, _b) = House::pair().await;
    let client = house.client().await;
    assert_eq!(client.tools().await.len(), 10);
    let mut heard = client.listen();
    a.dies().await;
    let listed = client.ask("tools/list", json!({})).await;
    assert_eq!(names(&listed["tools"], "name")[0], "b__echo");
    assert_eq!(listed["_meta"]["io.dtma/missing"][0]["server"], "a");
    assert_eq!(called(&client.call("b__echo").await)["name"], "echo");
    house.start(a.door, a.handle, Script::full()).await;
    let news = [next(&mut heard).await, next(&mut heard).await, next(&mut heard).await];
    assert_eq!(news.map(|news| news["method"].as_str().unwrap().to_owned()), CHANGED);
    let listed = client.ask("tools/list", json!({})).await;
    assert_eq!((listed["tools"].as_array().unwrap().len(), &listed["_meta"]), (10, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_its_list_holds_nobody_up_for_long() {
    let mut house = House::new();
    house.server("a", Script::tools(&["x"])).await;
    let (door, handle) = house.admit("slow", Limits::default());
    let (mut process, attached) = Process::new();
    handle.connect(run(99), attached, Attachment::Fresh).await.unwrap();
    process.greet().await;
    handle.state().wait_for(|state| state.ready().is_some()).await.unwrap();
    let client = house.client().await;
    let listed = client.ask("tools/list", json!({})).await;
    assert_eq!(names(&listed["tools"], "name"), ["a__x"]);
    let missing = &listed["_meta"]["io.dtma/missing"][0];
    assert_eq!(missing["server"], "slow");
    assert!(missing["reason"].as_str().unwrap().contains("longer than 10s"), "{missing}");
    drop((door, process));
}

#[tokio::test(start_paused = true)]
async fn a_call_to_a_server_that_is_down_waits_for_it_as_at_its_own_door() {
    let (mut house, a, _b) = House::pair().await;
    let client = house.client().await;
    client.call("a__echo").await;
    a.dies().await;
    let mut calls = JoinSet::new();
    let waiting = client.clone();
    calls.spawn(async move { waiting.call("a__echo").await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    house.start(a.door, a.handle, Script::full()).await;
    assert_eq!(called(&calls.join_next().await.unwrap().unwrap())["name"], "echo");
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_at_a_server_that_dies_gets_the_honest_error_and_the_session_stays() {
    let (mut house, a, _b) = House::pair().await;
    let client = house.client().await;
    let mut calls = JoinSet::new();
    let hanging = client.clone();
    calls.spawn(async move { hanging.call("a__hang").await });
    a.hears("tools/call").await;
    a.dies().await;
    let lost = calls.join_next().await.unwrap().unwrap();
    assert_eq!(lost["error"]["data"]["may_have_executed"], true, "{lost}");
    house.start(a.door, a.handle, Script::full()).await;
    assert_eq!(called(&client.call("a__echo").await)["name"], "echo");
}

#[tokio::test(start_paused = true)]
async fn servers_come_and_go_and_clients_that_listen_hear_of_it() {
    let (mut house, a, b) = House::pair().await;
    let client = house.client().await;
    client.call("a__echo").await;
    let mut heard = client.listen();
    house.doors.retain(|door| door.instance().as_str() != "a");
    house.all.set_servers(house.doors.clone(), &house.gateway);
    a.door.close();
    let news = [next(&mut heard).await, next(&mut heard).await, next(&mut heard).await];
    assert_eq!(news.map(|news| news["method"].as_str().unwrap().to_owned()), CHANGED);
    assert_eq!(client.tools().await[0], "b__echo");
    assert_eq!(client.call("a__echo").await["error"]["code"], -32602);
    house.all.set_servers(house.doors.clone(), &house.gateway);
    let _c = house.server("c", Script::tools(&["x"])).await;
    for _ in CHANGED {
        next(&mut heard).await;
    }
    assert_eq!(called(&client.call("c__x").await)["name"], "x");
    house.all.close();
    assert!(tokio::time::timeout(PATIENCE, heard.next()).await.expect("it ends").is_none());
    assert!(matches!(
        client.post(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await,
        PostReply::Closed
    ));
    drop(b);
}

#[tokio::test]
async fn a_group_without_servers_is_one_that_offers_nothing() {
    let house = House::new();
    let (client, told) = house.client_with("2025-11-25").await;
    assert_eq!(told["capabilities"], json!({"tools": {"listChanged": true}}));
    assert_eq!(client.tools().await, [] as [&str; 0]);
}
