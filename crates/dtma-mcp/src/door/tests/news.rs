//! What a client is told of lists that changed while its session went to another member.

use super::*;
use futures_util::{FutureExt, StreamExt};

const ECHO: &str = r#"[{"name":"echo"},{"name":"add"}]"#;
/// The same in another order.
const AGAIN: &str = r#"[{"name":"add"},{"name":"echo"}]"#;
const OTHER: &str = r#"[{"name":"echo","title":"Echo"},{"name":"add"}]"#;

/// A greeting that declares `listChanged` of these.
fn declares(lists: &[&str]) -> String {
    let all = ["tools", "prompts", "resources"].into_iter();
    let capabilities: serde_json::Map<_, _> =
        all.map(|list| (list.to_owned(), json!({"listChanged": lists.contains(&list)}))).collect();
    json!({"protocolVersion":"2025-06-18","capabilities":capabilities,"serverInfo":{"name":"s","version":"1"}})
        .to_string()
}

impl Fleet {
    fn admit_of(&mut self, name: &str, generation: u64) -> ServerHandle {
        let origin = Origin { replica: 0, generation: Generation(generation) };
        let (handle, owner) = self.door.admit(name.into(), origin).unwrap();
        self.tasks.spawn(owner.run());
        handle
    }

    async fn connect(&mut self, handle: &ServerHandle) -> Process {
        self.runs += 1;
        let (process, attached) = Process::new();
        handle.connect(run(self.runs), attached, Attachment::Fresh).await.unwrap();
        process
    }

    async fn generation(&mut self, number: u64, lists: &[&str], tools: &str) -> Process {
        let handle = self.admit_of(&number.to_string(), number);
        let mut process = self.connect(&handle).await;
        process.greet_as(&declares(lists), tools).await;
        handle.state().wait_for(|state| state.ready().is_some()).await.unwrap();
        process
    }

    /// Generation 2 serves in place of 1.
    async fn switch(&self) {
        self.door.serve(&["2".into()]);
        self.door.drain(&"1".into(), Duration::from_secs(1)).await;
        self.door.dismiss(&"1".into());
    }
}

