//! Every file says first what it is: its first line is a `//!`.

use super::{Complaint, Source};

pub(crate) fn check(source: &Source) -> Option<Complaint> {
    let first = source.text.lines().next().unwrap_or_default();
    let text = "a file opens with `//!`: say what it is, and what it leaves to others";
    (!first.starts_with("//!")).then(|| Complaint::new(&source.path, 1, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complains(text: &str) -> bool {
        check(&Source { path: "a.rs".into(), text: text.into() }).is_some()
    }

    #[test]
    fn only_module_documentation_will_do() {
        assert!(!complains("//! What it is.\n"));
        assert!(complains("// A comment.\n"));
        assert!(complains("use std::fs;\n//! late\n"));
        assert!(complains(""));
    }
}
