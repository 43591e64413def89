//! What a service manager hands over and wants to hear: a listening socket, readiness, signs of life.
//!
//! Started by hand, none of it is there, and nothing is said. The variables are systemd's own (sd_listen_fds(3),
//! sd_notify(3)); the socket's are removed once read.

use dtma_manager::ManagerHandle;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use std::net::TcpListener;
use std::time::Duration;
use tokio::task::JoinSet;

/// What this process was started with.
#[derive(Debug, Default)]
pub(crate) struct Service {
    /// The socket to listen on instead of the setting's.
    pub(crate) socket: Option<TcpListener>,
    /// Signs of life are expected at least so often.
    watchdog: Option<Duration>,
}

impl Service {
    /// Reads it; must be called before any thread is started.
    ///
    /// # Errors
    /// A socket of the wrong kind, or more than one.
    pub(crate) fn of_this_process() -> Result<Self, String> {
        Ok(Self { socket: passed()?, watchdog: sd_notify::watchdog_enabled() })
    }

    /// Says for as long as it is polled that the manager answers; falls silent as soon as it does not.
    pub(crate) async fn keep_alive(&self, manager: &ManagerHandle) {
        let Some(limit) = self.watchdog else { return std::future::pending().await };
        let mut tick = tokio::time::interval(limit / 3);
        loop {
            tick.tick().await;
            match tokio::time::timeout(limit / 3, answers(manager.clone())).await {
                Ok(true) => say(&[NotifyState::Watchdog]),
                Ok(false) | Err(_) => {
                    tracing::error!("the manager does not answer; the watchdog hears nothing");
                }
            }
        }
    }
}

/// Asked by a task of its own: where the runtime's workers are stuck, it is not run and there is no answer.
async fn answers(manager: ManagerHandle) -> bool {
    let mut asked = JoinSet::new();
    asked.spawn(async move { manager.groups().len() });
    asked.join_next().await.is_some_and(|groups| groups.is_ok())
}

fn passed() -> Result<Option<TcpListener>, String> {
    const REMEDY: &str =
        "pass exactly one listening TCP socket (ListenStream=ADDRESS:PORT in the socket unit)";
    let mut sockets = ListenFd::from_env();
    match sockets.len() {
        0 => Ok(None),
        1 => sockets
            .take_tcp_listener(0)
            .map_err(|error| format!("the socket passed by the service manager: {error}; {REMEDY}")),
        many => Err(format!("the service manager passed {many} sockets; {REMEDY}")),
    }
}

/// Up: the door is open, and everything the store knows is being taken over.
pub(crate) fn ready(address: &str, groups: usize) {
    say(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {address}, {groups} groups"))]);
}

/// What was changed on disk is being taken up.
pub(crate) fn reloading() {
    let now = NotifyState::monotonic_usec_now();
    say(&[Some(NotifyState::Reloading), now.ok()].into_iter().flatten().collect::<Vec<_>>());
}

/// That is done.
pub(crate) fn reloaded() {
    say(&[NotifyState::Ready]);
}

/// Ending, which may take so long.
pub(crate) fn stopping(patience: Duration) {
    let micros = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
    say(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("ending; every container is left as it is"),
    ]);
}

/// A service manager that does not listen is no reason to do anything else.
fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
