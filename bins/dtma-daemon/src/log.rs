//! Logs on standard error or in a file of their own, for people or for machines.

use crate::log_file::LogFile;
use crate::settings::{LogFormat, Settings};
use anyhow::{Context, Result};
use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Where the log goes, for the day it is to be opened anew.
pub(crate) struct Log(Option<Arc<LogFile>>);

/// From now on what happens is logged.
///
/// # Errors
/// The log file cannot be opened.
pub(crate) fn init(settings: &Settings) -> Result<Log> {
    let file = match &settings.log_file {
        None => None,
        Some(path) => {
            let opened = LogFile::open(path, settings.log_bounds);
            Some(Arc::new(opened.with_context(|| format!("cannot write the log file {}", path.display()))?))
        }
    };
    let (writer, colour) = match &file {
        Some(file) => (BoxMakeWriter::new(Arc::clone(file)), false),
        None => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.log))
        .with_writer(writer)
        .with_ansi(colour);
    match settings.log_format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(Log(file))
}

impl Log {
    /// After somebody has moved the file away.
    pub(crate) fn reopen(&self) {
        if let Some(file) = &self.0 {
            reopen("log file", file);
        }
    }
}

/// The same of another file.
pub(crate) fn reopen(name: &str, file: &LogFile) {
    if let Err(error) = file.reopen() {
        tracing::error!(%error, "the {name} cannot be opened anew; the old one is written on");
    }
}
