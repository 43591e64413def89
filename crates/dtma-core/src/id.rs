//! Validated names and numbers. A value of one of these types has passed its rule, so nobody checks twice.

use crate::spec::NetworkMode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest group id or instance name, in characters (the length of a DNS label).
pub const MAX_NAME: usize = 63;

/// Why a name was refused. The offending text is shown escaped, so that it cannot reach a terminal raw.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid name: {problem}")]
pub struct NameError {
    /// The refused text.
    pub value: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

fn check_name(value: &str) -> Result<(), NameError> {
    let refuse = |problem| Err(NameError { value: value.chars().take(80).collect(), problem });
    let Some(first) = value.bytes().next() else { return refuse("it is empty") };
    if value.len() > MAX_NAME {
        return refuse("it is longer than 63 characters");
    }
    if !first.is_ascii_alphanumeric() {
        return refuse("it must begin with a letter or a digit");
    }
    if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return refuse("only letters, digits, '_', '.' and '-' are allowed");
    }
    if value.contains("__") {
        return refuse("'__' is reserved: it separates server and tool in merged listings");
    }
    if value.contains("..") {
        return refuse("'..' is not allowed");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the rule `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`, without `__` and `..`.
            ///
            /// # Errors
            /// [`NameError`] says which part of the rule the text breaks.
            pub fn new(value: impl Into<String>) -> Result<Self, NameError> {
                let value = value.into();
                check_name(&value)?;
                Ok(Self(value))
            }
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                Self::new(value)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::new(value)
            }
        }
    };
}

name_type! {
    /// The name of a group, unique per daemon.
    GroupId
}
name_type! {
    /// The name of a server inside its group; unique per daemon, because the gateway's paths carry it alone.
    InstanceName
}
name_type! {
    /// The name a request gives a volume. The engine's name for it is prefixed, see [`volume_name`].
    VolumeName
}

name_type! {
    /// The name of an agent's connection.
    ConnectionId
}

name_type! {
    /// What an owner calls one of its credentials.
    CredentialName
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

opaque_id! {
    /// The engine's id of a container (64 hex digits with Docker).
    ContainerId
}
opaque_id! {
    /// The engine's id of a network.
    NetworkId
}
opaque_id! {
    /// An image as a person writes it: `name:tag`, `name@sha256:…` or an id.
    ImageRef
}
opaque_id! {
    /// Content hash of an image's configuration as the engine reports it (`sha256:…`).
    ImageId
}
opaque_id! {
    /// Hash of a rendered container configuration; two equal hashes mean "no change".
    ConfigHash
}
opaque_id! {
    /// Hash of what of a configuration a container with a shim is made from, see [`crate::hash::shape`].
    ShapeHash
}
opaque_id! {
    /// Identifies one mutation from its acceptance to its outcome.
    OperationId
}
opaque_id! {
    /// The UUID of this installation, kept in the store; a container belongs to us only when it carries it.
    OwnerId
}

impl ContainerId {
    /// The twelve characters that people read.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl ConfigHash {
    /// The first eight characters, enough to tell the configurations of one server apart.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl OwnerId {
    /// The first eight characters, used in names where the whole does not fit.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// Counts the accepted changes of a group's spec, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place one container may fill: there is at most one live container for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId {
    /// The group.
    pub group: GroupId,
    /// The server inside it.
    pub instance: InstanceName,
    /// Which of its replicas, from 0.
    pub replica: u32,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.group, self.instance, self.replica)
    }
}

/// One of the replicas of a server inside its group: `web` for the first, `web/1` for the second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReplicaId {
    /// The server.
    pub instance: InstanceName,
    /// Which of its replicas, from 0.
    pub replica: u32,
}

/// Numbers from here on are no replicas but places of sessions that have a process of their own.
pub const FIRST_PLACE: u32 = 1000;

impl ReplicaId {
    /// A replica of a server, by its number.
    #[must_use]
    pub fn new(instance: InstanceName, replica: u32) -> Self {
        Self { instance, replica }
    }
    /// True for a place of a session, not one of the server's replicas.
    #[must_use]
    pub fn is_place(&self) -> bool {
        self.replica >= FIRST_PLACE
    }
    /// The first replica.
    #[must_use]
    pub fn first(instance: &InstanceName) -> Self {
        Self::new(instance.clone(), 0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.replica {
            0 => self.instance.fmt(f),
            replica => write!(f, "{}/{replica}", self.instance),
        }
    }
}

impl From<ReplicaId> for String {
    fn from(id: ReplicaId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for ReplicaId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let (instance, replica) = text.split_once('/').unwrap_or((&text, "0"));
        let not_a_number = |_| NameError { value: text.clone(), problem: "its replica is not a number" };
        Ok(Self { instance: instance.parse()?, replica: replica.parse().map_err(not_a_number)? })
    }
}

/// What a container is for its server: which replica, made from which configuration. During a rolling update the old
/// and the new member of one replica stand side by side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The replica it is.
    pub replica: ReplicaId,
    /// The configuration it is made from.
    pub config: ConfigHash,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.replica, self.config.short())
    }
}

