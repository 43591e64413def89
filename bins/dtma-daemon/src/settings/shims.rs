//! Whether servers get a first process of ours.

use super::{File, Sources};
use crate::cli::SettingArgs;

pub(crate) const SHIMS: &str = "on";

impl Sources<'_> {
    pub(super) fn shims(&mut self, args: &SettingArgs, file: &File) -> bool {
        let said = args.shims.clone().or(file.shims.clone());
        let whether = said.as_deref().unwrap_or(SHIMS);
        if !["on", "off"].contains(&whether) {
            self.report("shims", format!("{whether:?} is neither on nor off"));
        }
        whether == "on"
    }
}
