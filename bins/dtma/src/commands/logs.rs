//! `logs`: of one server, of several, or of all of a group, oldest line first.

use crate::app::{App, servers, there_is};
use crate::cli::{LogsArgs, Stream};
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::output::writers::Writers;
use crate::output::{text, time};
use dtma_client::types::{LogLineView, LogStreamName, PhaseWord, ServerView, StatusView};
use dtma_client::{Error, LogLines, LogOptions};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use std::cell::RefCell;
use std::time::Duration;

/// How long after a broken stream the next one is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// `dtma logs`. Both outputs of a server go to our standard output, so that they can be searched.
pub(super) async fn logs(app: &App, args: LogsArgs) -> Result<(), Failure> {
    let status = app.status().await?;
    let names = chosen(&status, &args.names)?;
    let prefix = match (args.no_prefix, args.prefix || names.len() > 1) {
        (true, _) => Prefix::Never,
        (false, true) => Prefix::Always,
        (false, false) => Prefix::WhereSeveral,
    };
    let updating =
        |server: &ServerView| server.phase == PhaseWord::Updating && names.contains(&server.instance_name);
    let side_by_side = args.follow || servers(&status).any(updating);
    let printer = Printer {
        app,
        names: &names,
        prefix,
        timestamps: args.timestamps,
        side_by_side,
        shown: RefCell::new(Shown {
            writers: names.iter().map(|name| writers(&status, name)).collect(),
            width: 0,
        }),
    };
    let options = LogOptions {
        tail: args.tail,
        replica: args.replica,
        since: args.since,
        until: args.until,
        streams: args.stream.map(stream).into_iter().collect(),
        grep: args.grep,
        fixed: args.fixed_strings,
        previous: args.previous,
    };
    if args.follow { follow(&printer, &options).await } else { at_once(&printer, &options).await }
}

/// The servers that are meant: each by its name, or all of a group.
fn chosen(status: &StatusView, names: &[String]) -> Result<Vec<String>, Failure> {
    let mut chosen: Vec<String> = Vec::new();
    for name in names {
        let server = servers(status).find(|server| server.instance_name == *name);
        let group = status.groups.iter().find(|group| group.group_id == *name);
        let found: Vec<&str> = match (server, group) {
            (Some(server), _) => vec![&server.instance_name],
            (None, Some(group)) => group.servers.iter().map(|server| server.instance_name.as_str()).collect(),
            (None, None) => {
                let known = servers(status).map(|server| server.instance_name.as_str());
                let failure = Failure::new(Exit::NotFound, format!("there is no server and no group {name}"));
                return Err(failure.hint(there_is(known)));
            }
        };
        let fresh: Vec<&str> =
            found.into_iter().filter(|name| !chosen.iter().any(|known| known == name)).collect();
        chosen.extend(fresh.into_iter().map(str::to_owned));
    }
    Ok(chosen)
}

/// Who may write, as the status knows it.
fn writers(status: &StatusView, name: &str) -> Writers {
    let mut writers = Writers::default();
    let Some(server) = servers(status).find(|server| server.instance_name == name) else { return writers };
    (0..server.replicas).for_each(|replica| writers.replica(replica));
    server.replica_status.iter().for_each(|one| writers.replica(one.replica));
    if server.phase == PhaseWord::Updating {
        let before = server.replica_status.iter().filter_map(|one| one.generation);
        before.chain([server.generation]).for_each(|generation| writers.generation(generation));
    }
    writers
}

/// Everything there is, put in order of time.
async fn at_once(printer: &Printer<'_>, options: &LogOptions) -> Result<(), Failure> {
    let client = &printer.app.client;
    let logs = try_join_all(printer.names.iter().map(|name| client.get_logs(name, options))).await?;
    let lines = logs
        .into_iter()
        .enumerate()
        .flat_map(|(server, log)| log.lines.into_iter().map(move |line| (server, line)));
    let mut lines: Vec<(usize, LogLineView)> = lines.collect();
    // Stable: lines of one server stay in their order whatever their clock says.
    if printer.names.len() > 1 {
        lines.sort_by_key(|(_, line)| line.at.parse::<Timestamp>().ok());
    }
    lines.iter().for_each(|(server, line)| printer.note(*server, line));
    for (server, line) in &lines {
        printer.print(*server, line)?;
    }
    if lines.is_empty() && printer.app.output.is_human() {
        let why = if options.previous { "no lines of a run before the present one" } else { "no lines" };
        printer.app.output.remark(why);
    }
    Ok(())
}

async fn follow(printer: &Printer<'_>, options: &LogOptions) -> Result<(), Failure> {
    let each = (0..printer.names.len()).map(|server| follow_one(printer, server, options.clone()));
    tokio::select! {
        // Ctrl-C is how following ends; what is dropped is only read.
        _ = tokio::signal::ctrl_c() => Ok(()),
        done = try_join_all(each) => done.map(drop),
    }
}

