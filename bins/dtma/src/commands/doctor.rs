//! `doctor`: everything that must work, from the outside in, and what to do where it does not.

use crate::app::App;
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::output::ink::{Ink, Mood};
use crate::output::{Shape, group, text};
use dtma_client::Error;
use dtma_client::types::{GroupView, PhaseWord, ServerView, StatusView};
use serde::Serialize;
use std::fmt::Write;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    name: &'static str,
    verdict: Verdict,
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Good,
    Doubtful,
    Bad,
}

/// `dtma doctor`.
pub(super) async fn doctor(app: &App) -> Result<(), Failure> {
    let checks = examine(app).await;
    app.output.result(&checks, |shape| told(&checks, shape, app.output.ink))?;
    match checks.iter().find(|check| check.verdict == Verdict::Bad) {
        Some(bad) => Err(Failure::Said(bad.exit)),
        None => Ok(()),
    }
}

/// The same as text, for whoever helps.
pub(super) async fn report(app: &App) -> String {
    told(&examine(app).await, Shape::Table, Ink::OFF)
}

/// Each step only when the one before it held.
async fn examine(app: &App) -> Vec<Check> {
    let mut checks = vec![reachable(app).await];
    if checks.iter().any(|check| check.verdict == Verdict::Bad) {
        return checks;
    }
    match app.client.get_status().await {
        Err(error) => checks.push(refused(error)),
        Ok(status) => {
            checks.push(token(&status));
            checks.push(version(&status));
            checks.push(engine(&status));
            if status.engine.reachable {
                checks.push(ready(app).await);
            }
            checks.extend(status.groups.iter().flat_map(group_checks));
        }
    }
    checks
}

async fn reachable(app: &App) -> Check {
    match app.client.get_health().await {
        Ok(_) => good("daemon", format!("answers at {}", app.client.url())),
        Err(error) => failed("daemon", error),
    }
}

fn refused(error: Error) -> Check {
    let name = if exit::of(&error) == Exit::Unauthorised { "token" } else { "status" };
    failed(name, error)
}

fn token(status: &StatusView) -> Check {
    if status.daemon.auth_required {
        return good("token", "is accepted");
    }
    let hint = "start the daemon without --dev-no-auth and with a token";
    doubtful("token", "none is needed: whoever reaches the daemon may do anything", hint)
}

fn version(status: &StatusView) -> Check {
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), status.daemon.version.as_str());
    if ours == theirs {
        return good("version", format!("{ours} on both sides"));
    }
    let hint = "use the dtma of the daemon's version: older and newer ones may not understand each other";
    doubtful("version", format!("this is {ours}, the daemon is {theirs}"), hint)
}

fn engine(status: &StatusView) -> Check {
    let said = group::engine(&status.engine, Ink::OFF);
    if status.engine.reachable {
        return good("engine", said);
    }
    let hint = "is the Docker Engine running, and may the daemon use its socket? \
                dtma-daemon --docker-host names another";
    bad("engine", said, Some(hint.into()), Exit::Failed)
}

async fn ready(app: &App) -> Check {
    match app.client.get_readyz().await {
        Ok(_) => good("readiness", "the daemon can do its work"),
        Err(error) => failed("readiness", error),
    }
}

/// A group in a line, then everything in it that somebody should look at.
fn group_checks(group: &GroupView) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(trouble) = &group.trouble {
        let hint = "the daemon tries again by itself; its log says more";
        checks.push(bad("group", format!("{}: {trouble}", group.group_id), Some(hint.into()), Exit::Failed));
    }
    checks.extend(group.servers.iter().filter_map(server_check));
    if checks.is_empty() {
        let stopped = group.servers.iter().filter(|server| server.phase == PhaseWord::Stopped).count();
        let stopped = if stopped > 0 { format!(", {stopped} of them stopped") } else { String::new() };
        let said = format!("{}: {}, {} servers{stopped}", group.group_id, group.state, group.servers.len());
        checks.push(good("group", said));
    }
    checks
}

