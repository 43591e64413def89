//! A credential as a JSON object, for vaults that keep JSON or text.
//!
//! What we write names itself: `{"dtma": 1, "attributes": {...}, "secret": {"api_key": "..."}}`, with one of `api_key`,
//! `oauth`, `pem`, `pkcs12` and `fields`. An object without `dtma` was brought by somebody else, as `vault kv put` does: its values are
//! the fields of the credential.

use super::reply::{Scalar, Unreadable, json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dtma_core::Timestamp;
use dtma_core::credential::{Certificate, Credential, OAuthTokens, Secret};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use zeroize::{Zeroize, Zeroizing};

const VERSION: u64 = 1;

/// What stands in the object; `S` is a secret to be read or to be written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document<S> {
    dtma: u64,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    secret: Kind<S>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind<S> {
    ApiKey(S),
    Oauth(Tokens<S>),
    Pem(Pem<S>),
    Pkcs12(Pkcs12<S>),
    Fields(BTreeMap<String, S>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens<S> {
    access_token: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_refresh_token: Option<S>,
    #[serde(default)]
    scopes: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obtained_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pem<S> {
    chain: S,
    key: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorities: Option<S>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pkcs12<S> {
    /// Base64.
    archive: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<S>,
}

/// Whether an object names itself, and as what.
#[derive(Deserialize)]
struct Mark {
    dtma: u64,
}

/// A secret on its way to a vault.
pub(super) enum Outgoing<'a> {
    Borrowed(&'a SecretString),
    Owned(SecretString),
}

impl Serialize for Outgoing<'_> {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is written into the request to the vault that keeps it"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let secret = match self {
            Self::Borrowed(secret) => secret,
            Self::Owned(secret) => secret,
        };
        serializer.serialize_str(secret.expose_secret())
    }
}

/// A credential as it is written.
pub(super) fn document(credential: &Credential) -> Document<Outgoing<'_>> {
    let out = Outgoing::Borrowed;
    let secret = match &credential.secret {
        Secret::ApiKey(key) => Kind::ApiKey(out(key)),
        Secret::Fields(fields) => {
            Kind::Fields(fields.iter().map(|(name, value)| (name.clone(), out(value))).collect())
        }
        Secret::OAuth(tokens) => Kind::Oauth(Tokens {
            access_token: out(&tokens.access),
            refresh_token: tokens.refresh.as_ref().map(out),
            previous_refresh_token: tokens.previous_refresh.as_ref().map(out),
            scopes: tokens.scopes.clone(),
            obtained_at: tokens.obtained_at,
            expires_at: tokens.expires_at,
        }),
        Secret::Certificate(Certificate::Pem { chain, key, authorities }) => {
            Kind::Pem(Pem { chain: out(chain), key: out(key), authorities: authorities.as_ref().map(out) })
        }
        Secret::Certificate(Certificate::Pkcs12 { archive, password }) => {
            let archive = Outgoing::Owned(encoded(archive));
            Kind::Pkcs12(Pkcs12 { archive, password: password.as_ref().map(out) })
        }
    };
    Document { dtma: VERSION, attributes: credential.attributes.clone(), secret }
}

#[expect(clippy::disallowed_methods, reason = "it is written into the request to the vault that keeps it")]
fn encoded(archive: &SecretSlice<u8>) -> SecretString {
    STANDARD.encode(archive.expose_secret()).into()
}

#[expect(clippy::disallowed_methods, reason = "an archive is unpacked into a secret of its own")]
fn decoded(archive: &SecretString) -> Result<SecretSlice<u8>, Unreadable> {
    let bytes = STANDARD.decode(archive.expose_secret());
    bytes.map(SecretSlice::from).map_err(|_| Unreadable::Shape("an archive that is no base64"))
}

/// Counts before anything is written, so that the place of what is secret never moves.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON in memory that is overwritten when it is dropped; nothing when it cannot be JSON, which no value of ours is.
pub(super) fn written(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut count = Count(0);
    let mut out = Zeroizing::new(Vec::new());
    if serde_json::to_writer(&mut count, value).is_ok() {
        out.reserve_exact(count.0);
        if serde_json::to_writer(&mut *out, value).is_err() {
            out.zeroize();
        }
    }
    out
}

/// The same as text inside of other JSON.
pub(super) fn text(credential: &Credential) -> SecretString {
    let bytes = written(&document(credential));
    str::from_utf8(&bytes).unwrap_or_default().into()
}

/// The body of a request.
pub(super) fn body(value: &impl Serialize) -> Bytes {
    Bytes::from_owner(written(value))
}

/// Reads an object that we or somebody else wrote.
pub(super) fn read(bytes: &[u8]) -> Result<Credential, Unreadable> {
    match json::<Mark>(bytes) {
        Ok(Mark { dtma: VERSION }) => json::<Document<SecretString>>(bytes)?.credential(),
        Ok(_) => Err(Unreadable::Shape("a credential that a newer version wrote")),
        Err(_) => Ok(Secret::Fields(fields(bytes)?).into()),
    }
}

/// Values by name; what has no value is not there.
pub(super) fn fields(bytes: &[u8]) -> Result<BTreeMap<String, SecretString>, Unreadable> {
    let fields = json::<BTreeMap<String, Scalar>>(bytes)?;
    Ok(fields.into_iter().filter_map(|(name, Scalar(value))| Some((name, value?))).collect())
}

impl Document<SecretString> {
    fn credential(self) -> Result<Credential, Unreadable> {
        let secret = match self.secret {
            Kind::ApiKey(key) => Secret::ApiKey(key),
            Kind::Fields(fields) => Secret::Fields(fields),
            Kind::Oauth(tokens) => Secret::OAuth(OAuthTokens {
                access: tokens.access_token,
                refresh: tokens.refresh_token,
                previous_refresh: tokens.previous_refresh_token,
                scopes: tokens.scopes,
                obtained_at: tokens.obtained_at,
                expires_at: tokens.expires_at,
            }),
            Kind::Pem(Pem { chain, key, authorities }) => {
                Secret::Certificate(Certificate::Pem { chain, key, authorities })
            }
            Kind::Pkcs12(Pkcs12 { archive, password }) => {
                Secret::Certificate(Certificate::Pkcs12 { archive: decoded(&archive)?, password })
            }
        };
        Ok(Credential { secret, attributes: self.attributes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample::{self, told};
    use proptest::prelude::*;

    #[test]
    fn every_kind_is_read_as_it_was_written_also_as_text() {
        for credential in sample::credentials("can\"ary\n") {
            assert_eq!(told(&read(&written(&document(&credential))).unwrap()), told(&credential));
            assert_eq!(
                told(&read(sample::revealed(&text(&credential)).as_bytes()).unwrap()),
                told(&credential)
            );
        }
    }

    #[test]
    fn what_somebody_else_brought_are_fields() {
        let fields =
            read(br#"{"TOKEN": "t", "PORT": 80, "ON": true, "GONE": null, "api_key": "k"}"#).unwrap();
        let expected = [("ON", "true"), ("PORT", "80"), ("TOKEN", "t"), ("api_key", "k")];
        let expected: Vec<_> =
            expected.map(|(name, value)| (format!("field {name}"), value.to_owned())).into();
        assert_eq!(told(&fields)[1..], expected);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_and_not_shown() {
        let bad = [
            "",
            "[]",
            "\"canary\"",
            "null",
            r#"{"dtma": 2, "secret": {"api_key": "canary"}}"#,
            r#"{"dtma": 1, "secret": {"api_key": "canary"}, "canary": "canary"}"#,
            r#"{"dtma": 1, "secret": {"api_key": "canary", "fields": {}}}"#,
            r#"{"dtma": 1, "secret": {"pkcs12": {"archive": "canary!"}}}"#,
            r#"{"TOKEN": ["canary"]}"#,
            r#"{"TOKEN": {"canary": 1}}"#,
            r#"{"TOKEN": "canary""#,
        ];
        for text in bad {
            let refused = read(text.as_bytes()).expect_err(text);
            assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn any_fields_come_back(fields in prop::collection::btree_map(".{0,8}", ".{0,20}", 0..6)) {
            let fields = fields.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect();
            let credential = Credential::from(Secret::Fields(fields));
            let read = read(&written(&document(&credential))).unwrap();
            prop_assert_eq!(told(&read), told(&credential));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200), text in r#"[{}\[\]":,a-z0-9\\]{0,60}"#) {
            let _ = (read(&bytes), read(text.as_bytes()));
        }
    }
}
