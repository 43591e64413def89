//! Settings: flags over environment over TOML over defaults, all mistakes at once, each with its origin.

use crate::cli::SettingArgs;
use crate::config_file::ConfigFile;
use crate::engine_settings::{EngineSettings, Said};
use crate::log_file::Bounds;
use crate::template_dir;
use crate::tls::TlsFiles;
use clap::ArgMatches;
use clap::parser::ValueSource;
use dtma_api::ServeLimits;
use dtma_api::limit::Rates;
use dtma_config::{Policy, Templates};
use dtma_docker::NetworkPool;
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use tracing_subscriber::EnvFilter;

pub(crate) const CONFIG: &str = "/etc/dtma/daemon.toml";
pub(crate) const LISTEN: &str = "127.0.0.1:30000";
pub(crate) const STATE_DIR: &str = "/var/lib/dtma";
/// 16 MiB.
pub(crate) const LOG_FILE_SIZE: &str = "16777216";
pub(crate) const LOG_FILES: &str = "5";
/// Where the original daemon kept its token.
pub(crate) const CONF: &str = "/etc/dtma.conf";
const ACCESS_LOG_SIZE: u64 = 64 << 20;
/// What the system's file descriptors allow at the utmost.
const MOST_CONNECTIONS: usize = 100_000;

/// Everything the daemon is run with.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) state_dir: PathBuf,
    pub(crate) engine: EngineSettings,
    pub(crate) policy: Policy,
    pub(crate) templates: Templates,
    pub(crate) network_pool: NetworkPool,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) log_format: LogFormat,
    pub(crate) log: String,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_bounds: Bounds,
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

impl Mistake {
    /// What a service manager passed is wrong.
    pub(crate) fn of_socket(problem: String) -> Self {
        Self { origin: "LISTEN_FDS".to_owned(), problem }
    }
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
    pull_min_free_mb: Option<u64>,
    policy: Option<PathBuf>,
    templates: Option<PathBuf>,
    network_pool: Option<String>,
    allowed_hosts: Option<Vec<String>>,
    log_format: Option<String>,
    log: Option<String>,
    log_file: Option<PathBuf>,
    log_file_size: Option<u64>,
    log_files: Option<u32>,
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
    /// Puts together what was said where. A socket that was passed already listens at `passed`, whatever else is said.
    ///
    /// # Errors
    /// Every mistake.
    pub(crate) fn resolve(
        args: &SettingArgs,
        matches: &ArgMatches,
        passed: Option<SocketAddr>,
    ) -> Result<Self, Vec<Mistake>> {
        let path = args.config.clone().unwrap_or_else(|| CONFIG.into());
        let mut mistakes = Vec::new();
        let found = ConfigFile::read(&path, args.config.is_none()).unwrap_or_else(|problem| {
            mistakes.push(Mistake { origin: path.display().to_string(), problem });
            ConfigFile::default()
        });
        let (file, wrong) = found.fields();
        mistakes.extend(wrong.into_iter().map(|(origin, problem)| Mistake { origin, problem }));
        let mut sources = Sources { matches, file: &found, passed, mistakes };
        let settings = sources.settings(args, file);
        if sources.mistakes.is_empty() { Ok(settings) } else { Err(sources.mistakes) }
    }
}

/// What was said about the engine, flags and environment before the file.
fn engine(args: &SettingArgs, file: &mut File) -> Said {
    let number = |said: &Option<String>, file: Option<u64>| said.clone().or(file.map(|ms| ms.to_string()));
    Said {
        docker_host: args.docker_host.clone().or(file.docker_host.take()),
        docker_cert_path: args.docker_cert_path.clone().or(file.docker_cert_path.take()),
        registry_auth: args.registry_auth.clone().or(file.registry_auth.take()),
        engine_read_timeout_ms: number(&args.engine_read_timeout_ms, file.engine_read_timeout_ms),
        engine_change_timeout_ms: number(&args.engine_change_timeout_ms, file.engine_change_timeout_ms),
        pull_stall_ms: number(&args.pull_stall_ms, file.pull_stall_ms),
        pull_min_free_mb: number(&args.pull_min_free_mb, file.pull_min_free_mb),
    }
}

/// Where values came from, and what was wrong with them.
pub(crate) struct Sources<'a> {
    matches: &'a ArgMatches,
    file: &'a ConfigFile,
    passed: Option<SocketAddr>,
    mistakes: Vec<Mistake>,
}

