//! What every [`StateStore`] does.

use crate::sample;
use async_trait::async_trait;
use dtma_core::connection::{Agent, Governed};
use dtma_core::contract::Contract;
use dtma_core::port::store::MAX_REVISIONS;
use dtma_core::port::store::{LoadedState, StateStore};
use dtma_core::record::{Fate, GroupGoal, Handshake, Journal, Removal, Revision};
use futures_util::future::join_all;

/// A place where state is kept, empty at first.
#[async_trait]
pub trait StoreHarness: Send + Sync {
    /// Opens the store there, as a daemon does at its start. The suite drops the store it got before first: an
    /// implementation may allow one at a time.
    async fn open(&self) -> Box<dyn StateStore>;
}

/// Lists every case of [`suite::store`](crate::suite::store) as a `#[tokio::test]`. The argument is an expression
/// that makes a [`StoreHarness`] on a place of its own; it may await.
#[macro_export]
macro_rules! store_suite {
    ($harness:expr) => {
        $crate::__cases! { store, $harness, ();
            a_new_store_is_empty_and_has_an_owner
            the_owner_stays_the_same
            a_group_and_its_operation_are_kept_together
            a_group_is_replaced_by_its_next_version
            a_removed_group_takes_its_history_and_closes_its_operation
            a_revision_is_kept_with_its_group_and_replaced_by_its_number
            only_the_newest_revisions_are_kept
            a_removed_group_takes_its_revisions_and_no_others
            removing_what_is_not_there_is_fine
            a_history_is_kept_and_replaced
            operations_come_oldest_first_and_once
            only_the_newest_thousand_ended_operations_are_kept
            an_answer_is_found_by_its_author_and_key
            only_the_newest_thousand_answers_of_a_day_are_kept
            sessions_are_kept_and_removed
            a_handshake_replaces_that_of_an_older_run
            each_container_of_a_server_has_a_handshake_of_its_own
            a_container_that_is_gone_loses_its_handshake_and_no_other_does
            a_forgotten_server_loses_handshake_and_sessions_and_no_other_does
            what_a_server_offers_is_replaced_by_configuration_and_bounded
            a_contract_is_replaced_and_forgotten_with_its_server
            a_connection_goes_and_its_agent_stays_known
            concurrent_writers_lose_nothing
            everything_survives_together
        }
    };
}

async fn load(harness: &impl StoreHarness) -> LoadedState {
    harness.open().await.load().await.expect("the store loads")
}

async fn keep(store: &dyn StateStore, group: &str, generation: u64, fate: Fate) {
    let revision = Revision { fate, ..sample::revision(group, generation) };
    let journal = Journal { operation: None, revisions: &[revision] };
    store.put_group(&sample::group_record(group), journal).await.expect("put_group");
}

async fn generations(store: &dyn StateStore, group: &str) -> Vec<(u64, Fate)> {
    let revisions = store.revisions(&group.parse().expect("a name")).await.expect("revisions");
    revisions.into_iter().map(|revision| (revision.generation.0, revision.fate)).collect()
}

/// In one transaction, and what became of it later takes its place.
pub async fn a_revision_is_kept_with_its_group_and_replaced_by_its_number(harness: impl StoreHarness) {
    let stood = Fate::Established { at: sample::at(5) };
    {
        let store = harness.open().await;
        keep(&*store, "g", 1, Fate::Rolling).await;
        keep(&*store, "g", 2, Fate::Rolling).await;
        keep(&*store, "g", 1, stood.clone()).await;
    }
    let store = harness.open().await;
    assert_eq!(generations(&*store, "g").await, [(1, stood), (2, Fate::Rolling)]);
    assert_eq!(generations(&*store, "other").await, []);
}

/// However large the numbers are.
pub async fn only_the_newest_revisions_are_kept(harness: impl StoreHarness) {
    let store = harness.open().await;
    let numbers: Vec<u64> = (0..MAX_REVISIONS as u64 + 3).map(|n| n + 7).collect();
    for generation in &numbers {
        keep(&*store, "g", *generation, Fate::Rolling).await;
    }
    let kept: Vec<_> =
        generations(&*store, "g").await.into_iter().map(|(generation, _)| generation).collect();
    assert_eq!(kept, numbers[3..]);
}

