//! Collecting violations, and writing sizes so that people can read them.

use dtma_core::violation::Violation;

/// Everything found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) found: Vec<Violation>,
}

impl Report {
    /// Adds a violation.
    pub(crate) fn refuse(&mut self, at: &str, rule: &str, message: impl Into<String>) {
        self.found.push(Violation::new(at, rule, message));
    }

    /// The same with what to do about it.
    pub(crate) fn refuse_with(&mut self, at: &str, rule: &str, message: impl Into<String>, hint: &str) {
        self.found.push(Violation::new(at, rule, message).hint(hint));
    }
}

/// `2 GiB`, `1536 KiB`, `7 bytes`: the largest unit that says it exactly.
pub(crate) fn bytes(count: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fitting = units.into_iter().find(|(size, _)| count >= *size && count.is_multiple_of(*size));
    fitting.map_or_else(|| format!("{count} bytes"), |(size, unit)| format!("{} {unit}", count / size))
}

/// Text of a caller, cut and escaped, for a message.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    format!("{cut:?}")
}
