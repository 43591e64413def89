//! Networks and volumes: made once, in use, taken, absent.

use super::{Room, RuntimeHarness, Script, assert_conflict, assert_not_found};
use crate::sample;
use dtma_core::container::ContainerMount;
use dtma_core::id::{ContainerId, NetworkId};
use dtma_core::label;
use dtma_core::port::runtime::{RuntimeError, Scope};
use dtma_core::spec::NetworkMode;

/// Whatever became of the first reply.
pub async fn a_network_is_made_once(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let first = room.runtime.create_network(&room.network()).await.expect("create_network");
    let again = room.runtime.create_network(&room.network()).await.expect("create_network again");
    assert_eq!(first, again);
    let seen = room.runtime.networks(&room.scope()).await.expect("networks");
    assert_eq!(seen.iter().map(|network| &network.id).collect::<Vec<_>>(), [&first]);
    assert_eq!(seen[0].name, room.network().name);
    room.runtime.remove_network(&first).await.expect("remove_network");
    assert_eq!(room.runtime.networks(&room.scope()).await, Ok(vec![]));
    assert_not_found(room.runtime.remove_network(&first).await);
    room.leave().await;
}

/// Runs a script on a network.
pub(super) async fn join(room: &Room, instance: &str, script: Script, network: &NetworkId) -> ContainerId {
    let mut request = room.request(instance, script);
    request.config.network = NetworkMode::Group;
    request.network = Some(network.clone());
    let id = room.runtime.create(&request).await.expect("create");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    id
}

/// Its members go first.
pub async fn a_network_in_use_is_not_removed(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let network = room.runtime.create_network(&room.network()).await.expect("create_network");
    let id = join(&room, "a", Script::Idle, &network).await;
    assert_conflict(room.runtime.remove_network(&network).await);
    room.runtime.remove(&id).await.expect("remove");
    room.runtime.remove_network(&network).await.expect("remove_network");
    room.leave().await;
}

/// While they run.
pub async fn members_of_a_network_are_seen_to_have_joined_it(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let network = room.runtime.create_network(&room.network()).await.expect("create_network");
    let member = join(&room, "a", Script::Idle, &network).await;
    let alone = room.run("b", Script::Idle).await;
    let joined = async |id| room.runtime.inspect(id).await.expect("inspect").joined;
    assert_eq!((joined(&member).await, joined(&alone).await), (Some(NetworkMode::Group), None));
    room.runtime.kill(&member).await.expect("kill");
    room.exited(&member).await;
    assert_eq!(joined(&member).await, None);
    room.leave().await;
}

/// A network of somebody else is not taken over.
pub async fn a_taken_network_name_is_said_to_be_taken(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    room.runtime.create_network(&room.network()).await.expect("create_network");
    let mut request = room.network();
    request.labels.insert(label::GROUP.to_owned(), "other".to_owned());
    let answer = room.runtime.create_network(&request).await;
    assert_eq!(answer, Err(RuntimeError::NameTaken { name: request.name }));
    room.leave().await;
}

/// Asking again changes nothing.
pub async fn a_volume_is_made_once_and_belongs_to_its_group(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let request = room.volume("data");
    for _ in 0..2 {
        room.runtime.ensure_volume(&request).await.expect("ensure_volume");
    }
    let seen = room.runtime.volumes(&room.scope()).await.expect("volumes");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((&seen[0].name, &seen[0].labels), (&request.name, &request.labels));
    let other = Scope { group: Some(sample::group("other")), ..room.scope() };
    assert_eq!(room.runtime.volumes(&other).await, Ok(vec![]));
    room.runtime.remove_volume(&request.name).await.expect("remove_volume");
    assert_eq!(room.runtime.volumes(&room.scope()).await, Ok(vec![]));
    room.leave().await;
}

/// Not even when the container that uses it is stopped.
pub async fn a_volume_in_use_is_not_removed(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let volume = room.volume("data");
    room.runtime.ensure_volume(&volume).await.expect("ensure_volume");
    let mut request = room.request("a", Script::Idle);
    let (target, read_only) = ("/data".to_owned(), false);
    request.config.mounts.push(ContainerMount::Volume { name: volume.name.clone(), target, read_only });
    let id = room.runtime.create(&request).await.expect("create");
    assert_conflict(room.runtime.remove_volume(&volume.name).await);
    room.runtime.remove(&id).await.expect("remove");
    room.runtime.remove_volume(&volume.name).await.expect("remove_volume");
    room.leave().await;
}

/// A volume of somebody else is not taken over.
pub async fn a_taken_volume_name_is_said_to_be_taken(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    room.runtime.ensure_volume(&room.volume("data")).await.expect("ensure_volume");
    let mut request = room.volume("data");
    request.labels.insert(label::GROUP.to_owned(), "other".to_owned());
    let answer = room.runtime.ensure_volume(&request).await;
    assert_eq!(answer, Err(RuntimeError::NameTaken { name: request.name }));
    room.leave().await;
}

/// The engine must not make an unlabelled volume on the side.
pub async fn a_volume_or_network_that_is_not_there_is_named(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let mut request = room.request("a", Script::Idle);
    let name = room.volume("absent").name;
    let (target, read_only) = ("/data".to_owned(), false);
    request.config.mounts.push(ContainerMount::Volume { name: name.clone(), target, read_only });
    let answer = room.runtime.create(&request).await;
    assert!(matches!(&answer, Err(RuntimeError::NotFound { what }) if what.contains(&name)), "{answer:?}");
    assert_not_found(room.runtime.remove_volume(&name).await);

    let mut request = room.request("b", Script::Idle);
    let absent = NetworkId::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    request.config.network = NetworkMode::Group;
    request.network = Some(absent.clone());
    let id = room.runtime.create(&request).await;
    // Docker notices at the start only; either way nothing else is blamed.
    let answer = match id {
        Ok(id) => room.runtime.start(&id, &sample::launch()).await,
        Err(error) => Err(error),
    };
    assert!(
        matches!(&answer, Err(RuntimeError::NotFound { what }) if what.contains(absent.as_str())),
        "{answer:?}"
    );
    room.leave().await;
}