/// A group whose name begins with another's is another group.
pub async fn a_removed_group_takes_its_revisions_and_no_others(harness: impl StoreHarness) {
    let store = harness.open().await;
    for group in ["g", "g0", "g-x"] {
        keep(&*store, group, 1, Fate::Rolling).await;
    }
    store.remove_group(&"g".parse().expect("a name"), None).await.expect("remove_group");
    assert_eq!(generations(&*store, "g").await, []);
    for group in ["g0", "g-x"] {
        assert_eq!(generations(&*store, group).await, [(1, Fate::Rolling)]);
    }
}

/// Nothing is in it except an id that tells this installation's things from another's.
pub async fn a_new_store_is_empty_and_has_an_owner(harness: impl StoreHarness) {
    let state = load(&harness).await;
    assert_eq!(state.owner.short().len(), 8, "the owner's first eight characters go into names: {state:?}");
    assert_eq!(state, LoadedState { owner: state.owner.clone(), ..empty() });
}

fn empty() -> LoadedState {
    LoadedState {
        owner: "".into(),
        groups: vec![],
        histories: vec![],
        operations: vec![],
        sessions: vec![],
        handshakes: vec![],
        catalogues: vec![],
        contracts: vec![],
        connections: vec![],
        governed: vec![],
        damaged: vec![],
    }
}

/// Everything in the engine is found by it.
pub async fn the_owner_stays_the_same(harness: impl StoreHarness) {
    let first = load(&harness).await.owner;
    assert_eq!(load(&harness).await.owner, first);
}

/// One transaction, seen whole after a restart.
pub async fn a_group_and_its_operation_are_kept_together(harness: impl StoreHarness) {
    let (group, operation) = (sample::group_record("g"), sample::operation("o", "g", 1));
    harness.open().await.put_group(&group, (&operation).into()).await.expect("put_group");
    let state = load(&harness).await;
    assert_eq!((state.groups, state.operations), (vec![group], vec![operation]));
}

/// The goal of removal is such a version.
pub async fn a_group_is_replaced_by_its_next_version(harness: impl StoreHarness) {
    let (mut group, other) = (sample::group_record("g"), sample::group_record("other"));
    {
        let store = harness.open().await;
        store.put_group(&group, Journal::default()).await.expect("put_group");
        store.put_group(&other, Journal::default()).await.expect("put_group");
        group.goal = GroupGoal::Remove(Removal { force: true, volumes: true, ..Removal::default() });
        group.updated_at = sample::at(60);
        store.put_group(&group, Journal::default()).await.expect("put_group again");
    }
    let mut groups = load(&harness).await.groups;
    groups.sort_by(|a, b| a.spec.group_id.cmp(&b.spec.group_id));
    assert_eq!(groups, vec![group, other]);
}

/// And leaves the others alone.
pub async fn a_removed_group_takes_its_history_and_closes_its_operation(harness: impl StoreHarness) {
    let operation = sample::operation("o", "g", 1);
    let kept = sample::group_record("kept");
    {
        let store = harness.open().await;
        store.put_group(&sample::group_record("g"), (&operation).into()).await.expect("put_group");
        store.put_group(&kept, Journal::default()).await.expect("put_group");
        store.put_history(&sample::group("g"), &sample::history("a", 1)).await.expect("put_history");
        store.remove_group(&sample::group("g"), Some(&sample::done(&operation))).await.expect("remove");
    }
    let state = load(&harness).await;
    assert_eq!((state.groups, state.histories), (vec![kept], vec![]));
    assert_eq!(state.operations, vec![sample::done(&operation)]);
}

