//! The settings of the backend that is told how this machine does. Its token must not travel in clear.

use super::{File, Mistake, Sources};
use crate::cli::SettingArgs;
use crate::heartbeat::{Address, TokenSource};
use crate::{engine_settings, tokens};
use http::Uri;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the original called the backend's address.
pub(crate) const VARIABLE: &str = "AGENTOPIA_API_BASE_URL";
pub(crate) const HEARTBEAT_PATH: &str = "/heartbeat";

impl Sources<'_> {
    /// None when no backend is named.
    pub(super) fn backend(&mut self, args: &SettingArgs, file: &mut File, conf: &Path) -> Option<Address> {
        let token = args.backend_token_file.clone().or(file.backend_token_file.take());
        let ca = args.backend_ca_file.clone().or(file.backend_ca_file.take());
        let said = args.backend_url.clone().or(file.backend_url.take());
        let (url, origin) = match said {
            Some(url) => (url, None),
            None => match originals(conf) {
                Some((url, origin)) => (url, Some(origin)),
                None => {
                    self.without_backend(token.is_some(), ca.is_some());
                    return None;
                }
            },
        };
        let path = args.backend_heartbeat_path.clone().or(file.backend_heartbeat_path.take());
        let uri = self.address(&url, path.as_deref().unwrap_or(HEARTBEAT_PATH), origin);
        let tls = self.trust(uri.as_ref(), ca.as_deref());
        Some(Address { uri: uri?, tls: tls?, token: self.token(token, conf) })
    }

    fn without_backend(&mut self, token: bool, ca: bool) {
        for (id, _) in
            [("backend_token_file", token), ("backend_ca_file", ca)].iter().filter(|(_, said)| *said)
        {
            self.report(id, "it is for a backend: give --backend-url too".to_owned());
        }
    }

    fn address(&mut self, url: &str, path: &str, origin: Option<String>) -> Option<Uri> {
        if let Err(problem) = sound(url) {
            match origin {
                Some(origin) => self.mistakes.push(Mistake { origin, problem }),
                None => self.report("backend_url", problem),
            }
            return None;
        }
        let whole = format!("{}{path}", url.trim_end_matches('/')).parse().ok();
        let whole = whole.filter(|_| path.starts_with('/'));
        if whole.is_none() {
            let problem = format!("{path:?} is not a path such as {HEARTBEAT_PATH}");
            self.report("backend_heartbeat_path", problem);
        }
        whole
    }

    fn token(&mut self, file: Option<PathBuf>, conf: &Path) -> TokenSource {
        let Some(path) = file else { return TokenSource::Conf(conf.to_owned()) };
        if let Err(problem) = engine_settings::read_private(&path) {
            self.report("backend_token_file", format!("{}: {problem}", path.display()));
        }
        TokenSource::File(path)
    }

    /// The authorities of the given file and no others; without one, those of this machine.
    fn trust(&mut self, uri: Option<&Uri>, ca: Option<&Path>) -> Option<ClientConfig> {
        let mut roots = RootCertStore::empty();
        match ca.map(certificates) {
            Some(Ok(found)) => drop(roots.add_parsable_certificates(found)),
            Some(Err(problem)) => self.report("backend_ca_file", problem),
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let secure = uri.is_some_and(|uri| uri.scheme_str() == Some("https"));
        if secure && roots.is_empty() && ca.is_none() {
            let problem = "this machine knows no certificate authorities: install ca-certificates or give --backend-ca-file";
            self.report("backend_url", problem.to_owned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| self.report("backend_url", error.to_string())).ok()?;
        Some(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// The address where the original looked for it, and where that is.
#[expect(
    clippy::disallowed_methods,
    reason = "the contract names this variable; it is read here and nowhere else"
)]
pub(crate) fn originals(conf: &Path) -> Option<(String, String)> {
    let variable = std::env::var(VARIABLE).ok().map(|url| (url, format!("env {VARIABLE}")));
    // A file that cannot be read is named where tokens are looked for.
    let file =
        || Some((tokens::conf_value(conf, VARIABLE).ok()??, format!("{VARIABLE} in {}", conf.display())));
    variable.filter(|(url, _)| !url.is_empty()).or_else(file)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |problem: String| format!("{}: {problem}", path.display());
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("it has no PEM block called CERTIFICATE".to_owned())) } else { Ok(found) }
}

fn sound(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
    let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
        return Err("it must be http:// or https:// and a host, without a user".to_owned());
    };
    if uri.query().is_some() {
        return Err(format!("{url:?} must not have a query"));
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(authority.host()) => Ok(()),
        Some("http") => {
            Err(format!("{url:?}: the token would travel in clear; beyond loopback it must be https://"))
        }
        _ => Err(format!("{url:?} is neither http:// nor https://")),
    }
}

fn is_loopback(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
