//! Where servers will run, seen from the daemon, and which of them can have a shim there.

use crate::rule;
use dtma_core::spec::ServerSpec;

/// What the daemon has, and where its engine is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The engine is on another machine.
    pub(crate) remote_engine: bool,
    /// There is a shim to begin servers by.
    pub(crate) shim: bool,
}

/// Why a server cannot have a shim: the rule, and what a person reads.
pub(crate) type Obstacle = (&'static str, String, &'static str);

impl Place {
    /// Wanted unless the server says otherwise, wherever it can be.
    pub(crate) fn gives_shim(self, server: &ServerSpec) -> bool {
        server.shim != Some(false) && self.obstacle(server).is_none()
    }

    /// Why there is no way out of this server's container, nor into it from another's, if there is none.
    pub(crate) fn lacks_way(self, server: &ServerSpec) -> Option<String> {
        let unwanted = (server.shim == Some(false)).then(|| "its \"shim\" is false".to_owned());
        let obstacle = || self.obstacle(server).map(|(_, message, _)| message);
        unwanted.or_else(obstacle)
    }

    /// What stands between this server and a shim.
    pub(crate) fn obstacle(self, server: &ServerSpec) -> Option<Obstacle> {
        let away = "leave shim out: the server runs without one";
        if self.remote_engine {
            let message = "the engine is on another machine: the shim cannot be given to a container there";
            return Some((rule::ENGINE_REMOTE, message.to_owned(), away));
        }
        if let Some(foreign) = server.platform.as_ref().filter(|platform| !platform.is_here()) {
            let message = format!("the shim is not made for {foreign}");
            return Some((rule::SHIM_PLATFORM, message, "leave shim or platform out"));
        }
        let none = || (rule::SHIM_NONE, "this daemon begins no server by a shim".to_owned(), away);
        (!self.shim).then(none)
    }
}
