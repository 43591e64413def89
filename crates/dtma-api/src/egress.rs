//! What servers reach outside: written down before they reach it, in an audit log of its own, and counted.
//!
//! What is allowed is written twice, as a change is: before anything is connected to, and when it ended, with what went
//! through. Of what is refused to one server so many lines a minute are written, and the next one says how many were not.

use crate::audit::{AuditBounds, AuditLog, Begun, Record};
use crate::limit::{Buckets, NOTED};
use dtma_api_types::{AuditOutcome, EgressView};
use dtma_core::id::SlotId;
use dtma_manager::wall::Wall;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// The `action` of every line.
const ACTION: &str = "egress";
/// The `code` of what was refused.
const REFUSED: &str = "egress_refused";

/// What a server asks for.
#[derive(Debug, Clone, Copy)]
pub struct Exit<'a> {
    /// Which server.
    pub server: &'a SlotId,
    /// `connect` or `http`.
    pub way: &'static str,
    /// `host:port`, as far as it could be read.
    pub target: &'a str,
}

/// One that was allowed and has not ended.
pub struct Passage {
    server: SlotId,
    begun: Begun,
}

/// What came of one that was allowed.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Where it was connected to, if it was.
    pub address: Option<SocketAddr>,
    /// Bytes to that address.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
    /// Why it did not end in order.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Verdict {
    Allowed,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Direction {
    Sent,
    Received,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    group: String,
    instance: String,
    verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteLabels {
    group: String,
    instance: String,
    direction: Direction,
}

/// Writes down what servers reach. Cheap to clone.
#[derive(Clone)]
pub struct EgressJournal(Arc<Inner>);

struct Inner {
    log: AuditLog,
    wall: Wall,
    refusals: Option<Buckets<SlotId>>,
    requests: Family<RequestLabels, Counter>,
    bytes: Family<ByteLabels, Counter>,
    /// Lines about ends, on their way; each has its beginning, whose writing was waited for.
    tasks: TaskTracker,
}

impl fmt::Debug for EgressJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressJournal").finish_non_exhaustive()
    }
}

impl EgressJournal {
    /// Goes on with the log in `dir`, as [`AuditLog::open`] does.
    ///
    /// # Errors
    /// The directory or its files cannot be made or read.
    pub fn open(dir: &Path, bounds: AuditBounds, wall: Wall) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            log: AuditLog::open(dir, bounds, wall())?,
            wall,
            refusals: Buckets::new(NOTED),
            requests: Family::default(),
            bytes: Family::default(),
            tasks: TaskTracker::new(),
        })))
    }

    /// Writes down that a server may; it is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written: it should not be let through.
    pub async fn allowed(&self, exit: Exit<'_>) -> io::Result<Passage> {
        let begun = self.0.log.begin_with(self.record(exit, None)).await.map_err(io::Error::other)?;
        self.count(exit.server, Verdict::Allowed);
        Ok(Passage { server: exit.server.clone(), begun })
    }

    /// Writes down that a server may not, unless it asked too often.
    pub async fn refused(&self, exit: Exit<'_>, reason: &str) {
        self.count(exit.server, Verdict::Refused);
        let room = self.0.refusals.as_ref().map(|of| of.take(exit.server.clone(), Instant::now()));
        let record = || Record { code: Some(REFUSED.to_owned()), ..self.record(exit, Some(reason)) };
        self.0.log.deny_with(room.is_none_or(|taken| taken.is_ok()), record).await;
    }

    /// Writes down how one that was allowed ended, as soon as that can be written.
    pub fn ended(&self, passage: Passage, how: Passed) {
        let Passage { server, begun } = passage;
        for (direction, bytes) in [(Direction::Sent, how.sent), (Direction::Received, how.received)] {
            let (group, instance) = (server.group.to_string(), server.instance.to_string());
            self.0.bytes.get_or_create(&ByteLabels { group, instance, direction }).inc_by(bytes);
        }
        // At the daemon's very end nobody can wait for the disk: the next start writes that it was interrupted.
        let Ok(runtime) = Handle::try_current() else { return };
        let journal = Arc::clone(&self.0);
        self.0.tasks.spawn_on(
            async move {
                let now = (journal.wall)();
                journal.log.end(begun, now, |record| add(record, how)).await;
            },
            &runtime,
        );
    }

    pub(crate) fn log(&self) -> &AuditLog {
        &self.0.log
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "What servers asked to reach outside, by answer";
        registry.register("egress_requests", help, self.0.requests.clone());
        let help = "Bytes between servers and the outside, counted when a connection ends";
        registry.register("egress_bytes", help, self.0.bytes.clone());
    }

    fn count(&self, server: &SlotId, verdict: Verdict) {
        let (group, instance) = (server.group.to_string(), server.instance.to_string());
        self.0.requests.get_or_create(&RequestLabels { group, instance, verdict }).inc();
    }

    fn record(&self, exit: Exit<'_>, reason: Option<&str>) -> Record {
        Record {
            group_id: Some(exit.server.group.to_string()),
            instance_name: Some(exit.server.instance.to_string()),
            egress: Some(EgressView {
                replica: exit.server.replica,
                reason: reason.map(str::to_owned),
                address: None,
                sent: 0,
                received: 0,
            }),
            ..Record::new((self.0.wall)(), ACTION, exit.way.to_uppercase(), exit.target.to_owned())
        }
    }
}

