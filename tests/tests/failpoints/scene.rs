//! One scenario: a group, something asked of it, the end of the daemon in the middle, and what must be true after
//! the next one has started.

use dtma_client::types::GroupView;
use dtma_tests::engine::{containers, networks, remains};
use dtma_tests::rest::Rest;
use dtma_tests::{McpClient, Toolbox, engine, eventually, groups, shims, standing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// From the start of the next daemon until everything is as wanted.
const CONVERGED: Duration = Duration::from_secs(10);
/// Until the daemon reaches its failpoint.
const DIES: Duration = Duration::from_secs(30);
/// Scenarios under way at the same moment: the machine's two cores are the bound, not the engine.
const AT_ONCE: usize = 4;
/// SIGABRT: how an armed failpoint ends its process.
const ABORT: i32 = 6;

/// What is asked of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Deploy it.
    Deploy,
    /// Deploy it, but the engine refuses one server for good.
    Undo,
    /// Remove it with its volumes.
    Remove,
    /// Restart every server of it.
    Restart,
    /// Open a session with its MCP server.
    OpenSession,
    /// Close one.
    CloseSession,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    act: Act,
    failpoint: &'static str,
    /// Whether the request was durable when the daemon died.
    accepted: bool,
}

impl Case {
    pub(crate) const fn accepted(act: Act, failpoint: &'static str) -> Self {
        Self { act, failpoint, accepted: true }
    }

    pub(crate) const fn refused(act: Act, failpoint: &'static str) -> Self {
        Self { act, failpoint, accepted: false }
    }

    pub(crate) fn name(&self) -> String {
        format!("{:?} at {}", self.act, self.failpoint)
    }

    /// Without the count.
    pub(crate) fn point_and_moment(&self) -> String {
        self.failpoint.splitn(3, ':').take(2).collect::<Vec<_>>().join(":")
    }
}

/// Runs scenarios a few at a time and fails with every one that failed.
pub(crate) async fn all_of<F>(scenarios: impl Iterator<Item = (String, F)>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut names = BTreeMap::new();
    for (name, scenario) in scenarios {
        let places = Arc::clone(&places);
        let task = running.spawn(async move {
            let _place = places.acquire_owned().await;
            scenario.await;
        });
        names.insert(task.id(), name);
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next_with_id().await {
        if let Err(error) = ended {
            failed.push(format!("{}: {}", names[&error.id()], reason(error)));
        }
    }
    println!("figure: {} of {} scenarios ended as they must", names.len() - failed.len(), names.len());
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), names.len(), failed.join("\n"));
}

