//! `explain`, `man`, `completion`: what this program says about itself.

use crate::cli::{Cli, CompletionArgs, EXIT_CODES, ExplainArgs, ManArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::table::{field, render};
use crate::output::{Output, Shape};
use clap::CommandFactory;
use dtma_client::types::explain::{CODES, Explanation, RULES, explain};

/// `dtma explain`.
pub(super) fn explanation(output: &Output, args: &ExplainArgs) -> Result<(), Failure> {
    let Some(word) = &args.word else { return list(output) };
    let found = explain(word).ok_or_else(|| {
        let failure = Failure::new(Exit::NotFound, format!("there is no error code and no rule {word}"));
        match nearest(word) {
            Some(near) => failure.hint(format!("did you mean {near}? dtma explain --list lists them all")),
            None => failure.hint("dtma explain --list lists them all"),
        }
    })?;
    output.list(&json(found), |shape| match shape {
        Shape::Name => format!("{}\n", found.word),
        Shape::Table | Shape::Wide => {
            format!(
                "{}\n  {}\n  {} {}\n",
                output.ink.bold(found.word),
                found.means,
                output.ink.dim("remedy:"),
                found.remedy
            )
        }
    })
}

fn list(output: &Output) -> Result<(), Failure> {
    let all: Vec<&Explanation> = CODES.iter().chain(RULES).collect();
    let shown: Vec<serde_json::Value> = all.iter().map(|one| json(one)).collect();
    output.list(&shown, |shape| match shape {
        Shape::Name => all.iter().map(|one| format!("{}\n", one.word)).collect(),
        Shape::Table | Shape::Wide => {
            let rows = all.iter().map(|one| vec![field(one.word), field(one.means)]);
            render(&["CODE", "MEANS"], rows.collect(), output.ink)
        }
    })
}

fn json(one: &Explanation) -> serde_json::Value {
    serde_json::json!({"code": one.word, "means": one.means, "remedy": one.remedy})
}

/// The word that begins likewise, or ends so after its family.
fn nearest(word: &str) -> Option<&'static str> {
    let words = CODES.iter().chain(RULES).map(|one| one.word);
    let close = |known: &&str| {
        known.starts_with(word) || known.rsplit('.').next() == Some(word) || known.replace('.', "_") == word
    };
    words.into_iter().find(close)
}

/// `dtma man`: a page for the program and one for each command.
pub(super) fn man(output: &Output, args: &ManArgs) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| {
        Failure::new(Exit::Usage, format!("the pages cannot be written to {}", args.dir.display()))
            .cause(error.to_string())
    };
    std::fs::create_dir_all(&args.dir).map_err(unusable)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(unusable)?;
    output.remark(&format!("the pages are in {}", args.dir.display()));
    Ok(())
}

/// `dtma exit-codes`.
pub(super) fn exit_codes(output: &Output) -> Result<(), Failure> {
    output.text(&format!("{EXIT_CODES}\n"))
}

/// `dtma completion`.
pub(super) fn completion(output: &Output, args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dtma", &mut script);
    output.text(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_nearly_right_is_found() {
        assert_eq!(nearest("port"), Some("port_taken"));
        assert_eq!(nearest("bind"), Some("policy.bind"));
        assert_eq!(nearest("zzz"), None);
    }
}
