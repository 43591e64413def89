//! `events`.

use crate::app::App;
use crate::cli::EventsArgs;
use crate::failure::Failure;
use crate::output::ink::Mood;
use crate::output::text::line;
use crate::output::time::moment;
use dtma_client::types::{EventKind, EventView};
use dtma_client::{Error, EventMessage};
use futures_util::StreamExt;
use std::time::Duration;

/// How long after a broken stream the next one is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// `dtma events`.
pub(super) async fn events(app: &App, args: &EventsArgs) -> Result<(), Failure> {
    if args.watch { watch(app, args).await } else { remembered(app, args.group.as_deref()).await }
}

async fn remembered(app: &App, group: Option<&str>) -> Result<(), Failure> {
    let mut stream = app.client.list_events().await?;
    let mut count = 0;
    while let Some(message) = stream.next().await {
        count += 1;
        hear(app, group, message?, &mut None)?;
    }
    if count == 0 && app.output.is_human() {
        app.output.remark("nothing has happened since the daemon was started; -w waits for it");
    }
    Ok(())
}

/// `dtma events -w`. A daemon that is restarted is waited for, and nothing it remembers is missed.
async fn watch(app: &App, args: &EventsArgs) -> Result<(), Failure> {
    tokio::select! {
        // Ctrl-C is how this ends; what is dropped is only read.
        _ = tokio::signal::ctrl_c() => Ok(()),
        failure = listen(app, args.group.as_deref()) => failure,
    }
}

async fn listen(app: &App, group: Option<&str>) -> Result<(), Failure> {
    let mut last: Option<String> = None;
    let mut connected = false;
    loop {
        match app.client.stream_events(last.as_deref()).await {
            Ok(mut stream) => {
                connected = true;
                while let Some(Ok(message)) = stream.next().await {
                    hear(app, group, message, &mut last)?;
                }
                app.output.remark("the stream of events broke; waiting for the daemon");
            }
            Err(Error::Unreachable { .. } | Error::Broken(_) | Error::Timeout { .. }) if connected => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn hear(
    app: &App,
    group: Option<&str>,
    message: EventMessage,
    last: &mut Option<String>,
) -> Result<(), Failure> {
    match message {
        EventMessage::Reset => {
            app.output.remark("events may be missing here: the daemon no longer remembers them");
            Ok(())
        }
        EventMessage::Happened { id, event } => {
            *last = id.or(last.take());
            if group.is_some_and(|group| event.group_id != group) {
                return Ok(());
            }
            app.output.item(&event, || told(app, &event))
        }
    }
}

fn told(app: &App, event: &EventView) -> String {
    let whom = match &event.instance_name {
        Some(instance) => format!("{}/{}", line(&event.group_id), line(instance)),
        None => line(&event.group_id),
    };
    let at = app.output.ink.dim(&moment(&event.at));
    format!("{at}  {}  {}", app.output.ink.bold(&whom), what(app, &event.kind))
}

fn what(app: &App, kind: &EventKind) -> String {
    let ink = app.output.ink;
    let because = |reason: &Option<String>| reason.as_deref().map(|why| format!(": {}", line(why)));
    match kind {
        EventKind::Phase { phase, reason } => {
            let word = ink.paint(Mood::from(*phase), phase.as_str());
            format!("{word}{}", because(reason).unwrap_or_default())
        }
        EventKind::Group { state } => format!("group is {}", ink.paint(Mood::from(*state), state.as_str())),
        EventKind::Pull { received, total } => format!("image: {received} of {total} bytes"),
        EventKind::Accepted { operation, action, .. } => format!("{action} accepted ({})", line(operation)),
        EventKind::Finished { operation, action, error: None, .. } => {
            format!("{action} finished ({})", line(operation))
        }
        EventKind::Finished { operation, action, error, .. } => {
            let failed = ink.bad("failed");
            format!("{action} {failed} ({}){}", line(operation), because(error).unwrap_or_default())
        }
        EventKind::Contract { differs: 0, .. } => "tools are as approved again".into(),
        EventKind::Contract { differs, lines } => {
            let lines = lines.iter().map(|told| format!("\n    {}", line(told)));
            format!("{differs} tool(s) are not as approved{}", lines.collect::<String>())
        }
        EventKind::Removed => "removed".into(),
        EventKind::Unknown => "something this program does not know".into(),
    }
}
