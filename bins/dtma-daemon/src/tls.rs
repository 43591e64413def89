//! Certificate, key and client authority from files, which are watched.

use crate::watched::Watched;
use anyhow::{Context, Result};
use dtma_api::tls::{Tls, TlsPem};
use std::fs;
use std::path::{Path, PathBuf};

/// Where TLS comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
}

struct Read {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl TlsFiles {
    /// What the files hold, as the door speaks it, and the files.
    pub(crate) fn load(&self) -> Result<(Tls, Watched)> {
        let files = Watched::new(self.paths().map(Path::to_owned));
        let read = self.read()?;
        let tls = Tls::new(read.pem());
        Ok((tls.with_context(|| format!("TLS cannot be spoken with {}", self.names()))?, files))
    }

    /// Takes up changes of the files for as long as it is polled; files that cannot be used change nothing.
    pub(crate) async fn keep_fresh(&self, tls: &Tls, files: &mut Watched) {
        loop {
            files.changed().await;
            self.take_up(tls);
        }
    }

    fn take_up(&self, tls: &Tls) {
        let replaced = self.read().and_then(|read| Ok(tls.replace(read.pem())?));
        match replaced {
            Ok(()) => tracing::info!(files = self.names(), "the TLS files changed and are taken up"),
            // Between the writing of a certificate and that of its key this is what is seen.
            Err(error) => {
                tracing::error!(
                    files = self.names(),
                    "the TLS files changed and cannot be used; the old ones hold: {error:#}"
                );
            }
        }
    }

    fn read(&self) -> Result<Read> {
        let bytes = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Read {
            certificate: bytes(&self.certificate)?,
            key: bytes(&self.key)?,
            client_ca: self.client_ca.as_deref().map(bytes).transpose()?,
        })
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.paths().map(|path| path.display().to_string()).collect();
        names.join(", ")
    }
}

impl Read {
    fn pem(&self) -> TlsPem<'_> {
        TlsPem { certificate: &self.certificate, key: &self.key, client_ca: self.client_ca.as_deref() }
    }
}
