//! `dtma-daemon state …`: looking at the state, backing it up and restoring it, while no daemon uses it.

use crate::cli::StateCommand;
use crate::settings::Settings;
use anyhow::{Context, Result};
use dtma_config::{Templates, config_hash};
use dtma_core::container::Isolation;
use dtma_core::port::store::StoreError;
use dtma_core::record::GroupRecord;
use dtma_store::{BackupError, FILE_NAME, Import, SCHEMA, StateCopy, import};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Does it.
pub(crate) fn manage(command: &StateCommand, settings: &Settings) -> Result<()> {
    let dir = &settings.state_dir;
    match command {
        StateCommand::Check => check(dir),
        StateCommand::Dump => {
            println!("{:#}", StateCopy::take(dir)?.dump()?);
            Ok(())
        }
        StateCommand::Export { file, skip_damaged } => {
            let backup = StateCopy::take(dir)?.export(*skip_damaged).map_err(plain)?;
            write(file, &backup).with_context(|| format!("cannot write {}", file.display()))
        }
        StateCommand::Import { file, force } => {
            let backup = read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let state = import(dir, &backup, &Import { replace: *force, judge: &judge }).map_err(plain)?;
            println!("{} groups taken into {}", state.groups.len(), dir.display());
            Ok(())
        }
    }
}

/// What the state itself says keeps its exit code.
fn plain(error: BackupError) -> anyhow::Error {
    match error {
        BackupError::Store(error) => error.into(),
        BackupError::Exists(_) => anyhow::Error::from(error).context("give --force to replace it"),
        BackupError::Damaged(_) => {
            anyhow::Error::from(error).context("give --skip-damaged to leave them out")
        }
        BackupError::Unusable(_) => error.into(),
    }
}

fn check(dir: &Path) -> Result<()> {
    let copy = StateCopy::take(dir)?;
    let state = &copy.state;
    println!(
        "{}: schema {} (this version: {SCHEMA}), owner {}",
        dir.join(FILE_NAME).display(),
        copy.found_schema,
        state.owner
    );
    println!(
        "{} groups, {} histories, {} operations, {} sessions, {} handshakes",
        state.groups.len(),
        state.histories.len(),
        state.operations.len(),
        state.sessions.len(),
        state.handshakes.len()
    );
    for bad in &state.damaged {
        println!("damaged: {} {:?}: {}", bad.table, bad.key, bad.problem);
    }
    if state.damaged.is_empty() {
        println!("every record can be read");
        return Ok(());
    }
    Err(StoreError::Unusable {
        path: dir.join(FILE_NAME).display().to_string(),
        problem: format!(
            "{} record(s) are damaged; the daemon starts without them, their containers are left alone or swept",
            state.damaged.len()
        ),
    }
    .into())
}

/// A container's configuration has no field for what must never be, but isolation has a few that could be turned off
/// by hand, and a hash that must be its own.
fn judge(group: &GroupRecord) -> Vec<String> {
    let standard = Templates::builtin().standard().values.isolation();
    let mut problems = Vec::new();
    for (instance, server) in &group.servers {
        let at = format!("group {}, server {instance}", group.spec.group_id);
        // The shim is an init itself.
        let wanted = Isolation { init: standard.init && !server.config.shim, ..standard.clone() };
        if server.config.isolation != wanted {
            problems.push(format!("{at}: its isolation is weaker than any template's"));
        }
        if config_hash(&server.config) != server.config_hash {
            problems.push(format!("{at}: its configuration was changed by hand"));
        }
    }
    problems
}

fn write(file: &Path, backup: &[u8]) -> std::io::Result<()> {
    if file == Path::new("-") {
        return std::io::stdout().write_all(backup);
    }
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    let mut out = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    out.write_all(backup)?;
    out.sync_all()?;
    std::fs::rename(&fresh, file)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut backup = Vec::new();
    std::io::stdin().read_to_end(&mut backup)?;
    Ok(backup)
}
