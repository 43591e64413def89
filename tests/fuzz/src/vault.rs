//! The file of the vault: what is read of its head and of what is sealed in it is written as it was read.

use dtma_credentials::vault::fuzzing::{header, records};

/// An attacker has no key, so what is sealed is read here as if it had been sealed.
pub(crate) fn file(input: &[u8]) {
    if let Some(head) = header(input) {
        assert_eq!(Some(&*head), input.get(..head.len()));
    }
    if let Some(written) = records(input) {
        assert_eq!(written, input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_reaches_what_is_read_and_what_is_refused() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/vault");
        let bytes = |name: &str| std::fs::read(format!("{directory}/{name}")).unwrap();
        for good in ["head-bytes", "head-passphrase", "head-witness"] {
            assert!(header(&bytes(good)).is_some(), "{good}");
        }
        for good in ["records-none", "records-oauth", "records-kinds"] {
            assert!(records(&bytes(good)).is_some(), "{good}");
        }
        for bad in ["head-newer", "head-greedy", "records-disorder"] {
            assert!(header(&bytes(bad)).is_none() && records(&bytes(bad)).is_none(), "{bad}");
        }
    }
}
