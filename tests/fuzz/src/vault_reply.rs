//! Answers of vaults over HTTP: whatever is found in one can be written to such a vault and is read back as it was.

use dtma_credentials::vault::fuzzing::replies;

pub(crate) fn reply(input: &[u8]) {
    for (found, again) in replies(input) {
        assert_eq!(again.as_ref(), Some(&found), "what was written is read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_reaches_what_is_read_and_what_is_refused() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/vault_reply");
        let found = |name: &str| replies(&std::fs::read(format!("{directory}/{name}")).unwrap()).len();
        for good in [
            "kv2-ours",
            "kv2-brought",
            "kv1-brought",
            "backend-secrets",
            "backend-bare",
            "row-ours",
            "row-key",
        ] {
            assert!(found(good) > 0, "{good}");
        }
        for bad in ["page", "kv2-deleted", "row-none"] {
            assert_eq!(found(bad), 0, "{bad}");
        }
    }
}
