//! A lane: one group that is changed again and again, each time by a daemon that dies in the middle, and what must be
//! true after the next one has started. What earlier deaths left is part of every later scene.

use dtma_client::types::{GroupView, ScaleRequest};
use dtma_client::{ChangeOptions, Wait};
use dtma_tests::rest::Rest;
use dtma_tests::{Toolbox, engine, eventually, groups, standing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// From the start of the next daemon until everything is as wanted; on a machine that is busy with other things as many
/// times what a change takes there that nobody disturbs.
const CONVERGED: Duration = Duration::from_secs(10);
const UNDISTURBED: u32 = 4;
/// Until the daemon reaches its failpoint, or until a change is through.
const DIES: Duration = Duration::from_secs(30);
/// SIGABRT: how an armed failpoint ends its process.
const ABORT: i32 = 6;
/// The replicas of a server that is scaled.
const MANY: u32 = 3;

/// How the group is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A server that writes to a volume and a tool are replaced, a tool is added, another one goes.
    Apply,
    /// A tool gets more replicas.
    ScaleUp,
    /// It gets fewer.
    ScaleDown,
    /// The generation before this one comes back.
    Rollback,
    /// The server gets another environment, and nothing else is changed.
    Renew,
    /// The server is replaced by a sound one, the tool by one that crashes: all goes back.
    Fails,
}

/// One death.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Death {
    change: Change,
    failpoint: &'static str,
    /// Whether the change was durable by then, where that can be known.
    accepted: Option<bool>,
}

impl Death {
    pub(crate) const fn refused(change: Change, failpoint: &'static str) -> Self {
        Self { change, failpoint, accepted: Some(false) }
    }

    pub(crate) const fn accepted(change: Change, failpoint: &'static str) -> Self {
        Self { change, failpoint, accepted: Some(true) }
    }

    /// The point is reached by what the daemon does of itself, too.
    pub(crate) const fn somewhere(change: Change, failpoint: &'static str) -> Self {
        Self { change, failpoint, accepted: None }
    }

    /// Without the count.
    pub(crate) fn point_and_moment(&self) -> String {
        self.failpoint.splitn(3, ':').take(2).collect::<Vec<_>>().join(":")
    }
}

/// The daemon dies at each of these in turn.
pub(crate) async fn dies_at_each(deaths: Vec<Death>) {
    let mut lane = Lane::open().await;
    for death in deaths {
        let what = format!("{:?} at {}", death.change, death.failpoint);
        lane.prepare(death.change, &what).await;
        let before = lane.stand().await;
        lane.toolbox.start_again_with(Some(death.failpoint));
        lane.ask(death.change);
        let Some(ended) = lane.toolbox.ended_within(DIES).await else {
            panic!("{what} was never reached: {}", lane.answer().await);
        };
        assert_eq!(ended.signal(), Some(ABORT), "{what}: {ended}");
        lane.made_good(&what, death.change, &before, death.accepted).await;
    }
    lane.close().await;
}

/// The daemon is killed so long after each of these was asked for.
pub(crate) async fn killed_at_each(kills: Vec<(Change, Duration)>) {
    let mut lane = Lane::open().await;
    for (change, after) in kills {
        let what = format!("{change:?} killed after {after:?}");
        lane.prepare(change, &what).await;
        let before = lane.stand().await;
        lane.ask(change);
        tokio::time::sleep(after).await;
        lane.toolbox.kill9();
        lane.made_good(&what, change, &before, None).await;
    }
    lane.close().await;
}

struct Lane {
    toolbox: Toolbox,
    group: String,
    /// The newest version that was asked for.
    version: u64,
    /// How often the server alone was given another environment.
    renewed: u64,
    /// How long the next daemon may take.
    patience: Duration,
    /// How long each took.
    took: Vec<Duration>,
    asking: JoinSet<Result<u16, String>>,
}

/// How the group stood before.
struct Stand {
    view: GroupView,
    processes: BTreeMap<String, Value>,
}

