//! In whose name a process is greeted: the house's, for all its clients, or that of the one session it belongs to.

use crate::version;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Whose guests a process has.
pub(crate) enum Host {
    /// All clients share it.
    House,
    /// It belongs to one session, whose `initialize` it is given as soon as that has come.
    Session(Box<Expected>),
}

/// A session that is still to come, or has.
pub(crate) struct Expected {
    hello: watch::Sender<Option<Bytes>>,
    manners: Arc<Manners>,
}

/// How a server's processes take it to be spoken to before they are greeted. The same for all members behind a door.
#[derive(Default)]
pub(crate) struct Manners {
    dies_of_pings: AtomicBool,
}

impl Host {
    /// Of a session that is still to come.
    pub(crate) fn session(manners: Arc<Manners>) -> Self {
        Self::Session(Box::new(Expected { hello: watch::Sender::new(None), manners }))
    }

    pub(crate) fn is_session(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// The session has come: these are the parameters of its `initialize`.
    pub(crate) fn is_greeted_with(&self, params: Bytes) {
        if let Self::Session(expected) = self {
            expected.hello.send_replace(Some(params));
        }
    }

    /// Whether its process may be asked for a sign of life before it is greeted.
    pub(crate) fn may_be_pinged(&self) -> bool {
        match self {
            Self::House => true,
            Self::Session(expected) => !expected.manners.dies_of_pings.load(Ordering::Relaxed),
        }
    }

    /// A process ended when it was pinged before it was greeted: no other one is.
    pub(crate) fn died_of_a_ping(&self) {
        if let Self::Session(expected) = self {
            expected.manners.dies_of_pings.store(true, Ordering::Relaxed);
        }
    }

    /// The parameters of `initialize` for its process; of a session's not before there is one.
    pub(crate) async fn hello(&self) -> Bytes {
        let Self::Session(expected) = self else { return our_hello().into() };
        let mut hello = expected.hello.subscribe();
        let told = hello.wait_for(Option::is_some).await;
        // The sender lives here.
        told.ok().and_then(|told| told.clone()).unwrap_or_default()
    }
}

/// Sampling and elicitation can be passed to the client that caused them. Roots cannot: they differ by client and
/// a shared process could know only one set.
fn our_hello() -> String {
    format!(
        r#"{{"protocolVersion":"{}","capabilities":{{"sampling":{{}},"elicitation":{{}}}},"clientInfo":{{"name":"dtma","version":"{}"}}}}"#,
        version::LATEST,
        env!("CARGO_PKG_VERSION"),
    )
}
