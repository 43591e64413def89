//! The search for what is left finds what is planted, and a daemon sweeps what bears its mark and belongs to no group,
//! but nothing else.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::engine::{container_ids, containers, docker, networks, remains};
use dtma_tests::{Toolbox, eventually, groups};
use std::time::Duration;

/// After its start a daemon sweeps at once.
const SWEPT: Duration = Duration::from_secs(10);

/// The labels of a container of ours, as arguments for `docker create`.
fn labels(owner: &str, group: &str, instance: &str) -> Vec<String> {
    let pairs = [
        ("managed", "true"),
        ("owner", owner),
        ("group", group),
        ("instance", instance),
        ("replica", "0"),
        ("generation", "1"),
        ("config-hash", "planted"),
        ("kind", "tool"),
    ];
    pairs.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("io.dtma.{key}={value}")]).collect()
}

fn plant_container(owner: &str, group: &str, name: &str) {
    let labels = labels(owner, group, "planted");
    let mut args = vec!["create", "--name", name];
    args.extend(labels.iter().map(String::as_str));
    args.extend(["dtma/busybox:dev", "sleep", "600"]);
    docker(&args);
}

fn plant(kind: &str, owner: &str, group: &str, name: &str) {
    let labels = labels(owner, group, "planted");
    let mut args = vec![kind, "create"];
    args.extend(labels.iter().map(String::as_str));
    args.push(name);
    docker(&args);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_what_is_left_finds_a_container_a_network_and_a_volume() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("planted");
    assert_eq!(remains(&group, true), Vec::<String>::new());
    plant_container("somebody", &group, &format!("c-{group}"));
    plant("network", "somebody", &group, &format!("n-{group}"));
    plant("volume", "somebody", &group, &format!("v-{group}"));
    let found = remains(&group, true);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(remains(&group, false).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_start_a_daemon_sweeps_what_is_its_own_and_claimed_by_no_group() {
    let mut toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("kept", &[groups::peer("peer")])).await;
    let (kept, lost, foreign) = (toolbox.named("kept"), toolbox.named("lost"), toolbox.named("foreign"));
    let [web] = &containers(&kept)[..] else { panic!("one container") };
    let owner = web["Config"]["Labels"]["io.dtma.owner"].as_str().expect("an owner").to_owned();
    let before = container_ids(&kept);

    toolbox.kill9();
    plant_container(&owner, &lost, &format!("dtma-{}-{lost}-planted-0", &owner[..8]));
    plant("network", &owner, &lost, &format!("dtma-{}-{lost}", &owner[..8]));
    plant_container(
        "00000000-0000-4000-8000-000000000000",
        &foreign,
        &format!("dtma-00000000-{foreign}-planted-0"),
    );
    toolbox.start_again();

    eventually("what was lost is swept", SWEPT, || async {
        let remains = remains(&lost, true);
        if remains.is_empty() { Ok(()) } else { Err(remains) }
    })
    .await;
    toolbox.ready(&kept, SWEPT).await;
    assert_eq!(container_ids(&kept), before, "what a group claims stays");
    assert_eq!(networks(&kept).len(), 1);
    assert_eq!(container_ids(&foreign).len(), 1, "what is another daemon's stays");
}
