//! Why a request did not get its answer.

use dtma_api_types::{ErrorBody, ErrorDetail};
use std::time::Duration;

/// Why a request did not get its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one this client can use.
    #[error("{url:?} is not a usable address: {problem}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The token cannot be sent in a header.
    #[error("the token contains characters that cannot be sent")]
    Token,
    /// `https://` is to be spoken, and nobody said whom to believe.
    #[error("{url} needs the authority that signed the daemon's certificate")]
    NoAuthority {
        /// The daemon's address.
        url: String,
    },
    /// A certificate or key that was given cannot be used.
    #[error("TLS cannot be spoken with what was given: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
    /// Nobody answers there.
    #[error("the daemon at {url} cannot be reached")]
    Unreachable {
        /// The daemon's address.
        url: String,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time. A mutation goes on in the daemon.
    #[error("the daemon did not answer within {after:?}")]
    Timeout {
        /// The time waited.
        after: Duration,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to the daemon broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The daemon said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer makes no sense: something else listens there, or the versions do not fit.
    #[error("the answer (HTTP {status}) cannot be understood: {problem}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        problem: String,
    },
    /// The MCP server answered with a JSON-RPC error.
    #[error("the MCP server answered with error {code}: {message}")]
    Rpc {
        /// JSON-RPC error code.
        code: i64,
        /// Its message.
        message: String,
    },
}

impl Error {
    /// The daemon's refusal, when it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Url { .. }
            | Self::Token
            | Self::NoAuthority { .. }
            | Self::Tls { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken(_)
            | Self::Unexpected { .. }
            | Self::Rpc { .. } => None,
        }
    }
}

/// What the daemon said when it refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Stable word for programs.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// The same with its causes.
    pub error: String,
    /// Names the request in the daemon's log.
    pub request_id: String,
    /// The operation that came of the request, when one did; it may go on.
    pub operation: Option<String>,
    /// Every mistake.
    pub details: Vec<ErrorDetail>,
}

impl Refusal {
    pub(crate) fn new(status: u16, body: ErrorBody) -> Self {
        let ErrorBody { success: _, message, error, code, request_id, operation_id: operation, details } =
            body;
        Self { status, code, message, error, request_id, operation, details }
    }
}
