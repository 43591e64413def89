//! Sixty-four clients want different things of one group at the same moment. What becomes of it could have become of it
//! had they come one after the other, every one of them is answered, and in the end the group stands.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is broken"
)]

use dtma_client::types::{ApplyView, HistoryView, RollbackRequest, ScaleRequest};
use dtma_client::{ChangeOptions, Client, Error, Mutation, Wait};
use dtma_tests::{Toolbox, eventually, groups, standing};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: usize = 64;
/// What each client wants one after the other, and how often it asks when others came first.
const ROUNDS: usize = 3;
const TRIES: usize = 12;
/// Nobody waits longer for an answer, waiting for an outcome included.
const ANSWERED: Duration = Duration::from_secs(60);
/// For its outcome waits every so manieth client; the others want to know that it was accepted.
const PATIENT: usize = 8;
const CONVERGED: Duration = Duration::from_secs(60);
const TOOL: &str = "idle";

/// What a client asks for next.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Apply,
    Scale,
    Rollback,
    Stop,
    Start,
    Restart,
}

const WISHES: [Wish; 8] = [
    Wish::Apply,
    Wish::Scale,
    Wish::Apply,
    Wish::Rollback,
    Wish::Stop,
    Wish::Apply,
    Wish::Start,
    Wish::Restart,
];

/// A change that was accepted.
#[derive(Debug)]
struct Accepted {
    /// The generation the client said it had seen.
    seen: u64,
    /// What the history must say of the next one.
    cause: &'static str,
    /// What must be found in its spec, where the client said so itself.
    mark: Option<String>,
}

/// Everything a client was told.
#[derive(Debug, Default)]
struct Told {
    accepted: Vec<Accepted>,
    /// Wishes that were accepted and before whose end another one came, or the caller's patience ended.
    overtaken: usize,
    /// Refusals by their code.
    refused: BTreeMap<String, usize>,
    /// Cause and spec of every generation that was seen in the history.
    history: BTreeMap<u64, (String, String)>,
}

struct Caller {
    client: Client,
    group: String,
    document: Value,
    number: usize,
    told: Told,
}

impl Caller {
    async fn asks(mut self) -> Told {
        for round in 0..ROUNDS {
            let wish = WISHES[(self.number + round) % WISHES.len()];
            for attempt in 0..TRIES {
                let mark = format!("{}-{round}-{attempt}", self.number);
                let asked = timeout(ANSWERED, self.ask(wish, mark)).await;
                let asked = asked.unwrap_or_else(|_| panic!("client {}: no answer to {wish:?}", self.number));
                match asked {
                    Err(error) if self.refused(wish, &error) == "stale_generation" => {}
                    Err(_) | Ok(()) => break,
                }
            }
        }
        self.told
    }

    async fn ask(&mut self, wish: Wish, mark: String) -> Result<(), Error> {
        let seen = self.client.get_group(&self.group).await?.generation;
        let options = ChangeOptions { wait: self.wait(), seen: Some(seen) };
        let mutation = Mutation { wait: self.wait(), ..Mutation::default() };
        let (group, client) = (self.group.clone(), self.client.clone());
        match wish {
            Wish::Apply => {
                let changed = client.put_group(&group, &marked(&self.document, &mark), &options).await?;
                self.made("apply", seen, Some(mark), &changed).await?;
            }
            Wish::Scale => {
                let body = ScaleRequest { replicas: 1 + u32::try_from(self.number % 3).unwrap_or(0) };
                let changed = client.scale_server(TOOL, &body, &options).await?;
                self.made("scale", seen, None, &changed).await?;
            }
            Wish::Rollback => {
                let changed = client.rollback_group(&group, &RollbackRequest::default(), &options).await?;
                self.made("rollback", seen, None, &changed).await?;
            }
            Wish::Stop => drop(client.stop_server(TOOL, &mutation).await?),
            Wish::Start => drop(client.start_server(TOOL, &mutation).await?),
            Wish::Restart => drop(client.restart_group(&group, &mutation).await?),
        }
        Ok(())
    }

    fn wait(&self) -> Wait {
        if self.number.is_multiple_of(PATIENT) { Wait::Until(Duration::from_secs(5)) } else { Wait::No }
    }

    /// Notes an accepted change, and what the history says as long as it is sure to be in it.
    async fn made(
        &mut self,
        cause: &'static str,
        seen: u64,
        mark: Option<String>,
        changed: &ApplyView,
    ) -> Result<(), Error> {
        if changed.changed {
            self.told.accepted.push(Accepted { seen, cause, mark });
            let history = self.client.get_history(&self.group).await?;
            merge(&mut self.told.history, told_by(history));
        }
        Ok(())
    }

