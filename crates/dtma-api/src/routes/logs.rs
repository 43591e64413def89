//! A server's log, as a piece or as a stream.

use crate::answer::{Answer, ok};
use crate::app::App;
use crate::duration;
use crate::error::ApiError;
use crate::path::Named;
use crate::query::Asked;
use crate::sse;
use crate::view;
use axum::extract::State;
use bytes::Bytes;
use dtma_api_types::{Envelope, LogLineView, LogView};
use dtma_core::Timestamp;
use dtma_core::id::InstanceName;
use dtma_core::log::OriginLine;
use dtma_core::port::RuntimeError;
use dtma_core::port::runtime::{LogQuery, OutputStream};
use dtma_manager::{LogStream, ManagerError, ReplicaStatus, ServerStatus};
use futures_util::stream::StreamExt;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use std::collections::VecDeque;
use utoipa::IntoParams;

/// Lines given when nobody says how many.
const DEFAULT_TAIL: usize = 1000;
/// The most lines of one answer.
const MOST_LINES: usize = 10_000;
/// The longest expression, in bytes.
const LONGEST_GREP: usize = 512;
/// The most memory that an expression may need once it is compiled, in bytes. Matching takes linear time anyway.
const BIGGEST_GREP: usize = 256 << 10;

/// Which part of a log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// Only the last so many lines that match (default 1000, at most 10000).
    tail: Option<usize>,
    /// Only lines at or after this: RFC 3339, or a duration back from now (`10m`).
    since: Option<String>,
    /// Only lines before this, written likewise.
    until: Option<String>,
    /// Only lines of this replica, counted from 0.
    #[param(example = 0)]
    replica: Option<u32>,
    /// Only lines of these outputs: `stdout`, `stderr`, or both with a comma.
    #[param(example = "stderr")]
    stream: Option<String>,
    /// Only lines that match this regular expression (RE2's syntax; at most 512 bytes).
    #[param(example = "error|warn")]
    grep: Option<String>,
    /// `grep` is plain text (default false).
    fixed: Option<bool>,
    /// Only lines of the run before the present one (default false). Not together with `follow`, `since`, `until`.
    previous: Option<bool>,
    /// Go on with new lines: the answer is a stream of events named `line` (default false).
    follow: Option<bool>,
}

/// Which lines pass.
struct Filter {
    streams: Vec<OutputStream>,
    grep: Option<Regex>,
}

impl Filter {
    fn passes(&self, told: &OriginLine) -> bool {
        (self.streams.is_empty() || self.streams.contains(&told.line.stream))
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&told.line.text))
    }

    /// True when every line passes.
    fn is_open(&self) -> bool {
        self.streams.is_empty() && self.grep.is_none()
    }
}

/// Read a server's log
///
/// For a stdio MCP server: its standard error, and what was no protocol on its standard output. The lines of all
/// replicas, and during an update of old and new, come in the order of time; each says which wrote it. With
/// `follow=true` server-sent events (`line`, then `end` when the log ends) until the client leaves; `tail` then counts
/// lines before the filters.
#[utoipa::path(get, path = "/mcp/servers/{instanceName}/logs", operation_id = "getLogs", tag = "servers",
    params(("instanceName" = String, Path, description = "The server"), LogsQuery),
    responses((status = 200, description = "Lines, oldest first",
        content((Envelope<LogView> = "application/json"), (LogLineView = "text/event-stream")))))]
pub(crate) async fn get_logs(
    State(app): State<App>,
    Named(instance): Named<InstanceName>,
    Asked(query): Asked<LogsQuery>,
) -> Answer {
    let filter = filter(&query)?;
    let at = |text: &Option<String>| text.as_deref().map(|text| moment(text, app.now())).transpose();
    let (since, until) = (at(&query.since)?, at(&query.until)?);
    let server = server(&app, &instance)?;
    check_replica(&server, query.replica)?;
    let follow = query.follow.unwrap_or(false);
    let tail = query.tail.unwrap_or(DEFAULT_TAIL).min(MOST_LINES);
    if query.previous.unwrap_or(false) {
        return told(&instance, previous(&app, &server, &query, &filter, tail).await?);
    }
    let tail_first = (follow || filter.is_open()).then_some(tail);
    let window = LogQuery { tail: tail_first, since, until, follow };
    let lines = app.manager().logs(&instance, &window, query.replica).await?;
    if follow {
        return Ok(sse::answer(&app, frames(lines, filter)));
    }
    told(&instance, last(lines, &filter, tail).await.map_err(ManagerError::Engine)?)
}

fn told(instance: &InstanceName, lines: Vec<OriginLine>) -> Answer {
    let lines: Vec<LogLineView> = lines.into_iter().map(view::log_line).collect();
    let message = format!("{} line(s) of {instance}", lines.len());
    ok(message, LogView { instance_name: instance.to_string(), lines })
}

fn server(app: &App, instance: &InstanceName) -> Result<ServerStatus, ApiError> {
    let group = app.manager().group_of(instance).and_then(|group| app.manager().group(&group));
    let server = group.and_then(|group| group.server(instance).cloned());
    Ok(server.ok_or_else(|| ManagerError::NoSuchServer(instance.clone()))?)
}

/// One that is to be, or still is.
fn check_replica(server: &ServerStatus, replica: Option<u32>) -> Result<(), ApiError> {
    let Some(replica) = replica else { return Ok(()) };
    let is_there = server.containers.iter().any(|container| container.origin.replica == replica);
    if is_there || replica < server.wanted_replicas {
        return Ok(());
    }
    let (instance, count) = (&server.instance, server.wanted_replicas);
    let known = match count {
        0 => "none but those of sessions".to_owned(),
        1 => "0".to_owned(),
        count => format!("0 to {}", count - 1),
    };
    Err(ApiError::Query(format!("{instance} has no replica {replica}: it has {known}")))
}

