//! Credentials of every kind, and what they are made of in the clear, for tests alone.

use super::{at, instance};
use dtma_core::credential::{Certificate, Credential, CredentialId, CredentialOwner, OAuthTokens, Secret};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use std::collections::{BTreeMap, BTreeSet};

/// The id of a credential of a server's.
///
/// # Panics
/// When one of the two is no name.
#[must_use]
pub fn credential_id(server: &str, name: &str) -> CredentialId {
    let name = name.parse().expect("a valid name");
    CredentialId { owner: CredentialOwner::Instance(instance(server)), name }
}

/// An API key.
#[must_use]
pub fn api_key(key: &str) -> Credential {
    Secret::ApiKey(key.into()).into()
}

/// OAuth tokens that are good for an hour, got at this second. Without a canary in scopes and times, which are not secret.
#[must_use]
pub fn oauth_tokens(canary: &str, second: i64) -> OAuthTokens {
    let token = |which: &str| SecretString::from(format!("{canary}-{which}"));
    OAuthTokens {
        access: token("access"),
        refresh: Some(token("refresh")),
        previous_refresh: Some(token("previous")),
        scopes: ["repo", "read:org"].map(str::to_owned).into(),
        obtained_at: Some(at(second)),
        expires_at: Some(at(second + 3600)),
    }
}

/// One credential of every kind and shape. Every value begins with the canary.
#[must_use]
pub fn credentials(canary: &str) -> Vec<Credential> {
    let value = |which: &str| SecretString::from(format!("{canary}-{which}"));
    let bare = OAuthTokens {
        access: value("alone"),
        refresh: None,
        previous_refresh: None,
        scopes: BTreeSet::new(),
        obtained_at: None,
        expires_at: None,
    };
    let pem =
        Certificate::Pem { chain: value("chain"), key: value("pem-key"), authorities: Some(value("ca")) };
    let short = Certificate::Pem { chain: value("short"), key: value("short-key"), authorities: None };
    let archive = SecretSlice::from([canary.as_bytes(), &[0, 255, 128]].concat());
    let pkcs12 = Certificate::Pkcs12 { archive: archive.clone(), password: Some(value("password")) };
    let open = Certificate::Pkcs12 { archive, password: None };
    let fields = ["GITHUB_TOKEN", "GH_TOKEN", "ünïcode\n"].map(|name| (name.to_owned(), value(name)));
    let secrets = [
        Secret::OAuth(oauth_tokens(canary, 1)),
        Secret::OAuth(bare),
        Secret::ApiKey(value("api-key")),
        Secret::Certificate(pem),
        Secret::Certificate(short),
        Secret::Certificate(pkcs12),
        Secret::Certificate(open),
        Secret::Fields(BTreeMap::from(fields)),
        Secret::Fields(BTreeMap::new()),
    ];
    let attributes = BTreeMap::from([("provider".to_owned(), "github".to_owned())]);
    secrets.map(|secret| Credential { secret, attributes: attributes.clone() }).into()
}

/// All that a credential is made of, in the clear, so that two can be compared and what is wrong can be read.
#[must_use]
pub fn told(credential: &Credential) -> Vec<(String, String)> {
    let mut told: Vec<_> = told_attributes(credential).collect();
    told.push(("kind".to_owned(), credential.secret.kind().to_string()));
    match &credential.secret {
        Secret::OAuth(tokens) => told_tokens(tokens, &mut told),
        Secret::ApiKey(key) => told.push(("key".to_owned(), revealed(key))),
        Secret::Certificate(certificate) => told_certificate(certificate, &mut told),
        Secret::Fields(fields) => {
            told.extend(fields.iter().map(|(name, value)| (format!("field {name}"), revealed(value))));
        }
    }
    told
}

fn told_attributes(credential: &Credential) -> impl Iterator<Item = (String, String)> {
    credential.attributes.iter().map(|(name, value)| (format!("attribute {name}"), value.clone()))
}

fn told_tokens(tokens: &OAuthTokens, told: &mut Vec<(String, String)>) {
    told.push(("access".to_owned(), revealed(&tokens.access)));
    told.push(("refresh".to_owned(), format!("{:?}", tokens.refresh.as_ref().map(revealed))));
    told.push(("previous".to_owned(), format!("{:?}", tokens.previous_refresh.as_ref().map(revealed))));
    told.push(("scopes".to_owned(), format!("{:?}", tokens.scopes)));
    told.push(("times".to_owned(), format!("{:?} {:?}", tokens.obtained_at, tokens.expires_at)));
}

fn told_certificate(certificate: &Certificate, told: &mut Vec<(String, String)>) {
    match certificate {
        Certificate::Pem { chain, key, authorities } => {
            told.push(("chain".to_owned(), revealed(chain)));
            told.push(("key".to_owned(), revealed(key)));
            told.push(("authorities".to_owned(), format!("{:?}", authorities.as_ref().map(revealed))));
        }
        Certificate::Pkcs12 { archive, password } => {
            told.push(("archive".to_owned(), format!("{:?}", revealed_bytes(archive))));
            told.push(("password".to_owned(), format!("{:?}", password.as_ref().map(revealed))));
        }
    }
}

/// What a secret is.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test compares what went in with what came out")]
pub fn revealed(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test compares what went in with what came out")]
fn revealed_bytes(secret: &SecretSlice<u8>) -> Vec<u8> {
    secret.expose_secret().to_vec()
}
