//! What a client is told when it does not get through: one line of text, a status, and for machines RFC 9209's word.

use crate::dial::DialError;
use crate::judge::Refusal;
use crate::target::Misdirected;
use bytes::Bytes;
use dtma_core::egress::Authority;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use std::io;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const METHODS: HeaderValue =
    HeaderValue::from_static("CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");

/// Why a request did not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Misdirected(#[from] Misdirected),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{target}: the name could not be looked up: {problem}")]
    Unresolved { target: Authority, problem: io::Error },
    #[error("{target}: the name was not looked up in time")]
    ResolvedTooLate { target: Authority },
    #[error("the decision could not be noted, so nothing is let through: {0}")]
    Unnoted(io::Error),
    #[error("{target}: {problem}")]
    Unreachable { target: Authority, problem: DialError },
    #[error("{target} gave no answer that can be passed on: {problem}")]
    NoAnswer { target: Authority, problem: String },
}

impl Fault {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Misdirected(Misdirected::Trace) => (StatusCode::METHOD_NOT_ALLOWED, "http_request_denied"),
            Self::Misdirected(Misdirected::Version { .. }) => {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_request_error")
            }
            Self::Misdirected(_) => (StatusCode::BAD_REQUEST, "http_request_error"),
            Self::Refused(refusal) => of_refusal(refusal),
            Self::Unresolved { .. } => (StatusCode::BAD_GATEWAY, "dns_error"),
            Self::ResolvedTooLate { .. } => (StatusCode::GATEWAY_TIMEOUT, "dns_timeout"),
            Self::Unnoted(_) => (StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error"),
            Self::Unreachable { problem: DialError::Timeout(_), .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "connection_timeout")
            }
            Self::Unreachable { problem: DialError::Refused(_), .. } => {
                (StatusCode::BAD_GATEWAY, "connection_refused")
            }
            Self::NoAnswer { .. } => (StatusCode::BAD_GATEWAY, "http_protocol_error"),
        }
    }

    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let (status, word) = self.status();
        let mut response = Response::new(Full::from(format!("{self}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Ok(value) = HeaderValue::try_from(format!("dtma; error={word}")) {
            headers.insert(PROXY_STATUS, value);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, METHODS);
        }
        response
    }
}

fn of_refusal(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::NotListed { .. } | Refusal::Ceiling { .. } => (StatusCode::FORBIDDEN, "http_request_denied"),
        Refusal::Range { .. } | Refusal::Own { .. } => (StatusCode::FORBIDDEN, "destination_ip_prohibited"),
        Refusal::NoAddress { .. } => (StatusCode::BAD_GATEWAY, "dns_error"),
    }
}