fn add(record: &mut Record, how: Passed) {
    let Passed { address, sent, received, problem } = how;
    record.outcome = Some(if problem.is_some() { AuditOutcome::Failed } else { AuditOutcome::Done });
    if let Some(egress) = &mut record.egress {
        egress.address = address.map(|address| address.to_string());
        (egress.reason, egress.sent, egress.received) = (problem, sent, received);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Filter;
    use dtma_core::Timestamp;

    fn slot() -> SlotId {
        SlotId { group: "g".parse().unwrap(), instance: "web".parse().unwrap(), replica: 1 }
    }

    fn open(dir: &tempfile::TempDir) -> EgressJournal {
        EgressJournal::open(dir.path(), AuditBounds::default(), Arc::new(|| Timestamp::UNIX_EPOCH)).unwrap()
    }

    async fn told(journal: &EgressJournal) -> Vec<String> {
        journal.0.tasks.close();
        journal.0.tasks.wait().await;
        journal.0.tasks.reopen();
        let found = journal.0.log.look(&Filter::default(), 1000).unwrap();
        let line = |entry: dtma_api_types::AuditEntryView| {
            let egress = entry.egress.unwrap();
            let (outcome, sent, reason) = (entry.outcome.as_str(), egress.sent, egress.reason);
            format!("{} {} {outcome} {sent} {}", entry.method, entry.path, reason.unwrap_or_default())
        };
        found.entries.into_iter().map(line).collect()
    }

    #[tokio::test]
    async fn what_is_allowed_is_told_with_its_bytes_and_what_was_cut_off_as_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(&dir);
        let server = slot();
        let exit = |target| Exit { server: &server, way: "connect", target };
        let passage = journal.allowed(exit("a.example:443")).await.unwrap();
        assert_eq!(told(&journal).await, [] as [&str; 0], "it is not over");
        let how = Passed { address: None, sent: 7, received: 9, problem: None };
        journal.ended(passage, how.clone());
        let broken = journal.allowed(exit("b.example:443")).await.unwrap();
        journal.ended(broken, Passed { problem: Some("idle".into()), ..how });
        let cut = journal.allowed(exit("c.example:443")).await.unwrap();
        assert_eq!(
            told(&journal).await,
            ["CONNECT b.example:443 failed 7 idle", "CONNECT a.example:443 done 7 "]
        );
        let mut text = Registry::default();
        journal.register(&mut text);
        let mut shown = String::new();
        prometheus_client::encoding::text::encode(&mut shown, &text).unwrap();
        let line = "egress_bytes_total{group=\"g\",instance=\"web\",direction=\"Sent\"} 14";
        assert!(shown.contains(line), "{shown}");
        drop((cut, journal));
        let after = open(&dir);
        assert_eq!(told(&after).await[0], "CONNECT c.example:443 interrupted 0 ");
    }

    #[tokio::test]
    async fn whoever_is_refused_again_and_again_is_counted_and_not_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(&dir);
        let server = slot();
        for _ in 0..100 {
            let exit = Exit { server: &server, way: "http", target: "x.example:80" };
            journal.refused(exit, "not listed").await;
        }
        let lines = told(&journal).await;
        assert_eq!(lines.len(), 60);
        assert_eq!(lines[0], "HTTP x.example:80 denied 0 not listed");
    }
}
