//! TLS at the door: certificate, key and the authority of client certificates, which may be
//! [`replace`](Tls::replace)d while connections are open. They keep what they were opened with.
//!
//! Left to others: reading files and noticing that they changed (the daemon).

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the daemon proves itself with, as PEM.
#[derive(Debug, Clone, Copy)]
pub struct TlsPem<'a> {
    /// Its certificate, then those between it and the root.
    pub certificate: &'a [u8],
    /// The certificate's private key.
    pub key: &'a [u8],
    /// Where it is given, a client must show a certificate that one of these signed.
    pub client_ca: Option<&'a [u8]>,
}

/// Why TLS cannot be spoken with what was given.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate can be read.
    #[error("there is no usable certificate in it: {0}")]
    Certificate(String),
    /// No private key can be read.
    #[error("there is no usable private key in it: {0}")]
    Key(String),
    /// The authority of client certificates cannot be used.
    #[error("there is no usable authority for client certificates in it: {0}")]
    ClientCa(String),
    /// Certificate and key cannot be used together.
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// How TLS is spoken with whoever comes next.
pub struct Tls(RwLock<Arc<ServerConfig>>);

impl Tls {
    /// TLS 1.2 and 1.3 with this certificate.
    ///
    /// # Errors
    /// [`TlsError`], by the part that is at fault.
    pub fn new(pem: TlsPem<'_>) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(config(pem)?)))
    }

    /// From now on this for new connections; nothing changes when it cannot be used.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn replace(&self, pem: TlsPem<'_>) -> Result<(), TlsError> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config(pem)?;
        Ok(())
    }

    /// The TLS side of a connection, within `patience`.
    pub(crate) async fn shake(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let shaken = tokio::time::timeout(patience, TlsAcceptor::from(config).accept(stream)).await;
        shaken.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn config(pem: TlsPem<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(pem.certificate).map_err(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(pem.key).map_err(|problem| TlsError::Key(problem.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let builder = match pem.client_ca {
        Some(ca) => builder.with_client_cert_verifier(verifier(ca, provider).map_err(TlsError::ClientCa)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn verifier(
    ca: &[u8],
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|problem| problem.to_string())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.build().map_err(|problem| problem.to_string())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no PEM block called CERTIFICATE".to_owned()),
        Ok(found) => Ok(found),
        Err(problem) => Err(problem.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_said_to_be_none() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let stranger = other.signing_key.serialize_pem();
        let refused = |certificate: &str, key: &str, ca: Option<&str>| {
            let pem = TlsPem {
                certificate: certificate.as_bytes(),
                key: key.as_bytes(),
                client_ca: ca.map(str::as_bytes),
            };
            Tls::new(pem).err()
        };
        assert!(refused(&certificate, &key, None).is_none());
        assert!(refused(&certificate, &key, Some(&certificate)).is_none());
        assert!(matches!(refused("", &key, None), Some(TlsError::Certificate(_))));
        assert!(matches!(refused(&key, &key, None), Some(TlsError::Certificate(_))));
        assert!(matches!(refused(&certificate, &certificate, None), Some(TlsError::Key(_))));
        assert!(matches!(refused(&certificate, &stranger, None), Some(TlsError::Pair(_))));
        assert!(matches!(refused(&certificate, &key, Some("")), Some(TlsError::ClientCa(_))));
    }
}
