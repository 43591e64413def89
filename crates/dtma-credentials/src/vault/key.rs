//! Keys of a vault: from a passphrase by argon2id, or 32 bytes as they are. Both are stretched into the two that are
//! used, one that seals and one that only tells whether the key is the right one.

use super::disk::{self, ReadError};
use super::memory::LockedBytes;
use argon2::{Algorithm, Argon2, Params, Version};
use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{FixedOutput, Update};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
pub(super) const KEY: usize = 32;
/// Bytes of the salt.
pub(super) const SALT: usize = 16;

/// What deriving a key from a passphrase costs, whoever tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory in KiB, 8 for each lane at least.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// 64 MiB, three passes: more than what OWASP asks for at least (19 MiB, two passes).
    pub const RECOMMENDED: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// No file may make us spend more than 1 GiB and 64 passes.
    pub(super) fn params(self) -> Option<Params> {
        let bounded = self.memory_kib <= 1024 * 1024 && self.passes <= 64 && self.lanes <= 16;
        bounded.then(|| Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY)).ok()).flatten()
    }
}

/// What opens a vault.
#[derive(Debug)]
pub enum VaultKey {
    /// Something a person remembers.
    Passphrase {
        /// The passphrase.
        passphrase: SecretString,
        /// What a new vault asks for. One that is there says itself what it costs.
        cost: PassphraseCost,
    },
    /// 32 bytes that nobody can guess.
    Bytes(KeyBytes),
}

/// The 32 bytes of a key.
pub struct KeyBytes(pub(super) LockedBytes);

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes([REDACTED])")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be used.
    #[error("the key file cannot be used: {0}")]
    File(#[from] ReadError),
    /// It does not hold a key.
    #[error(
        "{path} holds no key: 32 bytes are wanted, as they are or as 64 hex digits (`head -c 32 /dev/urandom > {path}` makes one)"
    )]
    NotAKey {
        /// The file.
        path: String,
    },
}

impl VaultKey {
    /// Reads a key file: 32 bytes, or 64 hex digits and a newline. Only its owner may be able to read it; a credential
    /// that systemd passes to a service of root (`LoadCredential=`) is such a file.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes = disk::read_private(path, 256)?;
        key_of(&bytes).ok_or_else(|| KeyError::NotAKey { path: path.display().to_string() })
    }
}

fn key_of(bytes: &[u8]) -> Option<VaultKey> {
    let mut key = LockedBytes::new(KEY);
    let text = bytes.trim_ascii_end();
    if bytes.len() == KEY {
        key.copy_from_slice(bytes);
    } else if text.len() == 2 * KEY {
        for (byte, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        }
    } else {
        return None;
    }
    // A file of zeros is a file that somebody forgot to fill.
    let filled = key.iter().any(|byte| *byte != key[0]);
    filled.then(|| VaultKey::Bytes(KeyBytes(key)))
}

fn digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A passphrase stretched, or the bytes of a key: what the keys of one vault are made from. `None` when the cost is out
/// of bounds.
#[expect(clippy::disallowed_methods, reason = "the passphrase is made into a key, and nothing else")]
pub(super) fn root(
    passphrase: &SecretString,
    cost: PassphraseCost,
    salt: &[u8; SALT],
) -> Option<LockedBytes> {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?);
    let mut blocks = vec![argon2::Block::default(); argon.params().block_count()];
    let mut root = LockedBytes::new(KEY);
    let bytes = passphrase.expose_secret().as_bytes();
    let made = argon.hash_password_into_with_memory(bytes, salt, &mut root, &mut blocks);
    blocks.iter_mut().for_each(Zeroize::zeroize);
    made.ok().map(|()| root)
}

/// The two keys of one vault.
pub(super) struct Keys {
    /// Seals and opens.
    pub(super) seal: LockedBytes,
    /// Stands in the file and tells nothing but whether a key is the right one.
    pub(super) check: [u8; KEY],
}

impl Keys {
    /// Those that follow from a root; another salt gives others.
    pub(super) fn of(root: &[u8], salt: &[u8; SALT]) -> Option<Self> {
        let mut check = [0; KEY];
        check.copy_from_slice(&*derived(root, salt, b"dtma vault check")?);
        Some(Self { seal: LockedBytes::copy(&*derived(root, salt, b"dtma vault seal")?), check })
    }
}

/// Keyed BLAKE2b over nothing, with salt and purpose in the parameters made for them.
fn derived(root: &[u8], salt: &[u8; SALT], purpose: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let mut mac = Blake2bMac::<U32>::new_with_salt_and_personal(Some(root), salt, purpose).ok()?;
    mac.update(b"");
    let mut output = mac.finalize_fixed();
    let mut key = Zeroizing::new([0; KEY]);
    key.copy_from_slice(&output);
    output.as_mut_slice().zeroize();
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_or_64_digits_and_not_all_the_same() {
        let bytes: Vec<u8> = (0..32).collect();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for good in [bytes.clone(), digits.clone().into_bytes(), format!("{digits}\n").into_bytes()] {
            let Some(VaultKey::Bytes(KeyBytes(key))) = key_of(&good) else { panic!("a key") };
            assert_eq!(*key, bytes[..]);
        }
        for bad in [vec![], vec![0; 32], bytes[..31].to_vec(), vec![b'g'; 64], vec![1; 33]] {
            assert!(key_of(&bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn another_salt_or_purpose_gives_another_key() {
        let [one, two] = [1, 2].map(|salt| Keys::of(&[7; 32], &[salt; SALT]).unwrap());
        assert_ne!(one.check, two.check);
        assert_ne!(*one.seal, *two.seal);
        assert_ne!(*one.seal, one.check[..]);
    }

    #[test]
    fn no_file_can_ask_for_more_than_the_bounds() {
        let cost =
            |memory_kib, passes, lanes| PassphraseCost { memory_kib, passes, lanes }.params().is_some();
        assert!(PassphraseCost::RECOMMENDED.params().is_some() && cost(8, 1, 1));
        for [memory, passes, lanes] in [[0, 0, 0], [7, 1, 1], [u32::MAX, 1, 1], [8, 65, 1], [1024, 1, 17]] {
            assert!(!cost(memory, passes, lanes), "{memory} {passes} {lanes}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let passphrase =
            VaultKey::Passphrase { passphrase: "canary".into(), cost: PassphraseCost::RECOMMENDED };
        let shown = format!("{passphrase:?} {:?}", key_of(b"canarycanarycanarycanarycanary12").unwrap());
        assert!(!shown.contains("canary") && shown.contains("REDACTED"), "{shown}");
    }
}