/// One execution of a container's process: the same container started twice is two runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The container.
    pub container: ContainerId,
    /// When the engine says the process started.
    pub started_at: jiff::Timestamp,
}

/// `dtma-<owner8>-<group>-<instance>-<replica>`: found again after a lost reply because it needs no memory.
#[must_use]
pub fn container_name(owner: &OwnerId, slot: &SlotId) -> String {
    bounded(&format!("dtma-{}-{}-{}-{}", owner.short(), slot.group, slot.instance, slot.replica))
}

/// The name of a container that is made while another one of its replica bears [`container_name`]: the same with
/// the configuration's hash behind it. It gets the plain name once the other one is gone.
#[must_use]
pub fn provisional_name(owner: &OwnerId, slot: &SlotId, config: &ConfigHash) -> String {
    let suffix = config.short();
    let name = container_name(owner, slot);
    format!("{}-{suffix}", bounded_to(&name, MAX_NAME - 1 - suffix.len()))
}

/// True for a [`provisional_name`] of a container of this configuration.
#[must_use]
pub fn is_provisional(name: &str, config: &ConfigHash) -> bool {
    name.strip_suffix(config.short()).is_some_and(|rest| rest.ends_with('-'))
}

/// `dtma-<owner8>-<group>`, the group's own bridge network; `dtma-<owner8>-<group>__open` for the one that leads outside.
#[must_use]
pub fn network_name(owner: &OwnerId, group: &GroupId, mode: NetworkMode) -> String {
    let suffix = if mode == NetworkMode::Open { "__open" } else { "" };
    bounded(&format!("dtma-{}-{group}{suffix}", owner.short()))
}

/// `dtma-<owner8>-<group>__<volume>`: groups cannot reach each other's volumes by naming them. No name contains
/// `__` or begins with `_`, so `a-b` + `c` and `a` + `b-c` stay apart.
#[must_use]
pub fn volume_name(owner: &OwnerId, group: &GroupId, volume: &VolumeName) -> String {
    bounded(&format!("dtma-{}-{group}__{volume}", owner.short()))
}

/// Keeps a name within 63 characters (a host name's limit) by replacing its tail with a hash of the whole.
fn bounded(name: &str) -> String {
    bounded_to(name, MAX_NAME)
}

fn bounded_to(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let hash: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("{}-{hash}", &name[..max - 13])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(group: &str, instance: &str) -> SlotId {
        SlotId { group: group.parse().unwrap(), instance: instance.parse().unwrap(), replica: 0 }
    }

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "time", "Web-1.x_y", &"a".repeat(63)] {
            assert!(InstanceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a..b", "a__b", "a b", "a\nb", "é", &"a".repeat(64), "a\u{1b}[31m"]
        {
            assert!(InstanceName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_name_is_shown_escaped() {
        let shown = InstanceName::new("a\u{1b}[31m").unwrap_err().to_string();
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn long_container_names_are_shortened_and_stay_distinct() {
        let owner = OwnerId::from("0123456789abcdef");
        let (a, b) = (slot(&"g".repeat(60), "one"), slot(&"g".repeat(60), "two"));
        let (a, b) = (container_name(&owner, &a), container_name(&owner, &b));
        assert!(a.len() <= 63 && b.len() <= 63 && a != b, "{a} {b}");
        assert_eq!(container_name(&owner, &slot("demo", "time")), "dtma-01234567-demo-time-0");
    }

    #[test]
    fn a_provisional_name_is_recognised_and_fits() {
        let (owner, hash) = (OwnerId::from("0123456789abcdef"), ConfigHash::from("89abcdef01234567"));
        for slot in [slot("demo", "time"), slot(&"g".repeat(60), "one")] {
            let (plain, provisional) =
                (container_name(&owner, &slot), provisional_name(&owner, &slot, &hash));
            assert!(provisional.len() <= 63 && is_provisional(&provisional, &hash), "{provisional}");
            assert!(!is_provisional(&plain, &hash), "{plain}");
        }
    }

    #[test]
    fn a_replica_is_read_back_from_its_text() {
        for (text, replica) in [("web", 0), ("web/1", 1)] {
            let id = ReplicaId::new("web".parse().unwrap(), replica);
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<ReplicaId>(&format!("\"{text}\"")).unwrap(), id);
        }
        assert!(serde_json::from_str::<ReplicaId>("\"web/x\"").is_err());
    }

    #[test]
    fn no_group_can_name_another_groups_volume() {
        let owner = OwnerId::from("0123456789abcdef");
        let name = |group: &str, volume: &str| {
            volume_name(&owner, &group.parse().unwrap(), &volume.parse().unwrap())
        };
        assert_eq!(name("demo", "notes"), "dtma-01234567-demo__notes");
        assert_ne!(name("a-b", "c"), name("a", "b-c"));
        assert_ne!(name("a_", "b"), name("a", "b"));
    }

    #[test]
    fn a_name_that_breaks_the_rule_cannot_be_deserialised() {
        assert!(serde_json::from_str::<GroupId>("\"../x\"").is_err());
    }
}
