//! Settings: flags over environment over TOML over defaults, all mistakes at once, each with its origin.

mod audit;
mod backend;
mod clients;
mod front;
mod image_gc;
mod runtime_dir;
mod shims;
#[cfg(test)]
mod tests;

pub(crate) use backend::{HEARTBEAT_PATH, originals};
pub(crate) use clients::{CALL_TIMEOUT, MAX_MESSAGE_MB, MAX_SESSIONS, SESSION_IDLE};
pub(crate) use image_gc::{IMAGE_GC, IMAGE_GC_HIGH, IMAGE_GC_LOW, IMAGE_GC_MIN_AGE};
pub(crate) use runtime_dir::{RUNTIME_DIR, of_systemd};
pub(crate) use shims::SHIMS;

use crate::cli::SettingArgs;
use crate::config_file::ConfigFile;
use crate::engine_settings::{EngineSettings, Said};
use crate::heartbeat::Address;
use crate::log_file::Bounds;
use crate::template_dir;
use crate::tls::TlsFiles;
use clap::ArgMatches;
use clap::parser::ValueSource;
use dtma_api::limit::Rates;
use dtma_api::{AuditBounds, Front, ServeLimits};
use dtma_config::{Policy, Templates};
use dtma_core::image_gc::ImageGc;
use dtma_docker::NetworkPool;
use dtma_mcp::Limits;
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
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

/// Everything the daemon is run with.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) state_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) engine: EngineSettings,
    pub(crate) policy: Policy,
    pub(crate) templates: Templates,
    pub(crate) network_pool: NetworkPool,
    /// Servers get the shim as their first process, where they can.
    pub(crate) shims: bool,
    pub(crate) image_gc: Option<ImageGc>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) front: Front,
    pub(crate) log_format: LogFormat,
    pub(crate) log: String,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_bounds: Bounds,
    pub(crate) dev_no_auth: bool,
    /// Agents reach only what they are granted.
    pub(crate) require_connections: bool,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) conf: PathBuf,
    pub(crate) limits: ServeLimits,
    pub(crate) rates: Rates,
    pub(crate) mcp: Limits,
    /// `None`: sessions that nobody uses are kept for ever.
    pub(crate) session_idle: Option<Duration>,
    pub(crate) access_log: Option<PathBuf>,
    /// Bytes.
    pub(crate) access_log_size: u64,
    pub(crate) audit: AuditBounds,
    /// What agents call tools with is written down, too.
    pub(crate) audit_arguments: bool,
    /// Where reports go, when anywhere.
    pub(crate) backend: Option<Address>,
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

    /// An environment variable of somebody else's standard is wrong.
    #[cfg(feature = "otel")]
    pub(crate) fn of_variable(name: &str, problem: String) -> Self {
        Self { origin: name.to_owned(), problem }
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
    runtime_dir: Option<PathBuf>,
    docker_host: Option<String>,
    docker_cert_path: Option<PathBuf>,
    registry_auth: Option<PathBuf>,
    engine_read_timeout_ms: Option<u64>,
    engine_change_timeout_ms: Option<u64>,
    pull_stall_ms: Option<u64>,
    pull_min_free_mb: Option<u64>,
    shims: Option<String>,
    image_gc: Option<String>,
    image_gc_min_age: Option<String>,
    image_gc_high_percent: Option<u64>,
    image_gc_low_percent: Option<u64>,
    policy: Option<PathBuf>,
    templates: Option<PathBuf>,
    network_pool: Option<String>,
    allowed_hosts: Option<Vec<String>>,
    public_url: Option<String>,
    authorization_servers: Option<Vec<String>>,
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
    max_sessions: Option<u64>,
    session_idle: Option<String>,
    call_timeout: Option<String>,
    call_timeout_max: Option<String>,
    max_message_mb: Option<u64>,
    max_connections: Option<usize>,
    max_connections_per_peer: Option<usize>,
    access_log: Option<PathBuf>,
    access_log_size: Option<u64>,
    audit_max_mb: Option<u64>,
    audit_files: Option<u32>,
    audit_arguments: Option<bool>,
    require_connections: Option<bool>,
    backend_url: Option<String>,
    backend_heartbeat_path: Option<String>,
    backend_token_file: Option<PathBuf>,
    backend_ca_file: Option<PathBuf>,
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
        let mut mistakes = crate::otel::mistakes();
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
        let (shims, mcp) = (self.shims(args, &file), self.mcp(args, &file));
        let session_idle = self.session_idle(args, &file);
        let (audit, image_gc) = (self.audit(args, &file), self.image_gc(args, &file));
        let front = self.front(args, &mut file);
        let said = engine(args, &mut file);
        let conf = args.conf.clone().or(file.conf.take()).unwrap_or_else(|| CONF.into());
        let backend = self.backend(args, &mut file, &conf);
        let state_dir = args.state_dir.clone().or(file.state_dir.take()).unwrap_or_else(|| STATE_DIR.into());
        let runtime_dir = self.runtime_dir(args.runtime_dir.clone().or(file.runtime_dir.take()), &state_dir);
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
            state_dir,
            runtime_dir,
            engine: self.engine(said),
            policy: self.policy(args.policy.clone().or(file.policy)),
            templates: self.templates(args.templates.clone().or(file.templates)),
            network_pool: match pool {
                Some(text) => self.parsed("network_pool", Some(text), "").unwrap_or_default(),
                None => NetworkPool::default(),
            },
            allowed_hosts: allowed.unwrap_or_default(),
            front,
            log_format: self
                .parsed("log_format", args.log_format.clone().or(file.log_format), "human")
                .unwrap_or(LogFormat::Human),
            log,
            log_file: args.log_file.clone().or(file.log_file),
            log_bounds: self.log_bounds(args, (file.log_file_size, file.log_files)),
            dev_no_auth,
            require_connections: args.require_connections || file.require_connections.unwrap_or(false),
            tls,
            conf,
            limits,
            rates,
            mcp,
            session_idle,
            access_log: args.access_log.clone().or(file.access_log),
            access_log_size: args.access_log_size.or(file.access_log_size).unwrap_or(ACCESS_LOG_SIZE),
            audit,
            audit_arguments: args.audit_arguments || file.audit_arguments.unwrap_or(false),
            backend,
            shims,
            image_gc,
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
