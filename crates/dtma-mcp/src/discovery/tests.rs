//! Paging and its bounds, and when a server is asked again.

use super::*;
use crate::Attachment;
use crate::server::tests::harness::*;
use serde_json::Value;
use tokio::task::JoinSet;

const ALL: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"be kind"}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#;

fn small() -> Bounds {
    Bounds { pages: 3, items: 4, bytes: 60, within: Duration::from_secs(5) }
}

async fn ready_as(greeting: &str) -> (House, Process) {
    let house = House::new();
    let mut process = house.attach(1, Attachment::Fresh).await;
    process.greet_as(greeting, "[]").await;
    house.until_ready().await;
    (house, process)
}

fn asking(house: &House, bounds: Bounds) -> Asking {
    let (handle, mut tasks) = (house.handle.clone(), JoinSet::new());
    tasks.spawn(async move { handle.discover(&bounds).await });
    Asking(tasks)
}

/// A discovery under way.
struct Asking(JoinSet<Result<Found, DiscoverError>>);

impl Asking {
    async fn end(mut self) -> Result<Found, DiscoverError> {
        self.0.join_next().await.unwrap().unwrap()
    }
}

/// Answers the next request, which is for that list.
async fn page(process: &mut Process, method: &str, result: &str) -> Value {
    let asked = process.read().await;
    assert_eq!(asked["method"], method, "{asked}");
    process.answer(&asked["id"], result);
    asked["params"].clone()
}

