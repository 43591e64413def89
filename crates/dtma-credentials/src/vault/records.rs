//! What is sealed in a vault: credentials as bytes. A codec of our own, because one that grows its buffers or unescapes
//! texts leaves copies of secrets behind in memory that nobody overwrites.
//!
//! Numbers are of 32 bits, big endian; a text is its length and its UTF-8; what may be absent is a byte 0, or a byte 1 and
//! the value; a map or set is its count and its entries, in strictly ascending order. All is one map of id to credential,
//! filled up with zeros to a multiple of 1024 bytes, so that the length of the file tells little. There is one way to
//! write down the same credentials, and no other is read.

use dtma_core::Timestamp;
use dtma_core::connection::{Agent, TokenDigest};
use dtma_core::credential::{Certificate, Credential, CredentialId, CredentialOwner, OAuthTokens, Secret};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use std::collections::{BTreeMap, BTreeSet};

/// Everything in a vault.
pub(super) type Records = BTreeMap<CredentialId, Credential>;

const PADDING: usize = 1024;

/// What was read is not what is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Bytes that [`write`] needs.
pub(super) fn size(records: &Records) -> usize {
    let mut out = Out { into: None, at: 0 };
    out.records(records);
    out.at.next_multiple_of(PADDING)
}

/// Writes into a place of [`size`] zeros.
pub(super) fn write(records: &Records, into: &mut [u8]) {
    Out { into: Some(into), at: 0 }.records(records);
}

/// Writes, or only counts.
struct Out<'a> {
    into: Option<&'a mut [u8]>,
    at: usize,
}

impl Out<'_> {
    fn raw(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if let Some(place) = self.into.as_deref_mut().and_then(|into| into.get_mut(self.at..end)) {
            place.copy_from_slice(bytes);
        }
        self.at = end;
    }

    /// What is longer than a number can say is far beyond the bound of the file, which refuses it.
    fn count(&mut self, count: usize) {
        self.raw(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it is written to be sealed, into memory that is overwritten after"
    )]
    fn secret(&mut self, secret: &SecretString) {
        self.text(secret.expose_secret());
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it is written to be sealed, into memory that is overwritten after"
    )]
    fn secret_bytes(&mut self, secret: &SecretSlice<u8>) {
        self.bytes(secret.expose_secret());
    }

    fn optional<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.raw(&[u8::from(value.is_some())]);
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn records(&mut self, records: &Records) {
        self.count(records.len());
        for (id, credential) in records {
            self.id(id);
            self.credential(credential);
        }
    }

    fn id(&mut self, id: &CredentialId) {
        match &id.owner {
            CredentialOwner::Instance(instance) => {
                self.raw(&[1]);
                self.text(instance.as_str());
            }
            CredentialOwner::Agent { instance, agent } => {
                self.raw(&[2]);
                self.text(instance.as_str());
                self.agent(agent);
            }
        }
        self.text(id.name.as_str());
    }

    fn agent(&mut self, agent: &Agent) {
        match agent {
            Agent::Named(name) => {
                self.raw(&[1]);
                self.text(name);
            }
            Agent::Digest(TokenDigest(digest)) => {
                self.raw(&[2]);
                self.raw(digest);
            }
        }
    }

    fn credential(&mut self, credential: &Credential) {
        self.count(credential.attributes.len());
        for (name, value) in &credential.attributes {
            self.text(name);
            self.text(value);
        }
        match &credential.secret {
            Secret::OAuth(tokens) => {
                self.raw(&[1]);
                self.tokens(tokens);
            }
            Secret::ApiKey(key) => {
                self.raw(&[2]);
                self.secret(key);
            }
            Secret::Certificate(certificate) => self.certificate(certificate),
            Secret::Fields(fields) => {
                self.raw(&[5]);
                self.count(fields.len());
                for (name, value) in fields {
                    self.text(name);
                    self.secret(value);
                }
            }
        }
    }

    fn tokens(&mut self, tokens: &OAuthTokens) {
        self.secret(&tokens.access);
        self.optional(tokens.refresh.as_ref(), Self::secret);
        self.optional(tokens.previous_refresh.as_ref(), Self::secret);
        self.count(tokens.scopes.len());
        tokens.scopes.iter().for_each(|scope| self.text(scope));
        self.optional(tokens.obtained_at.as_ref(), Self::time);
        self.optional(tokens.expires_at.as_ref(), Self::time);
    }

    fn time(&mut self, time: &Timestamp) {
        self.raw(&time.as_nanosecond().to_be_bytes());
    }

    fn certificate(&mut self, certificate: &Certificate) {
        match certificate {
            Certificate::Pem { chain, key, authorities } => {
                self.raw(&[3]);
                self.secret(chain);
                self.secret(key);
                self.optional(authorities.as_ref(), Self::secret);
            }
            Certificate::Pkcs12 { archive, password } => {
                self.raw(&[4]);
                self.secret_bytes(archive);
                self.optional(password.as_ref(), Self::secret);
            }
        }
    }
}

