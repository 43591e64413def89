//! The engine's words as our errors: the only place that reads its status codes and messages.
//!
//! Messages are matched in lower case and in parts that have been the same from 20.10 to 29.

use bollard::errors::Error;
use dtma_core::port::runtime::RuntimeError;

/// What was asked, of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op<'a> {
    /// `create container`.
    pub(crate) call: &'static str,
    /// `container`, `network`, `volume`, `image` or `engine`.
    kind: &'static str,
    name: &'a str,
}

impl<'a> Op<'a> {
    pub(crate) fn new(call: &'static str, kind: &'static str, name: &'a str) -> Self {
        Self { call, kind, name }
    }

    pub(crate) fn not_found(self) -> RuntimeError {
        RuntimeError::NotFound { what: format!("{} {}", self.kind, self.name) }
    }
}

/// Our error for the engine's.
pub(crate) fn classify(op: Op<'_>, endpoint: &str, error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code, message } => answered(op, status_code, message),
        Error::DockerStreamError { error } => answered(op, 500, error),
        Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::IOError { .. }
        | Error::SocketNotFoundError(_) => {
            RuntimeError::EngineAway { endpoint: endpoint.to_owned(), problem: chain(&error) }
        }
        Error::UnsupportedURISchemeError { .. }
        | Error::URLParseError { .. }
        | Error::InvalidURIError { .. }
        | Error::InvalidURIPartsError { .. } => {
            RuntimeError::Refused { call: op.call, problem: chain(&error) }
        }
        // The rest is about answers that could not be read; the client's list grows with its features.
        other => RuntimeError::Broken { call: op.call, problem: chain(&other) },
    }
}

/// The error with its causes: the client's outermost text is `client error (Connect)`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

fn answered(op: Op<'_>, status: u16, problem: String) -> RuntimeError {
    let call = op.call;
    let said = problem.to_lowercase();
    let says = |part: &str| said.contains(part);
    if says("no space left on device") || says("disk quota exceeded") {
        return RuntimeError::OutOfSpace { problem };
    }
    if let Some(port) = taken_port(&said) {
        return RuntimeError::PortTaken { port };
    }
    match status {
        _ if op.kind == "container" && says(" name") && says("already in use") => {
            RuntimeError::NameTaken { name: op.name.to_owned() }
        }
        404 if says("no such image") || says("does not match the specified platform") => {
            RuntimeError::ImageMissing { image: op.name.into(), problem }
        }
        404 => absent(op, &said),
        500 if says("unable to find network") => absent(op, &said),
        409 => RuntimeError::Conflict { call, problem },
        // Somebody between us and the engine is busy: what was asked is not judged.
        408 | 425 | 429 => RuntimeError::Broken { call, problem },
        403 if says("has active endpoints") => RuntimeError::Conflict { call, problem },
        400..=499 | 501 => RuntimeError::Refused { call, problem },
        _ if BUSY.iter().any(|words| says(words)) => RuntimeError::Conflict { call, problem },
        _ => RuntimeError::Broken { call, problem },
    }
}

/// What engines say of an object whose state allows something else: Docker the first two, Podman (4.3) the others.
const BUSY: [&str; 5] = [
    "already in progress",
    "device or resource busy",
    "container state improper",
    "has associated containers with it",
    "volume is being used",
];

/// A start can be told that its network is missing: that is another thing than the container.
fn absent(op: Op<'_>, said: &str) -> RuntimeError {
    let between = |before: &str, after: &str| said.split_once(before)?.1.split_once(after);
    let missing_network =
        between("network with name or id ", ": ").or_else(|| between("network ", " not found"));
    match missing_network {
        Some((name, _)) if op.kind != "network" => RuntimeError::NotFound { what: format!("network {name}") },
        Some(_) | None => op.not_found(),
    }
}

