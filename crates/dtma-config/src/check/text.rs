//! Rules about what is handed to a process or written on a container: arguments, environment, labels.

use crate::report::{Report, shown};
use crate::rule;
use crate::told::told;
use dtma_core::label::RESERVED_PREFIX;
use dtma_core::shim::NONCE_VARIABLE;
use dtma_core::spec::ServerSpec;
use dtma_core::violation::pointer_token;
use std::collections::BTreeMap;

/// Linux refuses a single argument or variable of more than 128 KiB; half of it leaves room for the name.
const MAX_TEXT: usize = 64 * 1024;
/// A shim can be told 256 KiB; the daemon adds variables of its own.
const MAX_BEGUN_WITH: usize = 192 * 1024;
const MAX_ARGUMENTS: usize = 512;
const MAX_VARIABLES: usize = 512;
const MAX_VARIABLE_NAME: usize = 256;
const MAX_LABELS: usize = 64;
const MAX_LABEL_KEY: usize = 256;
const MAX_LABEL_VALUE: usize = 4096;

pub(crate) fn command(report: &mut Report, at: &str, command: Option<&[String]>) {
    let Some(command) = command else { return };
    if command.first().is_none_or(String::is_empty) {
        let hint = "leave it out to keep the image's entrypoint";
        report.refuse_with(at, rule::COMMAND_EMPTY, "a command needs a program", hint);
    }
    arguments(report, at, command);
}

pub(crate) fn arguments(report: &mut Report, at: &str, arguments: &[String]) {
    if arguments.len() > MAX_ARGUMENTS {
        let message = format!("{} arguments are more than {MAX_ARGUMENTS}", arguments.len());
        report.refuse(at, rule::COMMAND_SYNTAX, message);
    }
    for (index, argument) in arguments.iter().enumerate() {
        if let Some(problem) = text_problem(argument) {
            report.refuse(&format!("{at}/{index}"), rule::COMMAND_SYNTAX, format!("the argument {problem}"));
        }
    }
}

fn text_problem(text: &str) -> Option<&'static str> {
    if text.contains('\0') {
        return Some("contains a NUL, which no process can be given");
    }
    (text.len() > MAX_TEXT).then_some("is longer than 64 KiB")
}

/// Judges how many variables and labels a server with its overrides has.
pub(crate) fn counts(report: &mut Report, at: &str, wanted: &ServerSpec) {
    let (variables, labels) = (wanted.environment.len(), wanted.labels.len());
    if variables > MAX_VARIABLES {
        let message = format!("{variables} variables are more than {MAX_VARIABLES}");
        report.refuse(&format!("{at}/environment"), rule::ENVIRONMENT_TOO_LARGE, message);
    }
    let bytes = begun_with(wanted);
    if bytes > MAX_BEGUN_WITH && wanted.shim != Some(false) {
        let message = format!(
            "the environment, the command and the arguments come to {bytes} bytes, more than 192 KiB"
        );
        let hint = "put what is long into a file, or set shim to false";
        report.refuse_with(&format!("{at}/environment"), rule::ENVIRONMENT_TOO_LARGE, message, hint);
    }
    if labels > MAX_LABELS {
        let message = format!("{labels} labels are more than {MAX_LABELS}");
        report.refuse(&format!("{at}/labels"), rule::LABELS_TOO_LARGE, message);
    }
}

/// Bytes of what a process is begun with, as a shim is told it: each text has a length before it.
fn begun_with(server: &ServerSpec) -> usize {
    let variables = server.environment.iter().map(|(name, value)| name.len() + value.len() + 9);
    let words = [&server.command, &server.args].into_iter().flatten().flatten().map(|word| word.len() + 4);
    variables.chain(words).sum()
}

pub(crate) fn environment(report: &mut Report, at: &str, server: &ServerSpec) {
    for (name, value) in &server.environment {
        variable(report, &format!("{at}/{}", pointer_token(name)), server, (name, value));
    }
}

/// Judges one variable of `server`, wherever it is written.
pub(crate) fn variable(report: &mut Report, at: &str, server: &ServerSpec, (name, value): (&str, &str)) {
    if let Some(problem) = name_problem(name) {
        let message = format!("{} is not the name of a variable: {problem}", shown(name));
        report.refuse(at, rule::ENVIRONMENT_NAME, message);
    }
    if let Some(problem) = text_problem(value) {
        report.refuse(at, rule::ENVIRONMENT_VALUE, format!("the value {problem}"));
    }
    if let Some(ours) = told(server).get(name).filter(|ours| *ours != value) {
        let message = format!("{name} is set by the daemon, to {ours:?}");
        report.refuse_with(at, rule::ENVIRONMENT_RESERVED, message, "leave it out");
    }
    if name == NONCE_VARIABLE {
        let message = format!("{name} is the daemon's own");
        report.refuse_with(at, rule::ENVIRONMENT_RESERVED, message, "leave it out");
    }
}

fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_VARIABLE_NAME {
        return Some("it is longer than 256 bytes");
    }
    if name.contains('=') {
        return Some("it contains '='");
    }
    let odd = |c: char| c.is_control() || c.is_whitespace();
    name.contains(odd).then_some("it contains white space or control characters")
}

pub(crate) fn labels(report: &mut Report, at: &str, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        label(report, &format!("{at}/{}", pointer_token(key)), key, value);
    }
}

/// Judges one label, wherever it is written.
pub(crate) fn label(report: &mut Report, at: &str, key: &str, value: &str) {
    if key.to_ascii_lowercase().starts_with(RESERVED_PREFIX) {
        let message = format!("labels that begin with {RESERVED_PREFIX} are the daemon's own");
        report.refuse(at, rule::LABELS_RESERVED, message);
    }
    let odd_key = |c: char| c.is_control() || c.is_whitespace();
    if key.is_empty() || key.len() > MAX_LABEL_KEY || key.contains(odd_key) {
        let message = format!("{} is not a key: 1 to 256 bytes without white space", shown(key));
        report.refuse(at, rule::LABELS_SYNTAX, message);
    }
    if value.len() > MAX_LABEL_VALUE || value.contains(|c: char| c.is_control()) {
        let message = "the value is longer than 4096 bytes or contains control characters";
        report.refuse(at, rule::LABELS_SYNTAX, message);
    }
}
