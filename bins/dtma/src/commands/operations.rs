//! `operations`: what was asked of the daemon, and what became of it.

use crate::app::App;
use crate::cli::{OperationsCommand, OperationsLsArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use crate::output::{Shape, operation, time};
use dtma_client::types::{OperationState, OperationView};
use dtma_client::{Error, OperationQuery};
use std::time::Duration;

/// How often an operation is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// `dtma operations …`.
pub(super) async fn operations(app: &App, command: OperationsCommand) -> Result<(), Failure> {
    match command {
        OperationsCommand::Ls(args) => ls(app, args).await,
        OperationsCommand::Get { id } => show(app, &app.client.get_operation(&id).await?),
        OperationsCommand::Wait { id, timeout } => wait(app, &id, timeout).await,
    }
}

async fn ls(app: &App, args: OperationsLsArgs) -> Result<(), Failure> {
    let OperationsLsArgs { group, instance, kind, state, limit } = args;
    let found = app.client.list_operations(&OperationQuery { group, instance, kind, state, limit }).await?;
    app.output.list(&found, |shape| match shape {
        Shape::Name => found.operations.iter().map(|one| format!("{}\n", line(&one.id))).collect(),
        Shape::Table | Shape::Wide => operation::list(&found.operations, app.clock.now(), app.output.ink),
    })?;
    if found.operations.is_empty() && app.output.is_human() {
        app.output.remark("no such operation is remembered");
    }
    Ok(())
}

fn show(app: &App, one: &OperationView) -> Result<(), Failure> {
    app.output.list(one, |shape| match shape {
        Shape::Name => format!("{}\n", line(&one.id)),
        Shape::Table | Shape::Wide => operation::detail(one, app.output.ink),
    })
}

async fn wait(app: &App, id: &str, timeout: Duration) -> Result<(), Failure> {
    let over = tokio::select! {
        // Nothing is lost by dropping a look.
        over = until_over(app, id) => over?,
        () = tokio::time::sleep(timeout) => {
            let message = format!("not over within {}", time::short(timeout));
            return Err(Failure::new(Exit::TimedOut, message).hint("the daemon goes on; --timeout waits longer"));
        }
        _ = tokio::signal::ctrl_c() => return Err(Failure::new(Exit::Interrupted, "interrupted")),
    };
    show(app, &over)?;
    match over.state {
        OperationState::Failed => Err(Failure::Said(Exit::Failed)),
        OperationState::Done | OperationState::Running => Ok(()),
    }
}

async fn until_over(app: &App, id: &str) -> Result<OperationView, Failure> {
    let mut answered = false;
    loop {
        match app.client.get_operation(id).await {
            Ok(one) if one.state != OperationState::Running => return Ok(one),
            Ok(_) => answered = true,
            // A daemon that is being restarted is waited for; one that never answered is not.
            Err(Error::Unreachable { .. } | Error::Broken(_) | Error::Timeout { .. }) if answered => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOOK).await;
    }
}
