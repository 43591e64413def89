//! What must not leave the house in a support bundle: tokens, values of environment variables, and what looks like a
//! secret. It would rather hide too much.

use regex::{Captures, Regex};
use secrecy::SecretString;
use serde_json::Value;

const GONE: &str = "[redacted]";

/// What a word is called whose value is hidden.
const SECRETIVE: &str = "password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|cookie";

/// Fields whose every value is hidden.
const ENVIRONMENTS: [&str; 5] =
    ["environment", "env", "Env", "environmentVariables", "environment_variables"];

/// Patterns, and what stands for what they find.
const PATTERNS: [(&str, &str); 7] = [
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*-----|$)", "[redacted]"),
    (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", "$1 [redacted]"),
    (r"://[^/\s:@]+:[^/\s@]+@", "://[redacted]@"),
    (r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*", "[redacted]"),
    (
        r"\b(ghp|gho|ghs|ghu|github_pat|glpat|sk|pk|xox[abprs]|AKIA|ASIA|npm|pypi)[-_]?[A-Za-z0-9_-]{16,}",
        "[redacted]",
    ),
    // An environment variable as programs print it.
    (r#"\b([A-Z][A-Z0-9_]+)=("[^"]*"|'[^']*'|[^\s,;]+)"#, "$1=[redacted]"),
    // Anything secretive with a value, in YAML, JSON, TOML or a query.
    (
        r#"(?i)([A-Za-z0-9_.-]*(?:SECRETIVE)[A-Za-z0-9_.-]*\\?["']?\s*[:=]\s*)(\\?"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&}\]]+)"#,
        "$1[redacted]",
    ),
];

/// Hides.
pub(crate) struct Redactor {
    patterns: Vec<(Regex, &'static str)>,
    known: Vec<SecretString>,
    secretive: Option<Regex>,
}

impl Redactor {
    /// One that also hides these very texts wherever they stand.
    pub(crate) fn new(known: Vec<SecretString>) -> Self {
        let compiled = PATTERNS.iter().filter_map(|(pattern, by)| {
            Some((Regex::new(&pattern.replace("SECRETIVE", SECRETIVE)).ok()?, *by))
        });
        Self { patterns: compiled.collect(), known, secretive: Regex::new(&format!("(?i){SECRETIVE}")).ok() }
    }

    /// A text without what must not be seen.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for known in &self.known {
            #[expect(clippy::disallowed_methods, reason = "compared with, to be taken out of a text")]
            let known = secrecy::ExposeSecret::expose_secret(known).trim();
            if !known.is_empty() {
                hidden = hidden.replace(known, GONE);
            }
        }
        for (pattern, by) in &self.patterns {
            hidden = pattern.replace_all(&hidden, |found: &Captures<'_>| replacement(found, by)).into_owned();
        }
        hidden
    }

    /// A value without what must not be seen.
    pub(crate) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields.into_iter().map(|(key, value)| self.field(key, value)).collect(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
        }
    }

    fn field(&self, key: String, value: Value) -> (String, Value) {
        let hides = ENVIRONMENTS.contains(&key.as_str());
        let secretive = self.secretive.as_ref().is_none_or(|words| words.is_match(&key));
        let value = match value {
            value if hides => blank(value),
            Value::String(_) if secretive && !key.ends_with("_file") => Value::String(GONE.into()),
            value => self.value(value),
        };
        (key, value)
    }
}

/// What was hidden before is not taken for a value to hide: the mark stays one mark.
fn replacement(found: &Captures<'_>, by: &str) -> String {
    let mut text = String::new();
    found.expand(by, &mut text);
    text
}

/// Keeps names and hides values.
fn blank(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(key, _)| (key, Value::String(GONE.into()))).collect()
        }
        Value::Array(items) => items.iter().map(|item| Value::String(blank_pair(item))).collect(),
        Value::Null => Value::Null,
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Value::String(GONE.into()),
    }
}

fn blank_pair(item: &Value) -> String {
    match item.as_str().and_then(|text| text.split_once('=')) {
        Some((name, _)) => format!("{name}={GONE}"),
        None => GONE.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CANARY: &str = "c4n4ry-0123456789";

    fn redactor() -> Redactor {
        Redactor::new(vec![SecretString::from("known-token-77")])
    }

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(redactor().patterns.len(), PATTERNS.len());
        assert!(redactor().secretive.is_some());
    }

    #[test]
    fn no_canary_gets_through() {
        for text in [
            format!("Authorization: Bearer {CANARY}"),
            format!("authorization: {CANARY}"),
            format!("DATABASE_URL={CANARY} starting"),
            format!("GREETING='{CANARY} with spaces'"),
            format!("{{\"password\": \"{CANARY}\", \"x\": 1}}"),
            format!("{{\\\"api_key\\\": \\\"{CANARY}\\\"}}"),
            format!("client-secret={CANARY}&x=1"),
            format!("token: {CANARY}"),
            format!("postgres://user:{CANARY}@db/x"),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----"),
            format!("ghp_{}", "c4n4ry0123456789abcdef"),
            "eyJhbGciOi.c4n4ryeyJzdWI.c4n4ry".to_owned(),
            "it was known-token-77".to_owned(),
        ] {
            let told = redactor().text(&text);
            assert!(!told.contains("c4n4ry") && !told.contains("known-token-77"), "{text} -> {told}");
            assert!(told.contains(GONE), "{told}");
        }
    }

    #[test]
    fn fields_keep_their_names_and_lose_their_values() {
        let value = json!({
            "environment": {"GREETING": CANARY, "n": 5}, "Env": [format!("A={CANARY}"), CANARY],
            "servers": [{"environmentVariables": {"X": CANARY}, "accessToken": CANARY, "image": "x:1"}],
            "token_file": "/home/a/t"
        });
        let told = redactor().value(value);
        assert!(!told.to_string().contains("c4n4ry"), "{told}");
        assert_eq!(told["environment"]["GREETING"], GONE);
        assert_eq!(told["Env"][0], "A=[redacted]");
        assert_eq!(told["servers"][0]["image"], "x:1");
        assert_eq!(told["token_file"], "/home/a/t", "where it is may be told");
    }

    #[test]
    fn ordinary_lines_stay_readable() {
        for line in ["2026-01-01 listening on port 8080", "GET /index.html 200", "error: no such file a=b"] {
            assert_eq!(redactor().text(line), line);
        }
    }
}
