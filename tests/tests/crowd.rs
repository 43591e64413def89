//! Sixty-four clients with the same ids and the same progress tokens on one server process, by every door, with random
//! sizes and delays: every answer reaches its own, also while the container is killed. And clients that vanish wherever
//! they are, for a minute: nothing is left of them.
//!
//! `DTMA_TEST_ANSWERS`, `DTMA_TEST_ANSWERS_UNDER_KILLS` and `DTMA_TEST_CHURN` (seconds) make them longer.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test stops where something is broken, reads how long it is to be, and says what it measured"
)]

#[path = "crowd/churn.rs"]
mod churn;

use dtma_tests::crowd::{Address, Call, Client, Dice, Door, Outcome, door, echoing, judge};
use dtma_tests::engine::{container_ids, docker};
use dtma_tests::{Toolbox, groups, text};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: usize = 64;
/// Calls of one client that are in flight together, where its door has one stream.
const ABREAST: usize = 4;

fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |text| text.parse().expect("a number"))
}

/// How many of all calls a client makes: the more, the less its door costs, since the time is the whole machine's.
fn share(number: usize, answers: usize) -> usize {
    let weight = |number| match door(number) {
        Door::Socket => 8,
        Door::Http(_) | Door::Stateless => 2,
        Door::Pair => 1,
    };
    answers * weight(number) / (0..CLIENTS).map(weight).sum::<usize>() + 1
}

fn everybody(answers: usize) -> usize {
    (0..CLIENTS).map(|number| share(number, answers)).sum()
}

/// What became of the calls of everybody.
#[derive(Default)]
struct Tally {
    right: HashSet<String>,
    /// `true`: the server may have got it.
    lost: Vec<(String, bool)>,
}

impl Tally {
    fn note(&mut self, calls: &[Call], outcomes: &[Outcome]) {
        for (call, outcome) in calls.iter().zip(outcomes) {
            match outcome {
                Outcome::Right => assert!(self.right.insert(call.key().to_owned())),
                Outcome::Lost { may_have_executed } => {
                    self.lost.push((call.key().to_owned(), *may_have_executed));
                }
            }
        }
    }
}

/// Every client counts its ids from 1, as clients do. Whoever can listen does, and hears nothing: all that this server
/// says belongs to calls.
async fn caller(address: Address, number: usize, calls: usize, done: Arc<AtomicUsize>) -> Tally {
    let mut client = Client::open(&address, door(number)).await.expect("a client");
    let mut listener = match door(number) {
        Door::Http(_) => Some(client.listen().await.expect("a stream")),
        Door::Stateless | Door::Pair | Door::Socket => None,
    };
    let (mut dice, mut tally) = (Dice::new(number), Tally::default());
    let calling = async {
        for first in (1..=calls).step_by(ABREAST) {
            let ids = first..=calls.min(first + ABREAST - 1);
            let burst: Vec<Call> = ids.map(|id| Call::random(number, id, &mut dice)).collect();
            let outcomes = client.burst(&burst).await.and_then(|heard| judge(&burst, &heard));
            let outcomes = outcomes.unwrap_or_else(|wrong| panic!("{number} by {:?}: {wrong}", door(number)));
            tally.note(&burst, &outcomes);
            done.fetch_add(burst.len(), Ordering::Relaxed);
        }
    };
    let overheard = async {
        match &mut listener {
            Some(listener) => listener.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = calling => tally,
        overheard = overheard => panic!("{number} overhears {overheard:?}"),
    }
}

/// Everybody calls until there are `answers`; meanwhile whatever `beside` does.
async fn crowd(
    toolbox: &Toolbox,
    answers: usize,
    beside: impl AsyncFnOnce(Arc<AtomicUsize>) -> usize,
) -> (Tally, usize) {
    let (done, mut callers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for number in 0..CLIENTS {
        let address = Address::of(toolbox, "echoing");
        callers.spawn(caller(address, number, share(number, answers), Arc::clone(&done)));
    }
    let calling = async {
        let mut whole = Tally::default();
        while let Some(tally) = callers.join_next().await {
            let Tally { right, lost } =
                tally.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            whole.right.extend(right);
            whole.lost.extend(lost);
        }
        whole
    };
    tokio::join!(calling, beside(done))
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_with_the_same_ids_by_every_door_each_get_their_own_answers() {
    let answers = setting("DTMA_TEST_ANSWERS", 50_000);
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("crowd", &[echoing("echoing")])).await;
    let began = Instant::now();
    let (tally, _) = crowd(&toolbox, answers, async |_| 0).await;
    assert_eq!(tally.lost, []);
    assert_eq!(tally.right.len(), everybody(answers));
    let took = began.elapsed().as_secs_f64();
    println!("figure: {} answers to {CLIENTS} clients, 0 wrong, in {took:.0} s", tally.right.len());
}

/// What the server got, over all its lives.
async fn got(toolbox: &Toolbox) -> Vec<String> {
    let answer = toolbox.raw_mcp("echoing").await.call(&json!(1), "got", &json!({})).await;
    text(&answer).lines().map(str::to_owned).collect()
}

/// Kills the container again and again, evenly over all calls.
async fn kills(group: String, kills: usize, answers: usize, done: Arc<AtomicUsize>) -> usize {
    for kill in 1..=kills {
        while done.load(Ordering::Relaxed) < answers * kill / (kills + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let group = group.clone();
        let killing = tokio::task::spawn_blocking(move || {
            let (_, container) = container_ids(&group).pop().expect("a container");
            docker(&["kill", &container]);
        });
        killing.await.expect("killed");
    }
    kills
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_container_is_killed_every_answer_is_right_or_says_honestly_that_there_is_none() {
    let answers = setting("DTMA_TEST_ANSWERS_UNDER_KILLS", 10_000);
    let toolbox = Toolbox::start();
    let group = toolbox.named("killed");
    let at_once = json!({"restart": {"attempts": 100, "delayMs": 100, "maxDelayMs": 100}});
    toolbox.deploy(&toolbox.group("killed", &[groups::with(echoing("echoing"), &at_once)])).await;
    let (tally, killed) = crowd(&toolbox, answers, async |done| {
        kills(group.clone(), (answers / 2_000).clamp(5, 90), answers, done).await
    })
    .await;
    let got = got(&toolbox).await;
    let once: HashSet<&str> = got.iter().map(String::as_str).collect();
    assert_eq!(once.len(), got.len(), "nothing is executed twice");
    let unheard: Vec<&String> = tally.right.iter().filter(|key| !once.contains(key.as_str())).collect();
    assert!(unheard.is_empty(), "answered, but never asked: {unheard:?}");
    let lies: Vec<&(String, bool)> =
        tally.lost.iter().filter(|(key, may_have)| !may_have && once.contains(key.as_str())).collect();
    assert!(lies.is_empty(), "said not to have been executed: {lies:?}");
    assert_eq!(tally.right.len() + tally.lost.len(), everybody(answers), "nothing is lost");
    let unsure = tally.lost.iter().filter(|(_, may_have)| *may_have).count();
    assert!(unsure > 0, "the kills were to meet calls in flight");
    println!(
        "figure: {} right answers, {} honest errors ({unsure} may have been executed), 0 wrong, {killed} kills",
        tally.right.len(),
        tally.lost.len()
    );
}
