//! A TOML file of settings, read key by key: every mistake in it is found at once and has its line.

use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What a file says and where.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    table: Table,
    lines: BTreeMap<String, usize>,
}

impl ConfigFile {
    /// Reads a file; one that is not there is empty when it is `optional`.
    pub(crate) fn read(path: &Path, optional: bool) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.to_string()),
        };
        let table = text.parse::<Table>().map_err(|error| error.to_string())?;
        Ok(Self { path: path.to_owned(), table, lines: lines(&text) })
    }

    /// Its keys as the fields of `T`, and what is wrong with each that is none or has another type.
    pub(crate) fn fields<T: DeserializeOwned + Default>(&self) -> (T, Vec<(String, String)>) {
        let mut sound = Table::new();
        let mut mistakes = Vec::new();
        for (key, value) in &self.table {
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            match alone.clone().try_into::<T>() {
                Ok(_) => sound.extend(alone),
                Err(error) => mistakes.push((self.origin(key), error.message().to_owned())),
            }
        }
        (sound.try_into().unwrap_or_default(), mistakes)
    }

    /// What it says about a key.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.table.get(key)
    }

    /// `FILE:LINE`, as compilers say it, and the key.
    pub(crate) fn origin(&self, key: &str) -> String {
        match self.lines.get(key) {
            Some(line) => format!("{}:{line}: {key}", self.path.display()),
            None => format!("{key} in {}", self.path.display()),
        }
    }
}

/// The line of each key at the top of the document.
fn lines(text: &str) -> BTreeMap<String, usize> {
    let Ok(table) = toml::de::DeTable::parse(text) else { return BTreeMap::new() };
    let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
    table.get_ref().keys().map(|key| (key.get_ref().to_string(), line(key.span().start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Default, Debug, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Fields {
        name: String,
        size: u32,
    }

    #[test]
    fn every_mistake_of_a_file_has_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, "# head\nname = \"x\"\n\nsize = \"big\"\nlisen = 1\n").unwrap();
        let file = ConfigFile::read(&path, false).unwrap();
        let (fields, mistakes) = file.fields::<Fields>();
        assert_eq!(fields, Fields { name: "x".into(), size: 0 });
        let path = path.display();
        let origins: Vec<_> = mistakes.iter().map(|(origin, _)| origin.as_str()).collect();
        assert_eq!(origins, [format!("{path}:5: lisen"), format!("{path}:4: size")]);
        assert!(mistakes[0].1.contains("unknown field `lisen`, expected `name` or `size`"), "{mistakes:?}");
    }

    #[test]
    fn only_an_optional_file_may_be_absent() {
        let nowhere = Path::new("/nowhere/at/all");
        assert!(ConfigFile::read(nowhere, true).unwrap().value("name").is_none());
        assert!(ConfigFile::read(nowhere, false).is_err());
    }
}
