//! `tokens.json` in the state directory: names, scopes and digests, never a token. Written by rename under a lock, so
//! that a reader sees the old file or the new one.

use anyhow::{Context, Result, bail};
use dtma_api::auth::{Scope, Token, digest};
use dtma_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file of one state directory.
pub(crate) struct TokenFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Content {
    tokens: Vec<Kept>,
}

/// A token as it is kept.
#[derive(Serialize, Deserialize, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kept {
    name: String,
    scopes: Vec<Scope>,
    sha256: String,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        write!(f, "{:<24} {:<32} {:.0}", self.name, scopes.join(","), self.created_at)?;
        match self.expires_at {
            Some(at) => write!(f, "  until {at:.0}"),
            None => Ok(()),
        }
    }
}

impl Kept {
    /// As the door knows it. A digest that is none opens nothing.
    pub(crate) fn into_token(self) -> Token {
        let byte = |index| u8::from_str_radix(self.sha256.get(index * 2..index * 2 + 2)?, 16).ok();
        let mut bytes = [0; 32];
        for (index, target) in bytes.iter_mut().enumerate() {
            *target = byte(index).unwrap_or(0);
        }
        let scopes = self.scopes.iter().copied().collect();
        Token { name: self.name.clone(), digest: bytes, scopes, expires_at: self.expires_at }
    }

    fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    fn is_sound(&self) -> bool {
        !self.name.chars().any(char::is_control)
            && self.sha256.len() == 64
            && self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// A token's text and how it is kept.
fn make(name: &str, scopes: &[Scope], now: Timestamp, holds: Option<Duration>) -> Result<(String, Kept)> {
    // 244 random bits.
    let token = format!("dtma_{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let sha256 = digest(&token).iter().map(|byte| format!("{byte:02x}")).collect();
    let expires_at = holds.map(|time| now.checked_add(time)).transpose()?;
    let kept = Kept { name: name.to_owned(), scopes: scopes.to_vec(), sha256, created_at: now, expires_at };
    Ok((token, kept))
}

impl TokenFile {
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join("tokens.json") }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens; none when there is no file.
    pub(crate) fn read(&self) -> Result<Vec<Kept>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        let content: Content = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; make the tokens anew", self.path.display()))?;
        if let Some(broken) = content.tokens.iter().find(|kept| !kept.is_sound()) {
            bail!(
                "{}: the name or digest of {:?} is damaged; revoke and make it anew",
                self.path.display(),
                broken.name
            );
        }
        Ok(content.tokens)
    }

    /// Makes a token and returns its text, which is kept nowhere.
    pub(crate) fn create(&self, name: &str, scopes: &[Scope], holds: Option<Duration>) -> Result<String> {
        if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            bail!("a name is 1 to 64 characters without spaces");
        }
        let _alone = self.lock()?;
        let now = dtma_manager::wall::system()();
        let mut tokens = self.holding(now)?;
        if tokens.iter().any(|kept| kept.name == name) {
            bail!("there is one of that name; rotate it, or revoke it first");
        }
        let (token, kept) = make(name, scopes, now, holds)?;
        tokens.push(kept);
        self.write(tokens)?;
        Ok(token)
    }

    /// Makes a token in the place of the one of that name, which still holds for `overlap`, if it did so long.
    pub(crate) fn rotate(&self, name: &str, overlap: Duration, holds: Option<Duration>) -> Result<String> {
        let _alone = self.lock()?;
        let now = dtma_manager::wall::system()();
        let mut tokens = self.holding(now)?;
        let newest = tokens.iter().filter(|kept| kept.name == name).max_by_key(|kept| kept.created_at);
        let old = newest
            .cloned()
            .with_context(|| format!("there is none of that name in {}", self.path.display()))?;
        let as_before = old.expires_at.and_then(|at| at.duration_since(old.created_at).try_into().ok());
        let (token, kept) = make(name, &old.scopes, now, holds.or(as_before))?;
        let end = now.checked_add(overlap)?;
        for former in tokens.iter_mut().filter(|kept| kept.name == name) {
            former.expires_at = Some(former.expires_at.map_or(end, |at| at.min(end)));
        }
        tokens.push(kept);
        self.write(tokens)?;
        Ok(token)
    }

    /// The tokens that still open something; the others are forgotten with the next write.
    fn holding(&self, now: Timestamp) -> Result<Vec<Kept>> {
        let mut tokens = self.read()?;
        tokens.retain(|kept| !kept.has_expired(now));
        Ok(tokens)
    }

    /// Forgets a token, and those it took the place of.
    pub(crate) fn revoke(&self, name: &str) -> Result<()> {
        let _alone = self.lock()?;
        let mut tokens = self.read()?;
        let before = tokens.len();
        tokens.retain(|kept| kept.name != name);
        if tokens.len() == before {
            bail!("there is no token {name:?} in {}", self.path.display());
        }
        self.write(tokens)
    }

    fn lock(&self) -> Result<File> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let path = self.path.with_extension("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(file)
    }

    fn write(&self, tokens: Vec<Kept>) -> Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(&Content { tokens })?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_kept_as_a_digest_and_can_be_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::in_dir(&dir.path().join("state"));
        let token = file.create("ci", &[Scope::Deploy], None).unwrap();
        let text = fs::read_to_string(&file.path).unwrap();
        assert!(!text.contains(&token));
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        let kept = file.read().unwrap().remove(0).into_token();
        assert_eq!(kept, Token::new("ci", &token, [Scope::Deploy]));
        assert!(file.create("ci", &[Scope::Read], None).is_err(), "names are unique");
        file.revoke("ci").unwrap();
        assert!(file.read().unwrap().is_empty() && file.revoke("ci").is_err());
    }

    #[test]
    fn a_rotated_token_and_its_heir_hold_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::in_dir(dir.path());
        let month = Duration::from_secs(30 * 86_400);
        let old = file.create("ci", &[Scope::Deploy], Some(month)).unwrap();
        let new = file.rotate("ci", Duration::from_secs(3600), None).unwrap();
        let held: Vec<Token> = file.read().unwrap().into_iter().map(Kept::into_token).collect();
        assert_eq!([held[0].digest, held[1].digest], [digest(&old), digest(&new)]);
        let (first, second) = (held[0].expires_at.unwrap(), held[1].expires_at.unwrap());
        let apart: Duration = second.duration_since(first).try_into().unwrap();
        assert!(apart > month - Duration::from_secs(3700) && apart < month, "{apart:?}");
        assert_eq!(held[1].scopes, held[0].scopes);

        let last = file.rotate("ci", Duration::ZERO, None).unwrap();
        let now = dtma_manager::wall::system()();
        let held: Vec<Kept> = file.holding(now).unwrap();
        assert_eq!((held.len(), held[0].clone().into_token().digest), (1, digest(&last)));
        file.revoke("ci").unwrap();
        assert!(file.read().unwrap().is_empty());
        assert!(file.rotate("ci", Duration::ZERO, None).is_err());
    }

    #[test]
    fn a_damaged_file_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::in_dir(dir.path());
        fs::write(&file.path, "{\"tokens\":[{\"name\":\"a\",\"scopes\":[\"admin\"],\"sha256\":\"00\",\"createdAt\":\"2026-01-01T00:00:00Z\"}]}").unwrap();
        assert!(file.read().is_err());
        fs::write(&file.path, "nonsense").unwrap();
        assert!(file.read().is_err());
    }
}
