//! `logs`.

use crate::app::App;
use crate::cli::{LogsArgs, Stream};
use crate::failure::Failure;
use crate::output::text;
use dtma_client::LogOptions;
use dtma_client::types::{LogLineView, LogStreamName};
use futures_util::StreamExt;

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
    let mut lines = app.client.follow_logs(instance, options).await?;
    loop {
        tokio::select! {
            // A line is taken whole or not at all.
            line = lines.next() => match line {
                Some(line) => print(app, &line?, timestamps)?,
                None => return Ok(()),
            },
            // Ctrl-C is how following ends.
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
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
        format!("{} {said}", app.output.ink.dim(&text::line(&line.at)))
    })
}
