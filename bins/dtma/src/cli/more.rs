//! What the commands take that watch, prepare and explain.

use super::value;
use clap::{Args, Subcommand, ValueEnum};
use dtma_client::types::PhaseWord;
use std::path::PathBuf;
use std::time::Duration;

/// `dtma wait`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma wait demo --for ready --timeout 2m
  dtma wait time web --for phase=backoff
  dtma wait demo --for removed

A server that has failed for good does not become ready by waiting: that ends at once, with 1.")]
pub(crate) struct WaitForArgs {
    /// Groups and servers; a group means each of its servers
    #[arg(value_name = "GROUP|INSTANCE", required = true)]
    pub(crate) names: Vec<String>,
    /// What is waited for: ready, stopped, completed, removed, phase=WORD
    #[arg(long = "for", value_name = "WHAT", default_value = "ready", value_parser = goal)]
    pub(crate) goal: Goal,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = value::duration)]
    pub(crate) timeout: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Answering, or ran to completion.
    Ready,
    /// Gone.
    Removed,
    /// In this very phase.
    Phase(PhaseWord),
}

fn goal(text: &str) -> Result<Goal, String> {
    let phase = |word: &str| {
        let found = PhaseWord::ALL.iter().find(|phase| phase.as_str() == word);
        found.copied().map(Goal::Phase).ok_or_else(|| {
            let known: Vec<&str> = PhaseWord::ALL.iter().map(|phase| phase.as_str()).collect();
            format!("no such phase; there is {}", known.join(", "))
        })
    };
    match text.split_once('=') {
        None if text == "ready" => Ok(Goal::Ready),
        None if text == "removed" => Ok(Goal::Removed),
        None if text == "stopped" || text == "completed" => phase(text),
        Some(("phase", word)) => phase(word),
        None | Some(_) => Err("neither ready, stopped, completed, removed nor phase=WORD".into()),
    }
}

/// `dtma top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma top                             until interrupted, on a terminal
  dtma top demo --once --sort memory
  dtma top -o json

100 % is one core. What the daemon cannot know (its engine is on another machine) is shown as -.")]
pub(crate) struct TopArgs {
    /// Only this group
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// One table, and the end; without a terminal it is always so
    #[arg(long, alias = "no-stream")]
    pub(crate) once: bool,
    /// Time between two readings
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::duration)]
    pub(crate) interval: Duration,
    /// What comes first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t = TopOrder::Name)]
    pub(crate) sort: TopOrder,
}

/// What comes first in `dtma top`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopOrder {
    // As listed everywhere.
    Name,
    // The busiest.
    Cpu,
    // The biggest.
    Memory,
}

/// `dtma template …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List the templates
    #[command(after_help = "Example:\n  dtma template ls")]
    Ls,
    /// Show a template with everything it inherits
    #[command(after_help = "Example:\n  dtma template show standard")]
    Show {
        /// The template
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show what templates and policy make of a file: each container's configuration
    #[command(
        after_help = "Examples:\n  dtma template render examples/demo.yaml\n  dtma template render - -o json"
    )]
    Render {
        /// The group: YAML, TOML or JSON; - for standard input
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// `dtma init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma init                            writes dtma.yaml with one MCP server
  dtma init --template tool web.yaml
  dtma init - | dtma up -f -")]
pub(crate) struct InitArgs {
    /// The file; - for standard output
    #[arg(value_name = "FILE", default_value = "dtma.yaml")]
    pub(crate) file: PathBuf,
    /// What to begin with
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Starter::Mcp)]
    pub(crate) template: Starter,
    /// The group's name, instead of the folder's
    #[arg(long, value_name = "GROUP")]
    pub(crate) name: Option<String>,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// What a new group file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Starter {
    // One MCP server over stdio.
    Mcp,
    // One plain container with a port.
    Tool,
    // Several that depend on each other.
    Full,
}

/// `dtma explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dtma explain port_taken
  dtma explain policy.bind
  dtma explain --list")]
pub(crate) struct ExplainArgs {
    /// An error's code, or the rule in brackets behind a mistake
    #[arg(value_name = "CODE", required_unless_present = "list", conflicts_with = "list")]
    pub(crate) word: Option<String>,
    /// List every code and every rule
    #[arg(long)]
    pub(crate) list: bool,
}

/// `dtma man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dtma man --dir /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Where the pages go; the folder is made when it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_one_of_a_few_words() {
        assert_eq!(goal("ready"), Ok(Goal::Ready));
        assert_eq!(goal("stopped"), Ok(Goal::Phase(PhaseWord::Stopped)));
        assert_eq!(goal("phase=backoff"), Ok(Goal::Phase(PhaseWord::Backoff)));
        for bad in ["", "phase", "phase=x", "Ready", "backoff"] {
            assert!(goal(bad).is_err(), "{bad}");
        }
    }
}
