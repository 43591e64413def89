//! The file of a vault, version 1: a head in the clear, and what is sealed.
//!
//! ```text
//! at   bytes
//!   0      8  `dtmavlt` and a zero
//!   8      2  version, 1
//!  10      1  what it is: 1 the vault, 2 its witness
//!  11      1  the key: 1 a passphrase by argon2id, 2 bytes
//!  12      4  argon2id: memory in KiB          (0 where the key is bytes, as the next two)
//!  16      4            passes
//!  20      4            lanes
//!  24     16  salt, made with the vault
//!  40     32  what tells whether a key is the right one
//!  72      8  generation: one more with every change
//!  80     24  nonce, made for this writing
//! 104      8  bytes that are sealed, the tag included
//! 112      8  the first bytes of the SHA-256 of all before
//! 120      …  XChaCha20-Poly1305; the head is its associated data; the last 16 bytes are the tag
//! ```
//!
//! Numbers are big endian. The file ends with the tag. What is sealed is written down in `records.rs`.
//!
//! The checksum says nothing about an attacker, who can make another. It keeps a damaged file from being taken for a
//! wrong key: everything else in the head is authenticated only by who has the key.

use super::key::{KEY, Keys, PassphraseCost, SALT};
use super::memory::LockedBytes;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

/// Bytes of the head.
pub(super) const HEAD: usize = 120;
/// Bytes of the tag.
pub(super) const TAG: usize = 16;
/// The largest file that is read or written.
pub(super) const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAGIC: &[u8; 8] = b"dtmavlt\0";
const VERSION: u16 = 1;
const NONCE: usize = 24;
const CHECKSUM: usize = 8;

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What holds the credentials.
    Vault,
    /// What remembers how new the vault was.
    Witness,
}

/// Where the key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeySource {
    /// From a passphrase.
    Passphrase(PassphraseCost),
    /// It is bytes.
    Bytes,
}

/// What stands in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) role: Role,
    pub(super) source: KeySource,
    pub(super) salt: [u8; SALT],
    pub(super) check: [u8; KEY],
    pub(super) generation: u64,
    pub(super) nonce: [u8; NONCE],
    /// Bytes that are sealed, with the tag.
    pub(super) sealed: u64,
}

/// Why a file is none of a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormatError {
    /// It begins otherwise.
    Foreign,
    /// It is of another version.
    Version(u16),
    /// It is not as it was written.
    Damaged(&'static str),
}

impl Header {
    /// As it is written.
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let (source, cost) = match self.source {
            KeySource::Passphrase(cost) => (1, [cost.memory_kib, cost.passes, cost.lanes]),
            KeySource::Bytes => (2, [0; 3]),
        };
        let role = match self.role {
            Role::Vault => 1,
            Role::Witness => 2,
        };
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_be_bytes());
        head.extend_from_slice(&[role, source]);
        cost.iter().for_each(|number| head.extend_from_slice(&number.to_be_bytes()));
        head.extend_from_slice(&self.salt);
        head.extend_from_slice(&self.check);
        head.extend_from_slice(&self.generation.to_be_bytes());
        head.extend_from_slice(&self.nonce);
        head.extend_from_slice(&self.sealed.to_be_bytes());
        let checksum = checksum(&head);
        head.extend_from_slice(&checksum);
        let mut out = [0; HEAD];
        out.copy_from_slice(&head);
        out
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&Sha256::digest(bytes)[..CHECKSUM]);
    checksum
}

/// Takes a file apart into its head and what is sealed. Nothing of it is authenticated yet.
pub(super) fn parse(file: &[u8]) -> Result<(Header, &[u8]), FormatError> {
    if !file.starts_with(MAGIC) {
        return Err(FormatError::Foreign);
    }
    let (head, sealed) =
        file.split_at_checked(HEAD).ok_or(FormatError::Damaged("it ends within its head"))?;
    let version = u16::from_be_bytes([head[8], head[9]]);
    let intact = checksum(&head[..HEAD - CHECKSUM]) == head[HEAD - CHECKSUM..];
    if !intact {
        return Err(FormatError::Damaged("its head is not as it was written"));
    }
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let header = header_of(head).ok_or(FormatError::Damaged("its head says what cannot be"))?;
    if header.sealed != sealed.len() as u64 || sealed.len() < TAG {
        return Err(FormatError::Damaged("it is shorter or longer than its head says"));
    }
    Ok((header, sealed))
}

fn header_of(head: &[u8]) -> Option<Header> {
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let cost = PassphraseCost { memory_kib: number(12), passes: number(16), lanes: number(20) };
    let source = match head[11] {
        1 if cost.params().is_some() => KeySource::Passphrase(cost),
        2 if head[12..24] == [0; 12] => KeySource::Bytes,
        _ => return None,
    };
    let role = match head[10] {
        1 => Role::Vault,
        2 => Role::Witness,
        _ => return None,
    };
    Some(Header {
        role,
        source,
        salt: head[24..40].try_into().ok()?,
        check: head[40..72].try_into().ok()?,
        generation: u64::from_be_bytes(head[72..80].try_into().ok()?),
        nonce: head[80..104].try_into().ok()?,
        sealed: u64::from_be_bytes(head[104..112].try_into().ok()?),
    })
}

/// A file: the head with a fresh nonce, and what was `plain` sealed. `None` where the system has no randomness.
pub(super) fn seal(mut header: Header, keys: &Keys, mut plain: LockedBytes) -> Option<Vec<u8>> {
    getrandom::fill(&mut header.nonce).ok()?;
    header.sealed = (plain.len() + TAG) as u64;
    let head = header.encode();
    let cipher = cipher(keys)?;
    let tag = cipher.encrypt_inout_detached(&XNonce::from(header.nonce), &head, (&mut *plain).into()).ok()?;
    Some([&head[..], &*plain, tag.as_slice()].concat())
}

/// What was sealed, when nothing of file or head was changed since.
pub(super) fn unseal(file: &[u8], header: &Header, sealed: &[u8], keys: &Keys) -> Option<LockedBytes> {
    let (ciphertext, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
    let mut plain = LockedBytes::copy(ciphertext);
    let tag = Tag::try_from(tag).ok()?;
    let nonce = XNonce::from(header.nonce);
    cipher(keys)?.decrypt_inout_detached(&nonce, file.get(..HEAD)?, (&mut *plain).into(), &tag).ok()?;
    Some(plain)
}

fn cipher(keys: &Keys) -> Option<XChaCha20Poly1305> {
    XChaCha20Poly1305::new_from_slice(&keys.seal).ok()
}
