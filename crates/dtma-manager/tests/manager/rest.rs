//! MCP servers that nobody uses: paused, later stopped, woken by whoever needs them.

use crate::house::{House, SOON, mcp, name, spec, tool};
use bytes::Bytes;
use dtma_core::observation::ContainerState;
use dtma_core::port::{RuntimeError, StoreError};
use dtma_core::record::Removal;
use dtma_core::spec::{IdleSpec, ServerSpec};
use dtma_manager::{Expect, GroupState};
use dtma_mcp::{Door, PostReply};
use dtma_testing::fake_runtime::Verb;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(600);
const MOMENT: Duration = Duration::from_secs(1);

fn resting(pause: Option<Duration>, stop: Option<Duration>) -> ServerSpec {
    ServerSpec { idle: IdleSpec { pause_after: pause, stop_after: stop }, ..mcp("a") }
}

fn both() -> ServerSpec {
    resting(Some(PAUSE), Some(STOP))
}

/// A client with a session.
struct Client {
    door: Door,
    session: String,
}

impl Client {
    async fn greet(house: &House) -> Self {
        let door = house.manager.mcp(&name("a")).unwrap();
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
        match door.post(None, Bytes::from(hello.to_string())).await {
            PostReply::Opened { session, .. } => Self { door, session: session.to_string() },
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, method: &str, params: Value) -> Bytes {
        let text = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params}).to_string();
        match self.door.post(Some(&self.session), text.into()).await {
            PostReply::Body(body) => body,
            other => panic!("{other:?}"),
        }
    }

    async fn echo(&self, message: &str) -> Value {
        let params = json!({"name": "echo", "arguments": {"message": message}});
        serde_json::from_slice(&self.ask("tools/call", params).await).unwrap()
    }

    async fn tools(&self) -> Bytes {
        self.ask("tools/list", json!({})).await
    }
}

impl House {
    async fn stand(&self, server: ServerSpec) -> Client {
        self.deploy("g", vec![server, tool("b")]).await.unwrap();
        let client = Client::greet(self).await;
        assert_eq!(client.echo("first").await["result"]["content"][0]["text"], "first");
        client
    }

    fn state(&self) -> ContainerState {
        self.engine.container("a").unwrap().state
    }

    fn is_paused(&self) -> bool {
        matches!(self.state(), ContainerState::Paused { .. })
    }

    fn is_stopped(&self) -> bool {
        matches!(self.state(), ContainerState::Exited { .. })
    }

