//! What the daemon costs by itself: from exec to the first answered request, and memory while nothing happens.

use crate::Args;
use crate::daemon::Daemon;
use crate::report::{Report, median, show};
use anyhow::Result;
use std::time::Duration;

pub(crate) async fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let mut starts = Vec::new();
    for _ in 0..args.rounds.max(3) {
        let daemon = Daemon::start(args).await?;
        starts.push(daemon.started_in);
        daemon.end().await?;
    }
    report.line("daemon: exec to first answer", &show(median(&starts)), "", "");
    let daemon = Daemon::start(args).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (resident, private) = daemon.memory()?;
    let text = format!("{:.1} MB ({:.1} private)", resident as f64 / 1024.0, private as f64 / 1024.0);
    report.line("daemon: idle resident memory, no servers", &text, "", "");
    daemon.end().await
}
