//! The groups' networks: who can reach whom, and where their addresses come from.

use crate::harness::{Harness, joined};
use dtma_core::id::{NetworkId, network_name};
use dtma_core::label;
use dtma_core::port::runtime::{ContainerRuntime, CreateNetwork, RuntimeError, Scope};
use dtma_core::spec::NetworkMode;
use dtma_docker::{DockerRuntime, Settings};

async fn network(harness: &Harness) -> NetworkId {
    harness.engine().create_network(&harness.network()).await.expect("create_network")
}

#[tokio::test]
async fn a_network_is_internal_labelled_and_small() {
    let harness = Harness::new().await;
    let inspected = harness.inspect_network(&network(&harness).await).await;
    assert_eq!((inspected.internal, inspected.driver.as_deref()), (Some(true), Some("bridge")));
    let labels = harness.labels().into_iter().chain([label::network(NetworkMode::Group)]).collect();
    assert_eq!(inspected.labels.unwrap_or_default(), labels);
    let range = inspected.ipam.and_then(|ipam| ipam.config).and_then(|mut config| config.pop());
    let range = range.and_then(|range| range.subnet).unwrap_or_default();
    assert!(range.starts_with("10.249.") && range.ends_with("/27"), "{range}");
    harness.leave().await;
}

/// Not under the group's own name, so that both can stand side by side.
#[tokio::test]
async fn an_open_network_leads_outside_and_is_told_apart() {
    let harness = Harness::new().await;
    let (group, mode) = (harness.network(), NetworkMode::Open);
    let name = network_name(&harness.owner, &group.group, mode);
    let open = harness.engine().create_network(&CreateNetwork { name, mode, ..group.clone() }).await;
    let inner = network(&harness).await;
    assert_eq!(harness.inspect_network(&open.clone().expect("make it")).await.internal, Some(false));
    let scope = Scope { owner: harness.owner.clone(), group: None };
    let mut seen = harness.engine().networks(&scope).await.expect("list them");
    seen.sort_by_key(|network| network.name.clone());
    let modes: Vec<_> = seen.iter().map(|network| (network.id.clone(), network.mode)).collect();
    assert_eq!(modes, [(inner, NetworkMode::Group), (open.expect("made"), NetworkMode::Open)]);
    harness.leave().await;
}

/// By its instance name, although the resolver knows no server outside.
#[tokio::test]
async fn a_peer_is_found_by_its_name() {
    let harness = Harness::new().await;
    let network = network(&harness).await;
    let server = harness.request("web", "exec httpd -f -p 8080 -h /www").await;
    harness.start(&joined(server, &network)).await;
    let client = "for n in 1 2 3 4 5 6 7 8 9 10; do wget -q -O - http://web:8080/ && exit; sleep 0.2; done";
    let (output, state) = harness.run(&joined(harness.request("client", client).await, &network)).await;
    assert!(output.contains("It works"), "{output:?} {state:?}");
    harness.leave().await;
}

/// A question about the outside is given up soon, and the host's resolvers are not told of it.
#[tokio::test]
async fn nobody_outside_is_asked_for_a_name() {
    let harness = Harness::new().await;
    let network = network(&harness).await;
    let ask =
        "cat /etc/resolv.conf; date +%s; wget -q http://nobody.example.com/ || echo \"failed $?\"; date +%s";
    let (output, _) = harness.run(&joined(harness.request("asker", ask).await, &network)).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["nameserver 127.0.0.11", "options timeout:1 attempts:1 ndots:0"], "{output}");
    let second = |index: usize| lines[index].parse::<u64>().expect("a second");
    assert_eq!(lines[3], "failed 1", "it was found: {output}");
    assert!(second(4) - second(2) < 5, "it took too long: {output}");
    harness.leave().await;
}

/// Not even by address.
#[tokio::test]
async fn another_groups_server_is_not_reached() {
    let (mine, theirs) = (Harness::new().await, Harness::new().await);
    let (here, there) = (network(&mine).await, network(&theirs).await);
    let server = theirs.request("web", "exec httpd -f -p 8080 -h /www").await;
    let server = theirs.start(&joined(server, &there)).await;
    let address = theirs.address(&server).await;
    let get = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 {address} 8080 | grep -o 'It works'");
    let ask = format!("for n in 1 2 3 4 5; do {get} && exit; sleep 0.2; done; echo not reached");
    let neighbour = joined(theirs.request("neighbour", &ask).await, &there);
    let (output, _) = theirs.run(&neighbour).await;
    assert_eq!(output, "It works\n", "the server itself is not there");
    let (output, _) = mine.run(&joined(mine.request("stranger", &ask).await, &here)).await;
    assert_eq!(output, "not reached\n");
    mine.leave().await;
    theirs.leave().await;
}

/// Ranges that others hold are stepped over, until there is none left.
#[tokio::test]
async fn an_exhausted_pool_is_said_to_be_exhausted() {
    let harness = Harness::new().await;
    let settings = Settings {
        host: Some(harness.host()),
        network_pool: "10.250.99.0/27".parse().expect("a pool"),
        ..Settings::new(harness.owner_id().clone())
    };
    let narrow = DockerRuntime::connect(settings).expect("connect");
    narrow.create_network(&harness.network()).await.expect("the only network");
    let mut second = harness.network();
    second.name.push_str("-second");
    let answer = narrow.create_network(&second).await;
    assert!(
        matches!(&answer, Err(RuntimeError::Refused { problem, .. }) if problem.contains("10.250.99.0/27")),
        "{answer:?}"
    );
    harness.leave().await;
}

/// As two daemons on one engine do.
#[tokio::test]
async fn two_allocators_at_once_end_up_with_different_ranges() {
    let (one, two) = (Harness::new().await, Harness::new().await);
    let (first, second) = tokio::join!(network(&one), network(&two));
    let range = async |harness: &Harness, id: &NetworkId| {
        let ipam = harness.inspect_network(id).await.ipam.expect("its addresses");
        ipam.config.and_then(|config| config.into_iter().next()?.subnet)
    };
    assert_ne!(range(&one, &first).await, range(&two, &second).await);
    one.leave().await;
    two.leave().await;
}
