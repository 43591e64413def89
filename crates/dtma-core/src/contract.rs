//! The contract of a server: what its tools were when somebody approved of them, and what differs since.
//!
//! Pinned of a tool are name, title, description, both schemas and annotations, as canonical JSON: keys sorted, no
//! white space, numbers by value. What else a server says about a tool (`_meta`, icons, …) may change freely.

mod drift;

pub use drift::{Drift, Kind, drift};

use crate::Timestamp;
use crate::catalogue::Catalogue;
use crate::id::{ConfigHash, ImageId, InstanceName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The fields of a tool that are pinned.
pub const PINNED: [&str; 6] = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// What follows when the tools of a server differ from its contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pinning {
    /// Nothing: nobody looks.
    Off,
    /// The status and an event say so.
    #[default]
    Warn,
    /// The same, and what is not as approved is neither listed nor called.
    Quarantine,
}

impl Pinning {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Quarantine => "quarantine",
        }
    }
}

/// What was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Of which server.
    pub instance: InstanceName,
    /// Its tools by name, each as [`pinned`] writes it.
    pub tools: BTreeMap<String, String>,
    /// When it was last approved.
    pub at: Timestamp,
    /// By whom: the name of a token; [`FIRST`] when nobody was asked.
    pub author: String,
    /// The image that offered it.
    pub image: Option<ImageId>,
    /// The configuration that offered it.
    pub config: ConfigHash,
}

/// Who approves of what a server offers when it is seen for the first time.
pub const FIRST: &str = "first-discovery";

impl Contract {
    /// All that a catalogue offers.
    #[must_use]
    pub fn of(catalogue: &Catalogue, author: &str, at: Timestamp) -> Self {
        Self {
            instance: catalogue.instance.clone(),
            tools: pinned_tools(&catalogue.offers.tools.raw),
            at,
            author: author.to_owned(),
            image: catalogue.image.clone(),
            config: catalogue.config.clone(),
        }
    }

    /// This contract with one tool as the catalogue has it: that may mean without it.
    #[must_use]
    pub fn with(&self, tool: &str, catalogue: &Catalogue, author: &str, at: Timestamp) -> Self {
        let mut now = Self::of(catalogue, author, at);
        let approved = now.tools.remove(tool);
        now.tools.clone_from(&self.tools);
        now.tools.remove(tool);
        now.tools.extend(approved.map(|approved| (tool.to_owned(), approved)));
        now
    }

    /// The hash of the whole: SHA-256, as 64 hex digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let tools = self.tools.values().map(String::as_str).collect::<Vec<_>>();
        digest(&format!("[{}]", tools.join(",")))
    }

    /// Why this tool, as the server lists it now, is not what was approved; `None` when it is. Without `raw` only the
    /// name is judged.
    #[must_use]
    pub fn objection(&self, name: &str, raw: Option<&str>) -> Option<&'static str> {
        let Some(approved) = self.tools.get(name) else {
            return Some("it was not there when the contract of this server was approved");
        };
        let same = raw.is_none_or(|raw| pinned(raw).is_some_and(|(_, now)| now == *approved));
        (!same).then_some("it is not what it was when the contract of this server was approved")
    }
}

/// The tools of a list by name, each as [`pinned`] writes it; of two of one name the later one counts.
#[must_use]
pub fn pinned_tools(raw: &[String]) -> BTreeMap<String, String> {
    raw.iter().filter_map(|tool| pinned(tool)).collect()
}

/// A tool's name and the canonical JSON of what is pinned of it. `None` for what has no name: nobody can call it.
#[must_use]
pub fn pinned(raw: &str) -> Option<(String, String)> {
    let mut tool: Map<String, Value> = serde_json::from_str(raw).ok()?;
    let name = tool.get("name")?.as_str()?.to_owned();
    tool.retain(|field, value| PINNED.contains(&field.as_str()) && !value.is_null());
    Some((name, canonical(&Value::Object(tool))))
}

/// The SHA-256 of a text, as 64 hex digits.
#[must_use]
pub fn digest(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// JSON of one spelling: after RFC 8785, keys in the order of their UTF-16 code units, and a number with nothing behind
/// its point is an integer.
#[must_use]
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut sorted: Vec<_> = map.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            let field = |(key, value): (&String, &Value)| {
                format!("{}:{}", Value::String(key.clone()), canonical(value))
            };
            format!("{{{}}}", sorted.into_iter().map(field).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Number(number) => number.as_f64().filter(|_| number.is_f64()).map_or_else(
            || number.to_string(),
            |float| if is_whole(float) { format!("{float:.0}") } else { number.to_string() },
        ),
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
    }
}

/// Whole, and small enough for every integer up to it to be a double.
fn is_whole(float: f64) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    float.fract() == 0.0 && float.abs() < EXACT && (float != 0.0 || float.is_sign_positive())
}

#[cfg(test)]
mod tests;
