//! `cargo xtask soak`: the long forms of what `cargo xtask test` runs short: a hundred updates under load, two hundred
//! random kills, sixty-four clients in conflict, an engine that stands still for a minute, a million answers to
//! sixty-four MCP clients with the same ids (as many again while the container is killed), agents that vanish for two hours.
//!
//! Length is all that differs: the tests are the same and read it from the environment. What they measure they say
//! themselves; it is shown again at the end, beside how long each took.

use crate::{engine, images, process, workspace};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::{Duration, Instant};

const BUILD: Duration = Duration::from_secs(40 * 60);
const RUN: Duration = Duration::from_secs(4 * 60 * 60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rolling updates under load
    #[arg(long, default_value_t = 100)]
    updates: u32,
    /// Instants at which the daemon is killed
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Seconds for which the engine stands still
    #[arg(long, default_value_t = 60)]
    standstill: u32,
    /// Answers that MCP clients with the same ids get
    #[arg(long, default_value_t = 1_000_000)]
    answers: u32,
    /// Seconds for which MCP clients come and vanish
    #[arg(long, default_value_t = 2 * 60 * 60)]
    churn: u32,
    /// Run only what has this in its name: updates, kills, conflict, standstill, crosstalk, resurrection, churn
    #[arg(long)]
    only: Option<String>,
}

/// The names of all.
const ALL: &str = "updates, kills, conflict, standstill, crosstalk, resurrection, churn";

/// One test in its long form.
struct Long {
    name: &'static str,
    program: &'static str,
    filter: &'static str,
    setting: Option<(&'static str, u32)>,
}

impl Args {
    fn chosen(&self) -> Vec<Long> {
        let long = |name, program, filter, setting| Long { name, program, filter, setting };
        let all = vec![
            long("updates", "rollout", "updates_under_load", Some(("DTMA_TEST_UPDATES", self.updates))),
            long("kills", "failpoints", "that_is_killed", Some(("DTMA_TEST_KILLS", self.kills))),
            long("conflict", "conflict", "", None),
            long(
                "standstill",
                "engine_restart",
                "stands_still",
                Some(("DTMA_TEST_STANDSTILL", self.standstill)),
            ),
            long("crosstalk", "crowd", "sixty_four", Some(("DTMA_TEST_ANSWERS", self.answers))),
            long(
                "resurrection",
                "crowd",
                "while_the_container",
                Some(("DTMA_TEST_ANSWERS_UNDER_KILLS", self.answers)),
            ),
            long("churn", "crowd", "agents_that", Some(("DTMA_TEST_CHURN", self.churn))),
        ];
        let wanted = |one: &Long| self.only.as_deref().is_none_or(|only| one.name.contains(only));
        all.into_iter().filter(wanted).collect()
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let chosen = args.chosen();
    if chosen.is_empty() {
        bail!("nothing has that in its name: there are {ALL}");
    }
    let engine = engine::ensure()?;
    images::ensure(&engine)?;
    let mut build = Command::new(workspace::cargo());
    build.args(["build", "--workspace", "--bins"]).current_dir(workspace::root());
    process::shown("build the programs under test", BUILD, &mut build)?;
    let results: Vec<(&Long, Result<Vec<String>>)> =
        chosen.iter().map(|long| (long, figures(&engine, long))).collect();
    close(&results)
}

/// Runs one and returns what it said of itself.
fn figures(engine: &engine::Engine, long: &Long) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut cargo = engine.beside(&workspace::cargo());
    cargo.args(["test", "-p", "dtma-tests", "--test", long.program, "--", "--nocapture", long.filter]);
    cargo.current_dir(workspace::root());
    cargo.envs(long.setting.map(|(name, value)| (name, value.to_string())));
    let output = process::shown_and_kept(long.name, RUN, &mut cargo)?;
    let mut said: Vec<String> = output
        .lines()
        .filter_map(|line| line.split_once("figure: "))
        .map(|(_, said)| said.to_owned())
        .collect();
    said.push(format!("took {:.0} s in all", began.elapsed().as_secs_f64()));
    Ok(said)
}

fn close(results: &[(&Long, Result<Vec<String>>)]) -> Result<()> {
    let mut failed = Vec::new();
    for (long, result) in results {
        match result {
            Ok(said) => said.iter().for_each(|said| println!("{}: {said}", long.name)),
            Err(error) => failed.push(format!("{}: {error:#}", long.name)),
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: Option<&str>) -> Vec<&'static str> {
        let only = only.map(str::to_owned);
        let args = Args { updates: 100, kills: 200, standstill: 60, answers: 1000, churn: 60, only };
        args.chosen().iter().map(|long| long.name).collect()
    }

    #[test]
    fn everything_is_run_unless_something_is_named() {
        assert_eq!(names(None).join(", "), ALL);
        assert_eq!(names(Some("kills")), ["kills"]);
        assert!(names(Some("other")).is_empty());
    }
}
