//! Sessions with a process of their own.

use super::*;
use crate::{OwnProcesses, ServerState, SessionError};
use bytes::Bytes;

const OWN: OwnProcesses = OwnProcesses { most: 2, idle: Duration::from_secs(60), only: false };

/// Whoever makes processes: gives each place a member of its own, and takes it away when nobody asks for it.
struct Landlord {
    fleet: Fleet,
    given: Vec<(crate::Ticket, String)>,
    made: u64,
}

impl Landlord {
    fn new(own: OwnProcesses) -> Self {
        let fleet = Fleet::new();
        assert!(fleet.door.give_own(Some(own)).is_empty());
        Self { fleet, given: Vec::new(), made: 0 }
    }

    /// The process of the next place that is asked for.
    async fn lodge(&mut self) -> Process {
        let (door, mut changes) = (self.fleet.door.clone(), self.fleet.door.places().changes());
        let ticket = loop {
            let new =
                door.places().asked().into_iter().find(|asked| self.given.iter().all(|(t, _)| t != asked));
            match new {
                Some(new) => break new,
                None => changes.changed().await.unwrap(),
            }
        };
        let (name, handle) = self.admit();
        door.assign(ticket, &name.as_str().into());
        self.given.push((ticket, name));
        self.begin(&handle).await
    }

    /// A member for a session that may be still to come.
    fn admit(&mut self) -> (String, ServerHandle) {
        let name = format!("p{}", self.given.len() + 1);
        let (handle, owner) = self.fleet.door.admit_for_session(name.as_str().into(), origin(&name)).unwrap();
        self.fleet.tasks.spawn(owner.run());
        (name, handle)
    }

    async fn begin(&mut self, handle: &ServerHandle) -> Process {
        self.made += 1;
        let (process, attached) = Process::new();
        handle.connect(run(self.made), attached, Attachment::Fresh).await.unwrap();
        process
    }

    /// A client whose process has greeted it.
    async fn client(&mut self, capabilities: &str) -> (Client, Process) {
        let mut opening = self.opening(capabilities);
        let mut process = self.lodge().await;
        let greeting = greeted(&mut process).await;
        assert_eq!(greeting["capabilities"].to_string(), capabilities);
        let PostReply::Opened { session, .. } = outcome(&mut opening).await else { panic!("no session") };
        (Client { door: self.fleet.door.clone(), id: session.to_string() }, process)
    }

    fn opening(&self, capabilities: &str) -> JoinSet<PostReply> {
        let (door, mut opening) = (self.fleet.door.clone(), JoinSet::new());
        let hello = format!(
            r#"{{"jsonrpc":"2.0","id":"h","method":"initialize","params":{{"protocolVersion":"2025-06-18",
                "capabilities":{capabilities},"clientInfo":{{"name":"one","version":"7"}}}}}}"#
        );
        opening.spawn(async move { door.post(None, hello.into()).await });
        opening
    }
}

/// Answers `initialize`; gives back its parameters.
async fn greeted(process: &mut Process) -> Value {
    let request = process.read().await;
    assert_eq!(request["method"], "initialize");
    process.answer(&request["id"], GREETING);
    assert_eq!(process.read().await["method"], "notifications/initialized");
    request["params"].clone()
}

