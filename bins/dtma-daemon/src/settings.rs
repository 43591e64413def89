//! Settings: flags over environment over TOML over defaults, all mistakes at once, each with its origin.

use crate::cli::SettingArgs;
use crate::engine_settings::{EngineSettings, Said};
use crate::tls::TlsFiles;
use clap::ArgMatches;
use clap::parser::ValueSource;
use dtma_api::ServeLimits;
use dtma_api::limit::Rates;
use dtma_config::Policy;
use dtma_docker::NetworkPool;
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tracing_subscriber::EnvFilter;

const CONFIG: &str = "/etc/dtma/daemon.toml";
const LISTEN: &str = "127.0.0.1:30000";
const STATE_DIR: &str = "/var/lib/dtma";
/// Where the original daemon kept its token.
const CONF: &str = "/etc/dtma.conf";
const ACCESS_LOG_SIZE: u64 = 64 << 20;
/// What the system's file descriptors allow at the utmost.
const MOST_CONNECTIONS: usize = 100_000;

/// Everything the daemon is run with.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) state_dir: PathBuf,
    pub(crate) engine: EngineSettings,
    pub(crate) policy: Policy,
    pub(crate) network_pool: NetworkPool,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) log_format: LogFormat,
    pub(crate) log: String,
    pub(crate) dev_no_auth: bool,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) conf: PathBuf,
    pub(crate) limits: ServeLimits,
    pub(crate) rates: Rates,
    pub(crate) access_log: Option<PathBuf>,
    /// Bytes.
    pub(crate) access_log_size: u64,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

impl FromStr for LogFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("it is neither human nor json".to_owned()),
        }
    }
}

/// One wrong setting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where it was said: `--listen`, `DTMA_LISTEN`, `listen in /etc/dtma/daemon.toml`.
    origin: String,
    problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

/// The TOML file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<String>,
    state_dir: Option<PathBuf>,
    docker_host: Option<String>,
    docker_cert_path: Option<PathBuf>,
    registry_auth: Option<PathBuf>,
    engine_read_timeout_ms: Option<u64>,
    engine_change_timeout_ms: Option<u64>,
    pull_stall_ms: Option<u64>,
    policy: Option<PathBuf>,
    network_pool: Option<String>,
    allowed_hosts: Option<Vec<String>>,
    log_format: Option<String>,
    log: Option<String>,
    dev_no_auth: Option<bool>,
    insecure_http: Option<bool>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    conf: Option<PathBuf>,
    rate_mutations: Option<String>,
    rate_reads: Option<String>,
    rate_gateway: Option<String>,
    rate_failures: Option<String>,
    max_connections: Option<usize>,
    max_connections_per_peer: Option<usize>,
    access_log: Option<PathBuf>,
    access_log_size: Option<u64>,
}

impl Settings {
    /// Puts together what was said where.
    ///
    /// # Errors
    /// Every mistake.
    pub(crate) fn resolve(args: &SettingArgs, matches: &ArgMatches) -> Result<Self, Vec<Mistake>> {
        let path = args.config.clone().unwrap_or_else(|| CONFIG.into());
        let mut mistakes = Vec::new();
        let file = match File::read(&path, args.config.is_none()) {
            Ok(file) => file,
            Err(problem) => {
                mistakes.push(Mistake { origin: path.display().to_string(), problem });
                File::default()
            }
        };
        let mut sources = Sources { matches, path: &path, mistakes };
        let settings = sources.settings(args, file);
        if sources.mistakes.is_empty() { Ok(settings) } else { Err(sources.mistakes) }
    }
}

/// What was said about the engine, flags and environment before the file.
fn engine(args: &SettingArgs, file: &mut File) -> Said {
    let millis = |said: &Option<String>, file: Option<u64>| said.clone().or(file.map(|ms| ms.to_string()));
    Said {
        docker_host: args.docker_host.clone().or(file.docker_host.take()),
        docker_cert_path: args.docker_cert_path.clone().or(file.docker_cert_path.take()),
        registry_auth: args.registry_auth.clone().or(file.registry_auth.take()),
        engine_read_timeout_ms: millis(&args.engine_read_timeout_ms, file.engine_read_timeout_ms),
        engine_change_timeout_ms: millis(&args.engine_change_timeout_ms, file.engine_change_timeout_ms),
        pull_stall_ms: millis(&args.pull_stall_ms, file.pull_stall_ms),
    }
}

impl File {
    fn read(path: &Path, optional: bool) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Where values came from, and what was wrong with them.
pub(crate) struct Sources<'a> {
    matches: &'a ArgMatches,
    path: &'a Path,
    mistakes: Vec<Mistake>,
}

