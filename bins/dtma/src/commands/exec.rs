//! `exec`: a command in a server's container. What it writes and how it ends is passed on.

use crate::app::App;
use crate::cli::{ExecArgs, Format};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text;
use dtma_client::types::compat::{ExecRequestBody, ExecView};
use std::io::{IsTerminal, Write};

/// `dtma exec`.
pub(super) async fn exec(app: &App, args: ExecArgs) -> Result<(), Failure> {
    let request = ExecRequestBody {
        command: args.command,
        stdin: args.stdin.then(input).transpose()?,
        timeout_ms: Some(u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX)),
    };
    let done = tokio::select! {
        done = app.client.exec_server(&args.instance, &request) => done?,
        // The request is dropped with its connection; the command cannot be called back.
        _ = tokio::signal::ctrl_c() => {
            return Err(Failure::new(Exit::Interrupted, "interrupted; the command may go on in the container"));
        }
    };
    show(app, &done)?;
    if done.truncated {
        app.output.remark("an output was longer than 1 MiB; its end is missing");
    }
    match code(done.exit_code) {
        0 => Ok(()),
        code => Err(Failure::Ended(code)),
    }
}

fn input() -> Result<String, Failure> {
    std::io::read_to_string(std::io::stdin().lock()).map_err(|error| {
        Failure::new(Exit::Usage, "standard input cannot be read as text").cause(error.to_string())
    })
}

/// A program's exit code is one byte; what is none must not look like success.
fn code(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn show(app: &App, done: &ExecView) -> Result<(), Failure> {
    match app.output.format {
        Format::Json | Format::Yaml => app.output.list(done, |_| String::new()),
        Format::Table | Format::Wide | Format::Name => {
            app.output.text(&passed(&done.stdout, std::io::stdout().is_terminal()))?;
            let stderr = passed(&done.stderr, std::io::stderr().is_terminal());
            Ok(std::io::stderr().lock().write_all(stderr.as_bytes())?)
        }
    }
}

/// As it was written; only on a terminal without what would make the terminal do something.
fn passed(output: &str, to_a_terminal: bool) -> String {
    if to_a_terminal { text::block(output) } else { output.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_exit_code_is_no_success() {
        for (said, ends) in [(0, 0), (3, 3), (137, 137), (256, 255), (-1, 255)] {
            assert_eq!(code(said), ends);
        }
    }

    #[test]
    fn a_terminal_is_not_touched_and_a_pipe_gets_everything() {
        assert_eq!(passed("a\u{1b}[2J\n", false), "a\u{1b}[2J\n");
        assert_eq!(passed("a\u{1b}[2J\n", true), "a\\u{1b}[2J\n");
    }
}