fn reason(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".to_owned() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// A random time below so many milliseconds. Chance comes from where uuids get theirs.
pub(crate) fn random(below: u64) -> Duration {
    Duration::from_millis(uuid::Uuid::new_v4().as_u64_pair().0 % below)
}

/// How often a deployment is refused until it had made before what is to be taken back: its containers are made beside
/// each other.
const TRIES: usize = 5;

/// The daemon dies at the case's failpoint.
pub(crate) async fn dies_at(case: Case) {
    let tries = if matches!(case.act, Act::Undo) { TRIES } else { 1 };
    for rest in (0..tries).rev() {
        let mut scene = Scene::set(case.act, Some(case.failpoint)).await;
        scene.perform();
        match scene.toolbox.ended_within(DIES).await {
            Some(ended) => {
                assert_eq!(ended.signal(), Some(ABORT), "{ended}");
                return scene.made_good(Some(case.accepted)).await;
            }
            None if rest > 0 => {}
            None => panic!("{} was never reached: {}", case.failpoint, scene.answer().await),
        }
    }
}

/// The daemon is killed some time after the request was sent.
pub(crate) async fn killed(act: Act, after: Duration) {
    let mut scene = Scene::set(act, None).await;
    scene.perform();
    tokio::time::sleep(after).await;
    scene.toolbox.kill9();
    scene.made_good(None).await;
}

/// A daemon with (or, for a deployment, without) its group, ready for what is asked of it.
struct Scene {
    act: Act,
    toolbox: Toolbox,
    document: Value,
    group: String,
    before: Option<Before>,
    session: Option<McpClient>,
    asking: JoinSet<Result<(), String>>,
}

/// How the group stood before.
struct Before {
    view: GroupView,
    processes: BTreeMap<String, Value>,
}

impl Scene {
    async fn set(act: Act, failpoint: Option<&str>) -> Self {
        let fresh = matches!(act, Act::Deploy | Act::Undo);
        let at_once = failpoint.filter(|_| fresh).map(str::to_owned);
        let toolbox = Toolbox::start_with(|launch| launch.failpoint = at_once);
        let document = document(&toolbox, act);
        let group = toolbox.named("scene");
        let asking = JoinSet::new();
        let mut scene = Self { act, toolbox, document, group, before: None, session: None, asking };
        if !fresh {
            scene.stand(failpoint).await;
        }
        scene
    }

    /// Brings the group up, and then a daemon that will die.
    async fn stand(&mut self, failpoint: Option<&str>) {
        let view = self.toolbox.deploy(&self.document).await;
        self.before = Some(Before { view, processes: processes(&self.group) });
        self.session = match self.act {
            Act::CloseSession => Some(self.toolbox.raw_mcp("fixture").await),
            Act::Deploy | Act::Undo | Act::Remove | Act::Restart | Act::OpenSession => None,
        };
        if failpoint.is_some() {
            self.toolbox.start_again_with(failpoint);
        }
    }

    /// Asks for it. Whether an answer comes is of no interest: the daemon dies meanwhile.
    fn perform(&mut self) {
        let (act, rest, document) = (self.act, self.toolbox.rest().with_key("scene"), self.document.clone());
        let (group, session) = (self.group.clone(), self.session.clone());
        let client = self.toolbox.client();
        self.asking.spawn(async move {
            let path = format!("/mcp/groups/{group}");
            match act {
                Act::Deploy | Act::Undo => ask(&rest, "POST", "/mcp/groups", document.to_string()).await,
                Act::Remove => ask(&rest, "DELETE", &format!("{path}?volumes=true"), String::new()).await,
                Act::Restart => ask(&rest, "POST", &format!("{path}/restart"), String::new()).await,
                Act::OpenSession => McpClient::try_open(&client, "fixture").await.map(drop),
                Act::CloseSession => session.ok_or("no session")?.over(&client).close().await,
            }
        });
    }

    /// The answer that came although the daemon was to die.
    async fn answer(&mut self) -> String {
        match tokio::time::timeout(Duration::from_secs(1), self.asking.join_next()).await {
            Ok(answer) => format!("{answer:?}"),
            Err(_) => "no answer".to_owned(),
        }
    }

    /// Starts the next daemon and waits for what must come true. `accepted` is `None` when nobody can know.
    async fn made_good(&mut self, accepted: Option<bool>) {
        let began = Instant::now();
        self.toolbox.start_again();
        let accepted = match accepted {
            Some(accepted) => Some(accepted),
            None => self.known_to_be_accepted().await,
        };
        match (self.act, accepted) {
            (Act::Deploy, Some(true)) | (Act::Restart, None) => drop(self.stands().await),
            (Act::Undo, _) | (Act::Deploy, _) | (Act::Remove, Some(true)) => self.is_gone().await,
            (Act::Remove | Act::Restart, _) if accepted != Some(true) => self.stands_untouched().await,
            (Act::Remove | Act::Restart, _) => self.runs_anew().await,
            (Act::OpenSession | Act::CloseSession, _) => self.stands_and_answers().await,
        }
        assert!(began.elapsed() < CONVERGED + Duration::from_secs(1), "took {:?}", began.elapsed());
        if !self.is_absent().await {
            self.toolbox.down(&self.group, true).await;
            self.is_gone().await;
        }
    }

    /// What the daemon's own state says of the request: a group that is there, or on its way out. A restart leaves no
    /// trace once it is over, so nobody can know; then all that must be true is that the group stands.
    async fn known_to_be_accepted(&self) -> Option<bool> {
        let answer = self.toolbox.get(&format!("/mcp/groups/{}", self.group)).await;
        match self.act {
            Act::Deploy | Act::Undo => Some(answer.status == 200),
            Act::Remove => Some(answer.status == 404 || answer.json["data"]["state"] == "removing"),
            Act::Restart | Act::OpenSession | Act::CloseSession => None,
        }
    }

    async fn is_absent(&self) -> bool {
        self.toolbox.get(&format!("/mcp/groups/{}", self.group)).await.status == 404
    }

    async fn is_gone(&self) {
        eventually("nothing is left", CONVERGED, || async {
            let remains = remains(&self.group, true);
            let answer = self.toolbox.get(&format!("/mcp/groups/{}", self.group)).await;
            if answer.status == 404 && remains.is_empty() { Ok(()) } else { Err((answer.text, remains)) }
        })
        .await;
    }

    /// Everything runs, each server in one container that was made from what is wanted, on one network, and no counter
    /// has fallen.
    async fn stands(&self) -> GroupView {
        let view = self.toolbox.ready(&self.group, CONVERGED).await;
        let deviations = standing::deviations(&self.toolbox.rest(), &self.group).await;
        assert!(deviations.is_empty(), "{deviations:?}");
        let containers = containers(&self.group);
        assert_eq!(containers.len(), view.servers.len(), "{}", groups::summary(&view));
        assert!(containers.iter().all(|container| container["State"]["Running"] == true));
        assert_eq!(networks(&self.group).len(), 1);
        if let Some(before) = &self.before {
            let pairs = groups::restarts(&before.view).into_iter().zip(groups::restarts(&view));
            assert!(pairs.into_iter().all(|(before, now)| now >= before), "{}", groups::summary(&view));
        } else {
            assert!(groups::restarts(&view).iter().all(|&count| count == 0), "{}", groups::summary(&view));
        }
        view
    }

    async fn stands_untouched(&self) {
        self.stands().await;
        assert_eq!(processes(&self.group), self.before.as_ref().expect("it stood").processes);
    }

    async fn runs_anew(&self) {
        let before = self.before.as_ref().expect("it stood");
        eventually("every server runs in a new process", CONVERGED, || async {
            let now = processes(&self.group);
            let anew = now.iter().all(|(name, pid)| before.processes.get(name) != Some(pid));
            if anew { Ok(()) } else { Err(now) }
        })
        .await;
        let view = self.stands().await;
        let counted = groups::restarts(&view).into_iter().zip(groups::restarts(&before.view));
        assert!(counted.into_iter().all(|(now, before)| now > before), "{}", groups::summary(&view));
    }

    async fn stands_and_answers(&self) {
        self.stands_untouched().await;
        let session = self.toolbox.raw_mcp("fixture").await;
        let answer = session.call(&json!(1), "echo", &json!({"message": "here"})).await;
        assert_eq!(dtma_tests::text(&answer), "Echo: here");
    }
}

async fn ask(rest: &Rest, method: &str, path: &str, body: String) -> Result<(), String> {
    let method = method.parse().map_err(|_| "a method")?;
    let answer = rest.try_send(method, path, body).await?;
    if answer.status < 300 { Ok(()) } else { Err(answer.text) }
}

/// An MCP server with a volume, and a tool on the group's network that waits for it.
fn document(toolbox: &Toolbox, act: Act) -> Value {
    let mounts = json!({"mounts": [{"type": "volume", "name": "data", "target": "/data"}]});
    let egress = if shims() { json!(["example.org:443"]) } else { json!([]) };
    let fixture = groups::with(groups::fixture("fixture"), &mounts);
    let fixture = groups::with(fixture, &json!({"egress": egress}));
    let idle = groups::after(groups::peer("idle"), &[("fixture", "started")]);
    let absent = json!({"instanceName": "absent", "kind": "tool", "image": "dtma/no-such-image:dev",
                        "pullPolicy": "never", "dependsOn": [{"instance": "fixture", "condition": "healthy"}]});
    // Made before the container is refused, so that there is surely something to take back.
    let absent = groups::with(absent, &mounts);
    match act {
        Act::Undo => toolbox.group("scene", &[fixture, idle, absent]),
        Act::Deploy | Act::Remove | Act::Restart | Act::OpenSession | Act::CloseSession => {
            toolbox.group("scene", &[fixture, idle])
        }
    }
}

/// The process of each server: when its container began, and which it is there.
fn processes(group: &str) -> BTreeMap<String, Value> {
    let process = |(name, id): (String, String)| {
        let began = engine::inspect(&id)["State"]["StartedAt"].clone();
        (name, json!([began, engine::server_process(&id)]))
    };
    engine::container_ids(group).into_iter().map(process).collect()
}