impl Sources<'_> {
    fn settings(&mut self, args: &SettingArgs, mut file: File) -> Settings {
        let (limits, rates) = (self.limits(args, &file), self.rates(args, &file));
        let said = engine(args, &mut file);
        let listen = self.parsed("listen", args.listen.clone().or(file.listen), LISTEN);
        let log = args.log.clone().or(file.log).unwrap_or_else(|| "info".to_owned());
        if let Err(error) = EnvFilter::try_new(&log) {
            self.report("log", error.to_string());
        }
        let dev_no_auth = args.dev_no_auth || file.dev_no_auth.unwrap_or(false);
        let insecure_http = args.insecure_http || file.insecure_http.unwrap_or(false);
        let (cert, key) = (args.tls_cert.clone().or(file.tls_cert), args.tls_key.clone().or(file.tls_key));
        let tls = self.tls(cert, key, args.tls_client_ca.clone().or(file.tls_client_ca));
        if let Some(listen) = listen {
            self.check_reach(listen, dev_no_auth, insecure_http || tls.is_some());
        }
        let pool = args.network_pool.clone().or(file.network_pool);
        let allowed =
            if args.allowed_hosts.is_empty() { file.allowed_hosts } else { Some(args.allowed_hosts.clone()) };
        Settings {
            listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            state_dir: args.state_dir.clone().or(file.state_dir).unwrap_or_else(|| STATE_DIR.into()),
            engine: self.engine(said),
            policy: self.policy(args.policy.clone().or(file.policy)),
            network_pool: match pool {
                Some(text) => self.parsed("network_pool", Some(text), "").unwrap_or_default(),
                None => NetworkPool::default(),
            },
            allowed_hosts: allowed.unwrap_or_default(),
            log_format: self
                .parsed("log_format", args.log_format.clone().or(file.log_format), "human")
                .unwrap_or(LogFormat::Human),
            log,
            dev_no_auth,
            tls,
            conf: args.conf.clone().or(file.conf).unwrap_or_else(|| CONF.into()),
            limits,
            rates,
            access_log: args.access_log.clone().or(file.access_log),
            access_log_size: args.access_log_size.or(file.access_log_size).unwrap_or(ACCESS_LOG_SIZE),
        }
    }

    fn limits(&mut self, args: &SettingArgs, file: &File) -> ServeLimits {
        let usual = ServeLimits::default();
        let most = args.max_connections.or(file.max_connections).unwrap_or(usual.connections);
        let of_one = args.max_connections_per_peer.or(file.max_connections_per_peer);
        for (id, value) in [("max_connections", most), ("max_connections_per_peer", of_one.unwrap_or(1))] {
            if !(1..=MOST_CONNECTIONS).contains(&value) {
                self.report(id, format!("{value} is not from 1 to {MOST_CONNECTIONS}"));
            }
        }
        ServeLimits { connections: most, per_peer: of_one.unwrap_or(usual.per_peer), ..usual }
    }

    fn rates(&mut self, args: &SettingArgs, file: &File) -> Rates {
        let usual = Rates::default();
        let mut rate =
            |id, arg: &Option<String>, file: &Option<String>, usual| match arg.clone().or(file.clone()) {
                Some(text) => self.parsed(id, Some(text), "").unwrap_or(usual),
                None => usual,
            };
        Rates {
            mutations: rate("rate_mutations", &args.rate_mutations, &file.rate_mutations, usual.mutations),
            reads: rate("rate_reads", &args.rate_reads, &file.rate_reads, usual.reads),
            gateway: rate("rate_gateway", &args.rate_gateway, &file.rate_gateway, usual.gateway),
            failures: rate("rate_failures", &args.rate_failures, &file.rate_failures, usual.failures),
        }
    }

    /// Certificate and key, or neither; a client authority only with them.
    fn tls(
        &mut self,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        client_ca: Option<PathBuf>,
    ) -> Option<TlsFiles> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, client_ca }),
            (Some(_), None) => {
                self.report("tls_cert", "it needs its private key: give --tls-key".to_owned());
                None
            }
            (None, Some(_)) => {
                self.report("tls_key", "it needs its certificate: give --tls-cert".to_owned());
                None
            }
            (None, None) => {
                if client_ca.is_some() {
                    self.report("tls_client_ca", "it needs TLS: give --tls-cert and --tls-key".to_owned());
                }
                None
            }
        }
    }

    fn check_reach(&mut self, listen: SocketAddr, dev_no_auth: bool, may_go_out: bool) {
        if listen.ip().is_loopback() {
            return;
        }
        if dev_no_auth {
            self.report("dev_no_auth", "it is allowed on loopback only".to_owned());
        }
        if !may_go_out {
            let problem = format!(
                "{listen} is not on loopback: tokens would travel in clear; give --tls-cert and --tls-key, or say --insecure-http if a TLS proxy or tunnel stands in front"
            );
            self.report("listen", problem);
        }
    }

    fn policy(&mut self, path: Option<PathBuf>) -> Policy {
        let Some(path) = path else { return Policy::default() };
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let policy = text.and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()));
        policy.unwrap_or_else(|problem| {
            self.report("policy", format!("{}: {problem}", path.display()));
            Policy::default()
        })
    }

    fn parsed<T>(&mut self, id: &'static str, said: Option<String>, default: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = said.unwrap_or_else(|| default.to_owned());
        text.parse().map_err(|error: T::Err| self.report(id, format!("{text:?}: {error}"))).ok()
    }

    pub(crate) fn report(&mut self, id: &str, problem: String) {
        let origin = match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => format!("--{}", id.replace('_', "-")),
            Some(ValueSource::EnvVariable) => format!("DTMA_{}", id.to_uppercase()),
            _ => format!("{id} in {}", self.path.display()),
        };
        self.mistakes.push(Mistake { origin, problem });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, FromArgMatches};
    use std::os::unix::fs::PermissionsExt;

    fn resolve(line: &[&str]) -> Result<Settings, Vec<Mistake>> {
        let matches = Cli::command().get_matches_from([&["dtma-daemon"], line].concat());
        Settings::resolve(&Cli::from_arg_matches(&matches).unwrap().settings, &matches)
    }

    #[track_caller]
    fn check(line: &[&str], expected: &[&str]) {
        let mistakes = resolve(line).err().unwrap_or_default();
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(expected), "{shown}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_wrong_setting_is_named_with_its_origin() {
        check(
            &["--listen", "nowhere", "--log-format", "xml"],
            &["--listen: \"nowhere\"", "--log-format: \"xml\""],
        );
        check(&["--docker-host", "ftp://x"], &["--docker-host: \"ftp://x\""]);
        check(&["--config", "/nowhere/at/all"], &["/nowhere/at/all: No such file"]);
    }

    #[test]
    fn what_cannot_be_used_to_reach_the_engine_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (certs, open) = (dir.path().to_str().unwrap(), dir.path().join("config.json"));
        std::fs::write(&open, "{}").unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        let line = [
            &["--docker-host", "tcp://h:1", "--docker-cert-path", certs][..],
            &["--registry-auth", open.to_str().unwrap(), "--pull-stall-ms", "soon"],
        ];
        let ca = format!("--docker-cert-path: {certs}/ca.pem: ");
        let auth = format!("--registry-auth: {}: it holds passwords", open.display());
        check(&line.concat(), &[&ca, &auth, "--pull-stall-ms: \"soon\" is not a number"]);
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o600)).unwrap();
        let line = ["--registry-auth", open.to_str().unwrap(), "--engine-read-timeout-ms", "250"];
        let settings = resolve(&line).ok().unwrap();
        assert_eq!(settings.engine.deadlines.read, std::time::Duration::from_millis(250));
        assert!(settings.engine.registries.is_empty() && settings.engine.tls.is_none());
    }

    #[test]
    fn beyond_loopback_needs_a_word() {
        check(&["--listen", "0.0.0.0:1"], &["--listen: 0.0.0.0:1 is not on loopback"]);
        check(&["--listen", "0.0.0.0:1", "--insecure-http"], &[]);
        check(&["--listen", "0.0.0.0:1", "--insecure-http", "--dev-no-auth"], &["--dev-no-auth: "]);
        check(&["--listen", "[::1]:1", "--dev-no-auth"], &[]);
        let tls = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
        check(&[&["--listen", "0.0.0.0:1"][..], &tls].concat(), &[]);
        check(&[&["--listen", "0.0.0.0:1", "--dev-no-auth"][..], &tls].concat(), &["--dev-no-auth: "]);
    }

    #[test]
    fn limits_are_read_or_named_as_mistakes() {
        let settings =
            resolve(&["--rate-mutations", "off", "--rate-gateway", "5/1s", "--max-connections", "7"]);
        let settings = settings.ok().unwrap();
        assert_eq!(settings.rates.mutations, "off".parse().unwrap());
        assert_eq!(settings.rates.gateway, "5/1s".parse().unwrap());
        assert_eq!(settings.rates.failures, Rates::default().failures);
        assert_eq!(settings.limits.connections, 7);
        check(
            &["--rate-reads", "many", "--max-connections-per-peer", "0"],
            &["--max-connections-per-peer: 0 is not", "--rate-reads: \"many\": "],
        );
    }

    #[test]
    fn half_of_tls_is_a_mistake() {
        check(&["--tls-cert", "c.pem"], &["--tls-cert: it needs its private key"]);
        check(&["--tls-key", "k.pem"], &["--tls-key: it needs its certificate"]);
        check(&["--tls-client-ca", "ca.pem"], &["--tls-client-ca: it needs TLS"]);
        let half = ["--listen", "0.0.0.0:1", "--tls-cert", "c.pem"];
        check(&half, &["--tls-cert: ", "--listen: 0.0.0.0:1 is not on loopback"]);
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nstate_dir = \"/from/file\"\n").unwrap();
        let file = path.to_str().unwrap();
        let settings = resolve(&["run", "--config", file, "--listen", "127.0.0.1:2"]).ok().unwrap();
        assert_eq!((settings.listen.port(), settings.state_dir), (2, PathBuf::from("/from/file")));
        std::fs::write(&path, "lisen = \"127.0.0.1:1\"\n").unwrap();
        check(&["--config", file], &[file]);
    }
}
