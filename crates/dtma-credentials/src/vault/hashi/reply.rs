//! What HashiCorp Vault and OpenBao answer, read by pure functions.

use super::KvVersion;
use crate::vault::document;
use crate::vault::reply::{Unreadable, borrowed, json};
use dtma_core::credential::Credential;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// No lease is believed to be longer.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

/// A credential, `None` where its last version was deleted, with the number of that version.
pub(super) struct Kept {
    pub(super) credential: Option<Credential>,
    pub(super) version: u64,
}

/// The answer to the question for a credential.
pub(super) fn kept(body: &[u8], version: KvVersion) -> Result<Kept, Unreadable> {
    match version {
        KvVersion::One => {
            let Data { data } = borrowed::<Data<&RawValue>>(body)?;
            Ok(Kept { credential: Some(document::read(data.get().as_bytes())?), version: 0 })
        }
        KvVersion::Two => {
            let Data { data: Versioned { data, metadata } } = borrowed(body)?;
            let credential = data.map(|data| document::read(data.get().as_bytes())).transpose()?;
            Ok(Kept { credential, version: metadata.version })
        }
    }
}

/// The version of what is there, whatever it is; 0 where nothing ever was.
pub(super) fn version(body: &[u8]) -> u64 {
    borrowed::<Data<Versioned<'_>>>(body).map_or(0, |kept| kept.data.metadata.version)
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// Whether a writing was refused because it does not follow on what is there.
pub(super) fn is_conflict(body: &[u8]) -> bool {
    json::<Errors>(body).is_ok_and(|said| said.errors.iter().any(|error| error.contains("check-and-set")))
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

/// What is in a directory; directories end with `/`.
pub(super) fn keys(body: &[u8]) -> Result<Vec<String>, Unreadable> {
    json::<Data<Keys>>(body).map(|keys| keys.data.keys)
}

/// How long a token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// `None`: for ever.
    pub(super) lasts: Option<Duration>,
    pub(super) renewable: bool,
}

fn term(seconds: i64, renewable: bool) -> Term {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    let lasts = (seconds > 0).then(|| Duration::from_secs(seconds).min(LONGEST));
    Term { lasts, renewable }
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: SecretString,
    lease_duration: i64,
    #[serde(default)]
    renewable: bool,
}

/// The answer to a login or a renewal.
pub(super) fn login(body: &[u8]) -> Result<(SecretString, Term), Unreadable> {
    let Login { auth } = json(body)?;
    Ok((auth.client_token, term(auth.lease_duration, auth.renewable)))
}

#[derive(Deserialize)]
struct Own {
    ttl: i64,
    #[serde(default)]
    renewable: bool,
}

/// What a token is told about itself.
pub(super) fn lookup(body: &[u8]) -> Result<Term, Unreadable> {
    json::<Data<Own>>(body).map(|own| term(own.data.ttl, own.data.renewable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::sample::{revealed, told};
    use proptest::prelude::*;

    #[test]
    fn answers_of_both_versions_are_read() {
        let one = kept(br#"{"lease_duration": 2764800, "data": {"A": "1"}}"#, KvVersion::One).unwrap();
        let two = br#"{"data": {"data": {"A": "1"}, "metadata": {"version": 7, "destroyed": false}}}"#;
        let two = kept(two, KvVersion::Two).unwrap();
        assert_eq!((one.version, two.version), (0, 7));
        assert_eq!(told(&one.credential.unwrap()), told(&two.credential.unwrap()));
    }

    #[test]
    fn a_deleted_version_counts_and_is_nothing() {
        let deleted = br#"{"data": {"data": null, "metadata": {"version": 3, "deletion_time": "2026"}}}"#;
        let gone = kept(deleted, KvVersion::Two).unwrap();
        assert!(gone.credential.is_none() && gone.version == 3 && version(deleted) == 3);
        assert_eq!(version(br#"{"errors": []}"#), 0);
    }

    #[test]
    fn a_lease_of_nothing_is_for_ever_and_an_absurd_one_is_not() {
        for (seconds, lasts) in
            [("60", Some(60)), ("0", None), ("-5", None), ("9000000000000", Some(2_592_000))]
        {
            let body = format!(
                r#"{{"auth": {{"client_token": "t", "lease_duration": {seconds}, "renewable": true}}}}"#
            );
            let (token, term) = login(body.as_bytes()).unwrap();
            assert_eq!((revealed(&token).as_str(), term.lasts.map(|lasts| lasts.as_secs())), ("t", lasts));
            let body = format!(r#"{{"data": {{"ttl": {seconds}, "renewable": true}}}}"#);
            assert_eq!(lookup(body.as_bytes()).unwrap(), term);
        }
    }

    #[test]
    fn no_mistake_shows_what_was_answered() {
        for body in
            ["<html>canary", r#"{"data": "canary"}"#, r#"{"auth": {"client_token": ["canary"]}}"#, "", "null"]
        {
            let body = body.as_bytes();
            let errors = [
                kept(body, KvVersion::One).err(),
                kept(body, KvVersion::Two).err(),
                keys(body).err(),
                login(body).err(),
                lookup(body).err(),
            ];
            for error in errors {
                let error = error.expect("it cannot be read");
                assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..100), text in r#"(\{|\}|"data"|"keys"|"auth"|:|,|[0-9]|\[|\]){0,30}"#) {
            for body in [&bytes[..], text.as_bytes()] {
                let _ = (kept(body, KvVersion::One), kept(body, KvVersion::Two), version(body));
                let _ = (keys(body), login(body), lookup(body));
            }
        }
    }
}
