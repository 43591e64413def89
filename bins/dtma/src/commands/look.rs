//! `ps`, `status`.

use crate::app::{App, server, servers, there_is};
use crate::cli::{PsArgs, StatusArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Shape, group, server as layout, text};
use dtma_client::types::{PhaseWord, ServerView, StatusView};

/// `dtma ps`.
pub(super) async fn ps(app: &App, args: &PsArgs) -> Result<(), Failure> {
    let status = app.status().await?;
    let of_group = chosen(&status, args.group.as_deref())?;
    let (shown, hidden): (Vec<&ServerView>, Vec<&ServerView>) =
        of_group.into_iter().partition(|server| args.all || !is_at_rest(server.phase));
    app.output.list(&shown, |shape| layout::list(&shown, shape, app.clock.now(), app.output.ink))?;
    if app.output.is_human() {
        ps_remarks(app, &status, &shown, hidden.len());
    }
    Ok(())
}

/// What a table has no room for: why servers are not ready, what is left out, what stands in a group's way.
fn ps_remarks(app: &App, status: &StatusView, shown: &[&ServerView], hidden: usize) {
    for reason in layout::reasons(shown, app.output.remark_ink) {
        app.output.remark(&reason);
    }
    for group in &status.groups {
        if let Some(trouble) = &group.trouble {
            app.output.remark(&format!("{}: {}", text::line(&group.group_id), text::line(trouble)));
        }
    }
    if hidden > 0 {
        app.output.remark(&format!("{hidden} stopped or completed not shown; -a shows all"));
    }
    if shown.is_empty() && hidden == 0 {
        app.output.remark("nothing is deployed; dtma up -f FILE deploys a group");
    }
}

fn chosen<'a>(status: &'a StatusView, group: Option<&str>) -> Result<Vec<&'a ServerView>, Failure> {
    let Some(name) = group else { return Ok(servers(status).collect()) };
    match status.groups.iter().find(|group| group.group_id == name) {
        Some(group) => Ok(group.servers.iter().collect()),
        None => Err(no_group(status, name)),
    }
}

fn no_group(status: &StatusView, name: &str) -> Failure {
    let known = status.groups.iter().map(|group| group.group_id.as_str());
    Failure::new(Exit::NotFound, format!("there is no group {name}")).hint(there_is(known))
}

/// Neither running nor about to, and nobody has to do anything about it.
fn is_at_rest(phase: PhaseWord) -> bool {
    match phase {
        PhaseWord::Stopped | PhaseWord::Completed | PhaseWord::OnDemand => true,
        PhaseWord::Creating
        | PhaseWord::Waiting
        | PhaseWord::Starting
        | PhaseWord::Idle
        | PhaseWord::Updating
        | PhaseWord::Ready
        | PhaseWord::Backoff
        | PhaseWord::Stopping
        | PhaseWord::Failed
        | PhaseWord::Removing => false,
    }
}

/// `dtma status`.
pub(super) async fn status(app: &App, args: &StatusArgs) -> Result<(), Failure> {
    let status = app.status().await?;
    let (now, ink) = (app.clock.now(), app.output.ink);
    let Some(name) = args.name.as_deref() else {
        return app.output.list(&status, |shape| group::overview(&status, shape, now, ink));
    };
    if let Some(group) = status.groups.iter().find(|group| group.group_id == name) {
        return app.output.list(group, |shape| group::detail(group, shape, now, ink));
    }
    let Ok(server) = server(&status, name) else {
        let groups = status.groups.iter().map(|group| group.group_id.as_str());
        let known = groups.chain(servers(&status).map(|server| server.instance_name.as_str()));
        return Err(Failure::new(Exit::NotFound, format!("there is no group and no server {name}"))
            .hint(there_is(known)));
    };
    app.output.list(server, |shape| match shape {
        Shape::Name => layout::list(&[server], shape, now, ink),
        Shape::Table | Shape::Wide => layout::detail(server, now, ink),
    })
}
