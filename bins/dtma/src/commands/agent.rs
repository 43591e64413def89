//! `agent config`: what a client's file needs to reach MCP servers through the gateway, printed or merged into it.

use crate::app::{App, TlsFiles, server, servers, there_is};
use crate::cli::{AgentCommand, AgentConfigArgs};
use crate::clients::{Aim, Client, Daemon, Entry, Order, Outcome, TOKEN, name_of_group, names, read, write};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Shape;
use crate::output::text::line;
use dtma_client::Error;
use dtma_client::types::{Kind, StatusView};
use http::StatusCode;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// `dtma agent …`.
pub(super) async fn agent(app: &App, command: AgentCommand) -> Result<(), Failure> {
    let AgentCommand::Config(args) = command;
    let program = app
        .homes
        .program
        .clone()
        .ok_or_else(|| Failure::new(Exit::Failed, "the system does not say where this program is"))?;
    let TlsFiles { ca, cert, key } = &app.files;
    let file = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
    let files = TlsFiles { ca: file(ca)?, cert: file(cert)?, key: file(key)? };
    let daemon = Daemon {
        url: app.client.url(),
        files: &files,
        program: &program,
        token_file: args.agent_token_file.as_deref().map(absolute).transpose()?,
    };
    match Client::of(args.client) {
        None => list(app, &args, &daemon).await,
        Some(client) if args.remove => take(app, &args, &daemon, client).await,
        Some(client) => put(app, &args, &daemon, client).await,
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} is not a path", path.display())).cause(error.to_string())
    })
}

/// Nobody's file: names, addresses, and how they are spoken to.
async fn list(app: &App, args: &AgentConfigArgs, daemon: &Daemon<'_>) -> Result<(), Failure> {
    if args.merges() || args.remove || args.project {
        let message = "the plain list is nobody's file: it can only be printed";
        return Err(Failure::new(Exit::Usage, message).hint("name a client with --client"));
    }
    let wanted = Wanted::look(app, args).await?;
    let one =
        |aim: &Aim| json!({"name": aim.name(), "url": daemon.address(aim), "transport": "streamable-http"});
    let list: Vec<Value> = wanted.aims.iter().map(one).collect();
    let text = serde_json::to_string_pretty(&list).unwrap_or_default();
    app.output.list(&list, |shape| match shape {
        Shape::Name => wanted.aims.iter().map(|aim| format!("{}\n", line(aim.name()))).collect(),
        Shape::Table | Shape::Wide => format!("{}\n", crate::output::text::escape_json(&text)),
    })
}

/// What is meant, of what there is.
struct Wanted {
    aims: Vec<Aim>,
    /// The servers of the group that is meant as one.
    inside: Vec<String>,
    /// Every MCP server of the daemon, as far as one may know.
    known: Vec<String>,
}

