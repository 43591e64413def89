//! What a provider says of itself (RFC 8414, OpenID Connect Discovery), and where it says it. Pure.

use crate::web::address;
use http::Uri;
use serde::Deserialize;

/// A provider's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The provider's name, byte by byte as we know it; `None` when it has several.
    pub issuer: Option<String>,
    /// Where a person goes; providers for machines have none.
    pub authorization: Option<Uri>,
    /// Where tokens are made.
    pub token: Uri,
    /// Where devices begin (RFC 8628).
    pub device: Option<Uri>,
    /// Where tokens end (RFC 7009).
    pub revocation: Option<Uri>,
    /// Every return from a person names the issuer (RFC 9207).
    pub returns_issuer: bool,
}

/// Why metadata is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is no JSON object with the fields there have to be.
    #[error("it is no provider's metadata")]
    Unreadable,
    /// It speaks of another provider.
    #[error("it is another issuer's: {0:?}")]
    Issuer(String),
    /// An endpoint is no place for secrets.
    #[error("{0}")]
    Endpoint(String),
    /// Codes could be stolen.
    #[error("the provider does not know PKCE with S256")]
    Pkce,
}

#[derive(Deserialize)]
struct Written {
    issuer: String,
    token_endpoint: String,
    authorization_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads the metadata of `issuer`.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn read(issuer: &str, body: &[u8]) -> Result<Self, MetadataError> {
        let written: Written = serde_json::from_slice(body).map_err(|_| MetadataError::Unreadable)?;
        if written.issuer != issuer {
            return Err(MetadataError::Issuer(crate::web::shown(&written.issuer)));
        }
        // A provider that says nothing of it may know it all the same.
        if written
            .code_challenge_methods_supported
            .is_some_and(|known| !known.iter().any(|one| one == "S256"))
        {
            return Err(MetadataError::Pkce);
        }
        let endpoint =
            |text: String| address(&text).map_err(|error| MetadataError::Endpoint(crate::web::shown(&error)));
        Ok(Self {
            issuer: Some(written.issuer),
            authorization: written.authorization_endpoint.map(endpoint).transpose()?,
            token: endpoint(written.token_endpoint)?,
            device: written.device_authorization_endpoint.map(endpoint).transpose()?,
            revocation: written.revocation_endpoint.map(endpoint).transpose()?,
            returns_issuer: written.authorization_response_iss_parameter_supported,
        })
    }
}

/// Where an issuer's metadata may be, the standard's place first.
///
/// # Errors
/// The issuer is no address that can be trusted.
pub(super) fn places(issuer: &str) -> Result<Vec<Uri>, String> {
    let uri = address(issuer)?;
    if uri.query().is_some() {
        return Err(format!("{issuer:?} has a query; an issuer has none"));
    }
    let path = uri.path().trim_end_matches('/');
    let base = issuer.strip_suffix(uri.path()).unwrap_or(issuer).trim_end_matches('/');
    let mut places = vec![
        format!("{base}/.well-known/oauth-authorization-server{path}"),
        format!("{base}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{base}{path}/.well-known/openid-configuration"));
    }
    places.iter().map(|place| address(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://idp.example/tenant";

    fn read(change: &str) -> Result<Metadata, MetadataError> {
        let body = format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"https://idp.example/token"{change}}}"#);
        Metadata::read(ISSUER, body.as_bytes())
    }

    #[test]
    fn it_is_looked_for_where_the_standards_say() {
        let places = |issuer| places(issuer).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            places(ISSUER),
            [
                "https://idp.example/.well-known/oauth-authorization-server/tenant",
                "https://idp.example/.well-known/openid-configuration/tenant",
                "https://idp.example/tenant/.well-known/openid-configuration",
            ]
        );
        assert_eq!(places("https://idp.example/").len(), 2);
        assert_eq!(
            places("https://idp.example")[0],
            "https://idp.example/.well-known/oauth-authorization-server"
        );
    }

    #[test]
    fn only_the_issuers_own_word_and_safe_endpoints_count() {
        assert!(read("").is_ok());
        assert!(matches!(Metadata::read("https://idp.example", b"{}"), Err(MetadataError::Unreadable)));
        let foreign = br#"{"issuer":"https://evil.example","token_endpoint":"https://evil.example/token"}"#;
        assert!(matches!(Metadata::read(ISSUER, foreign), Err(MetadataError::Issuer(_))));
        assert!(matches!(
            read(r#","revocation_endpoint":"http://idp.example/revoke""#),
            Err(MetadataError::Endpoint(_))
        ));
        assert_eq!(read(r#","code_challenge_methods_supported":["plain"]"#), Err(MetadataError::Pkce));
        assert!(read(r#","code_challenge_methods_supported":["plain","S256"]"#).is_ok());
    }
}
