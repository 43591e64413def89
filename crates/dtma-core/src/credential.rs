//! Credentials: whose they are, what they are called, what they are made of.
//!
//! Whatever is secret is a value of the crate `secrecy`: it is overwritten when it is dropped, shows nothing in `Debug`,
//! and cannot be serialised. Where it is kept is behind [`SecretVault`](crate::port::SecretVault); who may have it, and
//! how it gets into a container, is left to others.

use crate::Timestamp;
use crate::connection::Agent;
use crate::id::{CredentialName, InstanceName};
use secrecy::{SecretSlice, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whose a credential is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialOwner {
    /// The server's, whoever uses it.
    Instance(InstanceName),
    /// One agent's, at one server.
    Agent {
        /// The server.
        instance: InstanceName,
        /// Who acts through it.
        agent: Agent,
    },
}

impl CredentialOwner {
    /// The server that it is used by.
    #[must_use]
    pub fn instance(&self) -> &InstanceName {
        match self {
            Self::Instance(instance) | Self::Agent { instance, .. } => instance,
        }
    }
}

impl fmt::Display for CredentialOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(instance) => write!(f, "server {instance}"),
            Self::Agent { instance, agent } => write!(f, "agent {agent} at server {instance}"),
        }
    }
}

/// Names one credential: no owner has two of one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId {
    /// Whose it is.
    pub owner: CredentialOwner,
    /// What its owner calls it.
    pub name: CredentialName,
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.owner)
    }
}

/// A credential with its values.
#[derive(Debug, Clone)]
pub struct Credential {
    /// What is secret.
    pub secret: Secret,
    /// What is not, by name: the provider, the account, the client. Shown to whoever may see that there is a credential.
    pub attributes: BTreeMap<String, String>,
}

impl From<Secret> for Credential {
    fn from(secret: Secret) -> Self {
        Self { secret, attributes: BTreeMap::new() }
    }
}

/// What is secret of a credential.
#[derive(Debug, Clone)]
pub enum Secret {
    /// What a grant by OAuth gave.
    OAuth(OAuthTokens),
    /// A key or a token that does not change by itself.
    ApiKey(SecretString),
    /// A certificate with its private key.
    Certificate(Certificate),
    /// Values by name, as key-value vaults keep them.
    Fields(BTreeMap<String, SecretString>),
}

impl Secret {
    /// Which of the four it is.
    #[must_use]
    pub fn kind(&self) -> SecretKind {
        match self {
            Self::OAuth(_) => SecretKind::OAuth,
            Self::ApiKey(_) => SecretKind::ApiKey,
            Self::Certificate(_) => SecretKind::Certificate,
            Self::Fields(_) => SecretKind::Fields,
        }
    }
}

/// The kind of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// [`Secret::OAuth`].
    OAuth,
    /// [`Secret::ApiKey`].
    ApiKey,
    /// [`Secret::Certificate`].
    Certificate,
    /// [`Secret::Fields`].
    Fields,
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OAuth => "OAuth tokens",
            Self::ApiKey => "API key",
            Self::Certificate => "certificate",
            Self::Fields => "fields",
        })
    }
}

/// What a grant by OAuth gave. Only the access token is ever for a server; the others stay with whoever refreshes.
#[derive(Debug, Clone)]
pub struct OAuthTokens {
    /// The access token.
    pub access: SecretString,
    /// The refresh token, where there is one.
    pub refresh: Option<SecretString>,
    /// The refresh token before that, kept until the new one is proved: the answer that brought it may have been lost to
    /// somebody.
    pub previous_refresh: Option<SecretString>,
    /// What the access token is good for.
    pub scopes: BTreeSet<String>,
    /// When the access token was got, by our clock.
    pub obtained_at: Option<Timestamp>,
    /// When it ends, by our clock; `None` where nobody said.
    pub expires_at: Option<Timestamp>,
}

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// Texts with `-----BEGIN …-----`.
    Pem {
        /// The certificate, followed by those between it and the authority.
        chain: SecretString,
        /// Its private key.
        key: SecretString,
        /// The authorities to trust, where they are not the system's.
        authorities: Option<SecretString>,
    },
    /// All in one archive, PKCS#12.
    Pkcs12 {
        /// The archive.
        archive: SecretSlice<u8>,
        /// What opens it.
        password: Option<SecretString>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let canary = || SecretString::from("canary");
        let tokens = OAuthTokens {
            access: canary(),
            refresh: Some(canary()),
            previous_refresh: Some(canary()),
            scopes: BTreeSet::from(["repo".to_owned()]),
            obtained_at: None,
            expires_at: None,
        };
        let pem = Certificate::Pem { chain: canary(), key: canary(), authorities: Some(canary()) };
        let archive = SecretSlice::from(b"canary".to_vec());
        let pkcs12 = Certificate::Pkcs12 { archive, password: Some(canary()) };
        let secrets = [
            Secret::OAuth(tokens),
            Secret::ApiKey(canary()),
            Secret::Certificate(pem),
            Secret::Certificate(pkcs12),
            Secret::Fields(BTreeMap::from([("TOKEN".to_owned(), canary())])),
        ];
        for secret in secrets {
            let shown = format!("{:?}", Credential::from(secret));
            assert!(shown.contains("REDACTED"), "{shown}");
            assert!(!shown.contains("canary") && !shown.contains("99, 97, 110"), "{shown}");
        }
    }

    #[test]
    fn a_credential_says_whose_it_is() {
        let instance: InstanceName = "github-mcp".parse().unwrap();
        let name: CredentialName = "github".parse().unwrap();
        let agent = Agent::Named("bob".to_owned());
        let ids = [CredentialOwner::Instance(instance.clone()), CredentialOwner::Agent { instance, agent }]
            .map(|owner| CredentialId { owner, name: name.clone() }.to_string());
        assert_eq!(ids, ["github of server github-mcp", "github of agent name:bob at server github-mcp"]);
    }
}
