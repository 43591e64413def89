//! The engine's log of a container, line by line.

use crate::connect::Link;
use crate::errors::{Op, path_segment};
use crate::observe;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use dtma_core::Timestamp;
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::{LogLine, LogQuery, OutputStream, RuntimeError};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use std::time::Duration;
use tokio::time::timeout;

type Lines = BoxStream<'static, Result<LogLine, RuntimeError>>;

const CALL: &str = "read logs";

/// With `tail` and an `until` inside a second fewer lines may come: the engine counts the tail by whole seconds.
pub(crate) async fn read(link: &Link, id: &ContainerId, query: &LogQuery) -> Result<Lines, RuntimeError> {
    let op = Op::new(CALL, "container", id.as_str());
    check_driver(link, id).await?;
    let docker = link.client(op).await?;
    let frames = docker.logs(path_segment(op)?, Some(options(query)));
    // A follower may wait for ever; a reader may not.
    let patience = (!query.follow).then_some(link.deadlines.read);
    let endpoint = link.endpoint().to_owned();
    let broken = move |error| crate::errors::classify(Op::new(CALL, "container", ""), &endpoint, error);
    let query = query.clone();
    let lines = impatient(frames, patience).filter_map(move |frame| {
        let line = frame.and_then(|frame| frame.map_err(&broken)).map(line);
        std::future::ready(line.map(|line| line.filter(|line| fits(&query, line))).transpose())
    });
    Ok(lines.boxed())
}

/// The stream itself says only later what is wrong: it is a lazy one.
async fn check_driver(link: &Link, id: &ContainerId) -> Result<(), RuntimeError> {
    let raw = observe::raw_inspect(link, id).await?;
    let driver = raw.host_config.and_then(|host| host.log_config).and_then(|log| log.typ);
    let problem = || "its log driver is none: nothing was kept".to_owned();
    match driver.as_deref() {
        Some("none") => Err(RuntimeError::Refused { call: CALL, problem: problem() }),
        Some(_) | None => Ok(()),
    }
}

/// The engine takes whole seconds; the rest is ours, in [`fits`].
fn options(query: &LogQuery) -> LogsOptions {
    let second = |at: Timestamp| i32::try_from(at.as_second()).unwrap_or(i32::MAX);
    let tail = query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true);
    let options = options.follow(query.follow).tail(&tail);
    let options = options.since(query.since.map_or(0, second));
    options.until(query.until.map_or(0, |until| second(until).saturating_add(1))).build()
}

fn fits(query: &LogQuery, line: &LogLine) -> bool {
    query.since.is_none_or(|since| line.at >= since) && query.until.is_none_or(|until| line.at < until)
}

/// Ends with a timeout when nothing comes for `patience`.
fn impatient<T: Send + 'static>(
    frames: impl Stream<Item = Result<T, Error>> + Send + Unpin + 'static,
    patience: Option<Duration>,
) -> BoxStream<'static, Result<Result<T, Error>, RuntimeError>> {
    let Some(after) = patience else { return frames.map(Ok).boxed() };
    let next = move |frames: Option<_>| async move {
        let mut frames = frames?;
        match timeout(after, StreamExt::next(&mut frames)).await {
            Ok(frame) => Some((Ok(frame?), Some(frames))),
            Err(_) => Some((Err(RuntimeError::Timeout { call: CALL, after }), None)),
        }
    };
    stream::unfold(Some(frames), next).boxed()
}

/// One frame is one line, or the part of one that fits into the engine's 16 KiB. A frame without a readable time
/// is dropped: it did not come from the process.
fn line(frame: LogOutput) -> Option<LogLine> {
    let (stream, message) = match frame {
        LogOutput::StdOut { message } => (OutputStream::Stdout, message),
        LogOutput::StdErr { message } => (OutputStream::Stderr, message),
        LogOutput::StdIn { .. } | LogOutput::Console { .. } => return None,
    };
    let message = String::from_utf8_lossy(&message);
    let (at, text) = message.split_once(' ').unwrap_or((&message, ""));
    let at = at.trim_end().parse().ok()?;
    Some(LogLine { at, stream, text: text.strip_suffix('\n').unwrap_or(text).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: &'static str, expected: Option<(&str, &str)>) {
        let found = line(LogOutput::StdOut { message: frame.into() });
        let found = found.map(|line| (line.at.to_string(), line.text));
        assert_eq!(found, expected.map(|(at, text)| (at.to_owned(), text.to_owned())));
    }

    #[test]
    fn a_frame_is_a_time_and_a_line() {
        const AT: &str = "2026-11-20T16:41:22.123456789Z";
        check("2026-11-20T16:41:22.123456789Z two words\n", Some((AT, "two words")));
        check("2026-11-20T16:41:22.123456789Z  indented", Some((AT, " indented")));
        check("2026-11-20T16:41:22.123456789Z \n", Some((AT, "")));
        check("2026-11-20T16:41:22.123456789Z\n", Some((AT, "")));
        check("no time at all\n", None);
    }
}
