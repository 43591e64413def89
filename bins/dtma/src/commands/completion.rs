//! `completion`.

use crate::app::App;
use crate::cli::{Cli, CompletionArgs};
use crate::failure::Failure;
use clap::CommandFactory;

/// `dtma completion`.
pub(super) fn completion(app: &App, args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dtma", &mut script);
    app.output.text(&String::from_utf8_lossy(&script))
}
