//! What is said when a command does not succeed: what happened, why, where, and what to do about it.

use crate::exit::{self, Exit};
use crate::output::Ink;
use crate::output::text;
use dtma_client::types::ErrorDetail;
use dtma_client::types::explain::explain;
use dtma_client::{Error, Refusal};
use std::fmt::Write as _;
use std::io::Write as _;

/// With this JSON-RPC code the gateway answers for a server that is not up.
const NOT_UP: i64 = -32000;

/// Why a command ends before its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be told.
    Report(Box<Report>),
    /// Everything has been said already.
    Said(Exit),
    /// Nothing failed here: the number is the answer.
    Ended(u8),
    /// Nobody reads our output any more; nothing is said about it.
    Pipe,
}

/// A failure as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) cause: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// One mistake of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where it stands, if it stands in a document.
    pub(crate) place: Option<Place>,
    pub(crate) detail: ErrorDetail,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) document: String,
    pub(crate) line: Option<usize>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.document),
            None => f.write_str(&self.document),
        }
    }
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Report(Box::new(Report {
            exit,
            message: message.into(),
            cause: None,
            hint: None,
            request_id: None,
            mistakes: Vec::new(),
        }))
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Report(report) = &mut self {
            report.hint = Some(hint.into());
        }
        self
    }

    /// Adds why.
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        if let Self::Report(report) = &mut self {
            report.cause = Some(cause.into());
        }
        self
    }

    /// Says of each mistake where it stands, from the first line to the last.
    pub(crate) fn located(mut self, place: impl Fn(&str) -> Place) -> Self {
        if let Self::Report(report) = &mut self {
            for mistake in &mut report.mistakes {
                mistake.place = Some(place(&mistake.detail.pointer));
            }
            report.mistakes.sort_by_key(|mistake| mistake.place.as_ref().and_then(|place| place.line));
        }
        self
    }

    /// Tells it now; what is left is the number.
    pub(crate) fn tell(self, ink: Ink) -> Self {
        match self {
            Self::Report(report) => {
                let _ = write!(std::io::stderr().lock(), "{}", report.render(ink));
                Self::Said(report.exit)
            }
            Self::Said(_) | Self::Ended(_) | Self::Pipe => self,
        }
    }

    /// Ends with this number instead, if it is a failure.
    pub(crate) fn ending(mut self, exit: Exit) -> Self {
        match &mut self {
            Self::Report(report) => report.exit = exit,
            Self::Said(said) => *said = exit,
            Self::Ended(_) | Self::Pipe => {}
        }
        self
    }

    /// Which failure it is; nothing when it is none.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self {
            Self::Report(report) => Some(report.exit),
            Self::Said(exit) => Some(*exit),
            Self::Ended(_) | Self::Pipe => None,
        }
    }

    /// The number with which the program ends.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Report(report) => report.exit as u8,
            Self::Said(exit) => *exit as u8,
            Self::Ended(code) => *code,
            Self::Pipe => 0,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Pipe;
        }
        Self::new(Exit::Failed, "the output cannot be written").cause(error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = exit::of(&error);
        if let Error::Refused(refusal) = &error {
            return Self::Report(Box::new(refused(exit, refusal)));
        }
        let failure = Self::new(exit, error.to_string());
        let failure = match innermost(&error) {
            Some(cause) => failure.cause(cause),
            None => failure,
        };
        match hint_of(&error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn refused(exit: Exit, refusal: &Refusal) -> Report {
    let cause =
        refusal.error.strip_prefix(&refusal.message).unwrap_or(&refusal.error).trim_start_matches(": ");
    let listed = exit == Exit::Invalid && !refusal.details.is_empty();
    let told = listed || refusal.details.iter().any(|detail| detail.message == cause);
    let mistakes = refusal.details.iter().map(|detail| Mistake { place: None, detail: detail.clone() });
    Report {
        exit,
        message: refusal.message.clone(),
        cause: (!cause.is_empty() && !told).then(|| cause.to_owned()),
        hint: hint_of_code(refusal).or_else(|| remedy(refusal)).map(str::to_owned),
        request_id: (!refusal.request_id.is_empty()).then(|| refusal.request_id.clone()),
        mistakes: mistakes.collect(),
    }
}

fn innermost(error: &dyn std::error::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(cause.to_string())
}

fn hint_of(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unreachable { .. } => Some(
            "is the daemon running? start it with dtma-daemon, or say where it is with --url or DTMA_URL; \
             dtma doctor checks step by step",
        ),
        Error::Broken(_) => Some(
            "the daemon may have been stopped (started again, it goes on with what it had accepted), or it is \
             not one that listens there",
        ),
        Error::Timeout { .. } => {
            Some("what was asked for goes on in the daemon: dtma ps shows how it stands")
        }
        Error::Unexpected { .. } => {
            Some("does a DTMA daemon of this version listen there? dtma doctor checks")
        }
        Error::Token => Some("a token is one line of letters, digits and signs"),
        Error::Rpc { code: NOT_UP, .. } => {
            Some("dtma ps -a shows whether the server is up, dtma logs what it wrote")
        }
        Error::NoAuthority { .. } => {
            Some("--ca-file FILE or DTMA_CA_FILE names it; the system's own are not asked")
        }
        Error::Tls { .. } => Some("--ca-file, --cert-file and --key-file are PEM files"),
        Error::Url { .. } | Error::Refused(_) | Error::Rpc { .. } => None,
    }
}

fn hint_of_code(refusal: &Refusal) -> Option<&'static str> {
    match refusal.code.as_str() {
        "token_missing" => Some("set DTMA_TOKEN, or name a file with --token-file"),
        "token_unknown" => Some("is it the token of this daemon? dtma-daemon token create makes one"),
        "scope_missing" => Some("use a token that has the scope: dtma-daemon token create makes one"),
        "no_such_group" | "no_such_server" => Some("dtma ps -a lists what there is"),
        "group_changed" => Some(
            "dtma plan -f FILE shows what differs, dtma apply -f FILE changes it in place; dtma down GROUP removes \
             the old one",
        ),
        "stale_generation" => {
            Some("dtma history GROUP shows who changed it; look again and then say --if-match")
        }
        "update_failed" => {
            Some("dtma history GROUP shows which generation stands; mend the file and apply it again")
        }
        "port_taken" => Some("choose another host port, or stop what listens there"),
        "deadline" => Some("the daemon goes on: dtma ps shows how it stands; --timeout waits longer"),
        "engine_away" => Some("dtma doctor says more about the engine"),
        "too_many_requests" | "rate_limited" => Some("wait a few seconds"),
        "internal" => Some("the daemon's log says more under the request's id"),
        _ => None,
    }
}

