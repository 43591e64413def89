//! The tables, and the only types that may stand in them.

use dtma_core::catalogue::Catalogue;
use dtma_core::connection::{Connection, Governed};
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::id::{ConfigHash, ContainerId, GroupId, InstanceName};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Operation, Revision};
use redb::{ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// From a name to JSON.
pub(crate) type ByName<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// Every table of records there is.
pub(crate) const NAMES: [&str; 11] = [
    "groups",
    "histories",
    "revisions",
    "operations",
    "operations-ended",
    "sessions",
    "handshakes",
    "catalogues",
    "contracts",
    "connections",
    "governed",
];

/// A record with a table of its own. Implemented for these types and no others: that is the whole list of what can
/// reach the disk.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    /// Its table.
    const TABLE: ByName<'static>;

    /// What is wrong with finding this record under this key; JSON that parses may still contradict itself.
    fn contradiction(&self, key: &str) -> Option<String>;
}

impl Stored for GroupRecord {
    const TABLE: ByName<'static> = TableDefinition::new("groups");

    fn contradiction(&self, key: &str) -> Option<String> {
        let wanted: BTreeSet<_> = self.spec.servers.iter().map(|server| &server.instance).collect();
        let rendered: BTreeSet<_> = self.servers.keys().collect();
        if wanted != rendered || wanted.len() != self.spec.servers.len() {
            return Some("its spec and its rendered servers disagree".to_owned());
        }
        differs(key, self.spec.group_id.as_str())
    }
}

impl Stored for Revision {
    const TABLE: ByName<'static> = TableDefinition::new("revisions");

    fn contradiction(&self, key: &str) -> Option<String> {
        differs(key, &crate::revisions::key(self))
    }
}

impl Stored for GroupHistory {
    const TABLE: ByName<'static> = TableDefinition::new("histories");

    fn contradiction(&self, key: &str) -> Option<String> {
        GroupId::new(key).err().map(|error| error.to_string())
    }
}

/// The operations under way; those with an outcome are in [`crate::journal::ENDED`].
impl Stored for Operation {
    const TABLE: ByName<'static> = TableDefinition::new("operations");

    fn contradiction(&self, key: &str) -> Option<String> {
        differs(key, self.id.as_str())
    }
}

impl Stored for GatewaySession {
    const TABLE: ByName<'static> = TableDefinition::new("sessions");

    fn contradiction(&self, key: &str) -> Option<String> {
        differs(key, &self.id)
    }
}

impl Stored for Handshake {
    const TABLE: ByName<'static> = TableDefinition::new("handshakes");

    fn contradiction(&self, key: &str) -> Option<String> {
        let (instance, container) = handshake_of(key);
        match (InstanceName::new(instance), container) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(_), Some(container)) => differs(container, self.run.container.as_str()),
            (Ok(_), None) => None,
        }
    }
}

impl Stored for Catalogue {
    const TABLE: ByName<'static> = TableDefinition::new("catalogues");

    fn contradiction(&self, key: &str) -> Option<String> {
        differs(key, &catalogue_key(&self.instance, &self.config))
    }
}

impl Stored for Contract {
    const TABLE: ByName<'static> = TableDefinition::new("contracts");

    fn contradiction(&self, key: &str) -> Option<String> {
        differs(key, self.instance.as_str())
    }
}

impl Stored for Connection {
    const TABLE: ByName<'static> = TableDefinition::new("connections");

    fn contradiction(&self, key: &str) -> Option<String> {
        differs(key, self.id.as_str())
    }
}

impl Stored for Governed {
    const TABLE: ByName<'static> = TableDefinition::new("governed");

    fn contradiction(&self, key: &str) -> Option<String> {
        differs(key, &self.agent.to_string())
    }
}

/// The key of what one configuration of a server offers. No instance name has a slash.
pub(crate) fn catalogue_key(instance: &InstanceName, config: &ConfigHash) -> String {
    format!("{instance}/{config}")
}

/// The key of the handshake with one of a server's containers. No instance name has a slash.
pub(crate) fn handshake_key(instance: &InstanceName, container: &ContainerId) -> String {
    format!("{instance}/{container}")
}

/// The instance and, unless a former version wrote it, the container of a handshake's key.
pub(crate) fn handshake_of(key: &str) -> (&str, Option<&str>) {
    key.split_once('/').map_or((key, None), |(instance, container)| (instance, Some(container)))
}

fn differs(key: &str, name: &str) -> Option<String> {
    (key != name).then(|| format!("it says that it is {name:?}"))
}

/// The JSON of a record.
pub(crate) fn encode<T: Stored>(record: &T) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(record).map_err(|error| redb::Error::Io(error.into()))
}

/// A record from JSON found under `key`, or what is wrong with it.
pub(crate) fn decode<T: Stored>(key: &str, json: &[u8]) -> Result<T, String> {
    let record: T = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    match record.contradiction(key) {
        None => Ok(record),
        Some(problem) => Err(problem),
    }
}

/// Keeps a record.
pub(crate) fn put<T: Stored>(to: &WriteTransaction, key: &str, record: &T) -> Result<(), redb::Error> {
    to.open_table(T::TABLE)?.insert(key, encode(record)?.as_slice())?;
    Ok(())
}

/// Forgets a record; unknown is fine.
pub(crate) fn remove<T: Stored>(from: &WriteTransaction, key: &str) -> Result<(), redb::Error> {
    from.open_table(T::TABLE)?.remove(key)?;
    Ok(())
}

/// The keys of the readable records that fit; an unreadable one fits nothing and stays.
pub(crate) fn keys_of<T: Stored>(
    table: &Table<'_, &'static str, &'static [u8]>,
    fits: impl Fn(&T) -> bool,
) -> Result<Vec<String>, redb::Error> {
    let mut keys = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        if decode(key.value(), value.value()).is_ok_and(|record: T| fits(&record)) {
            keys.push(key.value().to_owned());
        }
    }
    Ok(keys)
}

/// A table nobody wrote yet is an empty one.
pub(crate) fn unless_absent<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
