//! Paths and queries, percent-encoded (RFC 3986).

use std::fmt::Write;

/// One segment of a path, or one key or value of a query. Everything but unreserved characters is escaped, and so
/// are dots that would make the segment mean a folder.
pub(crate) fn escape(text: &str) -> String {
    if text == "." || text == ".." {
        return text.replace('.', "%2E");
    }
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A query under construction; values that are absent leave nothing behind.
#[derive(Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn with(mut self, key: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.0.push(if self.0.is_empty() { '?' } else { '&' });
            let _ = write!(self.0, "{key}={}", escape(&value.to_string()));
        }
        self
    }

    pub(crate) fn onto(self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_cannot_leave_its_segment() {
        for (text, escaped) in [
            ("time", "time"),
            ("a/b", "a%2Fb"),
            ("..", "%2E%2E"),
            ("a b?c#d%", "a%20b%3Fc%23d%25"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }

    #[test]
    fn absent_values_leave_nothing_behind() {
        let query =
            Query::default().with("wait", Some(false)).with("tail", None::<u32>).with("grep", Some("a&b"));
        assert_eq!(query.onto("/x"), "/x?wait=false&grep=a%26b");
        assert_eq!(Query::default().onto("/x"), "/x");
    }
}
