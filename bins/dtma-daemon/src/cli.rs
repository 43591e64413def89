//! The command line. Values stay text here: where each came from, and what is wrong with all of them, is the
//! business of `settings.rs`.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Runs groups of MCP servers and tools in hardened containers and is the one door to them.
#[derive(Parser)]
#[command(name = "dtma-daemon", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
}

const AFTER_HELP: &str = "\
Settings: a flag wins over its environment variable, that over the key of the same name (with _ \
for -) in the TOML file, that over the default.

Tokens: DTMA_BEARER_TOKEN and BACKEND_TO_DTMA_API_KEY in the environment, DTMA_AUTH_TOKEN=... in \
/etc/dtma.conf (each with every right), and those made by `dtma-daemon token create`, which are taken \
up without a restart. Without any token the daemon does not start.

The address is printed on standard output as `listening on http://ADDRESS:PORT` (https:// with TLS); logs go to standard \
error. SIGTERM and SIGINT end the daemon and leave every container running; started again, it adopts \
them. SIGHUP opens the log files anew. A listening socket passed by systemd replaces --listen.

Exit codes: 0 ended by a signal; 1 failed; 2 wrong command line, setting or no token; 3 the state \
directory is in use by another daemon or cannot be used.

Example: DTMA_BEARER_TOKEN=$(openssl rand -hex 32) dtma-daemon --state-dir /var/lib/dtma";

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the daemon (the default)
    Run,
    /// Make, list, rotate and revoke access tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check and show the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check, show, back up and restore the state of a daemon that is not running
    #[command(subcommand)]
    State(StateCommand),
    /// Write manual pages
    #[command(hide = true)]
    Man {
        /// Where the pages go; the folder is made when it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// What to do with the settings.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Name every mistake of flags, environment, settings file, policy and templates; exit 0 or 1
    Check,
    /// Print the settings that hold, as TOML or JSON; secrets are shown as ***
    Show {
        /// Say where each comes from: default, FILE:LINE, env NAME, flag
        #[arg(long)]
        origin: bool,
        /// How
        #[arg(short, long, default_value = "toml")]
        output: ShowFormat,
    },
}

/// How settings are printed.
#[derive(clap::ValueEnum, Clone, Copy)]
pub(crate) enum ShowFormat {
    /// As the settings file
    Toml,
    /// For programs
    Json,
}

/// What to do with the state.
#[derive(Subcommand)]
pub(crate) enum StateCommand {
    /// Read every record and name the damaged; exit 0 or 3. Changes nothing
    Check,
    /// Print everything as JSON, for people. There is no secret in it
    Dump,
    /// Write a backup: one JSON file with a checksum, which this and every later version can import
    Export {
        /// Where to; `-` is standard output
        file: PathBuf,
        /// Leave damaged records out instead of refusing
        #[arg(long)]
        skip_damaged: bool,
    },
    /// Make the state from a backup. All of it or nothing: a damaged or newer backup changes nothing
    Import {
        /// Where from; `-` is standard input
        file: PathBuf,
        /// Replace a state that is there; it is kept as state.redb.replaced
        #[arg(long)]
        force: bool,
    },
}

/// What to do with tokens.
#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, this once
    Create {
        /// A name for logs and for revoking it
        name: String,
        /// What it opens: read, deploy, credentials, admin, gateway
        #[arg(long = "scope", value_delimiter = ',', default_value = "admin")]
        scopes: Vec<dtma_api::auth::Scope>,
        /// How long it holds: 30d, 12h, 10m [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<Duration>,
    },
    /// Make a new token with the name and scopes of an old one and print it, this once
    Rotate {
        /// The name
        name: String,
        /// How long the old one still holds
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
        overlap: Duration,
        /// How long the new one holds [default: as long as the old one was made to]
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<Duration>,
    },
    /// List the tokens: names, scopes and times, never the tokens
    Ls,
    /// Revoke a token; a running daemon refuses it from then on
    Revoke {
        /// Its name
        name: String,
    },
}

