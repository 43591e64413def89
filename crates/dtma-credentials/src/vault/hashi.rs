//! HashiCorp Vault and OpenBao: the KV engine of both versions, over HTTP.
//!
//! A credential is the object at `MOUNT/PREFIX/` and its path (`place.rs`). Version 2 keeps the versions before; a
//! credential that is removed is removed with all of them. There a writing names the version it follows on, which is the
//! one this daemon read or wrote last: when somebody else wrote meanwhile it fails once, as a vault that is not available
//! does, and the next follows on what is there by then. A list may name credentials that somebody else deleted without
//! removing their versions.
//!
//! The token is kept alive by [`HashiVault::keep_alive`], which whoever owns the vault runs; without it a token is renewed
//! when it is needed, if it still lives.

mod lease;
mod reply;
mod session;

#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing {
    //! The readers of answers, one after the other.
    use super::{KvVersion, reply};
    use dtma_core::credential::Credential;

    /// The credential that is read in each of the versions.
    pub(crate) fn all(body: &[u8]) -> [Option<Credential>; 2] {
        let _ = (reply::version(body), reply::keys(body), reply::login(body), reply::lookup(body));
        [KvVersion::One, KvVersion::Two].map(|version| reply::kept(body, version).ok()?.credential)
    }
}

use super::document::{Document, Outgoing, document};
use super::place::{self, ROOTS};
use super::remote::{Remote, body, is_yes};
use crate::web::{Page, Web};
use async_trait::async_trait;
use bytes::Bytes;
use dtma_core::credential::{Credential, CredentialId};
use dtma_core::port::vault::{SecretVault, VaultError, VaultInfo};
use http::{HeaderMap, HeaderValue, Method};
use secrecy::SecretString;
use serde::Serialize;
use session::Session;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

/// So many directories are looked into for one list.
const DIRECTORIES: usize = 10_000;
/// So many versions are remembered; beyond that all are forgotten and asked for again.
const REMEMBERED: usize = 10_000;

/// Which KV engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvVersion {
    /// Without versions: the last writing counts.
    One,
    /// With versions.
    Two,
}

/// How it is proved who asks.
#[derive(Debug, Clone)]
pub enum Login {
    /// A token, which is renewed where that can be, and cannot be replaced when it ends.
    Token(SecretString),
    /// A role of an application.
    AppRole {
        /// Where the method is mounted: `approle`.
        mount: String,
        /// The role.
        role: String,
        /// What proves it.
        secret: SecretString,
    },
}

/// What makes such a vault.
#[derive(Debug, Clone)]
pub struct HashiParts {
    /// `https://vault.example:8200`.
    pub address: String,
    /// The namespace, where there are any.
    pub namespace: Option<String>,
    /// Where the KV engine is mounted: `secret`.
    pub mount: String,
    /// The directory there that is ours; may be empty.
    pub prefix: String,
    /// Which KV engine that is.
    pub version: KvVersion,
    /// Who we are.
    pub login: Login,
}

/// Credentials in the KV engine of a vault.
#[derive(Debug)]
pub struct HashiVault {
    session: Session,
    mount: String,
    /// With a `/` at its end, or empty.
    prefix: String,
    version: KvVersion,
    /// Of credentials that were read or written, the version that a writing follows on.
    seen: Mutex<HashMap<CredentialId, u64>>,
}

/// The body of a writing in version 2.
#[derive(Serialize)]
struct Put<'a> {
    options: Options,
    data: Document<Outgoing<'a>>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

/// Segments of a path that need no escape and lead nowhere else.
fn path_of(what: &str, text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let good = |segment: &str| {
        let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        plain && !matches!(segment, "" | "." | "..")
    };
    match path.is_empty() || path.split('/').all(good) {
        true => Ok(path.to_owned()),
        false => Err(format!("the {what} {text:?} is no path of letters, digits, '-', '_', '.' and '/'")),
    }
}