    /// A refusal is one of those that a conflict explains; anything else is a defect.
    fn refused<'a>(&mut self, wish: Wish, error: &'a Error) -> &'a str {
        let refusal =
            error.refusal().unwrap_or_else(|| panic!("client {}, {wish:?}: {error:#?}", self.number));
        let expected = match wish {
            // At the beginning there is nothing to go back to.
            Wish::Apply | Wish::Scale | Wish::Rollback => {
                &["stale_generation", "change_superseded", "deadline", "no_such_generation"][..]
            }
            Wish::Stop | Wish::Start | Wish::Restart => &["superseded", "deadline", "not_running"],
        };
        let code = refusal.code.as_str();
        let known = expected.contains(&code) || code == "too_many_operations";
        assert!(known, "client {}, {wish:?}: {refusal:#?}", self.number);
        let change = matches!(wish, Wish::Apply | Wish::Scale | Wish::Rollback);
        self.told.overtaken += usize::from(change && matches!(code, "change_superseded" | "deadline"));
        *self.told.refused.entry(code.to_owned()).or_default() += 1;
        code
    }
}

fn told_by(history: HistoryView) -> BTreeMap<u64, (String, String)> {
    history.generations.into_iter().map(|one| (one.generation, (one.cause, one.spec.to_string()))).collect()
}

/// What was once said of a generation stays true.
fn merge(known: &mut BTreeMap<u64, (String, String)>, more: BTreeMap<u64, (String, String)>) {
    for (generation, said) in more {
        let before = known.entry(generation).or_insert_with(|| said.clone());
        assert_eq!(*before, said, "generation {generation}");
    }
}

/// The group with a mark in the environment of its tool.
fn marked(document: &Value, mark: &str) -> Value {
    let mut document = document.clone();
    document["servers"][0]["environment"] = json!({"MARK": mark});
    document
}

/// The changes can be put into one order: each was made to the generation its caller had seen and to no other, no
/// number was given twice or left out, and what was accepted is what the history tells.
fn is_linearizable(told: &Told) {
    let numbers: Vec<u64> = told.history.keys().copied().collect();
    let (accepted, overtaken) = (told.accepted.len(), told.overtaken);
    assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<_>>(), "each given once and in turn");
    // One who was overtaken may have wanted what stood already, which makes no generation.
    let possible = 1 + accepted..=1 + accepted + overtaken;
    assert!(possible.contains(&numbers.len()), "{} of {possible:?}", numbers.len());
    let seen: BTreeSet<u64> = told.accepted.iter().map(|one| one.seen).collect();
    assert_eq!(seen.len(), told.accepted.len(), "two changes of the same generation: {:#?}", told.accepted);
    for one in &told.accepted {
        let (cause, spec) = &told.history[&(one.seen + 1)];
        assert!(cause.starts_with(one.cause), "{one:?} against {cause}");
        if let Some(mark) = &one.mark {
            assert!(spec.contains(&format!("{mark:?}")), "{one:?} against {spec}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_in_conflict_have_one_history_and_every_one_an_answer() {
    let toolbox = Toolbox::start();
    let document = toolbox.group("contended", &[groups::idle(TOOL), groups::idle("bystander")]);
    let group = toolbox.named("contended");
    toolbox.deploy(&document).await;
    let mut callers = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, group, document) = (toolbox.client(), group.clone(), document.clone());
        callers.spawn(Caller { client, group, document, number, told: Told::default() }.asks());
    }
    let mut all = Told::default();
    while let Some(told) = callers.join_next().await {
        let told = told.expect("a caller");
        all.accepted.extend(told.accepted);
        all.overtaken += told.overtaken;
        told.refused.into_iter().for_each(|(code, count)| *all.refused.entry(code).or_default() += count);
        merge(&mut all.history, told.history);
    }
    let last = toolbox.client().get_history(&group).await.expect("the history");
    merge(&mut all.history, told_by(last));
    is_linearizable(&all);
    println!("figure: {} changes were accepted, and others refused: {:?}", all.accepted.len(), all.refused);
    assert!(all.accepted.len() > CLIENTS / 4, "hardly anything was accepted");
    assert!(all.refused.contains_key("stale_generation"), "nobody was in conflict");
    converges(&toolbox, &group).await;
}

/// Once somebody wants it to run, it stands as the last generation says, and nothing is under way.
async fn converges(toolbox: &Toolbox, group: &str) {
    let mutation = Mutation { wait: Wait::Until(CONVERGED), ..Mutation::default() };
    toolbox.client().start_server(TOOL, &mutation).await.expect("it starts");
    toolbox.ready(group, CONVERGED).await;
    let rest = toolbox.rest();
    eventually("all is as wanted", CONVERGED, || async {
        let wrong = standing::deviations(&rest, group).await;
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    })
    .await;
}
