//! TLS towards the daemon: whom the client believes, and what it shows of itself.

use crate::error::Error;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::Arc;

/// What was given for TLS, as PEM.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ca, identity) = (self.ca.is_some(), self.identity.is_some());
        f.debug_struct("Trust").field("ca", &ca).field("identity", &identity).finish()
    }
}

impl Trust {
    /// Without an authority nobody is believed.
    pub(crate) fn config(&self) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in self.ca.as_deref().map(certificates).transpose()?.unwrap_or_default() {
            roots.add(certificate).map_err(refuse)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refuse)?
            .with_root_certificates(roots);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|problem| refuse(format!("the client's key: {problem}")))?;
                builder.with_client_auth_cert(certificates(chain)?, key).map_err(refuse)
            }
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(refuse)?;
    if found.is_empty() { Err(refuse("no PEM block called CERTIFICATE")) } else { Ok(found) }
}

fn refuse(problem: impl fmt::Display) -> Error {
    Error::Tls { problem: problem.to_string() }
}
