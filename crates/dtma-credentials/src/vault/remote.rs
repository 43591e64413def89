//! A server that keeps credentials, asked over HTTP, and what its answers mean to the port. What it says is never repeated:
//! only its status is.

use super::document;
use super::reply::Unreadable;
use crate::web::{Page, Web, address};
use bytes::Bytes;
use dtma_core::credential::CredentialId;
use dtma_core::port::vault::VaultError;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// One server.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    web: Web,
    base: String,
    /// As people read it in errors.
    pub(super) name: String,
}

impl Remote {
    /// The server at this address. Asks nobody; what is wrong with the address is said to whoever wrote it.
    pub(super) fn new(web: Web, what: &str, base: &str) -> Result<Self, String> {
        let uri = address(base)?;
        if uri.query().is_some() {
            return Err(format!("{base:?} has a query"));
        }
        let name = format!("{what} {}", uri.authority().map(ToString::to_string).unwrap_or_default());
        Ok(Self { web, base: base.trim_end_matches('/').to_owned(), name })
    }

    /// Asks once.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Page, VaultError> {
        let uri: Uri =
            format!("{}{path}", self.base).parse().map_err(|_| self.refused("no address is so long"))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.web.send(&uri, request).await.map_err(|silence| VaultError::Unavailable {
            vault: self.name.clone(),
            problem: silence.said,
            retry_after: silence.retry_after,
        })
    }

    /// What an answer that is no success means.
    pub(super) fn fault(&self, page: &Page) -> VaultError {
        let (vault, status) = (self.name.clone(), page.status);
        let unavailable = |problem| VaultError::Unavailable {
            vault: self.name.clone(),
            problem,
            retry_after: page.retry_after,
        };
        match status {
            401 | 403 => VaultError::Denied { vault, problem: format!("it answered {status}") },
            413 => self.refused("it is too large"),
            300..=399 => {
                unavailable(format!("it answered {status}: it points elsewhere, which is not followed"))
            }
            473 => unavailable("it answered 473: it is a standby".to_owned()),
            503 => unavailable("it answered 503: it is sealed or in maintenance".to_owned()),
            408 | 412 | 425 | 429 | 472 | 500..=599 => unavailable(format!("it answered {status}")),
            _ => VaultError::Malformed { vault, problem: format!("it answered {status}") },
        }
    }

    /// What an answer that cannot be read means.
    pub(super) fn unreadable(&self, error: Unreadable) -> VaultError {
        let (vault, problem) = (self.name.clone(), format!("it answered with {error}"));
        match error {
            Unreadable::Page => VaultError::Unavailable { vault, problem, retry_after: None },
            Unreadable::Json { .. } | Unreadable::Shape(_) => VaultError::Malformed { vault, problem },
        }
    }

    pub(super) fn refused(&self, problem: &str) -> VaultError {
        VaultError::Refused { vault: self.name.clone(), problem: problem.to_owned() }
    }

    pub(super) fn missing(&self, id: &CredentialId) -> VaultError {
        VaultError::NotFound { vault: self.name.clone(), id: Box::new(id.clone()) }
    }

    pub(super) fn unsupported<T>(&self, operation: &'static str) -> Result<T, VaultError> {
        Err(VaultError::Unsupported { vault: self.name.clone(), operation })
    }
}

/// True for the answers of a yes.
pub(super) fn is_yes(page: &Page) -> bool {
    (200..300).contains(&page.status)
}

/// The body of a request that says this.
pub(super) fn body(value: &impl Serialize) -> Bytes {
    document::body(value)
}

/// Sets a header whose value nothing shows; what cannot be one is a mistake of the configuration.
#[expect(clippy::disallowed_methods, reason = "it proves to the vault who asks")]
pub(super) fn prove(
    headers: &mut HeaderMap,
    name: &'static str,
    before: &str,
    secret: &SecretString,
) -> Result<(), String> {
    let value = zeroize::Zeroizing::new(format!("{before}{}", secret.expose_secret()));
    let value =
        HeaderValue::from_str(&value).map_err(|_| "a token has characters that no header can hold")?;
    let mut value = value;
    value.set_sensitive(true);
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}
