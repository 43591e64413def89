//! The settings of the way to the engine: its address, its certificates, credentials of registries, deadlines.

use crate::settings::Sources;
use dtma_docker::{Deadlines, RegistryLogins, Tls};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the engine is reached and how long it may take.
#[derive(Debug)]
pub(crate) struct EngineSettings {
    pub(crate) host: Option<String>,
    pub(crate) tls: Option<Tls>,
    pub(crate) registries: RegistryLogins,
    pub(crate) deadlines: Deadlines,
    /// Bytes; `None` takes the adapter's own.
    pub(crate) pull_min_free: Option<u64>,
}

/// What was said about it: by flag, environment or file.
pub(crate) struct Said {
    pub(crate) docker_host: Option<String>,
    pub(crate) docker_cert_path: Option<PathBuf>,
    pub(crate) registry_auth: Option<PathBuf>,
    pub(crate) engine_read_timeout_ms: Option<String>,
    pub(crate) engine_change_timeout_ms: Option<String>,
    pub(crate) pull_stall_ms: Option<String>,
    pub(crate) pull_min_free_mb: Option<String>,
}

impl Sources<'_> {
    pub(crate) fn engine(&mut self, said: Said) -> EngineSettings {
        let host = self.docker_host(said.docker_host);
        let remote = host.as_ref().is_some_and(|host| !host.starts_with("unix://"));
        let standard = Deadlines::default();
        EngineSettings {
            tls: self.engine_tls(said.docker_cert_path, remote),
            host,
            registries: self.registries(said.registry_auth.as_deref()),
            deadlines: Deadlines {
                read: self.millis("engine_read_timeout_ms", said.engine_read_timeout_ms, standard.read),
                mutation: self.millis(
                    "engine_change_timeout_ms",
                    said.engine_change_timeout_ms,
                    standard.mutation,
                ),
                pull_stall: self.millis("pull_stall_ms", said.pull_stall_ms, standard.pull_stall),
                ..standard
            },
            pull_min_free: self.mebibytes("pull_min_free_mb", said.pull_min_free_mb),
        }
    }

    fn docker_host(&mut self, said: Option<String>) -> Option<String> {
        let host = said.or_else(|| docker_variable("DOCKER_HOST"))?;
        if !["unix:///", "tcp://", "http://"].iter().any(|scheme| host.starts_with(scheme)) {
            self.report("docker_host", format!("{host:?} is neither unix:///PATH nor tcp://HOST:PORT"));
        }
        Some(host)
    }

    /// Certificates named by a setting are used; those of Docker's own variables when `DOCKER_TLS_VERIFY` says so.
    fn engine_tls(&mut self, said: Option<PathBuf>, remote: bool) -> Option<Tls> {
        let wanted = said.is_some() || docker_variable("DOCKER_TLS_VERIFY").is_some();
        if !remote || !wanted {
            return None;
        }
        let Some(dir) = said.or_else(|| docker_variable("DOCKER_CERT_PATH").map(PathBuf::from)) else {
            let problem = "DOCKER_TLS_VERIFY is set: say in which directory ca.pem, cert.pem and key.pem are";
            self.report("docker_cert_path", problem.to_owned());
            return None;
        };
        Tls::read(&dir).map_err(|error| self.report("docker_cert_path", error.to_string())).ok()
    }

    fn registries(&mut self, path: Option<&Path>) -> RegistryLogins {
        let Some(path) = path else { return RegistryLogins::default() };
        read_private(path)
            .and_then(|text| RegistryLogins::parse(&text).map_err(|error| error.to_string()))
            .unwrap_or_else(|problem| {
                self.report("registry_auth", format!("{}: {problem}", path.display()));
                RegistryLogins::default()
            })
    }

    fn mebibytes(&mut self, id: &'static str, said: Option<String>) -> Option<u64> {
        let text = said?;
        let bytes = text.parse::<u64>().ok().and_then(|count| count.checked_mul(1 << 20));
        if bytes.is_none() {
            self.report(id, format!("{text:?} is not a number of MiB"));
        }
        bytes
    }

    fn millis(&mut self, id: &'static str, said: Option<String>, default: Duration) -> Duration {
        let Some(text) = said else { return default };
        match text.parse::<u64>() {
            Ok(millis) if (10..=3_600_000).contains(&millis) => Duration::from_millis(millis),
            _ => {
                self.report(id, format!("{text:?} is not a number of milliseconds from 10 to 3600000"));
                default
            }
        }
    }
}

pub(crate) fn read_private(path: &Path) -> Result<String, String> {
    let mode = std::fs::metadata(path).map_err(|error| error.to_string())?.mode();
    if mode & 0o007 != 0 {
        return Err("it holds passwords and everybody can read it: chmod o= it".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[expect(
    clippy::disallowed_methods,
    reason = "Docker's own variables are honoured like every Docker client does"
)]
pub(crate) fn docker_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
