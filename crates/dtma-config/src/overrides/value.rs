//! Values of the types a create request has. `null` is what engines take for "nothing said".

use super::Reader;
use crate::rule;
use serde_json::{Map, Value};

impl Reader<'_> {
    fn not(&mut self, at: &str, wanted: &str) {
        self.report.refuse(at, rule::OVERRIDE_TYPE, format!("expected {wanted}"));
    }

    pub(super) fn object<'v>(&mut self, at: &str, value: &'v Value) -> Option<&'v Map<String, Value>> {
        if !value.is_null() && !value.is_object() {
            self.not(at, "an object");
        }
        value.as_object()
    }

    pub(super) fn list<'v>(&mut self, at: &str, value: &'v Value) -> &'v [Value] {
        if !value.is_null() && !value.is_array() {
            self.not(at, "a list");
        }
        value.as_array().map_or(&[], Vec::as_slice)
    }

    pub(super) fn string<'v>(&mut self, at: &str, value: &'v Value) -> Option<&'v str> {
        if !value.is_null() && !value.is_string() {
            self.not(at, "text");
        }
        value.as_str()
    }

    /// A whole number that is not negative. A negative one is "without limit" to an engine, which is less than
    /// nothing here.
    pub(super) fn natural(&mut self, at: &str, value: &Value) -> Option<u64> {
        match value {
            Value::Null => None,
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.as_u64().unwrap_or(0)),
            Value::Number(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                self.not(at, "a whole number");
                None
            }
        }
    }

    /// A list of texts; a single text is a list of one, as with the engine.
    pub(super) fn words(&mut self, at: &str, value: &Value) -> Option<Vec<String>> {
        if let Some(word) = value.as_str() {
            return Some(vec![word.to_owned()]);
        }
        let items = self.list(at, value);
        let words = items.iter().enumerate().filter_map(|(index, item)| {
            let word = item.as_str();
            if word.is_none() {
                self.not(&format!("{at}/{index}"), "text");
            }
            word.map(str::to_owned)
        });
        let words: Vec<_> = words.collect();
        value.is_array().then_some(words)
    }

    /// A hardening that is on and stays on.
    pub(super) fn stays_on(&mut self, at: &str, value: &Value) {
        match value {
            Value::Null | Value::Bool(true) => {}
            Value::Bool(false) => {
                self.report.refuse(
                    at,
                    rule::OVERRIDE_LOOSENS,
                    "overrides can tighten only, and this loosens",
                );
            }
            Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                self.not(at, "true or false");
            }
        }
    }
}
