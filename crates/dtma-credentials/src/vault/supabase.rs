//! Supabase Vault over REST: its schema `vault` as PostgREST shows it, when it is among the project's exposed schemas.
//!
//! A credential is a secret whose name is ours (`PREFIX/` and its path, `place.rs`) and whose text is our JSON; a text that
//! is no JSON object was brought by somebody else and is an API key. It is read from the view `decrypted_secrets`, written
//! by the functions `create_secret` and `update_secret`, and deleted from the table `secrets`. There is no check that
//! nobody else wrote meanwhile: of two writers the last one counts.

use super::document;
use super::place;
use super::remote::{Remote, body, is_yes, prove};
use super::reply::{Unreadable, json};
use crate::web::{Page, Web};
use async_trait::async_trait;
use bytes::Bytes;
use dtma_core::credential::{Credential, CredentialId, Secret};
use dtma_core::port::vault::{SecretVault, VaultError, VaultInfo};
use http::{HeaderMap, HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const SCHEMA: HeaderValue = HeaderValue::from_static("vault");
/// Names in one page of a list.
const PAGE: usize = 500;
/// A list has no more pages.
const PAGES: usize = 200;

/// Credentials in a Supabase project.
#[derive(Debug)]
pub struct SupabaseVault {
    remote: Remote,
    headers: HeaderMap,
    prefix: String,
}

/// A secret as the view shows it.
#[derive(Deserialize)]
pub(super) struct Row {
    id: String,
    decrypted_secret: Option<SecretString>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Serialize)]
struct Create<'a> {
    new_secret: document::Outgoing<'a>,
    new_name: &'a str,
    new_description: &'a str,
}

#[derive(Serialize)]
struct Update<'a> {
    secret_id: &'a str,
    new_secret: document::Outgoing<'a>,
}

/// The secret of a name, where there is one: the answer is a list.
pub(super) fn row(reply: &[u8]) -> Result<Option<Row>, Unreadable> {
    let mut rows = json::<Vec<Row>>(reply)?;
    let row = rows.pop();
    let is_uuid =
        |id: &str| id.len() == 36 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    match row {
        Some(_) if !rows.is_empty() => Err(Unreadable::Shape("two secrets of one name")),
        Some(row) if !is_uuid(&row.id) => Err(Unreadable::Shape("a secret whose id is none")),
        row => Ok(row),
    }
}

impl Row {
    /// What is in it; `None` where the vault shows nothing.
    pub(super) fn credential(self) -> Result<Option<Credential>, Unreadable> {
        self.decrypted_secret.map(read).transpose()
    }
}

#[expect(clippy::disallowed_methods, reason = "what the vault keeps as text is parsed")]
fn read(secret: SecretString) -> Result<Credential, Unreadable> {
    let text = secret.expose_secret();
    if text.trim_start().starts_with('{') {
        return document::read(text.as_bytes());
    }
    Ok(Secret::ApiKey(secret).into())
}

impl SupabaseVault {
    /// The project at `https://PROJECT.supabase.co`, asked with its service key. `prefix` is of letters, digits, `-`, `_`
    /// and `.`; secrets without it are not ours.
    ///
    /// # Errors
    /// What is wrong with one of them, for whoever wrote it.
    pub fn new(web: Web, address: &str, key: &SecretString, prefix: &str) -> Result<Self, String> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if prefix.is_empty() || !prefix.bytes().all(good) {
            return Err(format!("the prefix {prefix:?} is not of letters, digits, '-', '_' and '.'"));
        }
        let mut headers = HeaderMap::new();
        prove(&mut headers, "apikey", "", key)?;
        prove(&mut headers, "authorization", "Bearer ", key)?;
        headers.insert("accept-profile", SCHEMA);
        headers.insert("content-profile", SCHEMA);
        let remote = Remote::new(web, "Supabase Vault at", address)?;
        Ok(Self { remote, headers, prefix: format!("{prefix}/") })
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Page, VaultError> {
        let page = self.remote.ask(method, &format!("/rest/v1/{path}"), self.headers.clone(), body).await?;
        match page.status {
            // Somebody else made it between our question and our writing.
            409 => Err(VaultError::Unavailable {
                vault: self.remote.name.clone(),
                problem: "somebody else changed it meanwhile".to_owned(),
                retry_after: None,
            }),
            _ if is_yes(&page) => Ok(page),
            _ => Err(self.remote.fault(&page)),
        }
    }

