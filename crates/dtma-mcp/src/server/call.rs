//! How the house's own calls can fail.

use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;

/// The server was removed or the daemon is ending: its owner task is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is being removed")]
pub struct Closed;

/// Why a call did not give a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The parameters are not JSON, or the whole is too big.
    #[error("the call is not valid: {problem}")]
    Invalid {
        /// What is wrong.
        problem: String,
    },
    /// The tool is kept from everybody, see [`ToolFilter`](crate::ToolFilter).
    #[error("the call is refused: {problem}")]
    Refused {
        /// Why.
        problem: String,
    },
    /// No process answers.
    #[error("the server is not ready: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// The server did not answer in time.
    #[error("the server did not answer within {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// The server answered with an error.
    #[error("the server answered with an error: {message}")]
    Rpc {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
        /// The whole `error` object, raw JSON.
        raw: Bytes,
    },
    /// The connection ended before the answer came.
    #[error("the connection to the server ended before it answered")]
    Lost {
        /// False when the server cannot have seen the call.
        may_have_executed: bool,
    },
    /// Too many calls wait for this server.
    #[error("too many calls wait for this server")]
    Busy,
    /// The owner is gone.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl CallError {
    /// From a raw `error` object.
    pub(crate) fn from_rpc(raw: Bytes) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Wire {
            code: i64,
            message: String,
        }
        let Wire { code, message } = serde_json::from_slice(&raw).unwrap_or_default();
        Self::Rpc { code, message, raw }
    }
}