/// What each replica that is asked for wrote in the run before its present one.
async fn previous(
    app: &App,
    server: &ServerStatus,
    query: &LogsQuery,
    filter: &Filter,
    tail: usize,
) -> Result<Vec<OriginLine>, ApiError> {
    if query.follow.unwrap_or(false) || query.since.is_some() || query.until.is_some() {
        return Err(ApiError::Query("previous does not go with follow, since or until".into()));
    }
    let wanted = |one: &&ReplicaStatus| query.replica.is_none_or(|replica| one.replica == replica);
    let mut lines = Vec::new();
    for replica in server.replicas.iter().filter(wanted) {
        let Some((since, until)) = replica.previous_run else { continue };
        let window = LogQuery { tail: None, since, until: Some(until), follow: false };
        let log = app.manager().logs(&server.instance, &window, Some(replica.replica)).await?;
        lines.extend(last(log, filter, tail).await.map_err(ManagerError::Engine)?);
    }
    lines.sort_by_key(|told| told.line.at);
    Ok(lines.split_off(lines.len().saturating_sub(tail)))
}

async fn last(mut log: LogStream, filter: &Filter, most: usize) -> Result<Vec<OriginLine>, RuntimeError> {
    let mut lines = VecDeque::new();
    while let Some(line) = log.next().await {
        let line = line?;
        if filter.passes(&line) {
            lines.push_back(line);
        }
        if lines.len() > most {
            lines.pop_front();
        }
    }
    Ok(lines.into())
}

fn frames(log: LogStream, filter: Filter) -> impl futures_util::Stream<Item = Bytes> {
    let lines = log.filter_map(move |line| std::future::ready(frame(line, &filter)));
    lines.chain(futures_util::stream::iter([sse::event("end", None, b"{}")]))
}

fn frame(line: Result<OriginLine, RuntimeError>, filter: &Filter) -> Option<Bytes> {
    match line {
        Ok(line) if filter.passes(&line) => {
            let line = serde_json::to_vec(&view::log_line(line)).unwrap_or_default();
            Some(sse::event("line", None, &line))
        }
        Ok(_) => None,
        // One line of text: a newline would end the event's data.
        Err(error) => {
            Some(sse::event("error", None, error.to_string().replace(['\r', '\n'], " ").as_bytes()))
        }
    }
}

fn filter(query: &LogsQuery) -> Result<Filter, ApiError> {
    let words = query.stream.iter().flat_map(|text| text.split(',')).map(str::trim);
    let streams = words.map(|word| match word {
        "stdout" => Ok(OutputStream::Stdout),
        "stderr" => Ok(OutputStream::Stderr),
        _ => Err(ApiError::Query("stream must be stdout, stderr or both with a comma".into())),
    });
    Ok(Filter { streams: streams.collect::<Result<_, _>>()?, grep: grep(query)? })
}

fn grep(query: &LogsQuery) -> Result<Option<Regex>, ApiError> {
    let Some(text) = &query.grep else { return Ok(None) };
    if text.len() > LONGEST_GREP {
        return Err(ApiError::Query(format!("grep is longer than {LONGEST_GREP} bytes")));
    }
    let pattern = if query.fixed.unwrap_or(false) { regex::escape(text) } else { text.clone() };
    let built = RegexBuilder::new(&pattern).size_limit(BIGGEST_GREP).build();
    let refused = |problem: regex::Error| {
        let problem = problem.to_string();
        let problem = problem.lines().last().unwrap_or_default().trim_start_matches("error: ");
        ApiError::Query(format!(
            "grep is no regular expression ({problem}); fixed=true takes it as plain text"
        ))
    };
    built.map(Some).map_err(refused)
}

/// A moment, or a duration back from now.
pub(super) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let back = duration::parse(text).map_err(|_| {
        ApiError::Query(format!("{text:?} is neither a time such as 2026-01-31T12:00:00Z nor 10m"))
    })?;
    Ok(now.checked_sub(back).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_absolute_or_back_from_now() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, expected) in
            [("2026-01-31T11:00:00Z", "2026-01-31T11:00:00Z"), ("10m", "2026-01-31T11:50:00Z")]
        {
            assert_eq!(moment(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        assert!(moment("yesterday", now).is_err());
    }

    #[test]
    fn an_expression_is_bounded_and_plain_text_is_taken_as_it_is() {
        let grep = |text: &str, fixed: bool| {
            grep(&LogsQuery { grep: Some(text.into()), fixed: Some(fixed), ..LogsQuery::default() })
        };
        assert!(grep("err(or)?|warn", false).unwrap().unwrap().is_match("a warning"));
        assert!(grep("[error]", true).unwrap().unwrap().is_match("x [error] y"));
        assert!(!grep("[error]", true).unwrap().unwrap().is_match("e"));
        for bad in ["[", "(a", r"\p{L}{500}{500}", &"a".repeat(513)] {
            let Err(ApiError::Query(said)) = grep(bad, false) else { panic!("{bad} is taken") };
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn only_known_streams_are_taken() {
        let streams = |text: &str| filter(&LogsQuery { stream: Some(text.into()), ..LogsQuery::default() });
        assert_eq!(streams("stdout, stderr").unwrap().streams.len(), 2);
        assert!(streams("stdin").is_err() && streams("").is_err());
    }
}
