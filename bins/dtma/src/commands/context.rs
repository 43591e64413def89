//! `context`: the daemons that have a name. Nothing here asks a daemon.

use crate::app::{TlsFiles, World, trusting};
use crate::cli::{ContextAddArgs, ContextCommand, Global};
use crate::contexts::{Context, Contexts, private_token};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::table::{field, render};
use crate::output::text::line;
use crate::output::{Output, Shape};
use dtma_client::Client;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// One context as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    current: bool,
    #[serde(flatten)]
    context: &'a Context,
}

/// `dtma context …`.
pub(super) fn context(
    output: &Output,
    global: &Global,
    world: &World,
    command: &ContextCommand,
) -> Result<(), Failure> {
    let file = world.contexts.as_deref();
    let mut contexts = Contexts::load(file)?;
    match command {
        ContextCommand::Ls => return ls(output, &contexts),
        ContextCommand::Show(args) => return show(output, &contexts, args.name.as_deref()),
        ContextCommand::Add(args) => add(output, global, &mut contexts, args)?,
        ContextCommand::Use(args) => {
            let url = contexts.get(&args.name)?.url.clone();
            contexts.current = Some(args.name.clone());
            output.remark(&format!("from now on: {}, {}", line(&args.name), line(&url)));
        }
        ContextCommand::Rm(args) => {
            contexts.get(&args.name)?;
            contexts.contexts.remove(&args.name);
            if contexts.current.as_ref() == Some(&args.name) {
                contexts.current = None;
                output.remark("it was the current one; dtma context use NAME chooses another");
            }
        }
    }
    contexts.save(file)
}

fn add(
    output: &Output,
    global: &Global,
    contexts: &mut Contexts,
    args: &ContextAddArgs,
) -> Result<(), Failure> {
    let Some(url) = &global.url else {
        let failure = Failure::new(Exit::Usage, "a context needs an address");
        return Err(failure.hint(format!("dtma context add {} --url http://HOST:30000", args.name)));
    };
    // Whether it can be used at all is known without asking anybody.
    trusting(Client::builder(url), &TlsFiles::said(global, None))?.build()?;
    let token_file = global.token_file.as_deref().map(absolute).transpose()?;
    if let Some(file) = &token_file {
        private_token(file)?;
    }
    let file = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
    let context = Context {
        url: url.clone(),
        token_file,
        ca_file: file(&global.ca_file)?,
        cert_file: file(&global.cert_file)?,
        key_file: file(&global.key_file)?,
    };
    let replaced = contexts.contexts.insert(args.name.clone(), context).is_some();
    if args.make_current || contexts.contexts.len() == 1 {
        contexts.current = Some(args.name.clone());
    }
    let current = if contexts.current.as_ref() == Some(&args.name) { ", the current one" } else { "" };
    output.remark(&format!("{} {}{current}", if replaced { "changed" } else { "added" }, line(&args.name)));
    Ok(())
}

/// A relative path would mean another file in another folder.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} is not a path", path.display())).cause(error.to_string())
    })
}

fn ls(output: &Output, contexts: &Contexts) -> Result<(), Failure> {
    let shown: Vec<Shown<'_>> =
        contexts.contexts.iter().map(|(name, context)| shown(contexts, name, context)).collect();
    output.list(&shown, |shape| match shape {
        Shape::Name => shown.iter().map(|one| format!("{}\n", line(one.name))).collect(),
        Shape::Table | Shape::Wide => {
            let rows = shown.iter().map(row).collect();
            render(&["CURRENT", "NAME", "URL", "TOKEN FILE"], rows, output.ink)
        }
    })?;
    if shown.is_empty() && output.is_human() {
        output.remark("there is none yet: dtma context add NAME --url URL");
    }
    Ok(())
}

fn shown<'a>(contexts: &Contexts, name: &'a str, context: &'a Context) -> Shown<'a> {
    Shown { name, current: contexts.current.as_deref() == Some(name), context }
}

fn row(one: &Shown<'_>) -> Vec<crate::output::table::Field> {
    vec![
        field(if one.current { "*" } else { "" }),
        field(line(one.name)),
        field(line(&one.context.url)),
        field(path(one.context.token_file.as_ref())),
    ]
}

fn path(path: Option<&PathBuf>) -> String {
    path.map(|path| line(&path.display().to_string())).unwrap_or_default()
}

fn show(output: &Output, contexts: &Contexts, name: Option<&str>) -> Result<(), Failure> {
    let none = || Failure::new(Exit::Usage, "no context is the current one").hint("dtma context use NAME");
    let name = name.or(contexts.current.as_deref()).ok_or_else(none)?;
    let one = shown(contexts, name, contexts.get(name)?);
    output.list(&one, |shape| if shape == Shape::Name { format!("{}\n", line(name)) } else { detail(&one) })
}

fn detail(one: &Shown<'_>) -> String {
    let current = if one.current { " (current)" } else { "" };
    let mut told = format!("{}{current}\n", line(one.name));
    let facts = [
        ("url", line(&one.context.url)),
        ("token file", path(one.context.token_file.as_ref())),
        ("CA file", path(one.context.ca_file.as_ref())),
        ("certificate", path(one.context.cert_file.as_ref())),
        ("key file", path(one.context.key_file.as_ref())),
    ];
    for (label, said) in facts.into_iter().filter(|(_, said)| !said.is_empty()) {
        let _ = writeln!(told, "  {label:<12} {said}");
    }
    told
}