/// `Bind for 0.0.0.0:80 failed: port is already allocated`, `listen tcp4 0.0.0.0:80: bind: address already in use`.
fn taken_port(said: &str) -> Option<u16> {
    if !said.contains("port is already allocated") && !said.contains("address already in use") {
        return None;
    }
    said.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .filter_map(|word| word.trim_end_matches(':').rsplit_once(':'))
        .find_map(|(_, port)| port.parse().ok())
}

/// Refuses a name that would be another path in the engine's API.
pub(crate) fn path_segment<'a>(op: Op<'a>) -> Result<&'a str, RuntimeError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:/@".contains(&byte);
    let sound = !op.name.is_empty()
        && op.name.bytes().all(allowed)
        && op.name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let problem = || format!("{:?} is not a valid {} name", op.name, op.kind);
    if sound { Ok(op.name) } else { Err(RuntimeError::Refused { call: op.call, problem: problem() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: Op<'_> = Op { call: "create container", kind: "container", name: "it" };

    #[track_caller]
    fn check(status: u16, message: &str, expected: &RuntimeError) {
        let error = Error::DockerResponseServerError { status_code: status, message: message.to_owned() };
        assert_eq!(classify(CREATE, "unix:///x", error), *expected);
    }

    fn problem(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn the_engines_words_become_ours() {
        let call = CREATE.call;
        check(404, "No such container: it", &RuntimeError::NotFound { what: "container it".to_owned() });
        check(
            404,
            "could not find network: network ab12 not found",
            &RuntimeError::NotFound { what: "network ab12".to_owned() },
        );
        let text = "No such image: sha256:00";
        check(404, text, &RuntimeError::ImageMissing { image: "it".into(), problem: problem(text) });
        let text = "Conflict. The container name \"/it\" is already in use by container \"ab\".";
        check(409, text, &RuntimeError::NameTaken { name: "it".to_owned() });
        let text = "creating container storage: the container name \"it\" is already in use by ab. You have to remove \
                    that container to be able to reuse that name: that name is already in use";
        check(500, text, &RuntimeError::NameTaken { name: "it".to_owned() });
        let text = "unable to find network with name or ID ab12: network not found";
        check(500, text, &RuntimeError::NotFound { what: "network ab12".to_owned() });
        let text = "can only create exec sessions on running containers: container state improper";
        check(500, text, &RuntimeError::Conflict { call, problem: problem(text) });
        let text = "removal of container it is already in progress";
        check(409, text, &RuntimeError::Conflict { call, problem: problem(text) });
        let text = "too many requests";
        check(429, text, &RuntimeError::Broken { call, problem: problem(text) });
        let text = "invalid mount config";
        check(400, text, &RuntimeError::Refused { call, problem: problem(text) });
        let text = "runc did not start";
        check(500, text, &RuntimeError::Broken { call, problem: problem(text) });
        let text = "write /var/lib/docker/x: no space left on device";
        check(500, text, &RuntimeError::OutOfSpace { problem: problem(text) });
    }

    #[test]
    fn a_taken_port_is_named() {
        let text = "driver failed programming external connectivity: Bind for 0.0.0.0:8080 failed: port is already \
                    allocated";
        check(500, text, &RuntimeError::PortTaken { port: 8080 });
        let text = "listen tcp4 127.0.0.1:80: bind: address already in use";
        check(500, text, &RuntimeError::PortTaken { port: 80 });
    }

    #[test]
    fn an_engine_that_is_away_is_said_to_be_away_with_the_reason() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = classify(CREATE, "unix:///x", Error::IOError { err: refused });
        let expected = "the container engine at unix:///x cannot be reached: connection refused";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_name_cannot_become_another_path() {
        for name in ["../version", "a/../b", "a?x=1", "a#b", "a b", "", "/a", "a//b", "a%2fb"] {
            let op = Op::new("inspect image", "image", name);
            assert!(path_segment(op).is_err(), "{name:?}");
        }
        for name in ["localhost:5000/a/b:1", "a@sha256:00ff", "sha256:00ff", "A_b.c-d"] {
            assert!(path_segment(Op::new("inspect image", "image", name)).is_ok(), "{name:?}");
        }
    }
}