/// A removal that was interrupted is repeated.
pub async fn removing_what_is_not_there_is_fine(harness: impl StoreHarness) {
    let store = harness.open().await;
    let ended = sample::done(&sample::operation("o", "nobody", 1));
    store.remove_group(&sample::group("nobody"), Some(&ended)).await.expect("remove_group");
    store.remove_session("nobody").await.expect("remove_session");
    store.forget_server(&sample::instance("nobody")).await.expect("forget_server");
    assert_eq!(store.load().await.expect("load").operations, vec![ended], "its operation is closed even so");
}

/// Restart budgets live in it.
pub async fn a_history_is_kept_and_replaced(harness: impl StoreHarness) {
    let group = sample::group("g");
    {
        let store = harness.open().await;
        store.put_group(&sample::group_record("g"), Journal::default()).await.expect("put_group");
        store.put_history(&group, &sample::history("a", 1)).await.expect("put_history");
        store.put_history(&group, &sample::history("a", 2)).await.expect("put_history again");
    }
    assert_eq!(load(&harness).await.histories, vec![(group, sample::history("a", 2))]);
}

/// By the time of acceptance, not by id; a second write of one is its outcome.
pub async fn operations_come_oldest_first_and_once(harness: impl StoreHarness) {
    let (first, second) = (sample::operation("z", "g", 1), sample::operation("a", "g", 2));
    {
        let store = harness.open().await;
        for operation in [&first, &second, &sample::done(&first)] {
            store.put_operation(operation).await.expect("put_operation");
        }
    }
    assert_eq!(load(&harness).await.operations, vec![sample::done(&first), second]);
}

/// One that has not ended is never dropped, however old.
pub async fn only_the_newest_thousand_ended_operations_are_kept(harness: impl StoreHarness) {
    let open = sample::operation("open", "g", 0);
    let store = harness.open().await;
    store.put_operation(&open).await.expect("put_operation");
    for second in 1..=1003 {
        let ended = sample::done(&sample::operation(&format!("o{second:04}"), "g", second));
        store.put_operation(&ended).await.expect("put_operation");
    }
    let kept = store.load().await.expect("load").operations;
    let ids: Vec<_> = kept.iter().map(|operation| operation.id.as_str()).collect();
    assert_eq!((ids.len(), ids[0], ids[1], ids[1000]), (1001, "open", "o0004", "o1003"));
}

/// A caller that asks again gets the same answer, also from the next daemon.
pub async fn an_answer_is_found_by_its_author_and_key(harness: impl StoreHarness) {
    {
        let store = harness.open().await;
        assert_eq!(store.answer("ann", "k").await, Ok(None));
        for answer in
            [sample::answer("ann", "k", 1), sample::answer("bob", "k", 2), sample::answer("ann", "k", 3)]
        {
            store.put_answer(&answer).await.expect("put_answer");
        }
    }
    let store = harness.open().await;
    assert_eq!(store.answer("ann", "k").await, Ok(Some(sample::answer("ann", "k", 3))));
    assert_eq!(store.answer("bob", "k").await, Ok(Some(sample::answer("bob", "k", 2))));
    assert_eq!(store.answer("ann", "other").await, Ok(None));
}

/// What nobody asks for any more does not fill the disk.
pub async fn only_the_newest_thousand_answers_of_a_day_are_kept(harness: impl StoreHarness) {
    let store = harness.open().await;
    for second in 0..1003 {
        let answer = sample::answer("ann", &format!("k{second}"), second);
        store.put_answer(&answer).await.expect("put_answer");
    }
    let kept = async |key: &str| store.answer("ann", key).await.expect("answer").is_some();
    assert!(!kept("k0").await && !kept("k2").await && kept("k3").await && kept("k1002").await);
    store.put_answer(&sample::answer("ann", "later", 2 * 86_400)).await.expect("put_answer");
    assert!(!kept("k1002").await && kept("later").await);
}

/// A client goes on with its session after the daemon was restarted.
pub async fn sessions_are_kept_and_removed(harness: impl StoreHarness) {
    let (kept, removed) = (sample::session("s1", "a"), sample::session("s2", "a"));
    {
        let store = harness.open().await;
        store.put_session(&kept).await.expect("put_session");
        store.put_session(&removed).await.expect("put_session");
        store.remove_session("s2").await.expect("remove_session");
    }
    assert_eq!(load(&harness).await.sessions, vec![kept]);
}

