//! Memory for what is secret: of a fixed size, on pages of its own, kept from swap where the system allows it, and
//! overwritten when it is given back.

use region::LockGuard;
use std::ops::{Deref, DerefMut, Range};
use zeroize::Zeroize;

/// Secret bytes. Never grows, so that no copy of it is left behind.
///
/// The system may refuse to lock it (`RLIMIT_MEMLOCK`); then it is used all the same, and
/// [`is_locked`](Self::is_locked) says so.
pub(super) struct LockedBytes {
    /// Dropped before the memory is.
    guard: Option<LockGuard>,
    memory: Vec<u8>,
    used: Range<usize>,
}

impl LockedBytes {
    /// So many zeros.
    pub(super) fn new(length: usize) -> Self {
        let page = region::page::size();
        let pages = length.div_ceil(page).max(1) * page;
        // With one page more the pages in the middle are shared with nobody: giving back another lock cannot unlock them.
        let memory = vec![0_u8; pages + page];
        let start = memory.as_ptr().addr().next_multiple_of(page) - memory.as_ptr().addr();
        let guard = region::lock(memory[start..].as_ptr(), pages).ok();
        Self { guard, memory, used: start..start + length }
    }

    /// A copy of these.
    pub(super) fn copy(bytes: &[u8]) -> Self {
        let mut copy = Self::new(bytes.len());
        copy.copy_from_slice(bytes);
        copy
    }

    /// Whether it is kept from swap.
    pub(super) fn is_locked(&self) -> bool {
        self.guard.is_some()
    }
}

impl Deref for LockedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.used.clone()]
    }
}

impl DerefMut for LockedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.used.clone()]
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        self.memory.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_its_own_and_what_was_written_is_there() {
        for length in [0, 1, 32, 4096, 10_000] {
            let mut bytes = LockedBytes::new(length);
            assert!(bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(region::page::size()));
            assert_eq!(bytes.len(), length);
            bytes.fill(7);
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    }
}
