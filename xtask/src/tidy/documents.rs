//! Documents stay true: a path, a `cargo xtask` command or a setting they name is there.
//!
//! Looked at are code spans and links; in a fenced block only commands and settings, for what it shows may be
//! an example. A span with a placeholder (`<...>`, `*`, `{`) is no claim.

use super::{Complaint, Source};
use clap::CommandFactory;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What a path in this repository begins with.
const ROOMS: &[&str] =
    &["crates/", "bins/", "xtask/", "tests/", "docs/", "examples/", ".ci/", ".github/", ".cargo/"];

/// What is there to be named.
pub(crate) struct Known {
    root: PathBuf,
    settings: HashSet<String>,
    commands: clap::Command,
}

impl Known {
    pub(crate) fn new(root: &Path, sources: &[Source]) -> Self {
        let settings = sources.iter().flat_map(|source| settings(&source.text)).collect();
        Self { root: root.to_owned(), settings, commands: crate::Cli::command() }
    }
}

pub(crate) fn check(document: &Source, known: &Known) -> Vec<Complaint> {
    let mut fenced = false;
    let mut complaints = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        let mut texts = [wrong_commands(line, known), wrong_settings(line, known)].concat();
        if !fenced {
            texts.extend(wrong_paths(line, &document.path, known));
        }
        complaints.extend(texts.into_iter().map(|text| Complaint::new(&document.path, index + 1, text)));
    }
    complaints
}

fn wrong_paths(line: &str, document: &Path, known: &Known) -> Vec<String> {
    let beside = document.parent().unwrap_or(Path::new(""));
    let spans = spans(line).into_iter().filter_map(repo_path).map(|path| (path, PathBuf::from(path)));
    let links = links(line).into_iter().map(|target| (target, beside.join(target)));
    let absent = spans.chain(links).filter(|(_, path)| !known.root.join(path).exists());
    absent.map(|(name, _)| format!("`{name}` is not there: name what is, or remove the sentence")).collect()
}

/// The text between each pair of backticks.
fn spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The span as a path of this repository, without a line number, when it is one.
fn repo_path(span: &str) -> Option<&str> {
    let path = span.split([':', '#']).next().unwrap_or(span);
    let claims = ROOMS.iter().any(|room| path.starts_with(room)) && !path.contains(['*', '<', '{', ' ', '…']);
    claims.then_some(path)
}

/// Targets of links that stay in the repository.
fn links(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains(':') && !target.starts_with('/')).collect()
}

fn wrong_commands(line: &str, known: &Known) -> Vec<String> {
    line.split("cargo xtask ").skip(1).filter_map(|words| wrong_command(words, &known.commands)).collect()
}

/// Follows the words down the tree of subcommands as far as the first option; `up|down` names several at once.
fn wrong_command(words: &str, root: &clap::Command) -> Option<String> {
    let mut command = root;
    for word in words.split_whitespace().take_while(|word| !word.starts_with('-')) {
        let names: Vec<&str> =
            word.split('|').map(|name| name.trim_end_matches(|c: char| !is_name(c))).collect();
        if !command.has_subcommands()
            || names.iter().any(|name| name.is_empty() || !name.chars().all(is_name))
        {
            return None;
        }
        if let Some(wrong) = names.iter().find(|name| command.find_subcommand(name).is_none()) {
            return Some(format!("`cargo xtask` has no command `{wrong}`: see `cargo xtask --help`"));
        }
        command = command.find_subcommand(names[0])?;
        if !word.ends_with(is_name) {
            return None;
        }
    }
    None
}

fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

fn wrong_settings(line: &str, known: &Known) -> Vec<String> {
    let absent = settings(line).into_iter().filter(|name| !known.settings.contains(name));
    absent.map(|name| format!("no source file reads the setting `{name}`: name one that is there")).collect()
}

/// Names like `DTMA_LISTEN`; a name that ends in `_` is a prefix, not a setting.
fn settings(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| word.starts_with("DTMA_") && !word.ends_with('_')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        let sources = [Source { path: "a.rs".into(), text: "env = \"DTMA_LISTEN\"".into() }];
        let known = Known::new(crate::workspace::root(), &sources);
        let document = Source { path: "docs/a.md".into(), text: text.into() };
        check(&document, &known).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_that_are_there_pass_and_others_are_named_with_their_line() {
        assert!(
            complaints("`xtask/src/main.rs:3`, [text](../xtask/src/tidy.rs#a), `crates/*/src`").is_empty()
        );
        let wrong = complaints("\nsee `xtask/src/nowhere.rs` and [it](nowhere.md)");
        assert_eq!(wrong.len(), 2);
        assert!(wrong[0].starts_with("docs/a.md:2: `xtask/src/nowhere.rs` is not there"), "{}", wrong[0]);
    }

    #[test]
    fn what_is_not_a_claim_about_this_repository_passes() {
        assert!(complaints("`/etc/dtma`, `tests`, [a](https://example.org/x), `examples/<name>`").is_empty());
        assert!(complaints("```\n`docs/nowhere.md`\n```").is_empty());
    }

    #[test]
    fn commands_are_followed_into_their_subcommands() {
        assert!(
            complaints("`cargo xtask engine up|down`, `cargo xtask tidy`. `cargo xtask test -- -p x`")
                .is_empty()
        );
        assert!(complaints("run `cargo xtask fly` now")[0].contains("no command `fly`"));
        assert!(complaints("```\ncargo xtask engine up|sideways\n```")[0].contains("`sideways`"));
    }

    #[test]
    fn settings_must_be_read_somewhere() {
        assert!(complaints("`DTMA_LISTEN`, any `DTMA_*`").is_empty());
        assert!(complaints("set `DTMA_NOWHERE=1`")[0].contains("`DTMA_NOWHERE`"));
    }
}