/// Reads what [`write`] wrote.
pub(super) fn read(bytes: &[u8]) -> Result<Records, Unreadable> {
    let mut from = In(bytes);
    let records = from.map(In::id, In::credential)?;
    let rest = from.0;
    let padded = bytes.len().is_multiple_of(PADDING) && rest.len() < PADDING;
    if !padded || bytes.is_empty() || rest.iter().any(|byte| *byte != 0) {
        return Err(Unreadable);
    }
    Ok(records)
}

/// What is still to be read.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn raw(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (piece, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(piece)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.raw(N)?.try_into().map_err(|_| Unreadable)
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn count(&mut self) -> Result<usize, Unreadable> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| Unreadable)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.count()?;
        self.raw(length)
    }

    fn text(&mut self) -> Result<&'a str, Unreadable> {
        str::from_utf8(self.bytes()?).map_err(|_| Unreadable)
    }

    fn owned(&mut self) -> Result<String, Unreadable> {
        self.text().map(str::to_owned)
    }

    fn secret(&mut self) -> Result<SecretString, Unreadable> {
        self.text().map(SecretString::from)
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Unreadable),
        }
    }

    fn map<K: Ord, V>(
        &mut self,
        key: impl Fn(&mut Self) -> Result<K, Unreadable>,
        value: impl Fn(&mut Self) -> Result<V, Unreadable>,
    ) -> Result<BTreeMap<K, V>, Unreadable> {
        let mut map = BTreeMap::new();
        for _ in 0..self.count()? {
            let key = key(self)?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(Unreadable);
            }
            map.insert(key, value(self)?);
        }
        Ok(map)
    }

    fn id(&mut self) -> Result<CredentialId, Unreadable> {
        let agents = match self.byte()? {
            1 => false,
            2 => true,
            _ => return Err(Unreadable),
        };
        let instance = self.text()?.parse().map_err(|_| Unreadable)?;
        let owner = if agents {
            CredentialOwner::Agent { instance, agent: self.agent()? }
        } else {
            CredentialOwner::Instance(instance)
        };
        Ok(CredentialId { owner, name: self.text()?.parse().map_err(|_| Unreadable)? })
    }

    fn agent(&mut self) -> Result<Agent, Unreadable> {
        match self.byte()? {
            1 => self.owned().map(Agent::Named),
            2 => Ok(Agent::Digest(TokenDigest(self.array()?))),
            _ => Err(Unreadable),
        }
    }

    fn credential(&mut self) -> Result<Credential, Unreadable> {
        let attributes = self.map(Self::owned, Self::owned)?;
        let secret = match self.byte()? {
            1 => Secret::OAuth(self.tokens()?),
            2 => Secret::ApiKey(self.secret()?),
            3 => Secret::Certificate(Certificate::Pem {
                chain: self.secret()?,
                key: self.secret()?,
                authorities: self.optional(Self::secret)?,
            }),
            4 => Secret::Certificate(Certificate::Pkcs12 {
                archive: SecretSlice::from(self.bytes()?.to_vec()),
                password: self.optional(Self::secret)?,
            }),
            5 => Secret::Fields(self.map(Self::owned, Self::secret)?),
            _ => return Err(Unreadable),
        };
        Ok(Credential { secret, attributes })
    }

    fn tokens(&mut self) -> Result<OAuthTokens, Unreadable> {
        Ok(OAuthTokens {
            access: self.secret()?,
            refresh: self.optional(Self::secret)?,
            previous_refresh: self.optional(Self::secret)?,
            scopes: self.scopes()?,
            obtained_at: self.optional(Self::time)?,
            expires_at: self.optional(Self::time)?,
        })
    }

    fn scopes(&mut self) -> Result<BTreeSet<String>, Unreadable> {
        Ok(self.map(Self::owned, |_| Ok(()))?.into_keys().collect())
    }

    fn time(&mut self) -> Result<Timestamp, Unreadable> {
        Timestamp::from_nanosecond(i128::from_be_bytes(self.array()?)).map_err(|_| Unreadable)
    }
}