/// Only the present process can be re-attached.
pub async fn a_handshake_replaces_that_of_an_older_run(harness: impl StoreHarness) {
    let name = sample::instance("a");
    {
        let store = harness.open().await;
        let older = Handshake { result: "{}".to_owned(), ..sample::handshake("c") };
        store.put_handshake(&name, &older).await.expect("put_handshake");
        store.put_handshake(&name, &sample::handshake("c")).await.expect("put_handshake");
    }
    assert_eq!(load(&harness).await.handshakes, vec![(name, sample::handshake("c"))]);
}

/// Old and new stand side by side in a rolling update, and replicas all the time.
pub async fn each_container_of_a_server_has_a_handshake_of_its_own(harness: impl StoreHarness) {
    let name = sample::instance("a");
    {
        let store = harness.open().await;
        store.put_handshake(&name, &sample::handshake("old")).await.expect("put_handshake");
        store.put_handshake(&name, &sample::handshake("new")).await.expect("put_handshake");
    }
    let both = vec![(name.clone(), sample::handshake("new")), (name, sample::handshake("old"))];
    assert_eq!(load(&harness).await.handshakes, both);
}

/// Else they would pile up with every update.
pub async fn a_container_that_is_gone_loses_its_handshake_and_no_other_does(harness: impl StoreHarness) {
    let (a, b) = (sample::instance("a"), sample::instance("b"));
    {
        let store = harness.open().await;
        for (name, container) in [(&a, "x"), (&a, "y"), (&b, "x")] {
            store.put_handshake(name, &sample::handshake(container)).await.expect("put_handshake");
        }
        for container in ["x", "x", "never"] {
            store.forget_handshake(&a, &container.into()).await.expect("forget_handshake");
        }
    }
    let left = vec![(a, sample::handshake("y")), (b, sample::handshake("x"))];
    assert_eq!(load(&harness).await.handshakes, left);
}

/// A process that began anew knows nobody.
pub async fn a_forgotten_server_loses_handshake_and_sessions_and_no_other_does(harness: impl StoreHarness) {
    let (a, b) = (sample::instance("a"), sample::instance("b"));
    {
        let store = harness.open().await;
        for (name, session) in [(&a, "sa1"), (&a, "sa2"), (&b, "sb")] {
            let session = sample::session(session, name.as_str());
            store.put_session(&session).await.expect("put_session");
            store.put_handshake(name, &sample::handshake("c")).await.expect("put_handshake");
        }
        store.forget_server(&a).await.expect("forget_server");
    }
    let state = load(&harness).await;
    assert_eq!(state.sessions, vec![sample::session("sb", "b")]);
    assert_eq!(state.handshakes, vec![(b, sample::handshake("c"))]);
}

/// The last known list of each configuration, for as many as one goes back to.
pub async fn what_a_server_offers_is_replaced_by_configuration_and_bounded(harness: impl StoreHarness) {
    {
        let store = harness.open().await;
        for (config, second) in [("c0", 1), ("c1", 2), ("c0", 3), ("c2", 4), ("c3", 5), ("c4", 6)] {
            let catalogue = sample::catalogue("a", config, second);
            store.put_catalogue(&catalogue).await.expect("put_catalogue");
        }
        store.put_catalogue(&sample::catalogue("a-b", "c0", 1)).await.expect("put_catalogue");
    }
    let kept = |config, second| sample::catalogue("a", config, second);
    let mut found = load(&harness).await.catalogues;
    found.sort_by_key(|catalogue| (catalogue.instance.clone(), catalogue.at));
    let wanted =
        [kept("c0", 3), kept("c2", 4), kept("c3", 5), kept("c4", 6), sample::catalogue("a-b", "c0", 1)];
    assert_eq!(found, wanted);
}

