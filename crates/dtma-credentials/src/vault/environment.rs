//! For development: API keys in variables of the environment. Read only.
//!
//! `DTMA_CREDENTIAL_<SERVER>__<NAME>` is the credential `<NAME>` of that server, in capitals, with `_` for whatever is no
//! letter or digit. Names that differ only there are one variable, so two servers called `a-b` and `a_b` share it. Whoever
//! may look at the daemon's process sees the values.

use async_trait::async_trait;
use dtma_core::credential::{Credential, CredentialId, CredentialOwner, Secret};
use dtma_core::port::vault::{SecretVault, VaultError, VaultInfo};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// What names of variables begin with.
pub const PREFIX: &str = "DTMA_CREDENTIAL_";
const NAME: &str = "the environment";

/// API keys of the environment.
#[derive(Debug)]
pub struct EnvironmentVault {
    variables: BTreeMap<String, SecretString>,
}

impl EnvironmentVault {
    /// Takes those variables whose names begin with [`PREFIX`]; empty ones are none.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours =
            variables.into_iter().filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
        Self { variables: ours.map(|(name, value)| (name, value.into())).collect() }
    }
}

/// The variable of a server's credential; an agent's has none.
fn variable(id: &CredentialId) -> Option<String> {
    let capital = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let written = |name: &str| name.chars().map(capital).collect::<String>();
    match &id.owner {
        CredentialOwner::Instance(instance) => {
            Some(format!("{PREFIX}{}__{}", written(instance.as_str()), written(id.name.as_str())))
        }
        CredentialOwner::Agent { .. } => None,
    }
}

fn unsupported<T>(operation: &'static str) -> Result<T, VaultError> {
    Err(VaultError::Unsupported { vault: NAME.to_owned(), operation })
}

#[async_trait]
impl SecretVault for EnvironmentVault {
    fn info(&self) -> VaultInfo {
        VaultInfo { name: NAME.to_owned(), writable: false, listable: false }
    }

    async fn resolve(&self, id: &CredentialId) -> Result<Credential, VaultError> {
        let value = variable(id).and_then(|name| self.variables.get(&name).cloned());
        let missing = || VaultError::NotFound { vault: NAME.to_owned(), id: Box::new(id.clone()) };
        value.map(|value| Secret::ApiKey(value).into()).ok_or_else(missing)
    }

    async fn store(&self, _id: &CredentialId, _credential: &Credential) -> Result<(), VaultError> {
        unsupported("store")
    }

    async fn remove(&self, _id: &CredentialId) -> Result<(), VaultError> {
        unsupported("remove")
    }

    async fn list(&self) -> Result<Vec<CredentialId>, VaultError> {
        unsupported("list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_core::connection::Agent;
    use dtma_testing::sample::{self, told};

    fn vault() -> EnvironmentVault {
        let variables = [
            ("DTMA_CREDENTIAL_GITHUB_MCP__TOKEN_1", "canary"),
            ("DTMA_CREDENTIAL_GITHUB_MCP__EMPTY", ""),
            ("GITHUB_MCP__TOKEN_1", "other"),
        ];
        EnvironmentVault::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[tokio::test]
    async fn a_variable_is_found_by_server_and_name() {
        let id = sample::credential_id("github-mcp", "token.1");
        assert_eq!(told(&vault().resolve(&id).await.unwrap()), told(&sample::api_key("canary")));
        let agent = CredentialOwner::Agent {
            instance: sample::instance("github-mcp"),
            agent: Agent::Named("a".into()),
        };
        let others = [
            sample::credential_id("github-mcp", "empty"),
            sample::credential_id("github", "mcp_token_1"),
            CredentialId { owner: agent, name: id.name.clone() },
        ];
        for other in others {
            let missing = vault().resolve(&other).await.unwrap_err();
            assert!(matches!(missing, VaultError::NotFound { .. }), "{missing}");
        }
    }

    #[tokio::test]
    async fn nothing_is_written_and_nothing_is_shown() {
        let (vault, id) = (vault(), sample::credential_id("server", "name"));
        assert!(!vault.info().writable && !vault.info().listable);
        assert!(matches!(vault.remove(&id).await, Err(VaultError::Unsupported { operation: "remove", .. })));
        assert!(vault.store(&id, &sample::api_key("k")).await.is_err() && vault.list().await.is_err());
        assert!(!format!("{vault:?}").contains("canary"));
    }
}
