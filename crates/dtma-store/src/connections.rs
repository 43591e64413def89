//! What agents may reach, and which agents that was ever said of.

use crate::table::{Stored, encode, put};
use dtma_core::connection::{Connection, Governed};
use redb::{ReadableTable, WriteTransaction};

/// Keeps a connection, and that its agent has one.
pub(crate) fn keep(to: &WriteTransaction, connection: &Connection) -> Result<(), redb::Error> {
    let agent = &connection.terms.agent;
    let key = agent.to_string();
    let mut governed = to.open_table(Governed::TABLE)?;
    if governed.get(key.as_str())?.is_none() {
        let record = Governed { agent: agent.clone(), since: connection.updated_at };
        governed.insert(key.as_str(), encode(&record)?.as_slice())?;
    }
    put(to, connection.id.as_str(), connection)
}
