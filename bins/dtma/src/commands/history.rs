//! `history`, `diff`, `rollback`: the generations of a group.

use super::compare::between;
use super::group::{self, stands};
use crate::app::App;
use crate::cli::{DiffArgs, HistoryArgs, RollbackArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use crate::output::time::moment;
use crate::output::{Shape, change, yaml};
use crate::progress::board::Scope;
use crate::progress::{Subject, watch};
use dtma_client::ChangeOptions;
use dtma_client::types::{HistoryView, RevisionView, RollbackRequest, ServerDiff};
use serde::Serialize;

/// `dtma history`.
pub(super) async fn history(app: &App, args: &HistoryArgs) -> Result<(), Failure> {
    let history = app.client.get_history(&args.group).await?;
    match args.generation {
        Some(generation) => one(app, &history.generations[index(&history, generation)?]),
        None => all(app, &history),
    }
}

fn all(app: &App, history: &HistoryView) -> Result<(), Failure> {
    let generations = &history.generations;
    app.output.list(history, |shape| match shape {
        Shape::Name => generations.iter().map(|one| format!("{}\n", one.generation)).collect(),
        Shape::Table | Shape::Wide => change::history(generations, app.clock.now(), app.output.ink),
    })?;
    if app.output.is_human() {
        change::failures(generations).iter().for_each(|reason| app.output.remark(reason));
    }
    Ok(())
}

fn one(app: &App, revision: &RevisionView) -> Result<(), Failure> {
    let spec: String = yaml(&revision.spec)?.lines().map(|line| format!("  {line}\n")).collect();
    app.output.list(revision, |shape| match shape {
        Shape::Name => format!("{}\n", revision.generation),
        Shape::Table | Shape::Wide => {
            let changes = change::diff(&revision.changes, shape == Shape::Wide, app.output.ink);
            format!("{}\n\n{changes}\nspec:\n{spec}", facts(revision))
        }
    })
}

fn facts(revision: &RevisionView) -> String {
    let reason = revision.reason.as_deref().map(|why| format!(": {}", line(why))).unwrap_or_default();
    let current = if revision.current { ", the present one" } else { "" };
    let (author, cause) = (line(&revision.author), line(&revision.cause));
    let (at, fate) = (moment(&revision.at), revision.fate);
    format!("generation {}{current}: {cause} by {author} at {at}, {fate}{reason}", revision.generation)
}

/// Where a generation stands among those that are kept.
fn index(history: &HistoryView, generation: u64) -> Result<usize, Failure> {
    let found = history.generations.iter().position(|one| one.generation == generation);
    found.ok_or_else(|| {
        let kept: Vec<String> = history.generations.iter().map(|one| one.generation.to_string()).collect();
        let message = format!("generation {generation} of {} is not kept", history.group_id);
        Failure::new(Exit::NotFound, message).hint(format!("there is {}", kept.join(", ")))
    })
}

/// What lies between two generations.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    group_id: String,
    from: u64,
    to: u64,
    changes: Vec<ServerDiff>,
}

/// `dtma diff`.
pub(super) async fn diff(app: &App, args: &DiffArgs) -> Result<(), Failure> {
    let history = app.client.get_history(&args.group).await?;
    let (from, to) = ends(&history, args)?;
    let kept = &history.generations;
    let difference = Difference {
        group_id: history.group_id.clone(),
        from: kept[from].generation,
        to: kept[to].generation,
        changes: between(kept, from, to),
    };
    app.output.list(&difference, |shape| match shape {
        Shape::Name => {
            difference.changes.iter().map(|change| format!("{}\n", line(&change.instance))).collect()
        }
        Shape::Table | Shape::Wide => change::diff(&difference.changes, shape == Shape::Wide, app.output.ink),
    })?;
    if app.output.is_human() {
        let summary = match change::summary(&difference.changes) {
            none if none.is_empty() => "nothing differs".to_owned(),
            some => some,
        };
        app.output.remark(&format!(
            "{}: generation {} to {}: {summary}",
            line(&args.group),
            difference.from,
            difference.to
        ));
    }
    Ok(())
}

/// Which two are meant: their places among those that are kept.
fn ends(history: &HistoryView, args: &DiffArgs) -> Result<(usize, usize), Failure> {
    let present = history.generations.iter().position(|one| one.current);
    let present = present.or(history.generations.len().checked_sub(1)).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("no generation of {} is kept", history.group_id))
    })?;
    let to = args.to.map_or(Ok(present), |to| index(history, to))?;
    let first = || {
        let message = format!("{} has no earlier generation than the present one", history.group_id);
        Failure::new(Exit::NotFound, message)
    };
    let from = match args.from {
        Some(from) => index(history, from)?,
        None => to.checked_sub(1).ok_or_else(first)?,
    };
    Ok((from, to))
}

/// `dtma rollback`.
pub(super) async fn rollback(app: &App, args: &RollbackArgs) -> Result<(), Failure> {
    let began = tokio::time::Instant::now();
    let subject =
        Subject { scope: Scope::Group(args.group.clone()), servers: Vec::new(), waits: !args.wait.no_wait };
    let options = ChangeOptions { wait: args.wait.wait(), seen: args.if_match };
    let request = RollbackRequest { to_generation: args.to };
    let work = app.client.rollback_group(&args.group, &request, &options);
    let done = watch(app, subject, work, |done| stands(args.wait, &done.group)).await?;
    if done.changed {
        app.output.remark(change::diff(&done.changes, false, app.output.remark_ink).trim_end());
    }
    app.output.result(&done, |shape| group::standing(app, &done.group, shape))?;
    group::remarks(app, &done.group, done.changed, args.wait, began.elapsed());
    Ok(())
}