impl Lane {
    async fn open() -> Self {
        let toolbox = Toolbox::start();
        let (group, asking) = (toolbox.named("lane"), JoinSet::new());
        let (patience, took) = (CONVERGED, Vec::new());
        let mut lane = Self { group, version: 1, renewed: 0, patience, took, asking, toolbox };
        lane.toolbox.deploy(&lane.document(1)).await;
        let restarted = lane.toolbox.rest().post(&format!("{}/restart", lane.path()), &Value::Null).await;
        assert!(restarted.status < 300, "{}", restarted.text);
        let view = lane.toolbox.ready(&lane.group, DIES).await;
        assert!(groups::restarts(&view).iter().all(|&count| count == 1), "so that a counter could fall");
        let began = Instant::now();
        lane.apply("the first").await;
        lane.settled("undisturbed").await;
        lane.patience = CONVERGED.max(UNDISTURBED * began.elapsed());
        lane
    }

    async fn apply(&mut self, what: &str) {
        self.version += 1;
        let (client, options) = (self.toolbox.client(), options());
        let put = client.put_group(&self.group, &self.document(self.version), &options).await;
        put.unwrap_or_else(|error| panic!("{what}: {error:#?}"));
    }

    fn path(&self) -> String {
        format!("/mcp/groups/{}", self.group)
    }

    fn document(&self, version: u64) -> Value {
        // Every version needs another container, not only another process.
        let fields = json!({
            "mounts": [{"type": "volume", "name": "data", "target": "/data"}],
            "resources": {"pids": 100 + version},
            "environment": {"VERSION": format!("{version}.{}", self.renewed)},
        });
        let fixture = groups::with(groups::fixture("fixture"), &fields);
        let guest = groups::after(groups::peer(&format!("guest{version}")), &[("fixture", "started")]);
        self.toolbox.group("lane", &[fixture, versioned(groups::idle("idle"), version), guest])
    }

    fn failing(&self, version: u64) -> Value {
        let mut document = self.document(version);
        let crash = json!({"command": ["sh", "-c", "exit 3"]});
        document["servers"][1] = groups::with(document["servers"][1].clone(), &crash);
        document
    }

    /// Brings the group to where the change is one.
    async fn prepare(&mut self, change: Change, what: &str) {
        match change {
            Change::Apply | Change::Renew | Change::Fails => {}
            Change::ScaleUp => self.scaled(1).await,
            Change::ScaleDown => self.scaled(MANY).await,
            Change::Rollback => self.apply(what).await,
        }
    }

    async fn scaled(&self, replicas: u32) {
        let scaled = self.toolbox.client().scale_server("idle", &ScaleRequest { replicas }, &options()).await;
        scaled.unwrap_or_else(|error| panic!("to {replicas}: {error:#?}"));
    }

    async fn stand(&self) -> Stand {
        self.settled("before").await;
        Stand { view: self.toolbox.view(&self.group).await, processes: processes(&self.group) }
    }

    /// Asks for the change. Whether an answer comes is of no interest: the daemon dies meanwhile.
    fn ask(&mut self, change: Change) {
        let (method, path, body) = match change {
            Change::Apply => ("PUT", self.path(), self.next(Self::document)),
            Change::Renew => {
                self.renewed += 1;
                ("PUT", self.path(), self.document(self.version))
            }
            Change::Fails => ("PUT", self.path(), self.next(Self::failing)),
            Change::ScaleUp => ("PUT", "/mcp/servers/idle/scale".to_owned(), json!({"replicas": MANY})),
            Change::ScaleDown => ("PUT", "/mcp/servers/idle/scale".to_owned(), json!({"replicas": 1})),
            Change::Rollback => ("POST", format!("{}/rollback", self.path()), json!({})),
        };
        let rest = self.toolbox.rest().with_key(&uuid::Uuid::new_v4().to_string());
        self.asking = JoinSet::new();
        self.asking.spawn(async move { send(&rest, method, &path, body.to_string()).await });
    }

    fn next(&mut self, document: impl Fn(&Self, u64) -> Value) -> Value {
        self.version += 1;
        document(self, self.version)
    }

    /// The answer that came although the daemon was to die.
    async fn answer(&mut self) -> String {
        match tokio::time::timeout(Duration::from_secs(1), self.asking.join_next()).await {
            Ok(answer) => format!("{answer:?}"),
            Err(_) => "no answer".to_owned(),
        }
    }

