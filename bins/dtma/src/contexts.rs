//! Named daemons: `~/.config/dtma/config.toml`, and which of them a command line means.
//!
//! Tokens stand in files of their own that only their owner can read; this file names them and never holds one.

use crate::exit::Exit;
use crate::failure::Failure;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is used when nobody says another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A daemon and how to prove who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

impl Contexts {
    /// Reads the file; one that is not there says nothing.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(path, "cannot be read", &error.to_string())),
        };
        toml::from_str(&text).map_err(|error| unusable(path, "is not understood", error.message()))
    }

    /// Writes it, whole or not at all.
    pub(crate) fn save(&self, path: Option<&Path>) -> Result<(), Failure> {
        let path = path.ok_or_else(|| {
            Failure::new(Exit::Usage, "there is no place for the file of contexts")
                .hint("set HOME or XDG_CONFIG_HOME")
        })?;
        let text = toml::to_string_pretty(self)
            .map_err(|error| unusable(path, "cannot be written", &error.to_string()))?;
        replace(path, &text).map_err(|error| unusable(path, "cannot be written", &error.to_string()))
    }

    /// The context of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let hint = if known.is_empty() {
                "there is none yet: dtma context add NAME --url URL".to_owned()
            } else {
                format!("there is {}", known.join(", "))
            };
            Failure::new(Exit::Usage, format!("there is no context {name}")).hint(hint)
        })
    }

    /// The context a command line means. One that is merely current gives way to an address that is given: its token
    /// is not for others.
    pub(crate) fn meant(&self, named: Option<&str>, url_given: bool) -> Result<Option<&Context>, Failure> {
        match (named, &self.current) {
            (Some(name), _) => self.get(name).map(Some),
            (None, Some(current)) if !url_given => self.get(current).map(Some),
            (None, _) => Ok(None),
        }
    }
}

fn unusable(path: &Path, what: &str, cause: &str) -> Failure {
    Failure::new(Exit::Usage, format!("the file of contexts {} {what}", path.display()))
        .cause(cause)
        .hint("mend or remove it; dtma context add makes a new one")
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let fresh = path.with_extension("toml.new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(fresh, path)
}

/// The token of a context's file, which nobody else may be able to read.
pub(crate) fn private_token(file: &Path) -> Result<SecretString, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(Exit::Usage, format!("the token file {} cannot be read", file.display()))
            .cause(error.to_string())
            .hint("the context names it: dtma context show")
    };
    let mode = std::fs::metadata(file).map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        let message = format!("the token file {} can be read by others (mode {mode:03o})", file.display());
        return Err(Failure::new(Exit::Usage, message).hint(format!("chmod 600 {}", file.display())));
    }
    let token = std::fs::read_to_string(file).map_err(unreadable)?;
    match token.trim() {
        "" => Err(Failure::new(Exit::Usage, format!("the token file {} is empty", file.display()))),
        token => Ok(SecretString::from(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn two() -> Contexts {
        let context = |url: &str| Context {
            url: url.into(),
            token_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        };
        Contexts {
            current: Some("home".into()),
            contexts: [("home".into(), context("http://h")), ("work".into(), context("http://w"))].into(),
        }
    }

    #[test]
    fn what_is_said_comes_before_what_is_current() {
        let contexts = two();
        let url = |named, given| contexts.meant(named, given).unwrap().map(|context| context.url.as_str());
        assert_eq!(url(None, false), Some("http://h"));
        assert_eq!(url(Some("work"), false), Some("http://w"));
        assert_eq!(url(Some("work"), true), Some("http://w"));
        assert_eq!(url(None, true), None, "a token is not sent to another daemon than its own");
        assert_eq!(contexts.meant(Some("nobody"), false).unwrap_err().exit(), Some(Exit::Usage));
        assert_eq!(Contexts::default().meant(None, false).unwrap(), None);
    }

    #[test]
    fn the_file_is_the_owners_alone_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dtma/config.toml");
        assert_eq!(Contexts::load(Some(&path)).unwrap(), Contexts::default());
        two().save(Some(&path)).unwrap();
        assert_eq!(Contexts::load(Some(&path)).unwrap(), two());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::write(&path, "contexts = 1").unwrap();
        assert_eq!(Contexts::load(Some(&path)).unwrap_err().exit(), Some(Exit::Usage));
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "t\n").unwrap();
        for (mode, taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(private_token(&file).is_ok(), taken, "{mode:o}");
        }
    }
}
