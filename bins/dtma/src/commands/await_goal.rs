//! `wait`: until groups and servers are as wanted.

use crate::app::{App, servers, there_is};
use crate::cli::{Goal, WaitForArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use crate::output::time;
use dtma_client::types::{PhaseWord, ServerView, StatusView};
use dtma_client::{Error, EventStream};
use futures_util::StreamExt;
use std::time::Duration;

/// Events tell when to look; without them, and against one that was missed, a look every so often.
const LOOK: Duration = Duration::from_secs(2);

/// How one name stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    AsWanted,
    /// Not yet, and how it stands instead.
    NotYet(String),
    /// It will not come by waiting.
    Never(String),
    Unknown,
}

/// `dtma wait`.
pub(super) async fn wait(app: &App, args: &WaitForArgs) -> Result<(), Failure> {
    let began = tokio::time::Instant::now();
    let mut seen = String::new();
    tokio::select! {
        // Nothing is lost by dropping a look.
        done = until(app, args, &mut seen) => done?,
        () = tokio::time::sleep(args.timeout) => {
            let failure = Failure::new(Exit::TimedOut, format!("not so within {}", time::short(args.timeout)));
            return Err(failure.cause(seen).hint("dtma status NAME says why; --timeout waits longer"));
        }
        _ = tokio::signal::ctrl_c() => return Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
    let names: Vec<String> = args.names.iter().map(|name| line(name)).collect();
    app.output.remark(&format!("{}: as wanted after {}", names.join(", "), time::short(began.elapsed())));
    Ok(())
}

async fn until(app: &App, args: &WaitForArgs, seen: &mut String) -> Result<(), Failure> {
    // Listening before looking: what happens in between is heard.
    let mut events = app.client.stream_events(None).await.ok();
    let mut answered = false;
    loop {
        match app.client.get_status().await {
            Ok(status) => {
                answered = true;
                match all(&status, args)? {
                    None => return Ok(()),
                    Some(not_yet) => *seen = not_yet,
                }
            }
            // A daemon that is being restarted is waited for; one that never answered is not.
            Err(Error::Unreachable { .. } | Error::Broken(_) | Error::Timeout { .. }) if answered => {
                "the daemon does not answer".clone_into(seen);
                events = None;
            }
            Err(error) => return Err(error.into()),
        }
        if events.is_none() {
            events = app.client.stream_events(None).await.ok();
        }
        // An event that is missed because the look came first is made up for by the look.
        let _ = tokio::time::timeout(LOOK, something(&mut events)).await;
    }
}

/// Returns when something happened; a broken stream is one that will be opened again.
async fn something(events: &mut Option<EventStream>) {
    let broken = match events {
        Some(stream) => !matches!(stream.next().await, Some(Ok(_))),
        None => std::future::pending().await,
    };
    if broken {
        *events = None;
        tokio::time::sleep(LOOK).await;
    }
}

/// Nothing when each is as wanted, else how the first of the others stands.
fn all(status: &StatusView, args: &WaitForArgs) -> Result<Option<String>, Failure> {
    let mut first = None;
    for name in &args.names {
        match standing(status, name, args.goal) {
            Standing::AsWanted => {}
            Standing::NotYet(how) => first = first.or(Some(how)),
            Standing::Never(how) => {
                let hint = format!("dtma logs {name} shows what it wrote, dtma restart {name} tries again");
                return Err(Failure::new(Exit::Failed, how).hint(hint));
            }
            Standing::Unknown => {
                let known = status.groups.iter().map(|group| group.group_id.as_str());
                let known = known.chain(servers(status).map(|server| server.instance_name.as_str()));
                let failure = Failure::new(Exit::NotFound, format!("there is no group and no server {name}"));
                return Err(failure.hint(there_is(known)));
            }
        }
    }
    Ok(first)
}

fn standing(status: &StatusView, name: &str, goal: Goal) -> Standing {
    let group = status.groups.iter().find(|group| group.group_id == name);
    let server = servers(status).find(|server| server.instance_name == name);
    let meant: Vec<&ServerView> = match (group, server) {
        (Some(group), _) => group.servers.iter().collect(),
        (None, Some(server)) => vec![server],
        (None, None) if goal == Goal::Removed => return Standing::AsWanted,
        (None, None) => return Standing::Unknown,
    };
    if goal == Goal::Removed {
        return Standing::NotYet(format!("{name} is still there"));
    }
    let late = meant.into_iter().find(|server| !reached(server.phase, goal));
    let Some(late) = late else { return Standing::AsWanted };
    let why = late.reason.as_deref().map(|why| format!(": {}", line(why))).unwrap_or_default();
    let how = format!("{} is {}{why}", line(&late.instance_name), late.phase);
    if is_final(late.phase, goal) { Standing::Never(how) } else { Standing::NotYet(how) }
}

fn reached(phase: PhaseWord, goal: Goal) -> bool {
    match goal {
        Goal::Ready => matches!(phase, PhaseWord::OnDemand | PhaseWord::Ready | PhaseWord::Completed),
        Goal::Phase(wanted) => phase == wanted,
        Goal::Removed => false,
    }
}

/// A failed server stays so until a person asks.
fn is_final(phase: PhaseWord, goal: Goal) -> bool {
    phase == PhaseWord::Failed
        && matches!(goal, Goal::Ready | Goal::Phase(PhaseWord::Ready | PhaseWord::Completed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::server::tests::web;

    fn with(phase: PhaseWord) -> StatusView {
        let mut server = web();
        server.phase = phase;
        server.reason = None;
        serde_json::from_value(serde_json::json!({
            "daemon": {"version": "1", "startedAt": "", "uptimeSeconds": 0, "authRequired": true},
            "engine": {"reachable": true}, "groupsTotal": {"total": 1, "deploying": 0, "ready": 1, "degraded": 0,
            "failed": 0, "removing": 0}, "serversTotal": {"total": 1, "creating": 0, "waiting": 0, "starting": 0,
            "ready": 1, "backoff": 0, "completed": 0, "stopping": 0, "stopped": 0, "failed": 0, "removing": 0},
            "groups": [{"groupId": "demo", "generation": 1, "state": "ready", "servers": [server],
            "createdAt": "", "updatedAt": ""}]
        }))
        .unwrap()
    }

    #[test]
    fn waiting_ends_when_it_is_so_and_when_it_never_will_be() {
        let stopped = Goal::Phase(PhaseWord::Stopped);
        for (phase, goal, wanted) in [
            (PhaseWord::Ready, Goal::Ready, Standing::AsWanted),
            (PhaseWord::Completed, Goal::Ready, Standing::AsWanted),
            (PhaseWord::OnDemand, Goal::Ready, Standing::AsWanted),
            (PhaseWord::Starting, Goal::Ready, Standing::NotYet("web is starting".into())),
            (PhaseWord::Failed, Goal::Ready, Standing::Never("web is failed".into())),
            (PhaseWord::Failed, Goal::Phase(PhaseWord::Failed), Standing::AsWanted),
            (PhaseWord::Failed, stopped, Standing::NotYet("web is failed".into())),
            (PhaseWord::Ready, Goal::Removed, Standing::NotYet("demo is still there".into())),
        ] {
            assert_eq!(standing(&with(phase), "demo", goal), wanted);
        }
        assert_eq!(standing(&with(PhaseWord::Ready), "gone", Goal::Removed), Standing::AsWanted);
        assert_eq!(standing(&with(PhaseWord::Ready), "gone", Goal::Ready), Standing::Unknown);
    }
}
