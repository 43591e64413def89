//! `logs`.

use crate::app::App;
use crate::cli::{LogsArgs, Stream};
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::output::{text, time};
use dtma_client::types::{LogLineView, LogStreamName};
use dtma_client::{Error, LogLines, LogOptions};
use futures_util::StreamExt;
use jiff::Timestamp;
use std::time::Duration;

/// How long after a broken stream the next one is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// `dtma logs`. Both outputs of the server go to our standard output, so that they can be searched.
pub(super) async fn logs(app: &App, args: LogsArgs) -> Result<(), Failure> {
    let timestamps = args.timestamps;
    let options = LogOptions {
        tail: args.tail,
        since: args.since,
        until: args.until,
        streams: args.stream.map(stream).into_iter().collect(),
        grep: args.grep,
    };
    if args.follow {
        return follow(app, &args.instance, &options, timestamps).await;
    }
    let log = app.client.get_logs(&args.instance, &options).await?;
    for line in &log.lines {
        print(app, line, timestamps)?;
    }
    if log.lines.is_empty() && app.output.is_human() {
        app.output.remark("no lines");
    }
    Ok(())
}

async fn follow(app: &App, instance: &str, options: &LogOptions, timestamps: bool) -> Result<(), Failure> {
    tokio::select! {
        // Ctrl-C is how following ends; what is dropped is only read.
        _ = tokio::signal::ctrl_c() => Ok(()),
        failure = follow_on(app, instance, options.clone(), timestamps) => failure,
    }
}

/// Goes on after the last line when the stream breaks, until the server is gone.
async fn follow_on(
    app: &App,
    instance: &str,
    mut options: LogOptions,
    timestamps: bool,
) -> Result<(), Failure> {
    let mut last: Option<Timestamp> = None;
    let mut connected = false;
    loop {
        match app.client.follow_logs(instance, &options).await {
            Ok(lines) => {
                connected = true;
                read(app, lines, timestamps, &mut last).await?;
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
    app: &App,
    mut lines: LogLines,
    timestamps: bool,
    last: &mut Option<Timestamp>,
) -> Result<(), Failure> {
    let before = *last;
    while let Some(Ok(line)) = lines.next().await {
        let at = line.at.parse().ok();
        if before.is_none() || at > before {
            print(app, &line, timestamps)?;
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

fn print(app: &App, line: &LogLineView, timestamps: bool) -> Result<(), Failure> {
    app.output.item(line, || {
        let said = text::block(line.text.trim_end_matches(['\r', '\n']));
        if !timestamps {
            return said;
        }
        format!("{} {said}", app.output.ink.dim(&time::moment(&line.at)))
    })
}
