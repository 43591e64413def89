//! What servers offer, bounded by server.

use crate::table::{Stored, catalogue_key, decode, put};
use dtma_core::catalogue::{Catalogue, MAX_CATALOGUES};
use dtma_core::id::InstanceName;
use redb::{ReadableTable, WriteTransaction};

/// Keeps it, and of all of its server only the newest.
pub(crate) fn keep(to: &WriteTransaction, catalogue: &Catalogue) -> Result<(), redb::Error> {
    put(to, &catalogue_key(&catalogue.instance, &catalogue.config), catalogue)?;
    let mut table = to.open_table(Catalogue::TABLE)?;
    let (from, until) = (format!("{}/", catalogue.instance), format!("{}0", catalogue.instance));
    let mut kept = Vec::new();
    for entry in table.range(from.as_str()..until.as_str())? {
        let (key, value) = entry?;
        if let Ok(catalogue) = decode::<Catalogue>(key.value(), value.value()) {
            kept.push((catalogue.at, key.value().to_owned()));
        }
    }
    kept.sort();
    let old = kept.len().saturating_sub(MAX_CATALOGUES);
    kept.iter().take(old).try_for_each(|(_, key)| table.remove(key.as_str()).map(drop))?;
    Ok(())
}

/// Forgets all of a server.
pub(crate) fn forget(from: &WriteTransaction, instance: &InstanceName) -> Result<(), redb::Error> {
    let begin = format!("{instance}/");
    from.open_table(Catalogue::TABLE)?.retain(|key, _| !key.starts_with(&begin))?;
    Ok(())
}
