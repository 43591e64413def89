//! What each command does, one file a family.

mod agent;
mod apply;
mod arguments;
mod audit;
mod await_goal;
mod bundle;
mod change;
mod compare;
mod connect;
mod context;
mod doctor;
mod events;
mod exec;
mod explain;
mod grants;
mod group;
mod history;
mod init;
mod inspect;
mod logs;
mod look;
mod mcp;
mod operations;
mod run;
mod scale;
mod template;
mod tool;
mod top;

use crate::app::{App, World};
use crate::cli::{Command, Global, McpCommand, ToolCommand};
use crate::failure::Failure;
use crate::output::Output;
use change::Change;

/// Does what needs no daemon; nothing when the command does.
pub(crate) fn alone(
    output: &Output,
    global: &Global,
    world: &World,
    command: &Command,
) -> Option<Result<(), Failure>> {
    match command {
        Command::Context(command) => Some(context::context(output, global, world, command)),
        Command::Init(args) => Some(init::init(output, args)),
        Command::Explain(args) => Some(explain::explanation(output, args)),
        Command::Man(args) => Some(explain::man(output, args)),
        Command::ExitCodes => Some(explain::exit_codes(output)),
        Command::Completion(args) => Some(explain::completion(output, args)),
        _ => None,
    }
}

/// True when the command only says whether something would change, and its numbers mean that.
pub(crate) fn foretells(command: &Command) -> bool {
    match command {
        Command::Plan(_) => true,
        Command::Apply(args) => args.dry_run,
        _ => false,
    }
}

/// Does what was asked.
pub(crate) async fn run(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(args) => group::up(app, &args).await,
        Command::Down(args) => group::down(app, &args).await,
        Command::Apply(args) => apply::apply(app, &args).await,
        Command::Plan(args) => apply::plan(app, &args).await,
        Command::Diff(args) => history::diff(app, &args).await,
        Command::History(args) => history::history(app, &args).await,
        Command::Rollback(args) => history::rollback(app, &args).await,
        Command::Scale(args) => scale::scale(app, args).await,
        Command::Exec(args) => exec::exec(app, args).await,
        Command::Operations(command) => operations::operations(app, command).await,
        Command::Audit(args) => audit::audit(app, args).await,
        Command::Validate(args) => group::validate(app, &args).await,
        Command::Ps(args) => look::ps(app, &args).await,
        Command::Status(args) => look::status(app, &args).await,
        Command::Logs(args) => logs::logs(app, args).await,
        Command::Restart(args) => change::restart(app, args).await,
        Command::Start(args) => change::servers(app, Change::Start, args.instances, args.wait).await,
        Command::Stop(args) => change::servers(app, Change::Stop, args.instances, args.wait).await,
        Command::Mcp(McpCommand::Ls(args)) => mcp::ls(app, &args).await,
        Command::Mcp(McpCommand::Inspect(args)) => inspect::inspect(app, &args).await,
        Command::Mcp(McpCommand::Approve(args)) => inspect::approve(app, args).await,
        Command::Mcp(McpCommand::Call(args)) => mcp::call(app, args).await,
        Command::Mcp(McpCommand::Grants(command)) => grants::grants(app, command).await,
        Command::Mcp(McpCommand::Connect(args)) => connect::connect(app, args).await,
        Command::Agent(command) => agent::agent(app, command).await,
        Command::Tool(ToolCommand::Deploy(args)) => tool::deploy(app, args).await,
        Command::Tool(ToolCommand::Rm(args)) => tool::rm(app, &args).await,
        Command::Tool(ToolCommand::Ls(args)) => tool::ls(app, &args).await,
        Command::Events(args) => events::events(app, &args).await,
        Command::Run(args) => run::run(app, *args).await,
        Command::SupportBundle(args) => bundle::bundle(app, &args).await,
        Command::Doctor => doctor::doctor(app).await,
        Command::Wait(args) => await_goal::wait(app, &args).await,
        Command::Top(args) => top::top(app, &args).await,
        Command::Template(command) => template::template(app, &command).await,
        Command::Context(_)
        | Command::Init(_)
        | Command::Explain(_)
        | Command::ExitCodes
        | Command::Man(_)
        | Command::Completion(_) => Ok(()),
    }
}
