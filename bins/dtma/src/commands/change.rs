//! `restart`, `start`, `stop`.

use super::group::{standing, stands};
use crate::app::App;
use crate::cli::{RestartArgs, WaitArgs};
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::output::{Shape, server, text};
use crate::progress::board::{Outcome, Scope};
use crate::progress::{Subject, watch};
use dtma_client::types::{ServerChangeView, ServerView};
use dtma_client::{Client, Error, Mutation};
use futures_util::future::join_all;
use std::collections::BTreeSet;

/// What is done to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Restart,
    Start,
    Stop,
}

/// `dtma restart`.
pub(super) async fn restart(app: &App, args: RestartArgs) -> Result<(), Failure> {
    match args.group {
        Some(group) => restart_group(app, &group, args.wait).await,
        None => servers(app, Change::Restart, args.instances, args.wait).await,
    }
}

async fn restart_group(app: &App, group: &str, wait: WaitArgs) -> Result<(), Failure> {
    let before = app.group(group).await?;
    let servers = before.servers.iter().map(|server| server.instance_name.clone()).collect();
    let subject = Subject { scope: Scope::Group(group.to_owned()), servers, waits: !wait.no_wait };
    let mutation = wait.mutation();
    let work = app.client.restart_group(group, &mutation);
    let done = watch(app, subject, work, |done| stands(wait, &done.group)).await?;
    app.output.result(&done, |shape| match shape {
        Shape::Table | Shape::Wide if wait.no_wait => accepted(group, Change::Restart),
        Shape::Table | Shape::Wide | Shape::Name => standing(app, &done.group, shape),
    })
}

/// Changes each of these servers; one that fails does not keep the others from it.
pub(super) async fn servers(
    app: &App,
    change: Change,
    mut instances: Vec<String>,
    wait: WaitArgs,
) -> Result<(), Failure> {
    let mut named = BTreeSet::new();
    instances.retain(|instance| named.insert(instance.clone()));
    let subject = Subject { scope: Scope::Servers(named), servers: instances.clone(), waits: !wait.no_wait };
    let mutation = wait.mutation();
    let each = join_all(instances.iter().map(|instance| one(&app.client, change, instance, &mutation)));
    let outcomes = watch(app, subject, async { Ok(each.await) }, |done| standing_now(wait, done)).await?;
    report(app, change, outcomes, |done, shape| match shape {
        Shape::Table | Shape::Wide if wait.no_wait => {
            done.iter().map(|done| accepted(&done.server.instance_name, change)).collect()
        }
        Shape::Table | Shape::Wide | Shape::Name => list(app, done, shape),
    })
}

/// What is said of a change that is not waited for: how the server stands right now would mislead.
fn accepted(name: &str, change: Change) -> String {
    let word = match change {
        Change::Restart => "restart",
        Change::Start => "start",
        Change::Stop => "stop",
    };
    format!("{}: {word} accepted\n", text::line(name))
}

async fn one(
    client: &Client,
    change: Change,
    instance: &str,
    mutation: &Mutation,
) -> Result<ServerChangeView, Error> {
    match change {
        Change::Restart => client.restart_server(instance, mutation).await,
        Change::Start => client.start_server(instance, mutation).await,
        Change::Stop => client.stop_server(instance, mutation).await,
    }
}

fn standing_now(wait: WaitArgs, outcomes: &[Result<ServerChangeView, Error>]) -> Outcome {
    if wait.no_wait {
        return Outcome::Open;
    }
    Outcome::Stands(outcomes.iter().flatten().map(|done| done.server.clone()).collect())
}

/// What was done first, then every failure; the first one decides how the program ends.
fn report(
    app: &App,
    change: Change,
    outcomes: Vec<Result<ServerChangeView, Error>>,
    human: impl FnOnce(&[ServerChangeView], Shape) -> String,
) -> Result<(), Failure> {
    let (done, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let done: Vec<ServerChangeView> = done.into_iter().flatten().collect();
    if !done.is_empty() {
        app.output.result(&done, |shape| human(&done, shape))?;
    }
    let mut failed = failed.into_iter().filter_map(Result::err).map(|error| failure(change, error));
    let Some(first) = failed.next() else { return Ok(()) };
    let first = first.tell(app.output.remark_ink);
    failed.for_each(|other| {
        other.tell(app.output.remark_ink);
    });
    Err(first)
}

fn failure(change: Change, error: Error) -> Failure {
    let unknown = exit::of(&error) == Exit::NotFound;
    let failure = Failure::from(error);
    match change {
        Change::Restart if unknown => {
            failure.hint("dtma ps -a lists what there is; dtma restart --group restarts all of a group")
        }
        Change::Restart | Change::Start | Change::Stop => failure,
    }
}

fn list(app: &App, done: &[ServerChangeView], shape: Shape) -> String {
    let servers: Vec<&ServerView> = done.iter().map(|done| &done.server).collect();
    server::list(&servers, shape, app.clock.now(), app.output.ink)
}