/// The next request that is none of the house's own.
async fn asked(process: &mut Process) -> Value {
    loop {
        let request = process.read().await;
        if request["method"] == "tools/list" && request["params"] == json!({}) {
            process.answer(&request["id"], r#"{"tools":[]}"#);
        } else {
            return request;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_is_greeted_in_its_clients_name_and_answers_nobody_else() {
    let mut landlord = Landlord::new(OWN);
    let (one, mut first) = landlord.client(r#"{"roots":{"listChanged":true}}"#).await;
    let (two, mut second) = landlord.client(r#"{"sampling":{}}"#).await;
    for (client, process, name) in [(&one, &mut first, "first"), (&two, &mut second, "second")] {
        let mut calls = JoinSet::new();
        client.begin(&mut calls, call(1));
        let request = asked(process).await;
        process.answer(&request["id"], &json!(name).to_string());
        assert_eq!(json_of(outcome(&mut calls).await)["result"], name);
    }
    assert!(landlord.fleet.store.sessions.lock().unwrap().is_empty(), "they end with the daemon");
    assert!(landlord.fleet.store.handshakes.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_process_asks_is_asked_of_its_client_also_before_that_listens() {
    let mut landlord = Landlord::new(OWN);
    let mut opening = landlord.opening(r#"{"roots":{}}"#);
    let mut process = landlord.lodge().await;
    greeted(&mut process).await;
    process.say(r#"{"jsonrpc":"2.0","id":"q1","method":"roots/list"}"#);
    let PostReply::Opened { session, body } = outcome(&mut opening).await else { panic!("no session") };
    assert!(text(body).contains(r#""protocolVersion":"2025-06-18""#));
    let client = Client { door: landlord.fleet.door.clone(), id: session.to_string() };
    settle().await;
    let mut listener = client.listen().await;
    let question: Value = serde_json::from_str(&next(&mut listener).await).unwrap();
    assert_eq!(question["method"], "roots/list");
    let answer = json!({"jsonrpc":"2.0","id":question["id"],"result":{"roots":[]}}).to_string();
    assert!(matches!(client.post(answer).await, PostReply::Accepted));
    assert_eq!(asked(&mut process).await["id"], "q1");
    // With no call in flight, too; and what its client did not declare is refused.
    process.say(r#"{"jsonrpc":"2.0","id":"q2","method":"roots/list"}"#);
    assert!(next(&mut listener).await.contains("roots/list"));
    process.say(r#"{"jsonrpc":"2.0","id":"q3","method":"sampling/createMessage"}"#);
    assert_eq!(asked(&mut process).await["error"]["code"], -32601);
    client.post(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#).await;
    assert_eq!(asked(&mut process).await["method"], "notifications/roots/list_changed");
}

#[tokio::test(start_paused = true)]
async fn there_is_a_bound_and_an_ended_session_gives_its_place_back() {
    let mut landlord = Landlord::new(OWN);
    let (one, _first) = landlord.client("{}").await;
    let (_two, _second) = landlord.client("{}").await;
    let refused = outcome(&mut landlord.opening("{}")).await;
    let PostReply::Crowded { body, try_again } = refused else { panic!("{refused:?}") };
    let error: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!("h"), &json!(-32000)));
    assert!(try_again > Duration::ZERO);
    one.door.close_session(&one.id).await.unwrap();
    assert_eq!(landlord.fleet.door.places().asked().len(), 1);
    landlord.client("{}").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_process_is_made_gives_the_place_back() {
    let mut landlord = Landlord::new(OWN);
    let before_it_is_there = landlord.opening("{}");
    settle().await;
    assert_eq!(landlord.fleet.door.places().asked().len(), 1);
    drop(before_it_is_there);
    settle().await;
    assert_eq!(landlord.fleet.door.places().asked(), []);
    let before_it_answers = landlord.opening("{}");
    let mut process = landlord.lodge().await;
    process.asked("initialize").await;
    drop(before_it_answers);
    settle().await;
    assert_eq!((landlord.fleet.door.places().asked().len(), landlord.fleet.door.sessions()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_session_outlives_its_process_and_waits_for_no_other() {
    let mut landlord = Landlord::new(OWN);
    let _shared = landlord.fleet.member("a").await;
    landlord.fleet.door.serve(&["a".into()]);
    let (client, process) = landlord.client(r#"{"sampling":{}}"#).await;
    drop(process);
    settle().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    settle().await;
    let handle = landlord.fleet.door.member(&"p1".into()).unwrap();
    let (mut next, attached) = Process::new();
    handle.connect(run(9), attached, Attachment::Fresh).await.unwrap();
    assert_eq!(
        greeted(&mut next).await["capabilities"],
        json!({"sampling":{}}),
        "in its client's name again"
    );
    let request = asked(&mut next).await;
    next.answer(&request["id"], "\"next\"");
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "next");
    landlord.fleet.door.dismiss(&"p1".into());
    assert!(matches!(client.post(call(2)).await, PostReply::UnknownSession));
    assert_eq!(landlord.fleet.door.places().asked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_drained_process_is_its_sessions_until_that_ends_or_the_time_is_over() {
    let mut landlord = Landlord::new(OWN);
    let (client, mut process) = landlord.client("{}").await;
    let (door, mut draining) = (client.door.clone(), JoinSet::new());
    draining.spawn(async move { door.drain(&"p1".into(), Duration::from_secs(9)).await });
    settle().await;
    let mut calls = JoinSet::new();
    client.begin(&mut calls, call(1));
    let request = asked(&mut process).await;
    process.answer(&request["id"], "\"still\"");
    assert_eq!(json_of(outcome(&mut calls).await)["result"], "still");
    process.list("[]").await;
    let drained = draining.join_next().await.unwrap().unwrap();
    assert_eq!(drained.unanswered, 0);
    assert_eq!(client.door.close_session(&client.id).await, Err(SessionError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_ends_and_one_that_listens_does_not() {
    let mut landlord = Landlord::new(OWN);
    let (idle, _first) = landlord.client("{}").await;
    let (listening, _second) = landlord.client("{}").await;
    let _stream = listening.listen().await;
    let mut changes = idle.door.places().changes();
    changes.mark_unchanged();
    assert!(idle.door.await_places(&mut changes).await);
    assert_eq!(idle.door.places().asked().len(), 1);
    assert!(matches!(idle.post(call(1)).await, PostReply::UnknownSession));
    assert!(listening.door.session(&listening.id).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_fails_is_told_and_leaves_nothing() {
    let mut landlord = Landlord::new(OWN);
    let mut opening = landlord.opening("{}");
    let mut process = landlord.lodge().await;
    let id = process.asked("initialize").await;
    process.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":1,"message":"not today"}}}}"#));
    let answer = json_of(outcome(&mut opening).await);
    assert_eq!(answer["error"]["code"], -32000);
    assert!(answer["error"]["message"].as_str().unwrap().contains("not today"), "{answer}");
    assert_eq!((landlord.fleet.door.places().asked().len(), landlord.fleet.door.sessions()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn sessions_that_shared_a_process_end_when_each_is_to_have_its_own() {
    let (fleet, _a, _b) = Fleet::pair().await;
    let client = fleet.client().await;
    let ended = fleet.door.give_own(Some(OWN));
    let ids: Vec<String> = ended.iter().map(ToString::to_string).collect();
    assert_eq!(ids, std::slice::from_ref(&client.id));
    fleet.door.forget_all(ended).await;
    assert!(fleet.store.sessions.lock().unwrap().is_empty());
    assert!(matches!(client.post(call(1)).await, PostReply::UnknownSession));
    assert!(fleet.door.give_own(Some(OWN)).is_empty(), "once");
}

fn is_expecting(handle: &ServerHandle) -> bool {
    matches!(*handle.state().borrow(), ServerState::Expecting { .. })
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_there_first_shows_that_it_works_and_is_greeted_by_its_client_later() {
    let mut landlord = Landlord::new(OWN);
    let (name, handle) = landlord.admit();
    let mut process = landlord.begin(&handle).await;
    let ping = process.asked("ping").await;
    settle().await;
    assert!(!is_expecting(&handle), "it has not answered yet");
    process.answer(&ping, "{}");
    settle().await;
    assert!(is_expecting(&handle));
    let mut opening = landlord.opening(r#"{"roots":{}}"#);
    settle().await;
    let ticket = landlord.fleet.door.places().asked()[0];
    landlord.fleet.door.assign(ticket, &name.as_str().into());
    assert_eq!(greeted(&mut process).await["capabilities"], json!({"roots":{}}));
    assert!(matches!(outcome(&mut opening).await, PostReply::Opened { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_no_answer_but_the_one_to_its_own_greeting() {
    let mut landlord = Landlord::new(OWN);
    let (name, handle) = landlord.admit();
    let mut process = landlord.begin(&handle).await;
    let ping = process.asked("ping").await;
    let mut opening = landlord.opening("{}");
    settle().await;
    let ticket = landlord.fleet.door.places().asked()[0];
    landlord.fleet.door.assign(ticket, &name.as_str().into());
    let request = process.read().await;
    assert_eq!(request["method"], "initialize");
    // In the order in which it was asked, or not at all.
    process.answer(&ping, "{}");
    process.answer(&request["id"], GREETING);
    assert!(matches!(outcome(&mut opening).await, PostReply::Opened { .. }));
}

#[tokio::test(start_paused = true)]
async fn where_one_ends_of_a_ping_the_next_ones_are_given_time_instead() {
    let mut landlord = Landlord::new(OWN);
    let (_, handle) = landlord.admit();
    let mut process = landlord.begin(&handle).await;
    process.asked("ping").await;
    settle().await;
    drop(process);
    settle().await;
    let mut process = landlord.begin(&handle).await;
    settle().await;
    assert!(!is_expecting(&handle));
    let mut state = handle.state();
    let expecting = state.wait_for(|state| matches!(state, ServerState::Expecting { .. }));
    assert!(tokio::time::timeout(Duration::from_secs(60), expecting).await.is_ok());
    handle.is_greeted_with(Bytes::from_static(b"{\"capabilities\":{}}"));
    assert_eq!(greeted(&mut process).await["capabilities"], json!({}), "the first that it hears");
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_no_ping_is_not_waited_for_any_longer_in_the_end() {
    let mut landlord = Landlord::new(OWN);
    let (_, handle) = landlord.admit();
    let mut process = landlord.begin(&handle).await;
    process.asked("ping").await;
    let mut state = handle.state();
    let expecting = state.wait_for(|state| matches!(state, ServerState::Expecting { .. }));
    assert!(tokio::time::timeout(Duration::from_secs(60), expecting).await.is_ok());
    handle.is_greeted_with(Bytes::from_static(b"{\"capabilities\":{}}"));
    greeted(&mut process).await;
}
