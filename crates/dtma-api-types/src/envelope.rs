//! The envelope around every JSON answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<T> {
    /// Always true.
    pub success: bool,
    /// One sentence for people.
    pub message: String,
    /// The answer itself.
    pub data: T,
}

impl<T> Envelope<T> {
    /// Wraps an answer.
    pub fn new(message: impl Into<String>, data: T) -> Self {
        Self { success: true, message: message.into(), data }
    }
}

/// An answer that says why a request was not fulfilled. Every mistake of the request is listed at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Always false.
    pub success: bool,
    /// One sentence for people.
    pub message: String,
    /// The same with its causes, outermost first.
    pub error: String,
    /// Stable word for programs, such as `invalid_spec` or `no_such_group`.
    pub code: String,
    /// Names this request in the daemon's log; also in the header `X-Request-Id`.
    pub request_id: String,
    /// The operation that came of the request, when one did: it may go on, see `GET /operations/{operationId}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// Each mistake, with where it is and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ErrorDetail>,
}

/// A refusal of an MCP message, in the words of JSON-RPC 2.0 (section 5): what a client of MCP understands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JsonRpcFailure {
    /// Always `2.0`.
    pub jsonrpc: String,
    /// The refused message's own, a string or a number; null or absent when it had none or could not be read.
    #[serde(default)]
    pub id: Option<serde_json::Value>,
    /// What is wrong.
    pub error: JsonRpcError,
}

/// The error of a [`JsonRpcFailure`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JsonRpcError {
    /// JSON-RPC's or MCP's number, such as -32600 for a message that is none.
    pub code: i64,
    /// One sentence for people.
    pub message: String,
    /// What a program may want to know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// One mistake of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// JSON pointer (RFC 6901) to the value at fault, `/servers/0/image`; empty for the whole document.
    pub pointer: String,
    /// Stable id of the rule, such as `schema.unknown` or `graph.cycle`.
    pub rule: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