impl Wanted {
    async fn look(app: &App, args: &AgentConfigArgs) -> Result<Self, Failure> {
        match app.client.get_status().await {
            Ok(status) => Self::among(&status, args),
            // A token that only opens the gateway may not look.
            Err(Error::Refused(refusal)) if refusal.status == StatusCode::FORBIDDEN => {
                let unseen = Self::unseen(args).ok_or(Error::Refused(refusal))?;
                app.output.remark("whether that is there is not known: this token may not look");
                Ok(unseen)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is named, for somebody who may not look.
    fn unseen(args: &AgentConfigArgs) -> Option<Self> {
        let aims = named(args)?;
        Some(Self { aims, inside: Vec::new(), known: args.servers.clone() })
    }

    fn among(status: &StatusView, args: &AgentConfigArgs) -> Result<Self, Failure> {
        let all = || servers(status).filter(|server| server.kind == Kind::Mcp);
        let known: Vec<String> = all().map(|server| server.instance_name.clone()).collect();
        let instances = match (&args.group, args.servers.as_slice()) {
            (Some(group), _) => {
                exists(status, group)?;
                let of_group = all().filter(|server| server.group_id == *group);
                of_group.map(|one| one.instance_name.clone()).collect::<Vec<_>>()
            }
            (None, []) => known.clone(),
            (None, named) => {
                named.iter().try_for_each(|name| speaks(status, name))?;
                named.to_vec()
            }
        };
        if instances.is_empty() {
            let message = match &args.group {
                Some(group) => format!("group {group} has no MCP server"),
                None => "there is no MCP server".to_owned(),
            };
            return Err(Failure::new(Exit::NotFound, message).hint("dtma ps -a lists what there is"));
        }
        let (aims, inside) = match args.one_group() {
            Some(group) => (vec![Aim::Group(group.to_owned())], instances),
            None => (instances.into_iter().map(Aim::Server).collect(), Vec::new()),
        };
        Ok(Self { aims, inside, known })
    }
}

/// What is named by itself, without looking at what there is.
fn named(args: &AgentConfigArgs) -> Option<Vec<Aim>> {
    match (args.one_group(), args.servers.as_slice()) {
        (Some(group), _) => Some(vec![Aim::Group(group.to_owned())]),
        (None, []) => None,
        (None, servers) => Some(servers.iter().cloned().map(Aim::Server).collect()),
    }
}

fn exists(status: &StatusView, group: &str) -> Result<(), Failure> {
    let mut known = status.groups.iter().map(|group| group.group_id.as_str());
    if known.clone().any(|known| known == group) {
        return Ok(());
    }
    Err(Failure::new(Exit::NotFound, format!("there is no group {group}")).hint(there_is(&mut known)))
}

fn speaks(status: &StatusView, instance: &str) -> Result<(), Failure> {
    match server(status, instance)?.kind {
        Kind::Mcp => Ok(()),
        Kind::Tool => {
            Err(Failure::new(Exit::NotFound, format!("{instance} is a tool: it does not speak MCP")))
        }
    }
}

async fn put(app: &App, args: &AgentConfigArgs, daemon: &Daemon<'_>, client: Client) -> Result<(), Failure> {
    if args.agent_token_file.is_some() && !client.starts_a_command() {
        let message = format!("{} cannot take its token from a file", client.name);
        return Err(
            Failure::new(Exit::Usage, message).hint(format!("leave out --agent-token-file and set {TOKEN}"))
        );
    }
    let file = file(app, args, &client)?;
    let wanted = Wanted::look(app, args).await?;
    let entries = entries(daemon, &client, &wanted);
    let order = Order::Put { daemon, entries: &entries, force: args.force };
    if args.merges() {
        let name = file.display().to_string();
        let found = read(&file)?;
        let outcome = client.change(&name, found.text(), &order)?;
        if outcome.text != found.text() {
            write(&found, &outcome.text)?;
        }
        tell(app, &name, &outcome);
        tell_others(app, &wanted, &outcome);
    } else {
        let outcome = client.change("an empty file", "", &order)?;
        app.output.text(&outcome.text)?;
        let file = line(&file.display().to_string());
        app.output.remark(&format!("for {file}; --write merges it"));
    }
    tell_names(app, &client, &entries);
    tell_token(app, daemon, &client);
    Ok(())
}

fn file(app: &App, args: &AgentConfigArgs, client: &Client) -> Result<PathBuf, Failure> {
    args.file.clone().map_or_else(|| client.file(&app.homes, args.project), Ok)
}

fn entries(daemon: &Daemon<'_>, client: &Client, wanted: &Wanted) -> Vec<Entry> {
    let known = || wanted.known.iter().map(String::as_str);
    let named = names(client, known());
    let mut aims = wanted.aims.clone();
    aims.sort();
    aims.dedup();
    let entry = |aim: Aim| {
        let key = match &aim {
            Aim::Server(instance) => named.get(instance).unwrap_or(instance).clone(),
            Aim::Group(group) => name_of_group(client, group, known()),
        };
        daemon.entry(client, key, aim)
    };
    aims.into_iter().map(entry).collect()
}

async fn take(app: &App, args: &AgentConfigArgs, daemon: &Daemon<'_>, client: Client) -> Result<(), Failure> {
    if !args.merges() {
        let failure = Failure::new(Exit::Usage, "--remove changes a file: say which");
        return Err(failure.hint("--write means the client's own, --file FILE another"));
    }
    // What is to go may be gone from the daemon, too: it is asked only whose a group's servers are.
    let aims = match (named(args), &args.group) {
        (None, Some(group)) => {
            let of_group = Wanted::look(app, args).await?.aims;
            Some(of_group.into_iter().chain([Aim::Group(group.clone())]).collect())
        }
        (aims, _) => aims,
    };
    let file = file(app, args, &client)?;
    let name = file.display().to_string();
    let found = read(&file)?;
    let order = Order::Take { daemon, aims: aims.as_deref() };
    let outcome = client.change(&name, found.text(), &order)?;
    if outcome.removed.is_empty() {
        app.output.remark(&format!("{}: nothing in it leads to {}", line(&name), line(daemon.url)));
        return Ok(());
    }
    write(&found, &outcome.text)?;
    tell(app, &name, &outcome);
    Ok(())
}

fn tell(app: &App, file: &str, outcome: &Outcome) {
    let parts = [
        ("added", &outcome.added),
        ("replaced", &outcome.replaced),
        ("as they were", &outcome.unchanged),
        ("removed", &outcome.removed),
    ];
    let told = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let told: Vec<String> =
        told.map(|(what, names)| format!("{what}: {}", line(&names.join(", ")))).collect();
    app.output.remark(&format!("{}: {}", line(file), told.join("; ")));
}

fn tell_others(app: &App, wanted: &Wanted, outcome: &Outcome) {
    for (key, aim) in &outcome.others {
        let Aim::Server(instance) = aim else { continue };
        let why = match () {
            () if !wanted.known.contains(instance) => "is not there",
            () if wanted.inside.contains(instance) => "is part of that group: a client sees its tools twice",
            () => continue,
        };
        let (key, instance) = (line(key), line(instance));
        app.output.remark(&format!(
            "{key} leads to {instance}, which {why}: --remove --server {instance} takes it out"
        ));
    }
}

fn tell_names(app: &App, client: &Client, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| entry.key != entry.aim.name()) {
        let (aim, key) = (line(&entry.aim.to_string()), line(&entry.key));
        let why = match entry.key.strip_suffix("-group") {
            Some(own) if matches!(entry.aim, Aim::Group(_)) => format!("{own} is a server"),
            _ => format!("{} takes no such name", client.name),
        };
        app.output.remark(&format!("{aim} is called {key} there: {why}"));
    }
}

/// What is left for a person to do.
fn tell_token(app: &App, daemon: &Daemon<'_>, client: &Client) {
    let name = client.name;
    let remark = match &daemon.token_file {
        Some(file) => format!("the token is read from {}", line(&file.display().to_string())),
        None if client.asks => format!("{name} asks for the token and keeps it"),
        None => format!("{TOKEN} has to be set where {name} starts"),
    };
    app.output.remark(&format!("{remark}; dtma-daemon token create NAME --scope gateway makes one"));
    if let Some(file) = daemon.token_file.as_deref().filter(|file| !file.is_file()) {
        app.output.remark(&format!("{} is not there yet", line(&file.display().to_string())));
    }
    if !client.starts_a_command() {
        tell_trust(app, name);
    }
}

/// Files that only `dtma` knows.
fn tell_trust(app: &App, name: &str) {
    if let Some(ca) = &app.files.ca {
        let ca = line(&ca.display().to_string());
        app.output.remark(&format!(
            "{name} has to believe {ca} itself (NODE_EXTRA_CA_CERTS, or the system's list)"
        ));
    }
    if app.files.cert.is_some() {
        app.output
            .remark(&format!("{name} shows no certificate: a daemon that wants one does not let it in"));
    }
}