    async fn until_state(&self, holds: impl Fn(ContainerState) -> bool) {
        for _ in 0..10_000 {
            if holds(self.state()) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("it never came to this: {:?}", self.state());
    }

    async fn until_paused(&self) {
        self.until_state(|state| matches!(state, ContainerState::Paused { .. })).await;
    }

    async fn until_stopped(&self) {
        self.until_state(|state| matches!(state, ContainerState::Exited { .. })).await;
    }

    /// Nothing of what rest did counts.
    fn check_no_restart(&self) {
        let server = self.server("g", "a");
        assert_eq!((server.restarts, server.crashes, server.refusal), (0, 0, None));
    }

    fn group_state(&self) -> GroupState {
        self.manager.group(&"g".parse().unwrap()).unwrap().state
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_paused_then_stopped_and_each_time_the_next_call_wakes_it_in_its_session() {
    for shims in [false, true] {
        let house = House::with(shims).await;
        let client = house.stand(both()).await;
        sleep(PAUSE - MOMENT).await;
        assert!(!house.is_paused());
        sleep(2 * MOMENT).await;
        assert!(house.is_paused(), "{:?}", house.state());
        let idle = house.until("g", "a", "idle").await;
        assert_eq!(idle.phase.reason().as_deref(), Some("paused until somebody needs it"));
        assert_eq!(house.group_state(), GroupState::Ready);

        assert_eq!(client.echo("again").await["result"]["content"][0]["text"], "again");
        assert!(!house.is_paused());
        house.until("g", "a", "ready").await;
        assert_eq!(house.engine.count(Verb::Start), 2, "one for each server");

        sleep(STOP - MOMENT).await;
        assert!(house.is_paused());
        sleep(2 * MOMENT).await;
        house.until_stopped().await;
        let idle = house.until("g", "a", "idle").await;
        assert_eq!(idle.phase.reason().as_deref(), Some("stopped until somebody needs it"));
        assert_eq!(client.echo("third").await["result"]["content"][0]["text"], "third");
        house.until("g", "a", "ready").await;
        assert_eq!(house.engine.count(Verb::Start), 3);
        house.check_no_restart();
        house.until_paused().await;
        house.remove("g", Removal::default()).await;
        house.check_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn either_period_may_stand_alone() {
    let house = House::new().await;
    let client = house.stand(resting(None, Some(STOP))).await;
    sleep(STOP + MOMENT).await;
    house.until_stopped().await;
    assert_eq!(house.engine.count(Verb::Pause), 0);
    client.echo("x").await;
    house.remove("g", Removal::default()).await;
    let client = house.stand(resting(Some(PAUSE), None)).await;
    sleep(100 * STOP).await;
    assert!(house.is_paused());
    client.echo("x").await;
    house.check_no_restart();
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_process_is_answered_meanwhile_as_it_would_answer_itself() {
    let house = House::new().await;
    let client = house.stand(both()).await;
    let tools = client.tools().await;
    for wait in [PAUSE, STOP] {
        sleep(wait + 10 * MOMENT).await;
        assert!(house.is_paused() || house.is_stopped());
        let (before, asked) = (house.state(), house.mcp.received().len());
        assert_eq!(client.tools().await, tools);
        assert_eq!(client.ask("ping", json!({})).await, r#"{"jsonrpc":"2.0","id":"q","result":{}}"#);
        let newcomer = Client::greet(&house).await;
        assert_eq!(newcomer.tools().await, tools);
        let listed = house.manager.mcp(&name("a")).unwrap().call("tools/list", None, MOMENT).await.unwrap();
        assert!(tools.windows(listed.len()).any(|part| part == &listed[..]), "{listed:?}");
        assert_eq!((house.state(), house.mcp.received().len()), (before, asked), "nobody was woken");
        assert_eq!(newcomer.echo("now").await["result"]["content"][0]["text"], "now");
    }
    house.check_no_restart();
}

/// Each of them keeps it awake for as long as it lasts, and for its period after.
#[tokio::test(start_paused = true)]
async fn whoever_uses_it_keeps_it_awake() {
    let house = House::new().await;
    let client = house.stand(both()).await;
    house.mcp.delay("tools/call", 5 * STOP);
    let slow = client.echo("slow");
    let watch = async {
        sleep(4 * STOP).await;
        assert!(matches!(house.state(), ContainerState::Running { .. }), "a call is in flight");
    };
    tokio::join!(slow, watch);
    sleep(PAUSE - MOMENT).await;
    assert!(!house.is_paused());
    house.mcp.behave();
    for _ in 0..10 {
        house.mcp.send(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}}));
        sleep(PAUSE - MOMENT).await;
        assert!(!house.is_paused(), "it has something to say");
    }
    sleep(2 * MOMENT).await;
    assert!(house.is_paused());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_to_it_before_that_is_kept() {
    let house = House::new().await;
    let client = house.stand(both()).await;
    sleep(PAUSE / 2).await;
    let full = StoreError::Io { operation: "commit", problem: "no space left".into() };
    house.store.fail(20, &full);
    sleep(PAUSE / 2 + 10 * MOMENT).await;
    assert_eq!(house.engine.count(Verb::Pause), 0);
    house.until_paused().await;
    client.echo("x").await;
    house.check_no_restart();
}

#[tokio::test(start_paused = true)]
async fn the_next_daemon_finds_it_resting_and_belonging_there() {
    for (shims, wait) in [(false, PAUSE), (true, PAUSE), (false, STOP), (true, STOP)] {
        let mut house = House::with(shims).await;
        let client = house.stand(both()).await;
        let tools = client.tools().await;
        sleep(wait + MOMENT).await;
        house.until("g", "a", "idle").await;
        let before = house.state();
        house.restart_daemon().await;
        house.until("g", "a", "idle").await;
        sleep(10 * MOMENT).await;
        assert_eq!((house.state(), house.group_state()), (before, GroupState::Ready));
        let client = Client { door: house.manager.mcp(&name("a")).unwrap(), ..client };
        assert_eq!(client.tools().await, tools, "from what was kept");
        assert_eq!(house.state(), before);
        if wait == PAUSE {
            sleep(STOP).await;
            house.until_stopped().await;
        }
        assert_eq!(client.echo("up").await["result"]["content"][0]["text"], "up");
        house.until("g", "a", "ready").await;
        house.check_no_restart();
    }
}

/// A daemon that ends between what it keeps and what it does, or between a call and its effect.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_while_it_is_put_to_rest_is_answered() {
    for verb in [Verb::Pause, Verb::Stop] {
        let mut house = House::new().await;
        let wait = if verb == Verb::Pause { PAUSE } else { STOP };
        let client = house.stand(both()).await;
        house.hold(verb);
        sleep(wait + MOMENT).await;
        let call = client.echo("late");
        let go = async {
            sleep(10 * MOMENT).await;
            house.let_go();
        };
        let (answer, ()) = tokio::join!(call, go);
        assert_eq!(answer["result"]["content"][0]["text"], "late", "{verb:?}");
        house.until("g", "a", "ready").await;
        house.check_no_restart();
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_pause_does_not_stand_in_the_way_of_calls() {
    let house = House::new().await;
    let client = house.stand(resting(Some(PAUSE), None)).await;
    let problem = "no freezer".to_owned();
    house.engine.fail(Verb::Pause, 1_000_000, RuntimeError::Conflict { call: "pause container", problem });
    sleep(STOP).await;
    let tries = house.engine.count(Verb::Pause);
    assert!((1..100).contains(&tries), "{tries}");
    assert_eq!(client.echo("x").await["result"]["content"][0]["text"], "x");
    house.check_no_restart();
}

#[tokio::test(start_paused = true)]
async fn people_and_updates_do_with_it_what_they_do_with_any_other() {
    for wait in [PAUSE, STOP] {
        let house = House::new().await;
        let client = house.stand(both()).await;
        let rest = async || {
            sleep(wait + MOMENT).await;
            house.until("g", "a", "idle").await;
        };
        rest().await;
        house.manager.start(&name("a"), SOON).await.unwrap();
        house.until("g", "a", "ready").await;
        rest().await;
        house.manager.restart(&name("a"), SOON).await.unwrap();
        house.until("g", "a", "ready").await;
        rest().await;
        house.manager.stop(&name("a"), SOON).await.unwrap();
        assert_eq!(house.server("g", "a").phase.word(), "stopped");
        house.manager.start(&name("a"), SOON).await.unwrap();
        rest().await;
        let mut other = both();
        other.environment.insert("VERSION".to_owned(), "2".to_owned());
        house.manager.apply(spec("g", vec![other, tool("b")]), Expect::default(), SOON).await.unwrap();
        assert_eq!(client.echo("new").await["result"]["content"][0]["text"], "new");
        rest().await;
        // What is not asked to rest any more gets up by itself.
        let mut awake = mcp("a");
        awake.environment.insert("VERSION".to_owned(), "2".to_owned());
        house.manager.apply(spec("g", vec![awake, tool("b")]), Expect::default(), SOON).await.unwrap();
        house.until("g", "a", "ready").await;
        sleep(10 * STOP).await;
        assert_eq!(house.server("g", "a").phase.word(), "ready");
        house.remove("g", Removal::default()).await;
        house.check_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_come_back_is_waited_for_no_longer_than_any_other() {
    let house = House::new().await;
    let client = house.stand(both()).await;
    sleep(STOP + MOMENT).await;
    house.until_stopped().await;
    house.mcp.silence("initialize");
    let began = Instant::now();
    let answer = client.echo("x").await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("not up"), "{answer}");
    assert!(began.elapsed() <= Duration::from_secs(31), "{:?}", began.elapsed());
}

/// What is due while nobody sees is done when somebody does, and nothing spins until then.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_due_while_the_engine_is_away_rests_when_it_is_back() {
    let house = House::new().await;
    let _client = house.stand(both()).await;
    sleep(PAUSE - MOMENT).await;
    house.engine.away(true);
    // Looks at everything: it fails, and is tried again once a second.
    sleep(2 * PAUSE).await;
    assert!(!house.is_paused());
    house.engine.away(false);
    house.until_paused().await;
    house.check_no_restart();
}