impl Sources<'_> {
    fn settings(&mut self, args: &SettingArgs, mut file: File) -> Settings {
        let (limits, rates) = (self.limits(args, &file), self.rates(args, &file));
        let said = engine(args, &mut file);
        let listen = self.parsed("listen", args.listen.clone().or(file.listen), LISTEN);
        let listen = self.passed.or(listen);
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
            templates: self.templates(args.templates.clone().or(file.templates)),
            network_pool: match pool {
                Some(text) => self.parsed("network_pool", Some(text), "").unwrap_or_default(),
                None => NetworkPool::default(),
            },
            allowed_hosts: allowed.unwrap_or_default(),
            log_format: self
                .parsed("log_format", args.log_format.clone().or(file.log_format), "human")
                .unwrap_or(LogFormat::Human),
            log,
            log_file: args.log_file.clone().or(file.log_file),
            log_bounds: self.log_bounds(args, (file.log_file_size, file.log_files)),
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
        match ConfigFile::read(&path, false) {
            Ok(file) => {
                let (policy, wrong) = file.fields();
                self.mistakes.extend(wrong.into_iter().map(|(origin, problem)| Mistake { origin, problem }));
                policy
            }
            Err(problem) => {
                self.report("policy", format!("{}: {problem}", path.display()));
                Policy::default()
            }
        }
    }

    fn templates(&mut self, dir: Option<PathBuf>) -> Templates {
        let Some(dir) = dir else { return Templates::builtin() };
        template_dir::read(&dir).unwrap_or_else(|wrong| {
            for (file, problem) in wrong {
                match file {
                    Some(file) => self.mistakes.push(Mistake { origin: file.display().to_string(), problem }),
                    None => self.report("templates", format!("{}: {problem}", dir.display())),
                }
            }
            Templates::builtin()
        })
    }

    fn log_bounds(&mut self, args: &SettingArgs, (size, files): (Option<u64>, Option<u32>)) -> Bounds {
        const SMALLEST: u64 = 4096;
        let size = args.log_file_size.clone().or(size.map(|size| size.to_string()));
        let files = args.log_files.clone().or(files.map(|files| files.to_string()));
        let size = self.parsed("log_file_size", size, LOG_FILE_SIZE).unwrap_or(SMALLEST);
        if size < SMALLEST {
            self.report("log_file_size", format!("{size} bytes are fewer than {SMALLEST}"));
        }
        Bounds { size, files: self.parsed("log_files", files, LOG_FILES).unwrap_or(0) }
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
            _ => self.file.origin(id),
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
        Settings::resolve(&Cli::from_arg_matches(&matches).unwrap().settings, &matches, None)
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
    fn a_passed_socket_decides_where_the_daemon_listens() {
        let matches = Cli::command().get_matches_from(["dtma-daemon", "--listen", "127.0.0.1:1"]);
        let args = Cli::from_arg_matches(&matches).unwrap().settings;
        let at = |address: &str| Settings::resolve(&args, &matches, Some(address.parse().unwrap()));
        assert_eq!(at("127.0.0.1:2").ok().unwrap().listen.port(), 2);
        assert_eq!(
            at("0.0.0.0:2").err().unwrap().len(),
            1,
            "a socket unit opens no door that a flag could not"
        );
    }

    #[test]
    fn every_mistake_of_policy_and_templates_is_named_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (policy, templates) = (dir.path().join("policy.toml"), dir.path().join("templates"));
        std::fs::write(&policy, "memory = \"much\"\nprivileged = true\n").unwrap();
        std::fs::create_dir(&templates).unwrap();
        std::fs::write(templates.join("big.yaml"), "name: big\nprivileged: true\npids: many\n").unwrap();
        let (policy, templates) = (policy.to_str().unwrap(), templates.to_str().unwrap());
        let big = format!("{templates}/big.yaml");
        check(
            &["--policy", policy, "--templates", templates],
            &[&format!("{policy}:1: memory: "), &format!("{policy}:2: privileged: "), &big, &big],
        );
        check(&["--templates", "/nowhere/at/all"], &["--templates: /nowhere/at/all: "]);
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
        std::fs::write(&path, "log = 1\nlisen = \"127.0.0.1:1\"\nlog_format = \"xml\"\n").unwrap();
        let expected =
            [format!("{file}:2: lisen: "), format!("{file}:1: log: "), format!("{file}:3: log_format: ")];
        check(&["--config", file], &expected.each_ref().map(String::as_str));
    }
}
