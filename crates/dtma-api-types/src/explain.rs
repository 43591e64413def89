//! What each word means that the daemon puts into an answer for programs (`code`, and the `rule` of a mistake), and
//! what to do about it: shown by `dtma explain`, and part of the OpenAPI document.
//!
//! The words themselves are chosen elsewhere (`dtma-api`, `dtma-config`); tests there fail on one that is missing here.

mod codes;
mod rules;

/// A word and what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The word, as in the answer.
    pub word: &'static str,
    /// What it means.
    pub means: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Every `code` of an error, by name.
pub const CODES: &[Explanation] = codes::ALL;
/// Every `rule` of a mistake or a warning, by family.
pub const RULES: &[Explanation] = rules::ALL;

/// The explanation of a code or a rule.
#[must_use]
pub fn explain(word: &str) -> Option<&'static Explanation> {
    CODES.iter().chain(RULES).find(|explanation| explanation.word == word)
}

const fn e(word: &'static str, means: &'static str, remedy: &'static str) -> Explanation {
    Explanation { word, means, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_word_is_explained_once_and_in_sentences() {
        let words: BTreeSet<&str> = CODES.iter().chain(RULES).map(|entry| entry.word).collect();
        assert_eq!(words.len(), CODES.len() + RULES.len(), "a word is explained twice");
        for Explanation { word, means, remedy } in CODES.iter().chain(RULES) {
            for text in [means, remedy] {
                assert!(text.len() > 15 && text.ends_with('.'), "{word}: {text:?} is no sentence");
            }
        }
        assert!(
            explain("port_taken").is_some() && explain("policy.bind").is_some() && explain("x").is_none()
        );
    }
}
