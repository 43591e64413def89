//! TLS towards an engine on another machine: the three PEM files that Docker's own clients use, read once.
//!
//! Only the given authority is trusted, not those of the machine: a public certificate must not make an engine of ours.
//! The engine's certificate is always verified; there is no way to leave that out.

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a directory of certificates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct TlsError {
    /// Which file.
    file: PathBuf,
    /// What is wrong with it.
    problem: String,
}

/// How an engine is recognised, and how we are by it.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads `ca.pem` (the engine's authority) and, for an engine that asks who we are (`--tlsverify`), `cert.pem` and
    /// `key.pem`, as in `DOCKER_CERT_PATH`.
    ///
    /// # Errors
    /// The first file that is missing or holds something else.
    pub fn read(dir: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let broken = |problem: rustls::Error| wrong(dir, problem);
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(broken)?.with_root_certificates(authority(&dir.join("ca.pem"))?);
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        let config = if cert.exists() || key.exists() {
            let identity = (certificates(&cert)?, private_key(&key)?);
            builder.with_client_auth_cert(identity.0, identity.1).map_err(|error| wrong(&key, error))?
        } else {
            builder.with_no_client_auth()
        };
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }
}

fn wrong(file: &Path, problem: impl fmt::Display) -> TlsError {
    TlsError { file: file.to_owned(), problem: problem.to_string() }
}

fn authority(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| wrong(file, error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| wrong(file, error))?;
    if found.is_empty() { Err(wrong(file, "it holds no certificate")) } else { Ok(found) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| wrong(file, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dir: &Path, expected: &str) {
        let error = Tls::read(dir).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_missing_or_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), "ca.pem");
        std::fs::write(dir.path().join("ca.pem"), "no certificate").unwrap();
        check(dir.path(), "ca.pem: it holds no certificate");
        let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.cert.pem()).unwrap();
        assert!(Tls::read(dir.path()).is_ok());
        std::fs::write(dir.path().join("cert.pem"), authority.cert.pem()).unwrap();
        check(dir.path(), "key.pem");
        std::fs::write(dir.path().join("key.pem"), authority.signing_key.serialize_pem()).unwrap();
        assert!(Tls::read(dir.path()).is_ok());
    }
}
