//! Fields of a record that this version would silently forget: a backup that has them was not made by DTMA, or says
//! something that must not be lost.

use crate::journal::ENDED;
use crate::rows::{Row, Rows};
use crate::table::Stored;
use dtma_core::catalogue::Catalogue;
use dtma_core::connection::{Connection, Governed};
use dtma_core::contract::Contract;
use dtma_core::history::GroupHistory;
use dtma_core::record::{GatewaySession, GroupRecord, Handshake, Operation, Revision};
use redb::TableHandle;
use serde_json::Value;

/// Every such field, with table and key. Records that cannot be read at all are another's business.
pub(crate) fn unknown_fields(rows: &Rows) -> Vec<String> {
    let mut found = of::<GroupRecord>(rows, GroupRecord::TABLE.name());
    found.extend(of::<GroupHistory>(rows, GroupHistory::TABLE.name()));
    found.extend(of::<Revision>(rows, Revision::TABLE.name()));
    found.extend(of::<Operation>(rows, Operation::TABLE.name()));
    found.extend(of::<Operation>(rows, ENDED.name()));
    found.extend(of::<GatewaySession>(rows, GatewaySession::TABLE.name()));
    found.extend(of::<Handshake>(rows, Handshake::TABLE.name()));
    found.extend(of::<Catalogue>(rows, Catalogue::TABLE.name()));
    found.extend(of::<Contract>(rows, Contract::TABLE.name()));
    found.extend(of::<Connection>(rows, Connection::TABLE.name()));
    found.extend(of::<Governed>(rows, Governed::TABLE.name()));
    found
}

fn of<T: Stored>(rows: &Rows, table: &str) -> Vec<String> {
    let rows = rows.get(table).into_iter().flatten();
    rows.flat_map(|row| {
        let lost = lost::<T>(row);
        lost.into_iter().map(move |field| format!("{table} {:?}: unknown field {field}", row.name()))
    })
    .collect()
}

fn lost<T: Stored>(row: &Row) -> Vec<String> {
    let kept = serde_json::from_value::<T>(row.value.clone()).and_then(serde_json::to_value);
    let mut found = Vec::new();
    if let Ok(kept) = kept {
        compare(&row.value, &kept, "", &mut found);
    }
    found
}

/// What is said and not kept. A null or an empty list may be left out by whoever writes.
fn compare(said: &Value, kept: &Value, at: &str, found: &mut Vec<String>) {
    match (said, kept) {
        (Value::Object(said), Value::Object(kept)) => {
            for (name, value) in said {
                let at = format!("{at}/{name}");
                match kept.get(name) {
                    Some(kept) => compare(value, kept, &at, found),
                    None if is_nothing(value) => {}
                    None => found.push(at),
                }
            }
        }
        (Value::Array(said), Value::Array(kept)) => {
            for (index, (said, kept)) in said.iter().zip(kept).enumerate() {
                compare(said, kept, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_would_be_forgotten_is_named_and_what_is_nothing_is_not() {
        let mut found = Vec::new();
        let said = json!({"a": [{"b": 1, "privileged": true}], "c": null, "d": [], "e": "x"});
        compare(&said, &json!({"a": [{"b": 1}]}), "", &mut found);
        assert_eq!(found, ["/a/0/privileged", "/e"]);
    }
}
