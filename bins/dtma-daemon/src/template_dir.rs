//! The operator's templates: one file each, in the form its name says.

use dtma_config::{TemplateFile, Templates};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A mistake, and the file it is in when it is in one.
type Mistake = (Option<PathBuf>, String);

/// The templates of the program and those of every `.toml`, `.yaml`, `.yml` and `.json` file of a directory.
///
/// # Errors
/// Every mistake of every file.
pub(crate) fn read(dir: &Path) -> Result<Templates, Vec<Mistake>> {
    let entries = std::fs::read_dir(dir).map_err(|error| vec![(None, error.to_string())])?;
    let mut paths: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_template(path)).collect();
    paths.sort();
    let (mut files, mut mistakes) = (Vec::new(), Vec::new());
    for path in &paths {
        match parse(path) {
            Ok(file) => files.push(file),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|problem| (Some(path.clone()), problem))),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let located = |(index, problem): (usize, String)| (paths.get(index).cloned(), problem);
    Templates::with(&files).map_err(|wrong| wrong.into_iter().map(located).collect())
}

fn is_template(path: &Path) -> bool {
    extension(path).is_some_and(|extension| ["toml", "yaml", "yml", "json"].contains(&extension))
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

/// A file, or every mistake in it. Its name is the template's when it says none.
fn parse(path: &Path) -> Result<TemplateFile, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| vec![error.to_string()])?;
    let parsed = match extension(path) {
        Some("toml") => toml::from_str(&text).map_err(|error| error.to_string()),
        Some("json") => serde_json::from_str(&text).map_err(|error| error.to_string()),
        _ => serde_saphyr::from_str(&text).map_err(|error| error.to_string()),
    };
    let mut keys: Map<String, Value> = parsed.map_err(|error| vec![error])?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    keys.entry("name").or_insert_with(|| name.into());
    checked(keys)
}

/// Key by key, so that none hides another.
fn checked(keys: Map<String, Value>) -> Result<TemplateFile, Vec<String>> {
    let wrong: Vec<_> = keys.iter().filter_map(|(key, value)| problem(key, value)).collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    serde_json::from_value(Value::Object(keys)).map_err(|error| vec![error.to_string()])
}

fn problem(key: &str, value: &Value) -> Option<String> {
    let mut alone = Map::from_iter([(key.to_owned(), value.clone())]);
    alone.entry("name").or_insert_with(|| "x".into());
    let error = serde_json::from_value::<TemplateFile>(Value::Object(alone)).err()?;
    Some(format!("{key}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
        dir
    }

    #[test]
    fn templates_of_all_three_forms_inherit_from_each_other() {
        let dir = directory(&[
            ("big.toml", "inherits = \"package-runner\"\nmemory = 2147483648\n"),
            ("bigger.yaml", "inherits: big\npids: 300\n"),
            ("named.json", "{\"name\": \"other\", \"cpuMillis\": 100}"),
            ("README.md", "not a template"),
        ]);
        let templates = read(dir.path()).unwrap();
        let values = |name: &str| &templates.get(name).unwrap().values;
        assert_eq!((values("bigger").memory, values("bigger").pids), (2_147_483_648, 300));
        assert_eq!(values("bigger").cpu_millis, 1000, "from package-runner");
        assert_eq!(values("other").cpu_millis, 100);
        assert!(values("bigger").read_only_root && values("bigger").no_new_privileges);
    }

    #[test]
    fn every_mistake_of_every_file_is_named() {
        let dir = directory(&[
            ("a.toml", "memory = \"x\"\nprivileged = true\n"),
            ("b.yaml", ":\n  - ]"),
            ("c.json", "{\"readOnlyRoot\": false}"),
        ]);
        let mistakes = read(dir.path()).unwrap_err();
        let name = |(path, problem): &Mistake| {
            let file = path.as_ref().unwrap().file_name().unwrap().to_string_lossy().into_owned();
            format!("{file}: {problem}")
        };
        let shown: Vec<_> = mistakes.iter().map(name).collect();
        assert_eq!(shown.len(), 4, "{shown:#?}");
        assert!(shown[0].starts_with("a.toml: memory: invalid type"), "{shown:#?}");
        assert!(shown[1].starts_with("a.toml: privileged: unknown field"), "{shown:#?}");
        assert!(shown[3].starts_with("c.json: readOnlyRoot: unknown field"), "{shown:#?}");
    }
}