/// Everything that comes on a new GET stream before what the server itself says.
async fn heard(client: &Client, server: &Process) -> Vec<String> {
    let mut listener = client.listen().await;
    let mut heard = Vec::new();
    settle().await;
    server.say(r#"{"jsonrpc":"2.0","method":"the end"}"#);
    loop {
        let message: Value = serde_json::from_str(&next(&mut listener).await).unwrap();
        match message["method"].as_str().unwrap() {
            "the end" => return heard,
            method => heard.push(method.to_owned()),
        }
    }
}

/// What a client is told that was at a server of the first kind and comes back to one of the second.
async fn told(before: (&[&str], &str), now: (&[&str], &str)) -> Vec<String> {
    let mut fleet = Fleet::new();
    let one = fleet.generation(1, before.0, before.1).await;
    fleet.door.serve(&["1".into()]);
    let client = fleet.client().await;
    assert_eq!(heard(&client, &one).await, [""; 0], "nothing is new at the beginning");
    let two = fleet.generation(2, now.0, now.1).await;
    fleet.switch().await;
    let told = heard(&client, &two).await;
    assert_eq!(heard(&client, &two).await, [""; 0], "it is told once");
    told
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_to_other_tools_is_told_so() {
    let tools = ["notifications/tools/list_changed"];
    assert_eq!(told((&["tools"], ECHO), (&["tools"], OTHER)).await, tools);
    assert_eq!(told((&["tools"], ECHO), (&[], "[]")).await, tools, "what the new one declares is not asked");
    assert_eq!(told((&["tools"], ECHO), (&["tools"], AGAIN)).await, [""; 0], "the same tools");
    assert_eq!(told((&[], ECHO), (&["tools"], OTHER)).await, [""; 0], "it was never declared");
}

/// Keeps a tool of that name from everybody.
struct Without(&'static str);

impl crate::ToolFilter for Without {
    fn refuses(&self, name: &str, _: Option<&str>) -> Option<String> {
        (name == self.0).then(|| "it is kept from you".to_owned())
    }
}

/// How often a client that listens is told of other tools while these are kept from it, one after the other.
async fn told_of_filters(lists: &[&str], kept: &[Option<&'static str>]) -> usize {
    let mut fleet = Fleet::new();
    let one = fleet.generation(1, lists, ECHO).await;
    fleet.door.serve(&["1".into()]);
    let client = fleet.client().await;
    let mut listener = client.listen().await;
    for name in kept {
        fleet.door.set_tool_filter(name.map(|name| Arc::new(Without(name)) as Arc<dyn crate::ToolFilter>));
        settle().await;
    }
    one.say(r#"{"jsonrpc":"2.0","method":"the end"}"#);
    let mut told = 0;
    loop {
        let message: Value = serde_json::from_str(&next(&mut listener).await).unwrap();
        match message["method"].as_str() {
            Some("notifications/tools/list_changed") => told += 1,
            method => return method.filter(|method| *method == "the end").map(|_| told).unwrap(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_listens_is_told_when_other_tools_are_kept_from_it() {
    let tools = &["tools"];
    assert_eq!(told_of_filters(tools, &[Some("add")]).await, 1, "one is kept from it");
    assert_eq!(told_of_filters(tools, &[Some("add"), None]).await, 2, "and shown again");
    assert_eq!(told_of_filters(tools, &[Some("add"), Some("add")]).await, 1, "the same again is no news");
    assert_eq!(told_of_filters(tools, &[Some("add"), Some("echo")]).await, 2, "another one");
    assert_eq!(told_of_filters(tools, &[Some("absent"), None]).await, 0, "nobody ever saw that");
    assert_eq!(told_of_filters(&[], &[Some("add")]).await, 0, "it was never declared");
}

#[tokio::test(start_paused = true)]
async fn lists_that_nobody_knows_may_have_changed_where_both_declare_it() {
    let all = ["tools", "prompts", "resources"];
    let told_of = told((&all, ECHO), (&["tools", "prompts"], ECHO)).await;
    assert_eq!(told_of, ["notifications/prompts/list_changed"]);
    let told_of = told((&["resources"], ECHO), (&all, ECHO)).await;
    assert_eq!(told_of, ["notifications/resources/list_changed"]);
}

#[tokio::test(start_paused = true)]
async fn another_replica_of_the_same_generation_has_the_same_lists() {
    let mut fleet = Fleet::new();
    let (mut handles, mut processes) = (Vec::new(), Vec::new());
    for name in ["a", "b"] {
        let handle = fleet.admit_of(name, 1);
        let mut process = fleet.connect(&handle).await;
        process.greet_as(&declares(&["tools", "prompts"]), ECHO).await;
        handle.state().wait_for(|state| state.ready().is_some()).await.unwrap();
        handles.push(handle);
        processes.push(process);
    }
    fleet.door.serve(&["a".into()]);
    let client = fleet.client().await;
    fleet.door.serve(&["b".into()]);
    fleet.door.dismiss(&"a".into());
    assert_eq!(heard(&client, &processes[1]).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_yet_has_its_news_when_it_does() {
    let mut fleet = Fleet::new();
    let _one = fleet.generation(1, &["tools"], ECHO).await;
    fleet.door.serve(&["1".into()]);
    let client = fleet.client().await;
    let handle = fleet.admit_of("2", 2);
    fleet.switch().await;
    let mut dropped = client.listen().await;
    assert!(dropped.next().now_or_never().is_none());
    let mut listener = client.listen().await;
    assert!(dropped.next().await.is_none(), "a second listener ends the first");
    let mut two = fleet.connect(&handle).await;
    two.greet_as(&declares(&["tools"]), OTHER).await;
    assert!(next(&mut listener).await.contains("tools/list_changed"));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_of_the_daemon_everything_declared_may_have_changed() {
    let mut fleet = Fleet::new();
    let _one = fleet.generation(1, &["tools"], ECHO).await;
    fleet.door.serve(&["1".into()]);
    let id = fleet.client().await.id;
    let kept = fleet.store.sessions.lock().unwrap().clone();
    let mut fleet = Fleet::new();
    fleet.door.restore(kept);
    let again = fleet.generation(1, &["tools", "prompts"], ECHO).await;
    fleet.door.serve(&["1".into()]);
    let client = Client { door: fleet.door.clone(), id };
    assert_eq!(heard(&client, &again).await, ["notifications/tools/list_changed"]);
}
