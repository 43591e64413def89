//! Reading everything back. What cannot be read is named and left where it is.

use crate::journal::{self, ENDED};
use crate::table::{Stored, decode, handshake_of, unless_absent};
use dtma_core::catalogue::Catalogue;
use dtma_core::connection::{Connection, Governed};
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::id::{GroupId, InstanceName, OwnerId};
use dtma_core::port::store::{DamagedRecord, LoadedState};
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Operation, Revision};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableHandle};

/// One pass over every table.
struct Reader {
    transaction: ReadTransaction,
    damaged: Vec<DamagedRecord>,
}

/// Everything in the file, at one moment.
pub(crate) fn load(database: &Database, owner: OwnerId) -> Result<LoadedState, redb::Error> {
    let mut reader = Reader { transaction: database.begin_read()?, damaged: Vec::new() };
    let mut operations = reader.ended()?;
    operations.extend(reader.records::<Operation>()?.into_iter().map(|(_, operation)| operation));
    operations.sort_by(|a, b| journal::age_key(a).cmp(&journal::age_key(b)));
    Ok(LoadedState {
        owner,
        groups: values(reader.records::<GroupRecord>()?),
        histories: named(reader.records::<GroupHistory>()?, GroupId::new),
        operations,
        sessions: values(reader.records::<GatewaySession>()?),
        handshakes: named(reader.records::<Handshake>()?, |key| InstanceName::new(handshake_of(&key).0)),
        catalogues: values(reader.records::<Catalogue>()?),
        contracts: values(reader.records::<Contract>()?),
        connections: values(reader.records::<Connection>()?),
        governed: values(reader.records::<Governed>()?),
        damaged: reader.damaged,
    })
}

/// The revisions that cannot be read. A start does not look for them: whoever asks for a group's revisions is told then.
pub(crate) fn damaged_revisions(database: &Database) -> Result<Vec<DamagedRecord>, redb::Error> {
    let mut reader = Reader { transaction: database.begin_read()?, damaged: Vec::new() };
    reader.records::<Revision>()?;
    Ok(reader.damaged)
}

fn values<T>(records: Vec<(String, T)>) -> Vec<T> {
    records.into_iter().map(|(_, record)| record).collect()
}

/// Keys that are no names were reported as damaged when the record was read.
fn named<N, E, T>(records: Vec<(String, T)>, name: impl Fn(String) -> Result<N, E>) -> Vec<(N, T)> {
    records.into_iter().filter_map(|(key, record)| Some((name(key).ok()?, record))).collect()
}

impl Reader {
    fn records<T: Stored>(&mut self) -> Result<Vec<(String, T)>, redb::Error> {
        let Some(table) = unless_absent(self.transaction.open_table(T::TABLE))? else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let key = key.value().to_owned();
            match decode(&key, value.value()) {
                Ok(record) => records.push((key, record)),
                Err(problem) => self.damaged(T::TABLE.name(), key, problem),
            }
        }
        Ok(records)
    }

    fn ended(&mut self) -> Result<Vec<Operation>, redb::Error> {
        let Some(table) = unless_absent(self.transaction.open_table(ENDED))? else { return Ok(Vec::new()) };
        let mut operations = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let key = key.value();
            let operation = decode::<Operation>(key.1, value.value());
            match operation.map(|operation| (journal::contradiction(&operation, key), operation)) {
                Ok((None, operation)) => operations.push(operation),
                Ok((Some(problem), _)) | Err(problem) => {
                    self.damaged(ENDED.name(), key.1.to_owned(), problem);
                }
            }
        }
        Ok(operations)
    }

    fn damaged(&mut self, table: &str, key: String, problem: String) {
        tracing::warn!(table, key, problem, "a damaged record was skipped");
        self.damaged.push(DamagedRecord { table: table.to_owned(), key, problem });
    }
}
