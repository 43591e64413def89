//! Reports to a backend: how the machine and every server on it do, from time to time and at once after a change.
//!
//! When is decided by `heartbeat/pace.rs`, what is written by `heartbeat/body.rs`, how it is sent and what answers mean
//! by `heartbeat/backend.rs`. A report that fails changes nothing on this machine.

mod backend;
mod body;
mod pace;
#[cfg(test)]
mod tests;

pub(crate) use backend::{Address, TokenSource};

use backend::{Backend, Failure};
use dtma_api::{HeartbeatProbe, SystemProbe};
use dtma_api_types::compat::HeartbeatView;
use dtma_manager::wall::Wall;
use dtma_manager::{Event, EventKind, ManagerHandle};
use pace::{Outcome, Pace};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

/// What a report is made from.
pub(crate) struct Sources {
    pub(crate) manager: ManagerHandle,
    pub(crate) system: SystemProbe,
    pub(crate) wall: Wall,
}

/// The reports to one backend.
pub(crate) struct Heartbeat {
    backend: Backend,
    sources: Sources,
    record: Record,
}

impl Heartbeat {
    pub(crate) fn new(address: &Address, sources: Sources) -> Self {
        let record = Record::new(address.uri.to_string(), Arc::clone(&sources.wall));
        Self { backend: Backend::new(address), sources, record }
    }

    /// How the reports fare, for the daemon's own status.
    pub(crate) fn probe(&self) -> HeartbeatProbe {
        let view = Arc::clone(&self.record.view);
        Arc::new(move || view.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Reports for as long as it is polled.
    pub(crate) async fn keep(&self) {
        let report = || async {
            let Sources { manager, system, .. } = &self.sources;
            self.backend.post(body::body(&dtma_api::tool_reports(manager), &system())).await
        };
        keep(self.sources.manager.events(), &self.record, report).await;
    }
}

/// Reports at the right times until no events can come any more.
async fn keep<F>(mut events: Receiver<Event>, record: &Record, report: impl Fn() -> F)
where
    F: Future<Output = Result<(), Failure>>,
{
    let mut pace = Pace::new(Instant::now());
    loop {
        // Neither loses anything when it is dropped: what happens meanwhile waits in the receiver, and the time that
        // is slept to stays the same.
        tokio::select! {
            () = sleep_until(pace.due()) => {
                let result = report().await;
                record.note(&result);
                pace.sent(Instant::now(), outcome(&result), dice());
            }
            event = events.recv() => match event {
                Ok(event) if !is_change(&event.kind) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => pace.changed(Instant::now()),
                Err(RecvError::Closed) => return,
            }
        }
    }
}

fn outcome(result: &Result<(), Failure>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(failure) => Outcome::Failed { retry_after: failure.retry_after() },
    }
}

fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Phase(_) | EventKind::Group(_) | EventKind::Removed => true,
        EventKind::Contract { .. }
        | EventKind::Pull { .. }
        | EventKind::Accepted { .. }
        | EventKind::Finished { .. } => false,
    }
}

/// A number from 0 to 1, so that not all daemons of a backend speak at the same moment.
fn dice() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(high >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// What became of the reports so far.
struct Record {
    view: Arc<Mutex<HeartbeatView>>,
    wall: Wall,
}

impl Record {
    fn new(url: String, wall: Wall) -> Self {
        let view = HeartbeatView { url, ..HeartbeatView::default() };
        Self { view: Arc::new(Mutex::new(view)), wall }
    }

    /// A backend that stays away is not worth a line in the log each time.
    fn note(&self, result: &Result<(), Failure>) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                if view.consecutive_failures > 0 {
                    tracing::info!(
                        url = view.url,
                        after = view.consecutive_failures,
                        "the backend answers again"
                    );
                }
                view.last_success = Some((self.wall)().to_string());
                (view.successes, view.consecutive_failures) = (view.successes + 1, 0);
                view.last_error = None;
            }
            Err(failure) => {
                let error = format!("{failure:#}");
                if view.consecutive_failures == 0 {
                    tracing::warn!(
                        url = view.url,
                        error,
                        "the backend does not take the heartbeat; it is tried again"
                    );
                }
                (view.failures, view.consecutive_failures) =
                    (view.failures + 1, view.consecutive_failures + 1);
                view.last_error = Some(error);
            }
        }
    }
}
