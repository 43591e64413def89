//! Files stay short enough to be read at one go, or say why not.
//!
//! Counted are lines of code before the file's test module: no blank ones, no comments. Integration tests and
//! their harness (below a directory `tests`) are not production code.

use super::{Complaint, Source};

const LIMIT: usize = 500;
const REASON: &str = "// tidy: long-file because ";

pub(crate) fn check(source: &Source) -> Option<Complaint> {
    let count = production_lines(&source.text);
    let is_test = source.path.components().any(|part| part.as_os_str() == "tests");
    if count <= LIMIT || is_test || has_reason(&source.text) {
        return None;
    }
    let text =
        format!("{count} production lines, over {LIMIT}: move the second idea out, or write `{REASON}...`");
    Some(Complaint::new(&source.path, 1, text))
}

fn production_lines(text: &str) -> usize {
    let code = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let lines: Vec<&str> = code.collect();
    let is_test_module = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].contains("mod ");
    lines.windows(2).position(is_test_module).unwrap_or(lines.len())
}

fn has_reason(text: &str) -> bool {
    text.lines().any(|line| line.trim().strip_prefix(REASON).is_some_and(|reason| reason.trim().len() > 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complains(path: &str, text: &str) -> bool {
        check(&Source { path: path.into(), text: text.into() }).is_some()
    }

    #[test]
    fn blank_lines_comments_and_the_test_module_do_not_count() {
        let text = "//! A.\n\nfn a() {}\n#[cfg(test)]\nuse x;\n    // b\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(production_lines(text), 3);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "fn a() {}\n".repeat(LIMIT + 1);
        assert!(complains("crates/a/src/lib.rs", &long));
        assert!(complains("a.rs", &format!("{REASON}\n{long}")));
        assert!(!complains("a.rs", &format!("{REASON}it is one table of the standard's codes\n{long}")));
        assert!(!complains("crates/a/tests/all.rs", &long));
        assert!(!complains("a.rs", &"fn a() {}\n".repeat(LIMIT)));
    }
}
