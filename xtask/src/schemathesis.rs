//! schemathesis from PyPI: asks an API everything its document allows and forbids.

use crate::{pip, workspace};
use anyhow::Result;
use std::path::PathBuf;

const VERSION: &str = "4.32.5";

/// The directory of its Python packages, installed into the work directory when absent.
pub(crate) fn installed() -> Result<PathBuf> {
    let package = format!("schemathesis=={VERSION}");
    workspace::made_once(&format!("schemathesis-{VERSION}"), |dir| pip::install_whole(&package, dir))
}
