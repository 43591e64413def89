//! A command in a server's container: as its user, without a terminal, within bounds.

use crate::answer::{Answer, ok};
use crate::app::App;
use crate::body::Shaped;
use crate::error::ApiError;
use crate::path::Named;
use axum::extract::State;
use dtma_api_types::Envelope;
use dtma_api_types::compat::{ExecRequestBody, ExecView};
use dtma_core::id::InstanceName;
use dtma_core::port::runtime::{ExecRequest, ExecResult};
use dtma_core::violation::Violation;
use std::collections::BTreeMap;
use std::time::Duration;

const DEFAULT_TIME: Duration = Duration::from_secs(30);
/// Kept of each output.
const OUTPUT_LIMIT: usize = 1 << 20;

/// Run a command in a server's container
///
/// As the container's own user and with no more rights than its process has. Whatever its exit code, a command that
/// ran is a 200. One that is not over in time is a 504, and goes on inside until it or the container ends.
#[utoipa::path(post, path = "/mcp/servers/{instanceName}/exec", operation_id = "execServer", tag = "servers",
    params(("instanceName" = String, Path, description = "The server")),
    request_body = ExecRequestBody,
    responses((status = 200, description = "It ran", body = Envelope<ExecView>)))]
pub(crate) async fn exec_server(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Shaped(request): Shaped<ExecRequestBody>,
) -> Answer {
    let within = request.timeout_ms.map_or(DEFAULT_TIME, Duration::from_millis);
    let command = Command { argv: request.command, stdin: request.stdin, within, at: "/command" };
    let done = run(&app, &instance, command).await?;
    ok(format!("the command ended with {}", done.exit_code), done)
}

/// What to run.
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) stdin: Option<String>,
    pub(crate) within: Duration,
    /// Where it stands in the request.
    pub(crate) at: &'static str,
}

pub(crate) async fn run(app: &App, instance: &InstanceName, command: Command) -> Result<ExecView, ApiError> {
    check(&command)?;
    let request = ExecRequest {
        argv: command.argv,
        environment: BTreeMap::new(),
        stdin: command.stdin.map(Into::into),
        deadline: command.within,
        output_limit: OUTPUT_LIMIT,
    };
    let (manager, instance) = (app.manager().clone(), instance.clone());
    let done = app.finish(async move { manager.exec(&instance, &request).await }).await?;
    Ok(view(&done))
}

fn check(command: &Command) -> Result<(), ApiError> {
    let problem = if command.argv.first().is_none_or(String::is_empty) {
        Some("a command needs a program")
    } else if command.argv.iter().any(|word| word.contains('\0')) {
        Some("an argument contains a NUL, which no process can be given")
    } else {
        None
    };
    let refused = |message| ApiError::Rules(vec![Violation::new(command.at, "command.syntax", message)]);
    problem.map_or(Ok(()), |message| Err(refused(message)))
}

fn view(done: &ExecResult) -> ExecView {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ExecView {
        exit_code: done.exit_code,
        stdout: text(&done.stdout),
        stderr: text(&done.stderr),
        truncated: done.truncated,
    }
}
