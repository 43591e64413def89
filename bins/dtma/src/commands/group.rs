//! `up`, `down`, `validate`.

use crate::app::App;
use crate::cli::{DownArgs, UpArgs, ValidateArgs, WaitArgs};
use crate::exit::Exit;
use crate::failure::{Failure, Mistake};
use crate::file::Document;
use crate::output::{Shape, server, text, time};
use crate::progress::board::{Outcome, Scope};
use crate::progress::{Subject, watch};
use dtma_client::types::{ErrorDetail, GroupView, PhaseWord, RemovalView, ServerView, ValidationView};
use dtma_client::{RemoveOptions, Wait};
use serde::Serialize;
use std::time::Duration;

/// `dtma up`.
pub(super) async fn up(app: &App, args: &UpArgs) -> Result<(), Failure> {
    let document = Document::load(args.file.as_deref())?;
    let subject = Subject {
        scope: Scope::Group(document.group().unwrap_or_default().to_owned()),
        servers: document.servers(),
        waits: !args.wait.no_wait,
    };
    let deployed = deploy(app, subject, &document.value, args.wait).await;
    deployed.map_err(|failure| failure.located(|pointer| document.place(pointer)))
}

/// Deploys what a document says, shows how it goes, prints how it stands.
pub(super) async fn deploy(
    app: &App,
    subject: Subject,
    request: &impl Serialize,
    wait: WaitArgs,
) -> Result<(), Failure> {
    let began = tokio::time::Instant::now();
    let mutation = wait.mutation();
    let work = app.client.deploy_group(request, &mutation);
    let done = watch(app, subject, work, |done| stands(wait, &done.group)).await?;
    app.output.result(&done, |shape| standing(app, &done.group, shape))?;
    remarks(app, &done.group, done.changed, wait, began.elapsed());
    Ok(())
}

/// What became of a group, beside the table of its servers.
pub(super) fn remarks(app: &App, group: &GroupView, changed: bool, wait: WaitArgs, took: Duration) {
    app.output.remark(&remark(group, changed, wait, took));
    for server in &group.servers {
        if let Some(differs) = &server.contract {
            let (name, differs) = (text::line(&server.instance_name), text::line(differs));
            app.output.remark(&format!("{name}: {differs}; dtma mcp inspect {name} --contract"));
        }
    }
    // Deploying again does not undo what a person did.
    let stopped = group.servers.iter().filter(|server| server.phase == PhaseWord::Stopped);
    let stopped: Vec<String> = stopped.map(|server| text::line(&server.instance_name)).collect();
    if !stopped.is_empty() {
        let stopped = stopped.join(" ");
        app.output.remark(&format!("stopped by a person, and left so: {stopped}; dtma start {stopped}"));
    }
}

/// How a group stands after a change that was waited for.
pub(super) fn stands(wait: WaitArgs, group: &GroupView) -> Outcome {
    if wait.no_wait { Outcome::Open } else { Outcome::Stands(group.servers.clone()) }
}

/// The servers of a group that was changed.
pub(super) fn standing(app: &App, group: &GroupView, shape: Shape) -> String {
    let servers: Vec<&ServerView> = group.servers.iter().collect();
    match shape {
        Shape::Name => format!("{}\n", text::line(&group.group_id)),
        Shape::Table | Shape::Wide => server::list(&servers, shape, app.clock.now(), app.output.ink),
    }
}

fn remark(group: &GroupView, changed: bool, wait: WaitArgs, took: Duration) -> String {
    let (name, state, generation) = (text::line(&group.group_id), group.state, group.generation);
    if wait.no_wait && changed {
        format!("{name}: accepted, generation {generation}; dtma ps {name} shows how it goes")
    } else if changed {
        format!("{name}: {state}, generation {generation}, in {}", time::short(took))
    } else {
        format!("{name}: {state}, generation {generation}; nothing had to be changed")
    }
}

/// `dtma down`.
pub(super) async fn down(app: &App, args: &DownArgs) -> Result<(), Failure> {
    let group = match &args.group {
        Some(group) => group.clone(),
        None => Document::load(args.file.as_deref())?.named_group()?.to_owned(),
    };
    let options = RemoveOptions {
        wait: args.wait.wait(),
        force: args.force,
        grace: args.grace,
        volumes: args.volumes,
        key: None,
    };
    remove(app, &group, &options).await
}

/// Removes a group and says so.
pub(super) async fn remove(app: &App, group: &str, options: &RemoveOptions) -> Result<(), Failure> {
    let before = app.group(group).await?;
    let servers = before.servers.iter().map(|server| server.instance_name.clone()).collect();
    let scope = Scope::Group(group.to_owned());
    let subject = Subject { scope, servers, waits: options.wait != Wait::No };
    let work = app.client.remove_group(group, options);
    let gone = |done: &RemovalView| if done.gone { Outcome::Gone } else { Outcome::Open };
    let done = watch(app, subject, work, gone).await?;
    let group = text::line(group);
    app.output.result(&done, |shape| match shape {
        Shape::Name => format!("{group}\n"),
        Shape::Table | Shape::Wide if done.gone => format!("{group}: removed\n"),
        Shape::Table | Shape::Wide => format!("{group}: being removed\n"),
    })
}

/// `dtma validate`.
pub(super) async fn validate(app: &App, args: &ValidateArgs) -> Result<(), Failure> {
    let document = Document::load(args.file.as_deref())?;
    let answer = app.client.validate_group(&document.value).await;
    let answer = answer.map_err(|error| Failure::from(error).located(|pointer| document.place(pointer)))?;
    app.output.result(&answer, |shape| verdict(app, &document, &answer, shape))?;
    if answer.valid { Ok(()) } else { Err(Failure::Said(Exit::Invalid)) }
}

pub(super) fn verdict(app: &App, document: &Document, answer: &ValidationView, shape: Shape) -> String {
    let name = text::line(&document.name);
    if shape == Shape::Name {
        return if answer.valid { format!("{name}\n") } else { String::new() };
    }
    let mut told = String::new();
    let mut tell = |title: &str, details: &[ErrorDetail]| {
        if !details.is_empty() {
            told += &format!("{title}:\n");
        }
        for detail in details {
            let place = Some(document.place(&detail.pointer));
            Mistake { place, detail: detail.clone() }.render(&mut told, app.output.ink);
        }
    };
    tell("errors", &answer.errors);
    tell("warnings", &answer.warnings);
    if answer.valid {
        told += &format!("{name} is valid: {} servers\n", answer.effective.len());
    } else {
        told += &format!("{name} is not valid\n");
    }
    told
}
