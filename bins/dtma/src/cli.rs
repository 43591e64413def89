//! What can be typed: global options and commands. What a command takes is in `cli/`, what it does in `commands/`.

mod agent;
mod audit;
mod change;
mod context;
mod grants;
mod group;
mod look;
mod mcp;
mod more;
mod operations;
mod run;
mod server;
mod tool;
pub(crate) mod value;

pub(crate) use agent::{AgentCommand, AgentConfigArgs};
pub(crate) use audit::AuditArgs;
pub(crate) use change::{ApplyArgs, DiffArgs, HistoryArgs, PlanArgs, RollbackArgs, ScaleArgs};
pub(crate) use context::{ContextAddArgs, ContextCommand};
pub(crate) use grants::{End, GrantsCommand, GrantsLsArgs, GrantsSetArgs};
pub(crate) use group::{DownArgs, UpArgs, ValidateArgs};
pub(crate) use look::{CompletionArgs, EventsArgs, PsArgs, StatusArgs};
pub(crate) use mcp::{McpApproveArgs, McpCallArgs, McpCommand, McpConnectArgs, McpInspectArgs, McpLsArgs};
pub(crate) use more::{
    ExplainArgs, Goal, InitArgs, ManArgs, Starter, TemplateCommand, TopArgs, TopOrder, WaitForArgs,
};
pub(crate) use operations::{EXIT_CODES, OperationsCommand, OperationsLsArgs};
pub(crate) use run::{BundleArgs, RunArgs};
pub(crate) use server::{ExecArgs, LogsArgs, RestartArgs, ServerArgs, Stream};
pub(crate) use tool::{ToolCommand, ToolDeployArgs, ToolLsArgs, ToolRmArgs};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const FIRST_PAGE: &str = "\
First steps:
  dtma doctor                          is everything there?
  dtma up -f examples/demo.yaml        deploy a group and wait until it answers
  dtma ps                              what runs
  dtma mcp ls                          which MCP servers there are
  dtma mcp call time get_current_time --arg timezone=Europe/Berlin
  dtma agent config --client claude    what an agent's program needs to reach them
  dtma logs -f everything              what a server says
  dtma plan -f examples/demo.yaml      what a changed file would mean
  dtma apply -f examples/demo.yaml     change it in place, without downtime
  dtma rollback demo                   back to what stood before
  dtma down demo --volumes             away with it, data included

Environment:
  DTMA_URL      the daemon's address (see --url)
  DTMA_TOKEN    the token that proves who asks (or --token-file)
  DTMA_CONTEXT  which of the named daemons is meant (see dtma context)
  DTMA_CA_FILE  whom to believe with https:// (or --ca-file)
  NO_COLOR      no colours when set (or --no-color)

Exit codes:
  0  done                      5  there is no such group, server or tool
  1  failed                    6  conflict: a name or port is taken, a group has changed
  2  usage, unreadable file    7  the file says what is not valid or not allowed
  3  daemon not reachable      8  timed out; the daemon goes on
  4  not authorised          130  interrupted; the daemon goes on

`dtma help COMMAND` explains a command and has examples; `dtma help exit-codes` says more about exit codes.";

