//! Which socket is whose: a name for each container's directory and the nonce by which its shim proves itself, both
//! computed, so that a daemon that was killed knows them again.

use dtma_core::id::{ConfigHash, Generation, OwnerId, SlotId};
use sha2::{Digest, Sha256};
use std::fmt;

/// The name of a container's directory: 16 hexadecimal digits. What was made from the same configuration in the same
/// place has the same, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn new(owner: &OwnerId, slot: &SlotId, generation: Generation, config: &ConfigHash) -> Self {
        let text = format!("{owner}\n{slot}\n{generation}\n{config}");
        Self(hex(&Sha256::digest(text)[..8]))
    }

    /// The key that a directory of this name belongs to.
    pub(crate) fn of_directory(name: &str) -> Option<Self> {
        let fits = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What this installation's nonces are made from. Known to the daemon alone.
pub(crate) struct Secret(pub(crate) [u8; 32]);

impl Secret {
    /// What the shim in this container says first.
    pub(crate) fn nonce(&self, key: &Key) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.0).chain_update(key.as_str()).finalize();
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&digest[..16]);
        nonce
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &str, generation: u64) -> Key {
        let slot = SlotId { group: group.parse().unwrap(), instance: "a".parse().unwrap(), replica: 0 };
        Key::new(&"owner".into(), &slot, Generation(generation), &"hash".into())
    }

    #[test]
    fn the_same_container_has_the_same_key_and_no_other() {
        assert_eq!(key("g", 1), key("g", 1));
        assert_ne!(key("g", 1), key("g", 2));
        assert_ne!(key("g", 1), key("h", 1));
        assert_eq!(Key::of_directory(key("g", 1).as_str()), Some(key("g", 1)));
        assert_eq!(Key::of_directory("../../etc/passwd"), None);
    }

    #[test]
    fn nonces_need_the_secret() {
        assert_ne!(Secret([0; 32]).nonce(&key("g", 1)), Secret([1; 32]).nonce(&key("g", 1)));
    }
}