/// Goes on after the last line when the stream breaks, until the server is gone.
async fn follow_one(printer: &Printer<'_>, server: usize, mut options: LogOptions) -> Result<(), Failure> {
    let mut last: Option<Timestamp> = None;
    let mut connected = false;
    loop {
        match printer.app.client.follow_logs(&printer.names[server], &options).await {
            Ok(lines) => {
                connected = true;
                read(printer, server, lines, &mut last).await?;
            }
            Err(Error::Unreachable { .. } | Error::Broken(_) | Error::Timeout { .. }) if connected => {}
            Err(error) if connected && exit::of(&error) == Exit::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if let Some(last) = last {
            options = LogOptions { tail: None, since: Some(last.to_string()), ..options };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints lines until there are no more; those up to the last one have been printed before.
async fn read(
    printer: &Printer<'_>,
    server: usize,
    mut lines: LogLines,
    last: &mut Option<Timestamp>,
) -> Result<(), Failure> {
    let before = *last;
    while let Some(Ok(line)) = lines.next().await {
        let at = line.at.parse().ok();
        if before.is_none() || at > before {
            printer.print(server, &line)?;
            *last = at.or(*last);
        }
    }
    Ok(())
}

fn stream(stream: Stream) -> LogStreamName {
    match stream {
        Stream::Stdout => LogStreamName::Stdout,
        Stream::Stderr => LogStreamName::Stderr,
    }
}

/// How lines are shown.
struct Printer<'a> {
    app: &'a App,
    names: &'a [String],
    prefix: Prefix,
    timestamps: bool,
    /// Generations are told apart.
    side_by_side: bool,
    shown: RefCell<Shown>,
}

/// Whether a line begins with who wrote it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Never,
    WhereSeveral,
    Always,
}

/// What is learnt from the lines themselves.
struct Shown {
    /// Of each server.
    writers: Vec<Writers>,
    /// Of the longest name so far.
    width: usize,
}

/// A line that says whose it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    instance_name: &'a str,
    #[serde(flatten)]
    line: &'a LogLineView,
}

impl Printer<'_> {
    /// Learns from a line who writes.
    fn note(&self, server: usize, line: &LogLineView) {
        let mut shown = self.shown.borrow_mut();
        shown.writers[server].replica(line.replica);
        if self.side_by_side {
            shown.writers[server].generation(line.generation);
        }
        let width = self.name(&shown, server, line).chars().count();
        shown.width = shown.width.max(width);
    }

    fn name(&self, shown: &Shown, server: usize, line: &LogLineView) -> String {
        shown.writers[server].name(&text::line(&self.names[server]), line.replica, line.generation)
    }

    fn prefix(&self, server: usize, line: &LogLineView) -> String {
        let shown = self.shown.borrow();
        let several = !shown.writers[server].is_one();
        if self.prefix == Prefix::Never || (self.prefix == Prefix::WhereSeveral && !several) {
            return String::new();
        }
        let (name, width) = (self.name(&shown, server, line), shown.width);
        let nth = if self.names.len() > 1 { server } else { line.replica as usize };
        format!("{} ", self.app.output.ink.nth(nth, &format!("{name:width$} |")))
    }

    fn print(&self, server: usize, line: &LogLineView) -> Result<(), Failure> {
        self.note(server, line);
        let named = Named { instance_name: &self.names[server], line };
        self.app.output.item(&named, || self.told(server, line))
    }

    fn told(&self, server: usize, line: &LogLineView) -> String {
        let ink = self.app.output.ink;
        let prefix = self.prefix(server, line);
        let at =
            if self.timestamps { format!("{} ", ink.dim(&time::moment(&line.at))) } else { String::new() };
        let said = text::block(line.text.trim_end_matches(['\r', '\n']));
        format!("{prefix}{at}{said}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::server::tests::{time, web};

    fn status() -> StatusView {
        serde_json::from_value(serde_json::json!({
            "daemon": {"version": "1", "startedAt": "", "uptimeSeconds": 0, "authRequired": true},
            "engine": {"reachable": true}, "groupsTotal": {"total": 1, "deploying": 0, "ready": 1, "degraded": 0,
            "failed": 0, "removing": 0}, "serversTotal": {"total": 2, "creating": 0, "waiting": 0, "starting": 0,
            "ready": 2, "backoff": 0, "completed": 0, "stopping": 0, "stopped": 0, "failed": 0, "removing": 0},
            "groups": [{"groupId": "demo", "generation": 1, "state": "ready", "servers": [time(), web()],
            "createdAt": "", "updatedAt": ""}]
        }))
        .unwrap()
    }

    #[test]
    fn a_group_means_each_of_its_servers_once() {
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&status(), &names).map_err(|failure| failure.exit())
        };
        assert_eq!(chosen(&["demo"]).unwrap(), ["time", "web"]);
        assert_eq!(chosen(&["web", "demo"]).unwrap(), ["web", "time"]);
        assert_eq!(chosen(&["web", "nobody"]), Err(Some(Exit::NotFound)));
    }
}
