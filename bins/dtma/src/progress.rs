//! Shows how a change goes on while it is waited for: the daemon's events, drawn in one of four ways.
//!
//! [`board`] knows what is to be shown, without a terminal or a clock; the views draw it. That events cannot be had
//! is no failure of the change: then nothing is shown.

pub(crate) mod board;
mod live;
mod view;

use crate::app::App;
use crate::exit::Exit;
use crate::failure::Failure;
use board::{Board, Outcome, Scope};
use dtma_client::{Error, EventMessage, EventStream};
use futures_util::StreamExt;
use std::future::Future;
use std::time::Duration;
use view::View;

/// How often a live view is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// What is watched.
pub(crate) struct Subject {
    /// Whom the change concerns.
    pub(crate) scope: Scope,
    /// The servers known beforehand.
    pub(crate) servers: Vec<String>,
    /// Whether the change is waited for; otherwise there is nothing to show.
    pub(crate) waits: bool,
}

/// Does the work and shows its progress.
///
/// # Errors
/// What the work says, and [`Exit::Interrupted`] after Ctrl-C; the daemon goes on then.
pub(crate) async fn watch<T>(
    app: &App,
    subject: Subject,
    work: impl Future<Output = Result<T, Error>>,
    outcome: impl Fn(&T) -> Outcome,
) -> Result<T, Failure> {
    let mut view = if subject.waits { View::new(app) } else { View::Silent };
    let events = if view.is_silent() { None } else { app.client.stream_events(None).await.ok() };
    let mut board = Board::new(subject.scope, &subject.servers);
    view.begin(&board);
    let done = follow(work, events, &mut board, &mut view).await;
    if let Ok(done) = &done {
        let changed = board.settle(&outcome(done));
        view.settled(&board, &changed);
    }
    view.end();
    done
}

async fn follow<T>(
    work: impl Future<Output = Result<T, Error>>,
    mut events: Option<EventStream>,
    board: &mut Board,
    view: &mut View,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    let mut frame = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            biased;
            // The work is polled again in the next round; nothing of it is lost.
            outcome = &mut work => return Ok(outcome?),
            // Dropping the signal's future is harmless: the program ends with it.
            _ = tokio::signal::ctrl_c() => return Err(interrupted()),
            // An event is taken whole or not at all.
            event = next(&mut events) => match event {
                Some(Ok(message)) => hear(message, board, view),
                Some(Err(_)) | None => events = None,
            },
            // A frame that is missed is drawn the next time.
            _ = frame.tick(), if view.is_live() => view.tick(),
        }
    }
}

fn hear(message: EventMessage, board: &mut Board, view: &mut View) {
    if let EventMessage::Happened { event, .. } = message {
        let changed = board.hear(&event);
        view.changed(board, &changed);
    }
}

async fn next(events: &mut Option<EventStream>) -> Option<Result<EventMessage, Error>> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted; the daemon goes on with it")
        .hint("dtma ps shows how it stands")
}
