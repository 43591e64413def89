//! The backend's credentials of an agent's tool: `POST .../get-agent-tool-credentials`. Read only.
//!
//! All that the backend has for one question is one credential with a field for each value. Which question a credential is
//! depends on accounts the backend knows and we do not: whoever makes the vault says it.

use super::document;
use super::remote::{Remote, body, is_yes, prove};
use super::reply::{Unreadable, borrowed};
use crate::web::Web;
use async_trait::async_trait;
use dtma_core::credential::{Credential, CredentialId, Secret};
use dtma_core::port::vault::{SecretVault, VaultError, VaultInfo};
use http::{HeaderMap, Method};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// What the backend is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendQuestion {
    /// The agent as the backend calls it.
    pub agent_id: String,
    /// The tool of an account as the backend calls it.
    pub account_tool_instance_id: String,
    /// Only values of these connections; of all where it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub oauth_connection_ids: Vec<String>,
    /// What the values have to be good for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_scopes: Vec<String>,
}

/// The question that a credential is; none where the backend knows nothing of it.
pub type BackendQuestions = Box<dyn Fn(&CredentialId) -> Option<BackendQuestion> + Send + Sync>;

/// Credentials that the backend has.
pub struct BackendVault {
    remote: Remote,
    headers: HeaderMap,
    questions: BackendQuestions,
}

impl fmt::Debug for BackendVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendVault").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl BackendVault {
    /// The backend whose address without `/get-agent-tool-credentials` is `address`, asked with its token.
    ///
    /// # Errors
    /// What is wrong with the address or the token, for whoever wrote it.
    pub fn new(
        web: Web,
        address: &str,
        token: &SecretString,
        questions: BackendQuestions,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        prove(&mut headers, "authorization", "Bearer ", token)?;
        Ok(Self { remote: Remote::new(web, "the backend", address)?, headers, questions })
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    secrets: &'a RawValue,
}

/// The values of both shapes: `{"secrets": {NAME: value}}` and `{NAME: value}`. A value may be missing (`null`).
pub(super) fn values(reply: &[u8]) -> Result<BTreeMap<String, SecretString>, Unreadable> {
    match borrowed::<Envelope<'_>>(reply) {
        // A bare map may have a value of that name.
        Ok(Envelope { secrets }) if secrets.get().starts_with('{') => {
            document::fields(secrets.get().as_bytes())
        }
        Ok(_) | Err(_) => document::fields(reply),
    }
}

#[async_trait]
impl SecretVault for BackendVault {
    fn info(&self) -> VaultInfo {
        VaultInfo { name: self.remote.name.clone(), writable: false, listable: false }
    }

    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError> {
        let question = (self.questions)(id).ok_or_else(|| self.remote.missing(id))?;
        let path = "/get-agent-tool-credentials";
        let page = self.remote.ask(Method::POST, path, self.headers.clone(), body(&question)).await?;
        if page.status == 404 {
            return Err(self.remote.missing(id));
        }
        if !is_yes(&page) {
            return Err(self.remote.fault(&page));
        }
        let values = values(&page.body).map_err(|error| self.remote.unreadable(error))?;
        if values.is_empty() {
            return Err(self.remote.missing(id));
        }
        Ok(Secret::Fields(values).into())
    }

    async fn store(&self, _id: &CredentialId, _credential: &Credential) -> Result<(), VaultError> {
        self.remote.unsupported("store")
    }

    async fn remove(&self, _id: &CredentialId) -> Result<(), VaultError> {
        self.remote.unsupported("remove")
    }

    async fn list(&self) -> Result<Vec<CredentialId>, VaultError> {
        self.remote.unsupported("list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample::revealed;
    use proptest::prelude::*;

    fn shown(reply: &str) -> Vec<(String, String)> {
        let values = values(reply.as_bytes()).unwrap();
        values.into_iter().map(|(name, value)| (name, revealed(&value))).collect()
    }

    #[test]
    fn both_shapes_are_one() {
        let expected = vec![("A".to_owned(), "1".to_owned())];
        for reply in [
            r#"{"secrets": {"A": "1", "B": null}}"#,
            r#"{"A": "1", "B": null}"#,
            r#"{"success": true, "secrets": {"A": 1}}"#,
        ] {
            assert_eq!(shown(reply), expected, "{reply}");
        }
        assert_eq!(shown(r#"{"secrets": "s"}"#), [("secrets".to_owned(), "s".to_owned())]);
        assert_eq!(shown("{}"), []);
        assert_eq!(shown(r#"{"secrets": {}}"#), []);
    }

    #[test]
    fn what_is_neither_is_refused_and_not_shown() {
        for reply in
            [r#"["canary"]"#, r#"{"secrets": ["canary"]}"#, r#"{"A": {"canary": 1}}"#, "canary", "<canary>"]
        {
            let error = values(reply.as_bytes()).expect_err(reply);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..100), text in r#"(\{|\}|"secrets"|"A"|:|,|null|1){0,20}"#) {
            let _ = (values(&bytes), values(text.as_bytes()));
        }
    }
}
