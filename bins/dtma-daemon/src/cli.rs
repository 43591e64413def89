//! The command line. Values stay text here: where each came from, and what is wrong with all of them, is the
//! business of `settings.rs`.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

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

The address is printed on standard output as `listening on http://ADDRESS:PORT`; logs go to standard \
error. SIGTERM and SIGINT end the daemon and leave every container running; started again, it adopts \
them.

Exit codes: 0 ended by a signal; 1 failed; 2 wrong command line, setting or no token; 3 the state \
directory is in use by another daemon or cannot be used.

Example: DTMA_BEARER_TOKEN=$(openssl rand -hex 32) dtma-daemon --state-dir /var/lib/dtma";

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the daemon (the default)
    Run,
    /// Make, list and revoke access tokens
    #[command(subcommand)]
    Token(TokenCommand),
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
    },
    /// List the tokens: names and scopes, never the tokens
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
    /// The container engine, unix:///path or tcp://host:port [default: DOCKER_HOST, else unix:///var/run/docker.sock]
    #[arg(long, env = "DTMA_DOCKER_HOST", value_name = "URL", global = true)]
    pub(crate) docker_host: Option<String>,
    /// The TOML file with the operator's ceilings [default: 2 GiB, 2 CPU, 512 pids for each server]
    #[arg(long, env = "DTMA_POLICY", value_name = "FILE", global = true)]
    pub(crate) policy: Option<PathBuf>,
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
    /// How logs are written: human or json [default: human]
    #[arg(long, env = "DTMA_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub(crate) log_format: Option<String>,
    /// What is logged, in the words of tracing (`info`, `dtma_manager=debug`) [default: info]
    #[arg(long, env = "DTMA_LOG", value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
    /// Let everybody do everything; only on loopback, only for development
    #[arg(long, env = "DTMA_DEV_NO_AUTH", global = true)]
    pub(crate) dev_no_auth: bool,
    /// Allow listening beyond loopback without TLS
    #[arg(long, env = "DTMA_INSECURE_HTTP", global = true)]
    pub(crate) insecure_http: bool,
}