/// One of each server.
pub async fn a_contract_is_replaced_and_forgotten_with_its_server(harness: impl StoreHarness) {
    let later = Contract { author: "ann".to_owned(), ..sample::contract("b") };
    {
        let store = harness.open().await;
        for contract in [sample::contract("a"), sample::contract("b"), later.clone()] {
            store.put_contract(&contract).await.expect("put_contract");
        }
        store.put_catalogue(&sample::catalogue("a", "c", 1)).await.expect("put_catalogue");
        store.forget_server(&sample::instance("a")).await.expect("forget_server");
    }
    let state = load(&harness).await;
    assert_eq!((state.contracts, state.catalogues), (vec![later], vec![]));
}

fn governed(agent: &str, second: i64) -> Governed {
    Governed { agent: Agent::Named(agent.to_owned()), since: sample::at(second) }
}

/// Else taking an agent's last connection away would open everything to it.
pub async fn a_connection_goes_and_its_agent_stays_known(harness: impl StoreHarness) {
    {
        let store = harness.open().await;
        for (id, agent, second) in [("a", "ann", 1), ("b", "bob", 2), ("a", "cat", 3), ("c", "bob", 4)] {
            store.put_connection(&sample::connection(id, agent, second)).await.expect("put_connection");
        }
        for id in ["b", "unknown"] {
            store.remove_connection(&id.parse().expect("a name")).await.expect("remove_connection");
        }
        store.forget_server(&sample::instance("time")).await.expect("forget_server");
    }
    let state = load(&harness).await;
    assert_eq!(state.connections, [sample::connection("a", "cat", 3), sample::connection("c", "bob", 4)]);
    assert_eq!(state.governed, [governed("ann", 1), governed("bob", 2), governed("cat", 3)]);
}

/// Every group has a task of its own, and all write at once.
pub async fn concurrent_writers_lose_nothing(harness: impl StoreHarness) {
    let names: Vec<String> = (0..20).map(|number| format!("g{number}")).collect();
    let store = harness.open().await;
    let write = async |name: &String| {
        let operation = sample::operation(name, name, 1);
        store.put_group(&sample::group_record(name), (&operation).into()).await.expect("put_group");
        store.put_history(&sample::group(name), &sample::history(name, 0)).await.expect("put_history");
    };
    join_all(names.iter().map(write)).await;
    drop(store);
    let state = load(&harness).await;
    assert_eq!((state.groups.len(), state.operations.len(), state.histories.len()), (20, 20, 20));
}

/// The tables do not get into each other's way.
pub async fn everything_survives_together(harness: impl StoreHarness) {
    let (group, operation) = (sample::group_record("g"), sample::operation("o", "g", 1));
    let (session, handshake) = (sample::session("s", "g-web"), sample::handshake("c"));
    let name = sample::instance("g-web");
    let owner = {
        let store = harness.open().await;
        store.put_group(&group, (&operation).into()).await.expect("put_group");
        store.put_history(&sample::group("g"), &sample::history("g-web", 7)).await.expect("put_history");
        store.put_session(&session).await.expect("put_session");
        store.put_handshake(&name, &handshake).await.expect("put_handshake");
        store.put_catalogue(&sample::catalogue("g-web", "c", 1)).await.expect("put_catalogue");
        store.put_contract(&sample::contract("g-web")).await.expect("put_contract");
        store.put_connection(&sample::connection("c", "bob", 3)).await.expect("put_connection");
        store.load().await.expect("load").owner
    };
    let expected = LoadedState {
        owner,
        groups: vec![group],
        histories: vec![(sample::group("g"), sample::history("g-web", 7))],
        operations: vec![operation],
        sessions: vec![session],
        handshakes: vec![(name, handshake)],
        catalogues: vec![sample::catalogue("g-web", "c", 1)],
        contracts: vec![sample::contract("g-web")],
        connections: vec![sample::connection("c", "bob", 3)],
        governed: vec![governed("bob", 3)],
        damaged: vec![],
    };
    assert_eq!(load(&harness).await, expected);
}
