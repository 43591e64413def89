//! Whose engine it is that speaks Docker's API. Podman's compatible API takes the same requests and means something
//! else by a few of their words; what those are is said where they are used, by `match` on this.

use http::HeaderMap;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Docker Engine, or one that does as it does.
    Docker,
    /// Podman (4.3, measured).
    Podman,
}

/// What an engine says of itself when it is pinged. Podman takes seconds to answer `/version` on a busy machine: it
/// asks the package manager about its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pong {
    /// The newest version of the API that it speaks.
    pub(crate) api: Option<String>,
    /// The version of Podman, where it is that.
    pub(crate) podman: Option<String>,
}

impl Pong {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self { api: text("Api-Version"), podman: text("Libpod-Api-Version") }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.podman {
            None => Dialect::Docker,
            Some(_) => Dialect::Podman,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_known_by_its_answer_to_a_ping() {
        let pong = |headers: &[(&'static str, &str)]| {
            let header =
                |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
            Pong::of(&headers.iter().map(header).collect())
        };
        let docker = pong(&[("Api-Version", "1.41"), ("Docker-Experimental", "false")]);
        assert_eq!((docker.dialect(), docker.api.as_deref()), (Dialect::Docker, Some("1.41")));
        let podman = pong(&[("Api-Version", "1.41"), ("Libpod-Api-Version", "4.3.1")]);
        assert_eq!((podman.dialect(), podman.podman.as_deref()), (Dialect::Podman, Some("4.3.1")));
        assert_eq!(pong(&[]), Pong { api: None, podman: None });
    }
}