impl HashiVault {
    /// A vault that is not asked yet.
    ///
    /// # Errors
    /// What is wrong with the parts, for whoever wrote them.
    pub fn new(web: Web, parts: HashiParts) -> Result<Self, String> {
        let remote = Remote::new(web, "the vault at", &parts.address)?;
        let mount = path_of("mount", &parts.mount)?;
        if mount.is_empty() {
            return Err("the mount of the KV engine is not named".to_owned());
        }
        let prefix = path_of("prefix", &parts.prefix)?;
        let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}/") };
        if let Login::AppRole { mount, .. } = &parts.login {
            path_of("mount of AppRole", mount)?;
        }
        let session = Session::new(remote, headers(parts.namespace.as_deref())?, parts.login);
        Ok(Self { session, mount, prefix, version: parts.version, seen: Mutex::default() })
    }

    /// Keeps the token alive for as long as it is polled. A vault that fails is asked ever more rarely, and a warning tells
    /// of it.
    pub async fn keep_alive(&self) -> Infallible {
        self.session.keep_alive().await
    }

    fn remote(&self) -> &Remote {
        &self.session.remote
    }

    /// `data` or `metadata` in version 2.
    fn place(&self, part: &str, path: &str) -> String {
        let part = match self.version {
            KvVersion::One => String::new(),
            KvVersion::Two => format!("{part}/"),
        };
        format!("/v1/{}/{part}{}{path}", self.mount, self.prefix)
    }

    async fn get(&self, path: &str) -> Result<Page, VaultError> {
        self.session.ask(Method::GET, path, Bytes::new()).await
    }

    fn remember(&self, id: &CredentialId, version: Option<u64>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        match version {
            Some(version) => seen.insert(id.clone(), version),
            None => seen.remove(id),
        };
    }

    fn remembered(&self, id: &CredentialId) -> Option<u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// The version that is there now.
    async fn current(&self, id: &CredentialId) -> Result<u64, VaultError> {
        let page = self.get(&self.place("data", &place::path(id))).await?;
        if page.status != 404 && !is_yes(&page) {
            return Err(self.remote().fault(&page));
        }
        Ok(reply::version(&page.body))
    }

    async fn put_versioned(&self, id: &CredentialId, credential: &Credential) -> Result<(), VaultError> {
        let cas = match self.remembered(id) {
            Some(version) => version,
            None => self.current(id).await?,
        };
        // An answer that is lost leaves it unknown which version is there.
        self.remember(id, None);
        let put = body(&Put { options: Options { cas }, data: document(credential) });
        let page = self.session.ask(Method::POST, &self.place("data", &place::path(id)), put).await?;
        match page.status {
            200..=299 => {
                self.remember(id, Some(cas + 1));
                Ok(())
            }
            400 if reply::is_conflict(&page.body) => Err(self.changed()),
            _ => Err(self.remote().fault(&page)),
        }
    }

    fn changed(&self) -> VaultError {
        VaultError::Unavailable {
            vault: self.remote().name.clone(),
            problem: "somebody else changed it meanwhile".to_owned(),
            retry_after: None,
        }
    }

    async fn put(&self, id: &CredentialId, credential: &Credential) -> Result<(), VaultError> {
        let put = body(&document(credential));
        let page = self.session.ask(Method::POST, &self.place("", &place::path(id)), put).await?;
        if is_yes(&page) { Ok(()) } else { Err(self.remote().fault(&page)) }
    }

    async fn directory(&self, directory: &str) -> Result<Vec<String>, VaultError> {
        let page = self.get(&format!("{}?list=true", self.place("metadata", directory))).await?;
        match page.status {
            404 => Ok(Vec::new()),
            _ if is_yes(&page) => reply::keys(&page.body).map_err(|error| self.remote().unreadable(error)),
            _ => Err(self.remote().fault(&page)),
        }
    }
}

fn headers(namespace: Option<&str>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    // Agents of the vault answer only who says so: a page of another site cannot.
    headers.insert("x-vault-request", HeaderValue::from_static("true"));
    if let Some(namespace) = namespace {
        let value = HeaderValue::from_str(namespace);
        headers.insert("x-vault-namespace", value.map_err(|_| format!("{namespace:?} is no namespace"))?);
    }
    Ok(headers)
}

#[async_trait]
impl SecretVault for HashiVault {
    fn info(&self) -> VaultInfo {
        VaultInfo { name: self.remote().name.clone(), writable: true, listable: true }
    }

    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError> {
        let page = self.get(&self.place("data", &place::path(id))).await?;
        match page.status {
            404 => {
                self.remember(id, Some(reply::version(&page.body)));
                Err(self.remote().missing(id))
            }
            _ if is_yes(&page) => {
                let kept = reply::kept(&page.body, self.version);
                let kept = kept.map_err(|error| self.remote().unreadable(error))?;
                self.remember(id, Some(kept.version));
                kept.credential.ok_or_else(|| self.remote().missing(id))
            }
            _ => Err(self.remote().fault(&page)),
        }
    }

    async fn store(&self, id: &CredentialId, credential: &Credential) -> Result<(), VaultError> {
        match self.version {
            KvVersion::One => self.put(id, credential).await,
            KvVersion::Two => self.put_versioned(id, credential).await,
        }
    }

    async fn remove(&self, id: &CredentialId) -> Result<(), VaultError> {
        self.remember(id, None);
        let path = self.place("metadata", &place::path(id));
        let page = self.session.ask(Method::DELETE, &path, Bytes::new()).await?;
        if is_yes(&page) || page.status == 404 { Ok(()) } else { Err(self.remote().fault(&page)) }
    }

    async fn list(&self) -> Result<Vec<CredentialId>, VaultError> {
        let mut found = Vec::new();
        let mut directories: Vec<_> = ROOTS.map(str::to_owned).into();
        let mut asked = 0;
        while let Some(directory) = directories.pop() {
            asked += 1;
            if asked > DIRECTORIES {
                return Err(self.remote().refused("it has too many directories to be listed"));
            }
            let below = self.directory(&directory).await?.into_iter().map(|key| format!("{directory}{key}"));
            let (deeper, here): (Vec<_>, Vec<_>) = below.partition(|path| path.ends_with('/'));
            found.extend(here.iter().filter_map(|path| place::id(path)));
            directories.extend(deeper.into_iter().filter(|path| place::is_ours(path)));
        }
        found.sort();
        Ok(found)
    }
}
