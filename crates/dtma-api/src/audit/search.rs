//! Looking into the audit log, from the newest line to the oldest.

use super::backward::Backward;
use super::files::Files;
use super::record::Record;
use dtma_api_types::{AuditEntryView, AuditOutcome};
use dtma_core::Timestamp;
use std::io;

/// Which lines; what is absent fits all.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) outcome: Option<AuditOutcome>,
    /// Only lines with lower numbers.
    pub(crate) before: Option<u64>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) entries: Vec<AuditEntryView>,
    /// There are more, below this number.
    pub(crate) next: Option<u64>,
}

impl Filter {
    fn fits(&self, record: &Record) -> bool {
        record.outcome.is_some()
            && self.before.is_none_or(|before| record.seq < before)
            && self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
            && same(self.actor.as_ref(), record.actor.as_ref())
            && same(self.action.as_ref(), Some(&record.action))
            && same(self.group.as_ref(), record.group_id.as_ref())
            && same(self.instance.as_ref(), record.instance_name.as_ref())
            && same(self.outcome.as_ref(), record.outcome.as_ref())
    }
}

fn same<T: PartialEq>(wanted: Option<&T>, is: Option<&T>) -> bool {
    wanted.is_none() || wanted == is
}

/// The newest `limit` lines that fit. Lines that are none are passed over.
pub(super) fn search(files: &Files, filter: &Filter, limit: usize) -> io::Result<Found> {
    let mut found = Found { entries: Vec::new(), next: None };
    for (file, length) in files.all()? {
        let mut lines = Backward::new(file, length);
        while let Some(line) = lines.line()? {
            let Some(record) = Record::read(&line).filter(|record| filter.fits(record)) else { continue };
            if found.entries.len() == limit {
                found.next = found.entries.last().map(|entry| entry.seq);
                return Ok(found);
            }
            found.entries.extend(record.view());
        }
    }
    Ok(found)
}
