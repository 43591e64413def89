//! How a command ends, as a number for scripts. The first page of the help lists them.

use dtma_client::{Error, Refusal};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed that has no number of its own.
    Failed = 1,
    /// The command line is wrong, or a file cannot be read.
    Usage = 2,
    /// Nobody answers at the daemon's address.
    Unreachable = 3,
    /// No token, an unknown one, or one that may not do this.
    Unauthorised = 4,
    /// No such group, server or tool.
    NotFound = 5,
    /// A name or port is taken, or something else is under way.
    Conflict = 6,
    /// The document breaks a rule.
    Invalid = 7,
    /// The time to wait is over; the daemon goes on.
    TimedOut = 8,
    /// Ctrl-C while waiting; the daemon goes on.
    Interrupted = 130,
    /// What a change would mean cannot be said.
    NoPlan = 255,
}

/// How a command ends when the client says this.
pub(crate) fn of(error: &Error) -> Exit {
    match error {
        Error::Url { .. } | Error::Token | Error::NoAuthority { .. } | Error::Tls { .. } => Exit::Usage,
        Error::Unreachable { .. } | Error::Broken(_) => Exit::Unreachable,
        Error::Timeout { .. } => Exit::TimedOut,
        Error::Refused(refusal) => of_refusal(refusal),
        Error::Unexpected { .. } | Error::Rpc { .. } => Exit::Failed,
    }
}

/// The daemon's code first, where its status means two things; then the status.
fn of_refusal(refusal: &Refusal) -> Exit {
    match (refusal.status, refusal.code.as_str()) {
        (_, "no_such_route" | "image_missing" | "engine_refused") => Exit::Failed,
        (_, "invalid_request" | "invalid_spec" | "body_too_big") => Exit::Invalid,
        (400, _) => Exit::Usage,
        (401 | 403, _) => Exit::Unauthorised,
        (404, _) => Exit::NotFound,
        (409 | 412, _) => Exit::Conflict,
        (413 | 422, _) => Exit::Invalid,
        (408 | 504, _) => Exit::TimedOut,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn refused(status: u16, code: &str) -> Error {
        let (message, error, request_id) = Default::default();
        Error::Refused(Box::new(Refusal {
            status,
            code: code.into(),
            message,
            error,
            request_id,
            operation: None,
            details: vec![],
        }))
    }

    #[test]
    fn every_answer_of_the_daemon_has_its_number() {
        for (status, code, exit) in [
            (400, "invalid_request", Exit::Invalid),
            (400, "malformed_json", Exit::Usage),
            (400, "invalid_name", Exit::Usage),
            (401, "token_missing", Exit::Unauthorised),
            (403, "scope_missing", Exit::Unauthorised),
            (404, "no_such_group", Exit::NotFound),
            (404, "no_such_route", Exit::Failed),
            (409, "port_taken", Exit::Conflict),
            (412, "stale", Exit::Conflict),
            (413, "body_too_big", Exit::Invalid),
            (422, "invalid_spec", Exit::Invalid),
            (422, "image_missing", Exit::Failed),
            (429, "too_many", Exit::Failed),
            (500, "internal", Exit::Failed),
            (502, "servers_failed", Exit::Failed),
            (503, "engine_away", Exit::Failed),
            (504, "deadline", Exit::TimedOut),
        ] {
            assert_eq!(of(&refused(status, code)), exit, "{status} {code}");
        }
    }

    #[test]
    fn what_never_reached_the_daemon_has_its_number_too() {
        let unreachable = Error::Unreachable { url: String::new(), source: "refused".into() };
        assert_eq!(of(&unreachable), Exit::Unreachable);
        assert_eq!(of(&Error::Broken("reset".into())), Exit::Unreachable);
        assert_eq!(of(&Error::Timeout { after: Duration::ZERO }), Exit::TimedOut);
        assert_eq!(of(&Error::Token), Exit::Usage);
        assert_eq!(of(&Error::Url { url: String::new(), problem: String::new() }), Exit::Usage);
        assert_eq!(of(&Error::Rpc { code: -1, message: String::new() }), Exit::Failed);
    }
}
