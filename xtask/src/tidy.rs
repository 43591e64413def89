//! House rules that no compiler checks, as a function and as a test.
//!
//! Each rule is a module that reads text and returns complaints; only this file touches the disk. A complaint
//! names file and line, and says what to do about it.

mod arrows;
mod documents;
mod headers;
mod length;
mod words;

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    file: PathBuf,
    line: usize,
    text: String,
}

impl Complaint {
    fn new(file: &Path, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, text: text.into() }
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// A text file, its path relative to the repository's root.
struct Source {
    path: PathBuf,
    text: String,
}

pub(crate) fn run() -> Result<()> {
    let complaints = check(workspace::root())?;
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("tidy: {} complaints", complaints.len());
    }
    eprintln!("    tidy: nothing to complain about");
    Ok(())
}

/// All complaints about the tree at `root`, in the order of its files.
pub(crate) fn check(root: &Path) -> Result<Vec<Complaint>> {
    let sources = read(root, "rs")?;
    let documents = read(root, "md")?;
    let mut complaints = arrows::check(root)?;
    for source in &sources {
        complaints.extend(headers::check(source));
        complaints.extend(length::check(source));
        complaints.extend(words::check(source));
    }
    let known = documents::Known::new(root, &sources);
    complaints.extend(documents.iter().flat_map(|document| documents::check(document, &known)));
    complaints.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(complaints)
}

/// Every file below `root` with this extension, in order.
fn read(root: &Path, extension: &str) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths.into_iter().map(|path| source(root, &path)).collect()
}

fn source(root: &Path, path: &Path) -> Result<Source> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Source { path: path.strip_prefix(root).unwrap_or(path).to_owned(), text })
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            found.push(entry.path());
        } else if !is_foreign(&entry.path()) {
            walk(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// Git's own files and what builds leave behind (cargo marks its target directories).
fn is_foreign(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default();
    name == ".git" || name == "node_modules" || dir.join("CACHEDIR.TAG").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let complaints = check(workspace::root()).unwrap();
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    }
}
