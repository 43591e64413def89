//! Credentials of private registries, in the format of Docker's own `config.json`. They are held as secrets and shown
//! to the engine only, on a pull from the registry they belong to.

use bollard::auth::DockerCredentials;
use dtma_core::id::ImageRef;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How the registry is called that references without a host mean.
const HUB: &str = "docker.io";

/// What is wrong with a file of credentials. It never repeats what the file says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryAuthError {
    /// It is not the JSON that is expected.
    #[error("it is not a Docker config.json: {0}")]
    Malformed(String),
    /// It names programs that would have to be run.
    #[error("{0}: credential helpers are not run; log in with a plain `auth` entry instead")]
    Helper(&'static str),
    /// An entry says neither who nor with what.
    #[error("the entry of {0} has neither an `auth` (base64 of USER:PASSWORD) nor `username` and `password`")]
    Entry(String),
}

/// Who we are to which registry.
#[derive(Debug, Clone, Default)]
pub struct RegistryLogins(BTreeMap<String, Login>);

#[derive(Debug, Clone)]
enum Login {
    Password { user: String, password: SecretString },
    Token(SecretString),
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<SecretString>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<SecretString>,
    #[serde(default, rename = "identitytoken")]
    token: Option<SecretString>,
}

impl RegistryLogins {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// What cannot be used, without a word of the secrets.
    pub fn parse(text: &str) -> Result<Self, RegistryAuthError> {
        let file: File = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if file.store.is_some_and(|store| !store.is_empty()) {
            return Err(RegistryAuthError::Helper("credsStore"));
        }
        if !file.helpers.is_empty() {
            return Err(RegistryAuthError::Helper("credHelpers"));
        }
        let login = |(key, entry): (String, Entry)| match entry.login() {
            Some(login) => Ok((host_of_key(&key), login)),
            None => Err(RegistryAuthError::Entry(key)),
        };
        file.auths.into_iter().map(login).collect::<Result<_, _>>().map(Self)
    }

    /// How many registries there are credentials for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the engine needs them for the pull and keeps them in memory only"
    )]
    pub(crate) fn of(&self, image: &ImageRef) -> Option<DockerCredentials> {
        let host = host(image.as_str());
        let shown =
            DockerCredentials { serveraddress: Some(host.to_owned()), ..DockerCredentials::default() };
        Some(match self.0.get(host)? {
            Login::Password { user, password } => DockerCredentials {
                username: Some(user.clone()),
                password: Some(password.expose_secret().to_owned()),
                ..shown
            },
            Login::Token(token) => {
                DockerCredentials { identitytoken: Some(token.expose_secret().to_owned()), ..shown }
            }
        })
    }
}

/// Line and column only: the parser's own text may quote a secret.
fn malformed(error: &serde_json::Error) -> RegistryAuthError {
    RegistryAuthError::Malformed(format!("line {}, column {}", error.line(), error.column()))
}

impl Entry {
    #[expect(clippy::disallowed_methods, reason = "the two halves are secrets again at once")]
    fn login(self) -> Option<Login> {
        let filled = |secret: &SecretString| !secret.expose_secret().is_empty();
        if let Some(token) = self.token.filter(filled) {
            return Some(Login::Token(token));
        }
        if let (Some(user), Some(password)) = (self.username, self.password) {
            return Some(Login::Password { user, password });
        }
        let decoded = base64::decode(self.auth?.expose_secret())?;
        let (user, password) = decoded.split_once(':')?;
        Some(Login::Password { user: user.to_owned(), password: password.to_owned().into() })
    }
}

/// `https://index.docker.io/v1/` and `registry.example.com:5000/v2/` are keys that clients have written.
fn host_of_key(key: &str) -> String {
    let host = key.split_once("://").map_or(key, |(_, rest)| rest);
    match host.split('/').next().unwrap_or(host) {
        "index.docker.io" | "registry-1.docker.io" | "" => HUB.to_owned(),
        host => host.to_ascii_lowercase(),
    }
}

/// The registry an image is pulled from, told as engines do: a first part with a dot or a port, or `localhost`.
pub(crate) fn host(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.split_once('/') {
        Some(("index.docker.io", _)) => HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some(_) | None => HUB,
    }
}

/// The one encoding that `auth` entries have.
mod base64 {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;

    pub(super) fn decode(text: &str) -> Option<String> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        // Some clients pad the password with zero bytes.
        String::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn logins(document: &serde_json::Value) -> Result<RegistryLogins, RegistryAuthError> {
        RegistryLogins::parse(&document.to_string())
    }

    #[test]
    fn credentials_are_found_by_the_registry_of_the_image() {
        let found = logins(&json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "registry.example.com:5000": {"auth": "dXNlcjpwYTpzcw=="},
            "other.example.com": {"username": "a", "password": "b"},
            "token.example.com": {"auth": "", "identitytoken": "t"},
        }, "HttpHeaders": {"User-Agent": "x"}}))
        .unwrap();
        let of = |image: &str| {
            let found = found.of(&image.into())?;
            Some((found.username.unwrap_or_default(), found.password.or(found.identitytoken).unwrap()))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of("busybox"), pair("hub", "pw"));
        assert_eq!(of("dtma/busybox:1"), pair("hub", "pw"));
        assert_eq!(of("registry.example.com:5000/a/b@sha256:00"), pair("user", "pa:ss"));
        assert_eq!(of("other.example.com/a"), pair("a", "b"));
        assert_eq!(of("token.example.com/a"), pair("", "t"));
        assert_eq!(of("registry.example.com/a"), None);
        assert_eq!(of("localhost/a"), None);
    }

    #[test]
    fn what_cannot_be_used_is_said_without_a_secret() {
        let helper = logins(&json!({"credsStore": "desktop"})).unwrap_err();
        assert!(helper.to_string().starts_with("credsStore: credential helpers are not run"), "{helper}");
        let helpers = logins(&json!({"credHelpers": {"gcr.io": "gcloud"}})).unwrap_err();
        assert_eq!(helpers, RegistryAuthError::Helper("credHelpers"));
        for entry in [json!({}), json!({"auth": "!!"}), json!({"auth": "bm9jb2xvbg=="})] {
            let error = logins(&json!({"auths": {"a.example.com": entry}})).unwrap_err();
            assert_eq!(error, RegistryAuthError::Entry("a.example.com".to_owned()));
        }
        let error =
            RegistryLogins::parse("{\"auths\": {\"a.example.com\": {\"password\": s3cret}}}").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn a_login_does_not_show_its_password() {
        let found =
            logins(&json!({"auths": {"a.example.com": {"username": "u", "password": "s3cret"}}})).unwrap();
        assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
        assert_eq!((found.len(), found.is_empty()), (1, false));
    }
}
