//! `apply` and `plan`: a group that stands is changed in place to what a file says.

use super::group::{self, stands};
use crate::app::App;
use crate::cli::{ApplyArgs, Format, PlanArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::file::Document;
use crate::output::text::line;
use crate::output::{Shape, change, yaml};
use crate::progress::board::Scope;
use crate::progress::{Subject, watch};
use dtma_client::ChangeOptions;
use dtma_client::types::PlanView;
use std::path::Path;

/// Something would change.
const CHANGES: u8 = 1;

/// `dtma apply`.
pub(super) async fn apply(app: &App, args: &ApplyArgs) -> Result<(), Failure> {
    if args.dry_run {
        return foretell(app, args.file.as_deref(), args.if_match, false).await;
    }
    let document = Document::load(args.file.as_deref())?;
    let done = change(app, &document, args).await;
    done.map_err(|failure| failure.located(|pointer| document.place(pointer)))
}

async fn change(app: &App, document: &Document, args: &ApplyArgs) -> Result<(), Failure> {
    let began = tokio::time::Instant::now();
    let group = document.named_group()?;
    let options = ChangeOptions { wait: args.wait.wait(), seen: args.if_match };
    let plan = app.client.plan_group(group, &document.value, &options).await?;
    announce(app, &plan);
    let subject = Subject {
        scope: Scope::Group(group.to_owned()),
        servers: plan.changes.into_iter().map(|change| change.instance).collect(),
        waits: !args.wait.no_wait,
    };
    let work = app.client.put_group(group, &document.value, &options);
    let done = watch(app, subject, work, |done| stands(args.wait, &done.group)).await?;
    app.output.result(&done, |shape| group::standing(app, &done.group, shape))?;
    group::remarks(app, &done.group, done.changed, args.wait, began.elapsed());
    Ok(())
}

/// What is about to happen. A file that is refused is told about by its refusal.
fn announce(app: &App, plan: &PlanView) {
    if plan.validation.valid && plan.generation.is_some() && !plan.changes.is_empty() {
        app.output.remark(change::diff(&plan.changes, false, app.output.remark_ink).trim_end());
    }
}

/// `dtma plan`.
pub(super) async fn plan(app: &App, args: &PlanArgs) -> Result<(), Failure> {
    foretell(app, args.file.as_deref(), None, args.verbose).await
}

async fn foretell(app: &App, file: Option<&Path>, seen: Option<u64>, verbose: bool) -> Result<(), Failure> {
    let document = Document::load(file)?;
    let options = ChangeOptions { seen, ..ChangeOptions::default() };
    let plan = app.client.plan_group(document.named_group()?, &document.value, &options).await;
    let plan = plan.map_err(|error| Failure::from(error).located(|pointer| document.place(pointer)))?;
    let effective = if verbose { effective(&plan)? } else { String::new() };
    let verdict = group::verdict(app, &document, &plan.validation, Shape::Table);
    if !plan.validation.valid {
        app.output.list(&plan, |_| verdict)?;
        return Err(Failure::Said(Exit::Invalid));
    }
    if !plan.validation.warnings.is_empty() {
        app.output.remark(verdict.trim_end());
    }
    show(app, &document, &plan, &effective, verbose)?;
    if plan.changed { Err(Failure::Ended(CHANGES)) } else { Ok(()) }
}

fn show(
    app: &App,
    document: &Document,
    plan: &PlanView,
    effective: &str,
    verbose: bool,
) -> Result<(), Failure> {
    let group = line(document.group().unwrap_or_default());
    app.output.list(plan, |shape| match shape {
        Shape::Name => plan.changes.iter().map(|change| format!("{}\n", line(&change.instance))).collect(),
        Shape::Table | Shape::Wide => {
            let diff = change::diff(&plan.changes, verbose, app.output.ink);
            let exposed = change::exposed(plan, verbose);
            format!("{diff}{}\n{exposed}{effective}", headline(&group, plan))
        }
    })?;
    if plan.changed && app.output.format == Format::Table {
        app.output.remark("nothing was done; dtma apply does it");
    }
    Ok(())
}

fn headline(group: &str, plan: &PlanView) -> String {
    let summary = change::summary(&plan.changes);
    match (plan.generation, plan.changed) {
        (_, false) => format!("{group}: nothing would change"),
        (None, true) => format!("{group}: is not there yet; {summary}"),
        (Some(generation), true) if plan.changes.is_empty() => {
            format!(
                "{group}: generation {generation} stands; the group would change, and none of its servers"
            )
        }
        (Some(generation), true) => format!("{group}: generation {generation} stands; {summary}"),
    }
}

/// What each container would be made from.
fn effective(plan: &PlanView) -> Result<String, Failure> {
    let text = yaml(&plan.validation.effective)?;
    Ok(format!("\neffective configuration:\n{}", indented(&text)))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