async fn tools(process: &mut Process) {
    page(process, "tools/list", r#"{"tools":[]}"#).await;
}

#[tokio::test(start_paused = true)]
async fn every_list_is_read_to_its_end_and_kept_as_it_was_sent() {
    let (house, mut process) = ready_as(ALL).await;
    let asking = asking(&house, Bounds::default());
    let first = page(
        &mut process,
        "tools/list",
        r#"{"tools":[{"name":"a","x": 1.0}],"nextCursor":"c\"1","ttlMs":9000}"#,
    );
    assert_eq!(first.await, serde_json::json!({}));
    let second = page(&mut process, "tools/list", r#"{"tools":[{"name":"b"}]}"#).await;
    assert_eq!(second, serde_json::json!({"cursor": "c\"1"}));
    page(&mut process, "prompts/list", r#"{"prompts":[{"name":"p"}],"ttlMs":7000}"#).await;
    page(&mut process, "resources/list", r#"{"resources":[]}"#).await;
    let id = process.asked("resources/templates/list").await;
    process.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"?"}}}}"#));
    let found = asking.end().await.unwrap();
    assert_eq!((found.run.clone(), found.good_for), (run(1), Some(Duration::from_secs(7))));
    assert_eq!(found.offers.greeting, ALL);
    assert_eq!(found.offers.tools.raw, [r#"{"name":"a","x": 1.0}"#, r#"{"name":"b"}"#]);
    assert_eq!(found.offers.prompts.raw, [r#"{"name":"p"}"#]);
    assert_eq!(found.offers.templates, Items::default());
}

#[tokio::test(start_paused = true)]
async fn what_was_not_declared_is_not_asked_for() {
    let (house, mut process) = House::ready().await;
    let asking = asking(&house, Bounds::default());
    tools(&mut process).await;
    assert_eq!(asking.end().await.unwrap().offers.prompts, Items::default());
    assert!(!process.has_more().await);
}

/// Whatever stands around and between the elements.
#[tokio::test(start_paused = true)]
async fn what_a_server_answered_can_be_answered_again_byte_for_byte() {
    let first = r#"{ "_meta":{"x":1}, "tools" : [ {"name":"a","x": 1.0}, 2, "ä" ] ,"nextCursor":"c\u0031" }"#;
    let (second, third) = (r#"{"tools":[{"name":"b"}],"nextCursor":"3","ttlMs":5}"#, r#"{"tools":[ ]}"#);
    let (house, mut process) = House::ready().await;
    let asking = asking(&house, Bounds::default());
    for result in [first, second, third] {
        page(&mut process, "tools/list", result).await;
    }
    let tools = asking.end().await.unwrap().offers.tools;
    let answers = [None, Some("c1"), Some("3"), Some("other")].map(|cursor| tools.answer(cursor));
    assert_eq!(answers, [Some(first), Some(second), Some(third), None].map(|text| text.map(str::to_owned)));
    let uneven = cut(&[r#"{"tools":[1,2, 3]}"#]).await;
    assert_eq!((uneven.raw.len(), uneven.answer(None)), (3, None), "what cannot be told again is not");
    let more = cut(&[r#"{"tools":[1,2,3,4,5]}"#]).await;
    assert_eq!(more.answer(None), None, "nor what is not known in full");
}

async fn cut(pages: &[&str]) -> Items {
    let (house, mut process) = House::ready().await;
    let asking = asking(&house, small());
    for result in pages {
        page(&mut process, "tools/list", result).await;
    }
    asking.end().await.unwrap().offers.tools
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_cut_and_said() {
    let more = |cursor: &str| format!(r#"{{"tools":[{{}}],"nextCursor":"{cursor}"}}"#);
    let (a, b, c) = (more("a"), more("b"), more("c"));
    let pages = cut(&[&a, &b, &c]).await;
    assert_eq!((pages.raw.len(), pages.cut.as_deref()), (3, Some("there are more than 3 pages")));
    let round = cut(&[&a, &b, &a]).await;
    assert_eq!(round.cut.as_deref(), Some("the server gave a cursor a second time"));
    let items = cut(&[r#"{"tools":[1,2,3,4,5],"nextCursor":"a"}"#]).await;
    assert_eq!((items.raw.len(), items.cut.as_deref()), (4, Some("there are more than 4")));
    let long = format!(r#"{{"tools":[1,"{}",2]}}"#, "x".repeat(60));
    let bytes = cut(&[&long]).await;
    assert_eq!(
        (bytes.raw, bytes.cut.as_deref()),
        (vec!["1".to_owned()], Some("there are more than 60 bytes"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_is_an_error_and_so_is_silence() {
    let (house, mut process) = House::ready().await;
    let asked = asking(&house, small());
    page(&mut process, "tools/list", r#"{"prompts":[]}"#).await;
    let error = asked.end().await.unwrap_err().to_string();
    assert_eq!(error, "tools/list was answered without a list of tools");
    let asked = asking(&house, small());
    process.asked("tools/list").await;
    let error = asked.end().await.unwrap_err().to_string();
    assert_eq!(error, "tools/list failed: the server did not answer within 5s");
}

/// A follower of a house's server, and what it tells.
struct Following {
    house: House,
    process: Process,
    told: tokio::sync::mpsc::UnboundedReceiver<Option<News>>,
    begun: Instant,
    _task: JoinSet<()>,
}

impl Following {
    async fn new() -> Self {
        let (house, process) =
            ready_as(r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}"#).await;
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let mut follower = Follower::new(house.handle.clone(), Bounds::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let news = follower.next().await;
                let over = news.is_none();
                if tell.send(news).is_err() || over {
                    return;
                }
            }
        });
        Self { house, process, told, begun: Instant::now(), _task: tasks }
    }

    /// Answers the next listing, and says when it was asked for.
    async fn listed(&mut self) -> Duration {
        tools(&mut self.process).await;
        let asked = self.begun.elapsed();
        assert!(matches!(self.told.recv().await, Some(Some(News::Found(_)))));
        asked
    }

    async fn refused(&mut self) -> u64 {
        let id = self.process.asked("tools/list").await;
        let asked = self.begun.elapsed();
        self.process.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":1,"message":"no"}}}}"#));
        let Some(Some(News::Failed(why))) = self.told.recv().await else { panic!("it failed") };
        assert_eq!(why, "tools/list failed: the server answered with an error: no");
        asked.as_secs()
    }

    /// Whether it is left in peace for an hour.
    async fn is_quiet(&mut self) -> bool {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        !self.process.has_more().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_changes_is_asked_about_rarely() {
    let mut it = Following::new().await;
    assert_eq!(it.listed().await.as_secs(), 0);
    assert!(it.is_quiet().await, "nobody said that anything changed");
    it.begun = Instant::now();
    let process = &it.process;
    let storm = async {
        for _ in 0..1000 {
            process.say(CHANGED);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    storm.await;
    // Ten seconds of it are over; what was asked meanwhile waits for its answer.
    let first = it.listed().await;
    let second = it.listed().await;
    assert!(first.as_secs() <= 10 && second > first, "{first:?}, {second:?}");
    assert!(it.is_quiet().await, "one more after the last change is enough");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_asked_is_asked_ever_more_rarely() {
    let mut it = Following::new().await;
    let mut at = Vec::new();
    for _ in 0..9 {
        it.process.say(CHANGED);
        at.push(it.refused().await);
    }
    let pauses: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128]);
    it.listed().await;
    it.process.say(CHANGED);
    it.begun = Instant::now();
    assert!(it.listed().await <= Duration::from_secs(2), "it answers again");
}

#[tokio::test(start_paused = true)]
async fn what_is_good_for_a_while_is_asked_for_afterwards() {
    let mut it = Following::new().await;
    for (ttl, wanted) in [(60_000, 0), (1, 60), (60_000, 65)] {
        page(&mut it.process, "tools/list", &format!(r#"{{"tools":[],"ttlMs":{ttl}}}"#)).await;
        assert_eq!(it.begun.elapsed().as_secs(), wanted);
        it.told.recv().await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_is_asked_and_the_end_is_told() {
    let mut it = Following::new().await;
    it.listed().await;
    it.house.handle.disconnect("it went").await.unwrap();
    assert_eq!(it.told.recv().await, Some(Some(News::Down)));
    it.process = it.house.start(2).await;
    tools(&mut it.process).await;
    let Some(Some(News::Found(found))) = it.told.recv().await else { panic!("it is asked") };
    assert_eq!(found.run, run(2));
    it.house.handle.close();
    let mut rest = Vec::new();
    while let Some(news) = it.told.recv().await {
        rest.push(news);
    }
    assert_eq!(rest.last(), Some(&None));
}