    /// Starts the next daemon and waits for what must come true. `accepted` is `None` when nobody can know.
    async fn made_good(&mut self, what: &str, change: Change, before: &Stand, accepted: Option<bool>) {
        let began = Instant::now();
        self.toolbox.start_again();
        self.settled(what).await;
        let took = began.elapsed();
        self.took.push(took);
        assert!(took < self.patience + Duration::from_secs(1), "{what}: took {took:?}");
        let view = self.toolbox.view(&self.group).await;
        let moved = view.generation != before.view.generation;
        match (change, accepted) {
            (Change::Fails, accepted) => {
                assert!(!moved, "{what}: it is to go back to {}", before.view.generation);
                let failed = self.fates().await.iter().any(|fate| fate == "failed");
                assert!(failed || accepted != Some(true), "{what}: nobody can read that it failed");
            }
            (_, Some(accepted)) => assert_eq!(moved, accepted, "{what}: generation {}", view.generation),
            (_, None) => {}
        }
        if !moved && change != Change::Fails {
            assert_eq!(processes(&self.group), before.processes, "{what}: nothing was to be touched");
        }
        if change == Change::Renew && accepted.is_some() {
            assert_eq!(processes(&self.group), before.processes, "{what}: every container runs on");
        }
        counters_have_not_fallen(what, &before.view, &view);
        assert_eq!(engine::networks(&self.group).len(), 1, "{what}");
        assert_eq!(engine::volumes(&self.group).len(), 1, "{what}");
    }

    /// The present generation stands as a whole: one container in each place, from the wanted configuration, under its
    /// plain name, and nothing besides.
    async fn settled(&self, what: &str) {
        let rest = self.toolbox.rest();
        eventually(&format!("{what}: all is as wanted"), self.patience, || async {
            let current = self.generations().await.into_iter().find(|one| one["current"] == true);
            let fate = current.map(|current| current["fate"].clone()).unwrap_or_default();
            let state = self.toolbox.get(&self.path()).await.json["data"]["state"].clone();
            if fate != "established" || state != "ready" {
                return Err((Vec::new(), fate, state));
            }
            let wrong = standing::deviations(&rest, &self.group).await;
            if wrong.is_empty() { Ok(()) } else { Err((wrong, fate, state)) }
        })
        .await;
    }

    async fn generations(&self) -> Vec<Value> {
        let history = self.toolbox.get(&format!("{}/history", self.path())).await;
        history.json["data"]["generations"].as_array().cloned().unwrap_or_default()
    }

    async fn fates(&self) -> Vec<String> {
        let fate = |one: Value| one["fate"].as_str().unwrap_or_default().to_owned();
        self.generations().await.into_iter().map(fate).collect()
    }

    /// Nothing is left of all that.
    async fn close(mut self) {
        self.took.sort_unstable();
        if let [.., longest] = self.took[..] {
            let median = self.took[self.took.len() / 2];
            println!(
                "figure: {} deaths made good in {median:.1?} at the median, {longest:.1?} at most",
                self.took.len()
            );
        }
        self.toolbox.down(&self.group, true).await;
        let remains = engine::remains(&self.group, true);
        assert!(remains.is_empty(), "{remains:?}");
    }
}

fn options() -> ChangeOptions {
    ChangeOptions { wait: Wait::Until(DIES), ..ChangeOptions::default() }
}

fn versioned(server: Value, version: u64) -> Value {
    groups::with(server, &json!({"environment": {"VERSION": version.to_string()}}))
}

fn counters_have_not_fallen(what: &str, before: &GroupView, now: &GroupView) {
    for server in &now.servers {
        let earlier = before.servers.iter().find(|earlier| earlier.instance_name == server.instance_name);
        let earlier = earlier.map_or(0, |earlier| earlier.restarts);
        assert!(server.restarts >= earlier, "{what}: from {earlier} to {}", groups::summary(now));
    }
}

async fn send(rest: &Rest, method: &str, path: &str, body: String) -> Result<u16, String> {
    let method = method.parse().map_err(|_| "a method")?;
    let answer = rest.try_send(method, path, body).await?;
    if answer.status < 300 { Ok(answer.status) } else { Err(answer.text) }
}

/// When each container was started, as the engine knows it.
fn processes(group: &str) -> BTreeMap<String, Value> {
    let started = |seen: Value| {
        (seen["Id"].as_str().unwrap_or_default().to_owned(), seen["State"]["StartedAt"].clone())
    };
    engine::containers(group).into_iter().map(started).collect()
}
