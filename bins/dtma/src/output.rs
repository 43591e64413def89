//! Where results go: standard output in the format that was asked for; remarks go to standard error.

pub(crate) mod audit;
pub(crate) mod change;
pub(crate) mod contract;
pub(crate) mod grants;
pub(crate) mod group;
pub(crate) mod ink;
pub(crate) mod mcp;
pub(crate) mod offer;
pub(crate) mod operation;
pub(crate) mod server;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod top;
pub(crate) mod writers;

pub(crate) use ink::Ink;

use crate::cli::Format;
use crate::exit::Exit;
use crate::failure::Failure;
use serde::Serialize;
use std::io::Write;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    /// Of standard output.
    pub(crate) ink: Ink,
    /// Of standard error.
    pub(crate) remark_ink: Ink,
}

/// The three formats that are not the daemon's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Table,
    Wide,
    Name,
}

impl Output {
    /// Prints a listing: when quiet, names only.
    pub(crate) fn list(
        &self,
        value: &impl Serialize,
        human: impl FnOnce(Shape) -> String,
    ) -> Result<(), Failure> {
        let shape = if self.quiet { Shape::Name } else { Shape::Table };
        self.show(value, Some(shape), human)
    }

    /// Prints what a change led to: when quiet, nothing (unless a format was asked for).
    pub(crate) fn result(
        &self,
        value: &impl Serialize,
        human: impl FnOnce(Shape) -> String,
    ) -> Result<(), Failure> {
        self.show(value, (!self.quiet).then_some(Shape::Table), human)
    }

    fn show(
        &self,
        value: &impl Serialize,
        table: Option<Shape>,
        human: impl FnOnce(Shape) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.text(&format!("{}\n", json(value, true)?)),
            Format::Yaml => self.text(&yaml(value)?),
            Format::Name => self.text(&human(Shape::Name)),
            Format::Wide => self.text(&human(Shape::Wide)),
            Format::Table => table.map_or(Ok(()), |shape| self.text(&human(shape))),
        }
    }

    /// Prints one of many: a JSON object a line, a YAML document each, or what people read.
    pub(crate) fn item(&self, value: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.text(&format!("{}\n", json(value, false)?)),
            Format::Yaml => self.text(&format!("---\n{}", yaml(value)?)),
            Format::Name | Format::Wide | Format::Table => self.text(&format!("{}\n", human())),
        }
    }

    /// Writes to standard output, at once.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Says something beside the result. That nobody reads it is no failure.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// True when people read the result.
    pub(crate) fn is_human(&self) -> bool {
        match self.format {
            Format::Table | Format::Wide => true,
            Format::Json | Format::Yaml | Format::Name => false,
        }
    }
}

/// JSON that is safe on a terminal: what JSON leaves as it is and a terminal obeys is escaped, which means the same.
fn json(value: &impl Serialize, pretty: bool) -> Result<String, Failure> {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map(|text| text::escape_json(&text)).map_err(|error| unprintable(&error.to_string()))
}

/// YAML; only text that a terminal obeys makes it fall back on JSON, which is YAML too.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(value).map_err(|error| unprintable(&error.to_string()))?;
    if text::is_harmless(&text) { Ok(text) } else { Ok(format!("{}\n", json(value, true)?)) }
}

fn unprintable(problem: &str) -> Failure {
    Failure::new(Exit::Failed, "the answer cannot be printed").cause(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_format_lets_an_escape_through() {
        let value = serde_json::json!({"said": "a\u{1b}[2J\u{9b}31m\u{202e}b\u{7f}"});
        for text in [json(&value, true).unwrap(), json(&value, false).unwrap(), yaml(&value).unwrap()] {
            assert!(text::is_harmless(&text), "{text:?}");
        }
        let back: serde_json::Value = serde_json::from_str(&json(&value, false).unwrap()).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn yaml_reads_back_as_what_was_printed() {
        let value =
            serde_json::json!({"a": ["1", 1, 1.5, null, true, "true", "", "x: y", "#"], "b": {"c": "l\nm"}});
        let text = yaml(&value).unwrap();
        let back: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, value, "{text}");
    }
}
