//! The reserved container labels. An image's own `LABEL`s become container labels too, so every reserved label is
//! always set at create, and a container is ours only when its owner and its name agree as well.

use crate::id::{ConfigHash, Generation, OwnerId, ShapeHash, SlotId, container_name, provisional_name};
use crate::spec::{NetworkMode, ServerKind};
use std::collections::BTreeMap;

/// Everything under this prefix is ours; a request that sets such a label is refused.
pub const RESERVED_PREFIX: &str = "io.dtma.";
/// `true` on everything we made.
pub const MANAGED: &str = "io.dtma.managed";
/// The group's id.
pub const GROUP: &str = "io.dtma.group";
/// The server's instance name.
pub const INSTANCE: &str = "io.dtma.instance";
/// The replica's number, from 0.
pub const REPLICA: &str = "io.dtma.replica";
/// The generation that last changed this server.
pub const GENERATION: &str = "io.dtma.generation";
/// Hash of the rendered configuration.
pub const CONFIG_HASH: &str = "io.dtma.config-hash";
/// `tool` or `mcp`.
pub const KIND: &str = "io.dtma.kind";
/// The installation's UUID.
pub const OWNER: &str = "io.dtma.owner";
/// Hash of what a container with a shim is made from; empty where no other process may ever run in it.
pub const SHAPE: &str = "io.dtma.shape";
/// `1` when its first process is the shim.
pub const SHIM: &str = "io.dtma.shim";
/// `none`, `group` or `open`: what it joins, or which of the group's networks it is.
pub const NETWORK: &str = "io.dtma.network";
/// The volume's name as the request wrote it.
pub const VOLUME: &str = "io.dtma.volume";

const WITH_SHIM: &str = "1";
const WITHOUT_SHIM: &str = "0";

/// What [`SHIM`] is to say. An image may bring that label, too, so it is always set.
#[must_use]
pub fn shim(there: bool) -> (String, String) {
    (SHIM.to_owned(), if there { WITH_SHIM } else { WITHOUT_SHIM }.to_owned())
}

/// What [`NETWORK`] is to say, on a container and on a network; always set, too.
#[must_use]
pub fn network(mode: NetworkMode) -> (String, String) {
    (NETWORK.to_owned(), mode.as_str().to_owned())
}

/// What [`NETWORK`] says. Containers and networks of earlier versions, which do not, are of the group's own.
#[must_use]
pub fn network_of(label: Option<&str>) -> NetworkMode {
    let known = [NetworkMode::None, NetworkMode::Open].into_iter().find(|mode| label == Some(mode.as_str()));
    known.unwrap_or(NetworkMode::Group)
}

/// What [`SHAPE`] is to say. Always set, for the same reason.
#[must_use]
pub fn shape(shape: Option<&ShapeHash>) -> (String, String) {
    (SHAPE.to_owned(), shape.map(ToString::to_string).unwrap_or_default())
}

/// The labels that say whose container this is and what it was made from.
#[must_use]
pub fn for_container(
    owner: &OwnerId,
    slot: &SlotId,
    kind: ServerKind,
    generation: Generation,
    hash: &ConfigHash,
) -> BTreeMap<String, String> {
    [
        (MANAGED, "true".to_owned()),
        (OWNER, owner.to_string()),
        (GROUP, slot.group.to_string()),
        (INSTANCE, slot.instance.to_string()),
        (REPLICA, slot.replica.to_string()),
        (GENERATION, generation.to_string()),
        (CONFIG_HASH, hash.to_string()),
        (KIND, kind.as_str().to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// What a container's labels say, when all of them are there and well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub owner: OwnerId,
    /// Which place it fills.
    pub slot: SlotId,
    /// The generation that made it.
    pub generation: Generation,
    /// The configuration it was made from.
    pub config_hash: ConfigHash,
    /// Its first process is the shim.
    pub shim: bool,
    /// What it was made to join.
    pub network: NetworkMode,
    /// What it was made from, where another process may run in it. Containers of earlier versions do not say.
    pub shape: Option<ShapeHash>,
}

impl Identity {
    /// True for the names a container with these labels may bear. Labels alone do not prove whose it is: an image
    /// can bring any.
    #[must_use]
    pub fn may_bear(&self, name: &str) -> bool {
        let plain = container_name(&self.owner, &self.slot);
        name == plain || name == provisional_name(&self.owner, &self.slot, &self.config_hash)
    }
}

/// Reads the reserved labels back; `None` when one is missing or malformed (then the container is not ours).
#[must_use]
pub fn identity<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Identity> {
    if label(MANAGED)? != "true" {
        return None;
    }
    // Older ones do not say.
    let shim = label(SHIM) == Some(WITH_SHIM);
    Some(Identity {
        owner: OwnerId::from(label(OWNER)?),
        slot: SlotId {
            group: label(GROUP)?.parse().ok()?,
            instance: label(INSTANCE)?.parse().ok()?,
            replica: label(REPLICA)?.parse().ok()?,
        },
        generation: Generation(label(GENERATION)?.parse().ok()?),
        config_hash: ConfigHash::from(label(CONFIG_HASH)?),
        shim,
        network: network_of(label(NETWORK)),
        shape: label(SHAPE).filter(|shape| shim && !shape.is_empty()).map(ShapeHash::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let slot = SlotId { group: "g".parse().unwrap(), instance: "i".parse().unwrap(), replica: 0 };
        let (owner, hash) = (OwnerId::from("o"), ConfigHash::from("h"));
        let mut labels = for_container(&owner, &slot, ServerKind::Tool, Generation(3), &hash);
        let expected = Identity {
            owner,
            slot,
            generation: Generation(3),
            config_hash: hash,
            shim: false,
            network: NetworkMode::Group,
            shape: None,
        };
        let read = |labels: &BTreeMap<String, String>| identity(|key| labels.get(key).map(String::as_str));
        assert_eq!(read(&labels), Some(expected.clone()));
        labels.extend([network(NetworkMode::Open)]);
        let open = Identity { network: NetworkMode::Open, ..expected.clone() };
        assert_eq!(read(&labels), Some(open));
        labels.extend([shim(false), network(NetworkMode::Group), shape(Some(&"s".into()))]);
        assert_eq!(read(&labels), Some(expected.clone()));
        labels.extend([shim(true)]);
        let shaped = Identity { shim: true, shape: Some("s".into()), ..expected.clone() };
        assert_eq!(read(&labels), Some(shaped));
        labels.extend([shape(None)]);
        assert_eq!(read(&labels), Some(Identity { shim: true, ..expected }));
        labels.remove(OWNER);
        assert_eq!(identity(|key| labels.get(key).map(String::as_str)), None);
    }
}