fn server_check(server: &ServerView) -> Option<Check> {
    let name = &server.instance_name;
    let why = server.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    let said = format!("{name}: {}{why}", server.phase);
    match server.phase {
        PhaseWord::Failed => {
            let hint = format!("dtma logs {name} shows what it wrote, dtma restart {name} tries again");
            Some(bad("server", said, Some(hint), Exit::Failed))
        }
        PhaseWord::Backoff => Some(doubtful("server", said, format!("dtma logs {name} shows what it wrote"))),
        PhaseWord::Ready => port_check(server),
        PhaseWord::Creating
        | PhaseWord::Waiting
        | PhaseWord::Starting
        | PhaseWord::Idle
        | PhaseWord::OnDemand
        | PhaseWord::Updating
        | PhaseWord::Completed
        | PhaseWord::Stopping
        | PhaseWord::Stopped
        | PhaseWord::Removing => None,
    }
}

fn port_check(server: &ServerView) -> Option<Check> {
    let closed = server.ports.iter().find(|port| !port.listening)?;
    let said = format!("{}: the daemon does not listen on port {}", server.instance_name, closed.host_port);
    Some(bad("port", said, Some("does something else listen there?".into()), Exit::Failed))
}

fn good(name: &'static str, said: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Good, said: said.into(), hint: None, exit: Exit::Failed }
}

fn doubtful(name: &'static str, said: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Doubtful, said: said.into(), hint: Some(hint.into()), exit: Exit::Failed }
}

fn bad(name: &'static str, said: impl Into<String>, hint: Option<String>, exit: Exit) -> Check {
    Check { name, verdict: Verdict::Bad, said: said.into(), hint, exit }
}

fn failed(name: &'static str, error: Error) -> Check {
    let exit = exit::of(&error);
    match Failure::from(error) {
        Failure::Report(report) => {
            let cause = report.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            bad(name, format!("{}{cause}", report.message), report.hint, exit)
        }
        Failure::Said(_) | Failure::Ended(_) | Failure::Pipe => bad(name, "failed", None, exit),
    }
}

fn told(checks: &[Check], shape: Shape, ink: Ink) -> String {
    let mut told = String::new();
    for check in checks {
        let sign = match check.verdict {
            Verdict::Good => ink.paint(Mood::Good, "✓"),
            Verdict::Doubtful => ink.paint(Mood::Busy, "!"),
            Verdict::Bad => ink.bad("✗"),
        };
        if shape == Shape::Name {
            let _ = writeln!(told, "{sign} {}", check.name);
            continue;
        }
        let _ = writeln!(told, "{sign} {:<10} {}", check.name, text::line(&check.said));
        if let Some(hint) = &check.hint {
            let _ = writeln!(told, "             {} {}", ink.dim("hint:"), text::line(hint));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::server::tests::{time, web};

    #[test]
    fn what_is_wrong_comes_with_what_to_do() {
        let mut broken = web();
        broken.phase = PhaseWord::Failed;
        broken.reason = Some("exited with code 1".into());
        let checks = [
            Some(good("daemon", "answers")),
            Some(doubtful("version", "differs", "update")),
            server_check(&time()),
            server_check(&broken),
        ];
        let checks: Vec<Check> = checks.into_iter().flatten().collect();
        assert_eq!(
            told(&checks, Shape::Table, Ink::OFF),
            "\
✓ daemon     answers
! version    differs
             hint: update
✗ server     web: failed: exited with code 1
             hint: dtma logs web shows what it wrote, dtma restart web tries again
"
        );
    }

    #[test]
    fn a_port_nobody_listens_on_is_found() {
        let mut closed = web();
        closed.phase = PhaseWord::Ready;
        assert_eq!(server_check(&closed).map(|check| check.name), Some("port"));
        closed.ports[0].listening = true;
        assert_eq!(server_check(&closed), None);
    }
}
