//! The document that names a group, in YAML, TOML or JSON, and on which line each of its values stands.
//!
//! What it means is the daemon's business: a document that can be read is sent as it is, and the mistakes that come
//! back are told with their lines.

mod toml;
mod yaml;

use crate::exit::Exit;
use crate::failure::{Failure, Place};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The daemon takes no more.
const MOST_BYTES: u64 = 1 << 20;
/// What is looked for when no file is named.
const DEFAULTS: [&str; 4] = ["dtma.yaml", "dtma.yml", "dtma.toml", "dtma.json"];

/// A document that could be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// For people: the file's path.
    pub(crate) name: String,
    /// What it says.
    pub(crate) value: Value,
    lines: Lines,
}

/// Line numbers by JSON pointer.
type Lines = BTreeMap<String, usize>;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Yaml,
    Toml,
    Json,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unreadable {
    line: Option<usize>,
    problem: String,
}

impl Document {
    /// Reads the file, standard input (`-`), or the `dtma.yaml` of this folder.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, Failure> {
        let path = path.map_or_else(find, |path| Ok(path.to_owned()))?;
        if path == Path::new("-") {
            let text = read("standard input", std::io::stdin().lock())?;
            return Self::parse("standard input", &text, Syntax::guess(&text));
        }
        let name = path.display().to_string();
        let file = std::fs::File::open(&path).map_err(|error| unreadable(&name, &error))?;
        let text = read(&name, file)?;
        let syntax = Syntax::of(&path).unwrap_or_else(|| Syntax::guess(&text));
        Self::parse(&name, &text, syntax)
    }

    fn parse(name: &str, text: &str, syntax: Syntax) -> Result<Self, Failure> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let read = match syntax {
            Syntax::Json => json(text),
            Syntax::Yaml => yaml::read(text),
            Syntax::Toml => toml::read(text),
        };
        match read {
            Ok((value, lines)) if value.is_object() => Ok(Self { name: name.to_owned(), value, lines }),
            Ok(_) => Err(Failure::new(Exit::Usage, format!("{name} is not a group: it has no fields"))
                .hint("it begins with groupId: and has a list of servers:; examples/demo.yaml shows how")),
            Err(Unreadable { line, problem }) => {
                let place = line.map(|line| format!(":{line}")).unwrap_or_default();
                let message = format!("{name}{place} is not {}", syntax.name());
                Err(Failure::new(Exit::Usage, message).cause(problem))
            }
        }
    }

    /// Where the value at a pointer stands, or the nearest value around it.
    pub(crate) fn place(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        let line = loop {
            match (self.lines.get(pointer), pointer.rfind('/')) {
                (Some(line), _) => break Some(*line),
                (None, Some(slash)) => pointer = &pointer[..slash],
                (None, None) => break None,
            }
        };
        Place { document: self.name.clone(), line }
    }

    /// The group it names.
    pub(crate) fn group(&self) -> Option<&str> {
        self.value.get("groupId")?.as_str()
    }

    /// The group it names, where nothing can be done without one.
    pub(crate) fn named_group(&self) -> Result<&str, Failure> {
        let missing = || Failure::new(Exit::Usage, format!("{} names no group", self.name));
        self.group().ok_or_else(|| missing().hint("it needs a field groupId"))
    }

    /// The servers it names, in its order.
    pub(crate) fn servers(&self) -> Vec<String> {
        let servers = self.value.get("servers").and_then(Value::as_array);
        let names = servers.into_iter().flatten().filter_map(|server| server.get("instanceName")?.as_str());
        names.map(str::to_owned).collect()
    }
}

impl Syntax {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// A text without a file name: JSON begins with a brace; TOML is what TOML can read.
    fn guess(text: &str) -> Self {
        if text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<Value>(text).is_ok() {
            Self::Json
        } else if toml::read(text)
            .is_ok_and(|(value, _)| value.as_object().is_some_and(|table| !table.is_empty()))
        {
            Self::Toml
        } else {
            Self::Yaml
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
            Self::Json => "JSON",
        }
    }
}

/// JSON's own reader says what is wrong with it; the lines are read as YAML, of which JSON is a part.
fn json(text: &str) -> Result<(Value, Lines), Unreadable> {
    let value = serde_json::from_str(text)
        .map_err(|error| Unreadable { line: Some(error.line()), problem: error.to_string() })?;
    let lines = yaml::read(text).map(|(_, lines)| lines).unwrap_or_default();
    Ok((value, lines))
}

fn find() -> Result<PathBuf, Failure> {
    let found = DEFAULTS.iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::new(Exit::Usage, "there is no dtma.yaml, dtma.yml, dtma.toml or dtma.json in this folder")
            .hint("name a file with -f FILE")
    })
}

fn read(name: &str, source: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    source.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(name, &error))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(Failure::new(Exit::Usage, format!("{name} is bigger than 1 MiB")));
    }
    Ok(text)
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("{name} cannot be read")).cause(error.to_string())
}

/// One more step of a JSON pointer (RFC 6901).
fn step(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests;