/// What the table of codes says, where a mistake says nothing of its own.
fn remedy(refusal: &Refusal) -> Option<&'static str> {
    refusal.details.is_empty().then(|| explain(&refusal.code).map(|code| code.remedy)).flatten()
}

impl Report {
    /// As it is printed on standard error. What comes from outside cannot touch the terminal.
    pub(crate) fn render(&self, ink: Ink) -> String {
        let mut told = format!("{} {}\n", ink.bad("error:"), text::block(&self.message));
        for mistake in &self.mistakes {
            mistake.render_below(&self.message, &mut told, ink);
        }
        let rest = [("cause", &self.cause), ("hint", &self.hint), ("request", &self.request_id)];
        for (label, said) in rest {
            if let Some(said) = said {
                let _ = writeln!(told, "  {} {}", ink.dim(&format!("{label}:")), text::line(said));
            }
        }
        told
    }
}

impl Mistake {
    /// `file:line /pointer: message [rule]`, and its hint on a line of its own.
    pub(crate) fn render(&self, told: &mut String, ink: Ink) {
        self.render_below("", told, ink);
    }

    /// The same below a headline, which is not said twice.
    fn render_below(&self, headline: &str, told: &mut String, ink: Ink) {
        let ErrorDetail { pointer, rule, message, hint } = &self.detail;
        let place = self
            .place
            .as_ref()
            .map(|place| format!("{} ", text::line(&place.to_string())))
            .unwrap_or_default();
        let pointer = if pointer.is_empty() { "(document)".into() } else { text::line(pointer) };
        let rule = ink.dim(&format!("[{}]", text::line(rule)));
        let message = if message == headline { String::new() } else { format!(": {}", text::line(message)) };
        let _ = writeln!(told, "  {place}{}{message} {rule}", ink.bold(&pointer));
        if let Some(hint) = hint {
            let _ = writeln!(told, "      {} {}", ink.dim("hint:"), text::line(hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let detail = ErrorDetail {
            pointer: "/servers/0/imag".into(),
            rule: "schema.unknown".into(),
            message: "imag is not known here".into(),
            hint: Some("did you mean image?".into()),
        };
        let refusal = Refusal {
            status: 400,
            code: "invalid_request".into(),
            message: "the request is not well formed: 1 mistake".into(),
            error: "the request is not well formed: 1 mistake".into(),
            request_id: "r-1".into(),
            operation: None,
            details: vec![detail],
        };
        let failure = Failure::from(Error::Refused(Box::new(refusal)));
        let Failure::Report(report) =
            failure.located(|_| Place { document: "group.yaml".into(), line: Some(4) })
        else {
            panic!("no report")
        };
        assert_eq!(report.exit, Exit::Invalid);
        assert_eq!(
            report.render(Ink::OFF),
            "error: the request is not well formed: 1 mistake\n\
             \x20 group.yaml:4 /servers/0/imag: imag is not known here [schema.unknown]\n\
             \x20     hint: did you mean image?\n\
             \x20 request: r-1\n"
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let detail = |message: &str| ErrorDetail {
            pointer: "/servers/0/publish/0/hostPort".into(),
            rule: "taken.port".into(),
            message: message.into(),
            hint: None,
        };
        let refusal = Refusal {
            status: 409,
            code: "busy".into(),
            message: "port 1 is taken".into(),
            error: "port 1 is taken: by web".into(),
            request_id: String::new(),
            operation: None,
            details: vec![detail("port 1 is taken"), detail("by web")],
        };
        let Failure::Report(report) = Failure::from(Error::Refused(Box::new(refusal))) else {
            panic!("no report")
        };
        assert_eq!(
            report.render(Ink::OFF),
            "error: port 1 is taken\n\
             \x20 /servers/0/publish/0/hostPort [taken.port]\n\
             \x20 /servers/0/publish/0/hostPort: by web [taken.port]\n"
        );
    }

    #[test]
    fn a_cause_is_told_once_and_without_escapes() {
        let refusal = Refusal {
            status: 502,
            code: "some_code".into(),
            message: "create failed".into(),
            error: "create failed: \u{1b}[31mno".into(),
            request_id: String::new(),
            operation: None,
            details: vec![],
        };
        let Failure::Report(report) = Failure::from(Error::Refused(Box::new(refusal))) else {
            panic!("no report")
        };
        assert_eq!(report.render(Ink::OFF), "error: create failed\n  cause: \\u{1b}[31mno\n");
    }
}