/// Runs MCP servers and tools in hardened containers, through the DTMA daemon.
#[derive(Debug, Parser)]
#[command(name = "dtma", version, about, after_help = FIRST_PAGE, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The daemon's address
    ///
    /// Without it DTMA_URL, then the current context, then http://127.0.0.1:30000.
    #[arg(long, global = true, env = "DTMA_URL", hide_env = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Another context than the current one (dtma context ls)
    #[arg(long, global = true, env = "DTMA_CONTEXT", hide_env = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// File with the token; without it DTMA_TOKEN counts, then the context's file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// File with the authority that signed the daemon's certificate (PEM); https:// needs it
    #[arg(long, global = true, env = "DTMA_CA_FILE", hide_env = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// File with a certificate to show to a daemon that asks for one (PEM)
    #[arg(
        long,
        global = true,
        env = "DTMA_CERT_FILE",
        hide_env = true,
        value_name = "FILE",
        requires = "key_file"
    )]
    pub(crate) cert_file: Option<PathBuf>,
    /// File with that certificate's private key (PEM)
    #[arg(
        long,
        global = true,
        env = "DTMA_KEY_FILE",
        hide_env = true,
        value_name = "FILE",
        requires = "cert_file"
    )]
    pub(crate) key_file: Option<PathBuf>,
    /// How results are printed: json and yaml as the daemon said it, name one name a line
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// How waiting is shown on standard error: auto is live on a terminal and plain elsewhere
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,
    /// No colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// No progress and no remarks; listings print names only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// How results are printed. Variants carry no help of their own: it would make every page twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // For people.
    Table,
    // As the daemon said it.
    Json,
    // The same as YAML.
    Yaml,
    // For people with wide screens.
    Wide,
    // Names only, one a line.
    Name,
}

/// How waiting is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    // Live on a terminal, plain elsewhere.
    Auto,
    // One line for each change.
    Plain,
    // One JSON object for each change.
    Json,
    // Not at all.
    None,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deploy a group from a file and wait until it answers
    Up(UpArgs),
    /// Change a group in place, without downtime, to what a file says
    Apply(ApplyArgs),
    /// Show what applying a file would change
    Plan(PlanArgs),
    /// Show what changed between two generations of a group
    Diff(DiffArgs),
    /// List the generations of a group
    History(HistoryArgs),
    /// Go back to an earlier generation of a group
    Rollback(RollbackArgs),
    /// Give servers another number of replicas
    Scale(ScaleArgs),
    /// Run one server from an image or a package, and wait until it answers
    Run(Box<RunArgs>),
    /// Remove a group; its volumes stay unless --volumes
    Down(DownArgs),
    /// List servers
    Ps(PsArgs),
    /// Show the daemon, a group or a server in detail
    Status(StatusArgs),
    /// Print what a server wrote
    Logs(LogsArgs),
    /// Run a command in a server's container
    Exec(ExecArgs),
    /// Restart servers, or all of a group
    Restart(RestartArgs),
    /// Start stopped or failed servers
    Start(ServerArgs),
    /// Stop servers until somebody starts them
    Stop(ServerArgs),
    /// List and call the tools of MCP servers
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Let agents know of the servers: the files of their programs
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Deploy, remove and list single tools: plain containers
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Print what happened, and with -w what happens
    Events(EventsArgs),
    /// List, show and await what was asked of the daemon
    #[command(subcommand, alias = "ops")]
    Operations(OperationsCommand),
    /// Show who changed what, or was turned away
    Audit(AuditArgs),
    /// Wait until a group or server is as wanted
    Wait(WaitForArgs),
    /// Show what servers use: CPU, memory, processes
    Top(TopArgs),
    /// Look at configuration templates and at what they make of a file
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Write a group file to begin with
    Init(InitArgs),
    /// Give daemons names and choose between them
    #[command(subcommand)]
    Context(ContextCommand),
    /// Check a file without deploying anything
    Validate(ValidateArgs),
    /// Check everything that must work, and say what to do where it does not
    #[command(after_help = "Example:\n  dtma doctor --url http://127.0.0.1:30000")]
    Doctor,
    /// Collect what somebody needs who is to help, without secrets
    SupportBundle(BundleArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Explain an error code or a rule
    Explain(ExplainArgs),
    /// Say what each exit code means
    #[command(hide = true, help_template = "{about}{after-help}\n",
        after_help = format!("{EXIT_CODES}\n\nExample:\n  dtma up -f group.yaml; echo $?"))]
    ExitCodes,
    /// Write manual pages
    #[command(hide = true)]
    Man(ManArgs),
}

/// Whether a change is waited for.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitArgs {
    /// Return as soon as the request is durable
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait, at most 1h: 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = value::timeout, conflicts_with = "no_wait")]
    pub(crate) timeout: Duration,
}

#[cfg(test)]
mod tests;