    fn name(&self, id: &CredentialId) -> String {
        format!("{}{}", self.prefix, place::path(id))
    }

    /// PostgREST's filter for one name.
    fn filter(&self, id: &CredentialId) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("name", &format!("eq.{}", self.name(id)))
            .finish()
    }

    async fn row(&self, id: &CredentialId, columns: &str) -> Result<Option<Row>, VaultError> {
        let path = format!("decrypted_secrets?select={columns}&limit=2&{}", self.filter(id));
        let page = self.ask(Method::GET, &path, Bytes::new()).await?;
        row(&page.body).map_err(|error| self.remote.unreadable(error))
    }

    /// A page of names, those that are not ours among them.
    async fn names(&self, offset: usize) -> Result<Vec<Named>, VaultError> {
        let like = format!("like.{}*", self.prefix);
        let filter = form_urlencoded::Serializer::new(String::new()).append_pair("name", &like).finish();
        let path = format!("secrets?select=name&order=name&limit={PAGE}&offset={offset}&{filter}");
        let page = self.ask(Method::GET, &path, Bytes::new()).await?;
        json(&page.body).map_err(|error| self.remote.unreadable(error))
    }
}

#[async_trait]
impl SecretVault for SupabaseVault {
    fn info(&self) -> VaultInfo {
        VaultInfo { name: self.remote.name.clone(), writable: true, listable: true }
    }

    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError> {
        let row = self.row(id, "id,decrypted_secret").await?.ok_or_else(|| self.remote.missing(id))?;
        let credential = row.credential().map_err(|error| self.remote.unreadable(error))?;
        credential.ok_or_else(|| self.remote.missing(id))
    }

    async fn store(&self, id: &CredentialId, credential: &Credential) -> Result<(), VaultError> {
        let text = document::text(credential);
        let new_secret = document::Outgoing::Borrowed(&text);
        let (function, body) = match self.row(id, "id").await? {
            Some(row) => ("update_secret", body(&Update { secret_id: &row.id, new_secret })),
            None => {
                let (new_name, new_description) = (&*self.name(id), "a credential of DTMA");
                ("create_secret", body(&Create { new_secret, new_name, new_description }))
            }
        };
        self.ask(Method::POST, &format!("rpc/{function}"), body).await.map(drop)
    }

    async fn remove(&self, id: &CredentialId) -> Result<(), VaultError> {
        let path = format!("secrets?{}", self.filter(id));
        self.ask(Method::DELETE, &path, Bytes::new()).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<CredentialId>, VaultError> {
        let (mut found, mut offset) = (BTreeSet::new(), 0);
        for _ in 0..PAGES {
            let names = self.names(offset).await?;
            if names.is_empty() {
                return Ok(found.into_iter().collect());
            }
            offset += names.len();
            let ours = names.iter().filter_map(|named| named.name.as_deref()?.strip_prefix(&self.prefix));
            found.extend(ours.filter_map(place::id));
        }
        Err(self.remote.refused("it has too many secrets to be listed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample::{self, told};
    use proptest::prelude::*;

    const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn shown(secret: &str) -> Vec<(String, String)> {
        let reply = serde_json::json!([{"id": ID, "decrypted_secret": secret}]).to_string();
        told(&row(reply.as_bytes()).unwrap().unwrap().credential().unwrap().unwrap())
    }

    #[test]
    fn what_we_wrote_is_read_and_other_texts_are_keys() {
        let key = sample::api_key("k");
        assert_eq!(shown(&sample::revealed(&document::text(&key))), told(&key));
        assert_eq!(shown("a text"), told(&sample::api_key("a text")));
        assert!(row(b"[]").unwrap().is_none());
    }

    #[test]
    fn what_is_no_row_is_refused_and_not_shown() {
        let two = format!(r#"[{{"id": "{ID}"}}, {{"id": "{ID}"}}]"#);
        for reply in [&*two, r#"[{"id": "canary"}]"#, r#"{"message": "canary"}"#, "<canary>", ""] {
            let error = row(reply.as_bytes()).err().expect(reply);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..100), text in r#"(\{|\}|\[|\]|"id"|"decrypted_secret"|:|,|null|1){0,20}"#) {
            let _ = (row(&bytes).map(|row| row.map(Row::credential)), row(text.as_bytes()));
        }
    }
}
