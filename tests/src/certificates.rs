//! Certificates made on the spot, and the files they lie in.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};

/// An authority that signs what it is asked to.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The files of a certificate and its private key.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }
}

impl Authority {
    /// Its own certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// Its own certificate in a file.
    #[must_use]
    pub fn file(&self, path: PathBuf) -> PathBuf {
        std::fs::write(&path, self.pem()).expect("a file in the test's directory");
        path
    }

    /// A certificate for `name` in `NAME.pem` and its key in `NAME.key`, in place of those that were there.
    #[must_use]
    pub fn sign(&self, dir: &Path, file: &str, name: &str) -> Files {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("parameters");
        let signed = params.signed_by(&key, &self.0).expect("a certificate");
        let files =
            Files { certificate: dir.join(format!("{file}.pem")), key: dir.join(format!("{file}.key")) };
        std::fs::write(&files.certificate, signed.pem()).expect("a certificate in a file");
        std::fs::write(&files.key, key.serialize_pem()).expect("a key in a file");
        files
    }
}
