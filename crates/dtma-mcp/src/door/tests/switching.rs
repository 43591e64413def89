//! Members replaced under load: nothing lost, nothing refused, nothing delivered to somebody else.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

const CLIENTS: usize = 16;
const SWITCHES: usize = 50;

/// Answers what it reads, held back a little and out of order, until it is let go.
async fn echo(mut process: Process) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() || waiting.len() < 4 && process.has_more().await {
            match process.heard().await {
                Some(request) => waiting.push(request),
                None => return,
            }
            continue;
        }
        let request: Value = waiting.remove(waiting.len() / 2);
        process.answer(&request["id"], &request["params"].to_string());
    }
}

async fn post_until(client: Client, who: usize, over: Arc<AtomicBool>) -> usize {
    let mut answered = 0;
    while !over.load(Ordering::Relaxed) {
        let name = format!("{who}/{answered}");
        let call = json!({"jsonrpc":"2.0","id":answered,"method":"x","params":{"who":name}}).to_string();
        let reply = client.post(call).await;
        let PostReply::Body(body) = reply else { panic!("{name} was refused: {reply:?}") };
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&answer["id"], &answer["result"]["who"]), (&json!(answered), &json!(name)), "{answer}");
        answered += 1;
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_switches_under_load_lose_nothing() {
    let mut fleet = Fleet::new();
    let first = fleet.member("0").await;
    fleet.tasks.spawn(echo(first));
    fleet.door.serve(&["0".into()]);
    let (over, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for who in 0..CLIENTS {
        clients.spawn(post_until(fleet.client().await, who, over.clone()));
    }
    for switch in 1..=SWITCHES {
        let (old, new) = (MemberId::from((switch - 1).to_string()), MemberId::from(switch.to_string()));
        let process = fleet.member(&new.to_string()).await;
        fleet.tasks.spawn(echo(process));
        fleet.door.serve(&[new]);
        assert_eq!(fleet.door.drain(&old, Duration::from_secs(30)).await.unanswered, 0);
        fleet.door.dismiss(&old);
    }
    over.store(true, Ordering::Relaxed);
    let answered: usize = clients.join_all().await.into_iter().sum();
    assert!(answered > SWITCHES * CLIENTS / 2, "there was hardly any load: {answered}");
    assert_eq!(fleet.load(&SWITCHES.to_string()), CLIENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_while_members_are_switched_are_all_let_in() {
    let mut fleet = Fleet::new();
    let first = fleet.member("0").await;
    fleet.tasks.spawn(echo(first));
    fleet.door.serve(&["0".into()]);
    let (over, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..4 {
        let (door, over) = (fleet.door.clone(), over.clone());
        clients.spawn(async move {
            let mut opened = 0;
            while !over.load(Ordering::Relaxed) {
                let PostReply::Opened { session, .. } = door.post(None, hello().into()).await else {
                    panic!()
                };
                let client = Client { door: door.clone(), id: session.to_string() };
                assert_eq!(json_of(client.post(call(opened)).await)["result"]["n"], opened);
                door.close_session(&client.id).await.unwrap();
                opened += 1;
            }
        });
    }
    for switch in 1..=SWITCHES {
        let (old, new) = (MemberId::from((switch - 1).to_string()), MemberId::from(switch.to_string()));
        let process = fleet.member(&new.to_string()).await;
        fleet.tasks.spawn(echo(process));
        fleet.door.serve(&[new]);
        fleet.door.drain(&old, Duration::from_secs(30)).await;
        fleet.door.dismiss(&old);
    }
    over.store(true, Ordering::Relaxed);
    clients.join_all().await;
    assert!(fleet.door.table().sessions.is_empty() && fleet.store.sessions.lock().unwrap().is_empty());
}
