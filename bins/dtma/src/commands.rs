//! What each command does, one file a family.

mod arguments;
mod change;
mod completion;
mod doctor;
mod events;
mod group;
mod logs;
mod look;
mod mcp;
mod tool;

use crate::app::App;
use crate::cli::{Command, McpCommand, ToolCommand};
use crate::failure::Failure;
use change::Change;

/// Does what was asked.
pub(crate) async fn run(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(args) => group::up(app, &args).await,
        Command::Down(args) => group::down(app, &args).await,
        Command::Validate(args) => group::validate(app, &args).await,
        Command::Ps(args) => look::ps(app, &args).await,
        Command::Status(args) => look::status(app, &args).await,
        Command::Logs(args) => logs::logs(app, args).await,
        Command::Restart(args) => change::restart(app, args).await,
        Command::Start(args) => change::servers(app, Change::Start, args.instances, args.wait).await,
        Command::Stop(args) => change::servers(app, Change::Stop, args.instances, args.wait).await,
        Command::Mcp(McpCommand::Ls(args)) => mcp::ls(app, &args).await,
        Command::Mcp(McpCommand::Call(args)) => mcp::call(app, args).await,
        Command::Tool(ToolCommand::Deploy(args)) => tool::deploy(app, args).await,
        Command::Tool(ToolCommand::Rm(args)) => tool::rm(app, &args).await,
        Command::Tool(ToolCommand::Ls(args)) => tool::ls(app, &args).await,
        Command::Events(args) => events::events(app, &args).await,
        Command::Doctor => doctor::doctor(app).await,
        Command::Completion(args) => completion::completion(app, &args),
    }
}
