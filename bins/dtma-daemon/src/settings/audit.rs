//! The settings of the audit log: how much of it is kept.

use super::{File, Sources};
use crate::cli::SettingArgs;
use dtma_api::AuditBounds;

const DEFAULT_MB: u64 = 10;
const DEFAULT_FILES: u32 = 10;
const MOST_MB: u64 = 1024;
const MOST_FILES: u32 = 1000;

impl Sources<'_> {
    pub(super) fn audit(&mut self, args: &SettingArgs, file: &File) -> AuditBounds {
        let size = args.audit_max_mb.or(file.audit_max_mb).unwrap_or(DEFAULT_MB);
        let files = args.audit_files.or(file.audit_files).unwrap_or(DEFAULT_FILES);
        if !(1..=MOST_MB).contains(&size) {
            self.report("audit_max_mb", format!("{size} is not from 1 to {MOST_MB}"));
        }
        if !(2..=MOST_FILES).contains(&files) {
            self.report("audit_files", format!("{files} is not from 2 to {MOST_FILES}"));
        }
        AuditBounds { size: size.saturating_mul(1 << 20), files }
    }
}
