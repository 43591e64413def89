//! `mcp grants`: what is granted to agents.

use crate::app::App;
use crate::cli::{End, GrantsCommand, GrantsLsArgs, GrantsSetArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::grants as layout;
use crate::output::text::line;
use dtma_client::types::{ConnectionRequest, ConnectionView, RateBody};
use jiff::{SignedDuration, Timestamp};

/// `dtma mcp grants …`.
pub(super) async fn grants(app: &App, command: GrantsCommand) -> Result<(), Failure> {
    match command {
        GrantsCommand::Ls(args) => ls(app, &args).await,
        GrantsCommand::Set(args) => set(app, args).await,
        GrantsCommand::Rm(args) => {
            for connection in &args.connections {
                app.client.remove_connection(connection, None).await?;
                app.output.remark(&format!("{} is taken away", line(connection)));
            }
            Ok(())
        }
    }
}

async fn ls(app: &App, args: &GrantsLsArgs) -> Result<(), Failure> {
    let list = app.client.list_connections().await?;
    let wanted = |view: &ConnectionView| args.agent.is_none() || view.agent == args.agent;
    let connections: Vec<_> = list.connections.into_iter().filter(wanted).collect();
    let (now, ink) = (app.clock.now(), app.output.ink);
    app.output.list(&connections, |shape| layout::list(&connections, shape, now, ink))?;
    if connections.is_empty() && app.output.is_human() {
        app.output.remark(match list.required {
            true => "nothing is granted: agents reach no server; dtma mcp grants set grants something",
            false => "nothing is granted: whoever has the scope gateway reaches every server",
        });
    }
    Ok(())
}

async fn set(app: &App, args: GrantsSetArgs) -> Result<(), Failure> {
    let expires_at = args.expires.map(|end| moment(end, app.clock.now())).transpose()?;
    let request = ConnectionRequest {
        agent: args.agent,
        token_hash: args.token_hash,
        servers: args.servers.into_iter().chain(args.groups).collect(),
        expires_at: expires_at.map(|at| at.to_string()),
        rate: args.rate.map(|calls_per_minute| RateBody { calls_per_minute, burst: args.burst }),
    };
    let view = app.client.put_connection(&args.connection, &request, None).await?;
    for warning in &view.warnings {
        app.output.remark(&format!("warning: {}", line(&warning.message)));
    }
    app.output.result(&view, |_| layout::told(&view))
}

fn moment(end: End, now: Timestamp) -> Result<Timestamp, Failure> {
    match end {
        End::At(at) => Ok(at),
        End::In(time) => {
            let later = SignedDuration::try_from(time).ok().and_then(|time| now.checked_add(time).ok());
            later.ok_or_else(|| Failure::new(Exit::Usage, "--expires is further away than time goes"))
        }
    }
}
