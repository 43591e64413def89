//! In whose name a process is greeted: the house's, for all its clients, or that of the one session it belongs to.

use crate::version;
use bytes::Bytes;
use tokio::sync::watch;

/// Whose guests a process has.
pub(crate) enum Host {
    /// All clients share it.
    House,
    /// It belongs to one session, whose `initialize` it is given as soon as that has come.
    Session(watch::Sender<Option<Bytes>>),
}

impl Host {
    /// Of a session that is still to come.
    pub(crate) fn session() -> Self {
        Self::Session(watch::Sender::new(None))
    }

    pub(crate) fn is_session(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// The session has come: these are the parameters of its `initialize`.
    pub(crate) fn is_greeted_with(&self, params: Bytes) {
        if let Self::Session(hello) = self {
            hello.send_replace(Some(params));
        }
    }

    /// The parameters of `initialize` for its process; of a session's not before there is one.
    pub(crate) async fn hello(&self) -> Bytes {
        let Self::Session(hello) = self else { return our_hello().into() };
        let mut hello = hello.subscribe();
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