/// Every setting, as text.
#[derive(Args)]
pub(crate) struct SettingArgs {
    /// The TOML file with settings [default: /etc/dtma/daemon.toml, when it is there]
    #[arg(long, env = "DTMA_CONFIG", value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one [default: 127.0.0.1:30000]
    #[arg(long, env = "DTMA_LISTEN", value_name = "ADDRESS:PORT", global = true)]
    pub(crate) listen: Option<String>,
    /// Where desired state and tokens are kept [default: /var/lib/dtma]
    #[arg(long, env = "DTMA_STATE_DIR", value_name = "DIR", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where what belongs to running containers is kept, their sockets to the daemon, all of it gone after a boot
    /// [default: RUNTIME_DIRECTORY of systemd, else /run/dtma]
    #[arg(long, env = "DTMA_RUNTIME_DIR", value_name = "DIR", global = true)]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// The container engine, unix:///path or tcp://host:port [default: DOCKER_HOST, else unix:///var/run/docker.sock]
    #[arg(long, env = "DTMA_DOCKER_HOST", value_name = "URL", global = true)]
    pub(crate) docker_host: Option<String>,
    /// The directory with ca.pem, cert.pem and key.pem for an engine on tcp:// that speaks TLS [default:
    /// DOCKER_CERT_PATH, when DOCKER_TLS_VERIFY is set]
    #[arg(long, env = "DTMA_DOCKER_CERT_PATH", value_name = "DIR", global = true)]
    pub(crate) docker_cert_path: Option<PathBuf>,
    /// Credentials of private registries, in the format of Docker's config.json
    #[arg(long, env = "DTMA_REGISTRY_AUTH", value_name = "FILE", global = true)]
    pub(crate) registry_auth: Option<PathBuf>,
    /// How long the engine may take to answer a question, in milliseconds [default: 5000]
    #[arg(long, env = "DTMA_ENGINE_READ_TIMEOUT_MS", value_name = "MS", global = true)]
    pub(crate) engine_read_timeout_ms: Option<String>,
    /// How long the engine may take to change something, in milliseconds [default: 30000]
    #[arg(long, env = "DTMA_ENGINE_CHANGE_TIMEOUT_MS", value_name = "MS", global = true)]
    pub(crate) engine_change_timeout_ms: Option<String>,
    /// A pull of which nothing is heard for so long is given up, in milliseconds [default: 60000]
    #[arg(long, env = "DTMA_PULL_STALL_MS", value_name = "MS", global = true)]
    pub(crate) pull_stall_ms: Option<String>,
    /// Nothing is pulled when the engine's disk has less than this free, in MiB; 0 asks for none [default: 512]
    #[arg(long, env = "DTMA_PULL_MIN_FREE_MB", value_name = "MIB", global = true)]
    pub(crate) pull_min_free_mb: Option<String>,
    /// Whether servers get the shim as their first process: on or off; a server may say `shim: false` itself
    /// [default: on]
    #[arg(long, env = "DTMA_SHIMS", value_name = "WHETHER", global = true)]
    pub(crate) shims: Option<String>,
    /// When images go that the daemon fetched and nobody needs: off (never) or disk (while it is full) [default: disk]
    #[arg(long, env = "DTMA_IMAGE_GC", value_name = "WHEN", global = true)]
    pub(crate) image_gc: Option<String>,
    /// For how long nobody must have needed an image, such as 12h or 7d [default: 24h]
    #[arg(long, env = "DTMA_IMAGE_GC_MIN_AGE", value_name = "TIME", global = true)]
    pub(crate) image_gc_min_age: Option<String>,
    /// Images go when more of the engine's disk is used, in percent [default: 85]
    #[arg(long, env = "DTMA_IMAGE_GC_HIGH_PERCENT", value_name = "PERCENT", global = true)]
    pub(crate) image_gc_high_percent: Option<String>,
    /// ... and until no more of it than this is used, in percent [default: 80]
    #[arg(long, env = "DTMA_IMAGE_GC_LOW_PERCENT", value_name = "PERCENT", global = true)]
    pub(crate) image_gc_low_percent: Option<String>,
    /// The TOML file with the operator's ceilings [default: 2 GiB, 2 CPU, 512 pids for each server]
    #[arg(long, env = "DTMA_POLICY", value_name = "FILE", global = true)]
    pub(crate) policy: Option<PathBuf>,
    /// A directory of further templates (.toml, .yaml, .json) that servers may name
    #[arg(long, env = "DTMA_TEMPLATES", value_name = "DIR", global = true)]
    pub(crate) templates: Option<PathBuf>,
    /// Where the groups' networks take their addresses from [default: 10.249.0.0/16]
    #[arg(long, env = "DTMA_NETWORK_POOL", value_name = "CIDR", global = true)]
    pub(crate) network_pool: Option<String>,
    /// A further name the daemon is called by (the Host header); may be repeated
    #[arg(
        long = "allowed-host",
        env = "DTMA_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) allowed_hosts: Vec<String>,
    /// Agents reach only what they are granted (dtma mcp grants); without it, whoever was never granted anything reaches
    /// every server
    #[arg(long, env = "DTMA_REQUIRE_CONNECTIONS", global = true)]
    pub(crate) require_connections: bool,
    /// What the daemon's URLs begin with for clients, where a proxy stands in front [default: as the client called]
    #[arg(long, env = "DTMA_PUBLIC_URL", value_name = "URL", global = true)]
    pub(crate) public_url: Option<String>,
    /// Who gives out tokens that are known here, for clients that ask; several with commas between
    #[arg(
        long,
        env = "DTMA_AUTHORIZATION_SERVERS",
        value_name = "URL",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) authorization_servers: Vec<String>,
    /// How logs are written: human or json [default: human]
    #[arg(long, env = "DTMA_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub(crate) log_format: Option<String>,
    /// What is logged, in the words of tracing (`info`, `dtma_manager=debug`) [default: info]
    #[arg(long, env = "DTMA_LOG", value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// Log to this file instead of standard error; SIGHUP opens it anew
    #[arg(long, env = "DTMA_LOG_FILE", value_name = "FILE", global = true)]
    pub(crate) log_file: Option<PathBuf>,
    /// The log file's size in bytes at which it makes room [default: 16777216]
    #[arg(long, env = "DTMA_LOG_FILE_SIZE", value_name = "BYTES", global = true)]
    pub(crate) log_file_size: Option<String>,
    /// How many full log files are kept as FILE.1, FILE.2, ... [default: 5]
    #[arg(long, env = "DTMA_LOG_FILES", value_name = "COUNT", global = true)]
    pub(crate) log_files: Option<String>,
    /// Let everybody do everything; only on loopback, only for development
    #[arg(long, env = "DTMA_DEV_NO_AUTH", global = true)]
    pub(crate) dev_no_auth: bool,
    /// Allow listening beyond loopback without TLS
    #[arg(long, env = "DTMA_INSECURE_HTTP", global = true)]
    pub(crate) insecure_http: bool,
    /// The daemon's certificate (PEM, with those between it and the root): speak https. A new one is taken up
    /// without a restart
    #[arg(long, env = "DTMA_TLS_CERT", value_name = "FILE", global = true)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, env = "DTMA_TLS_KEY", value_name = "FILE", global = true)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let in only clients that show a certificate signed by one of these authorities (PEM), besides their token
    #[arg(long, env = "DTMA_TLS_CLIENT_CA", value_name = "FILE", global = true)]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// A file of KEY=value lines with DTMA_AUTH_TOKEN in it [default: /etc/dtma.conf, when it is there]
    #[arg(long, env = "DTMA_CONF", value_name = "FILE", global = true)]
    pub(crate) conf: Option<PathBuf>,
    /// How often one token may change something: COUNT/TIME, or off; beyond it the answer is 429 [default: 10/10s]
    #[arg(long, env = "DTMA_RATE_MUTATIONS", value_name = "RATE", global = true)]
    pub(crate) rate_mutations: Option<String>,
    /// How often one token may look at something [default: off]
    #[arg(long, env = "DTMA_RATE_READS", value_name = "RATE", global = true)]
    pub(crate) rate_reads: Option<String>,
    /// How often one token may send something to MCP servers [default: off]
    #[arg(long, env = "DTMA_RATE_GATEWAY", value_name = "RATE", global = true)]
    pub(crate) rate_gateway: Option<String>,
    /// How many wrong tokens are looked at from one address [default: 30/60s]
    #[arg(long, env = "DTMA_RATE_FAILURES", value_name = "RATE", global = true)]
    pub(crate) rate_failures: Option<String>,
    /// Most client sessions of one MCP server, or of one replica of it, and of one group as one server; beyond, the one
    /// unused for longest makes way [default: 1024]
    #[arg(long, env = "DTMA_MAX_SESSIONS", value_name = "COUNT", global = true)]
    pub(crate) max_sessions: Option<String>,
    /// A session without an open stream, a call or a message for so long ends, such as 1h or 7d; off: it is kept
    /// [default: 24h]
    #[arg(long, env = "DTMA_SESSION_IDLE", value_name = "TIME", global = true)]
    pub(crate) session_idle: Option<String>,
    /// How long a server may take to answer a client's call, or to tell of progress, such as 90s or 10m; beyond, the
    /// client gets an error and the server is told to stop [default: off]
    #[arg(long, env = "DTMA_CALL_TIMEOUT", value_name = "TIME", global = true)]
    pub(crate) call_timeout: Option<String>,
    /// How long a call may take in all, whatever progress is told [default: ten times --call-timeout]
    #[arg(long, env = "DTMA_CALL_TIMEOUT_MAX", value_name = "TIME", global = true)]
    pub(crate) call_timeout_max: Option<String>,
    /// The longest message between MCP clients and servers in MiB, at most 16; a client's is refused beyond, a server's
    /// is dropped [default: 16]
    #[arg(long, env = "DTMA_MAX_MESSAGE_MB", value_name = "MIB", global = true)]
    pub(crate) max_message_mb: Option<String>,
    /// Most open connections; further ones wait [default: 1024]
    #[arg(long, env = "DTMA_MAX_CONNECTIONS", value_name = "COUNT", global = true)]
    pub(crate) max_connections: Option<usize>,
    /// Most open connections of one address; further ones are answered 503 and closed [default: 512]
    #[arg(long, env = "DTMA_MAX_CONNECTIONS_PER_PEER", value_name = "COUNT", global = true)]
    pub(crate) max_connections_per_peer: Option<usize>,
    /// Write a line of JSON about each request into this file; SIGHUP opens it anew
    #[arg(long, env = "DTMA_ACCESS_LOG", value_name = "FILE", global = true)]
    pub(crate) access_log: Option<PathBuf>,
    /// At this size the file is renamed to FILE.1 and begun anew; five old ones are kept [default: 67108864]
    #[arg(long, env = "DTMA_ACCESS_LOG_SIZE", value_name = "BYTES", global = true)]
    pub(crate) access_log_size: Option<u64>,
    /// The size in MiB at which STATE_DIR/audit/audit.log is renamed to audit.log.1 and begun anew [default: 10]
    #[arg(long, env = "DTMA_AUDIT_MAX_MB", value_name = "MIB", global = true)]
    pub(crate) audit_max_mb: Option<u64>,
    /// How many files of the audit log are kept in all, at least 2 [default: 10]
    #[arg(long, env = "DTMA_AUDIT_FILES", value_name = "COUNT", global = true)]
    pub(crate) audit_files: Option<u32>,
    /// Write down what agents call tools with, too (dtma audit --calls): it may be anything, secrets included
    #[arg(long, env = "DTMA_AUDIT_ARGUMENTS", global = true)]
    pub(crate) audit_arguments: bool,
    /// The backend that is told how the machine and its servers do: every minute and after every change [default:
    /// AGENTOPIA_API_BASE_URL of the environment or of --conf, else nobody is told]
    #[arg(long, env = "DTMA_BACKEND_URL", value_name = "URL", global = true)]
    pub(crate) backend_url: Option<String>,
    /// Where on the backend it is told [default: /heartbeat]
    #[arg(long, env = "DTMA_BACKEND_HEARTBEAT_PATH", value_name = "PATH", global = true)]
    pub(crate) backend_heartbeat_path: Option<String>,
    /// A file with the token for the backend; read anew each time [default: DTMA_AUTH_TOKEN of --conf]
    #[arg(long, env = "DTMA_BACKEND_TOKEN_FILE", value_name = "FILE", global = true)]
    pub(crate) backend_token_file: Option<PathBuf>,
    /// The authorities (PEM) that may have signed the backend's certificate [default: those of the machine]
    #[arg(long, env = "DTMA_BACKEND_CA_FILE", value_name = "FILE", global = true)]
    pub(crate) backend_ca_file: Option<PathBuf>,
}

/// The longest that a token may be made to hold: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `30d`, `12h`, `10m`, `5s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let seconds =
        [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)].into_iter().find_map(|(unit, seconds)| {
            let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
            count.checked_mul(seconds)
        });
    let time = seconds.map(Duration::from_secs).ok_or("it is not a time such as 30d, 12h or 10m")?;
    if time > LONGEST { Err("it is longer than ten years".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [("30d", 2_592_000), ("12h", 43_200), ("10m", 600), ("5s", 5), ("0s", 0)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "5", "d", "-1d", "1.5h", "1y", "4000d", "99999999999999999999d"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
