//! The audit log: who asked for a change or was turned away, when, from where, and how it ended. Lines of JSON in
//! `audit.log` (0600) and its rotated files `audit.log.1` (the newest) to `.N`.
//!
//! A change is written down twice, each time on the disk before anything else happens: when it begins, and when it
//! ended, before its answer leaves. So a log that cannot be written refuses changes (503 `audit_failed`) before
//! anything is done, and a daemon that was killed in between writes at its next start that the change was
//! interrupted. Of a pair only the second line is shown.
//!
//! One thread owns the file. Requests hand their lines over through a bounded queue and wait there when it is full;
//! what waits is written and synced in one go. There is never a body, a value of a query, an environment or a
//! token in a line. What servers reach outside has a log of its own, of the same kind (`egress.rs`), so that no server
//! can push what people did out of this one.

mod backward;
mod draft;
mod files;
mod record;
mod search;
mod writer;

pub(crate) use draft::{Draft, Ended, clean};
pub(crate) use record::Record;
pub(crate) use search::Filter;

use crate::app::App;
use crate::error::ApiError;
use dtma_api_types::AuditOutcome;
use dtma_core::Timestamp;
use files::Files;
use search::Found;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use writer::{Job, Writer};

/// Lines that wait to be written; at the bound requests wait.
const WAITING: usize = 256;

/// How much of the audit log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditBounds {
    /// Bytes of one file.
    pub size: u64,
    /// Files in all, the one that is written included; at least 2.
    pub files: u32,
}

impl Default for AuditBounds {
    fn default() -> Self {
        Self { size: 10 << 20, files: 10 }
    }
}

/// The audit log. Cheap to clone; its thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct AuditLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    jobs: mpsc::Sender<Job>,
    files: Arc<Files>,
    /// One search at a time: each reads as much as is kept, if it has to.
    search: Arc<Semaphore>,
    left_out: AtomicU64,
}

/// A change that is written down as begun.
pub(crate) struct Begun {
    record: Record,
    began: Instant,
}

impl AuditLog {
    /// Goes on with the log in `dir`, which is made (0700) when it is not there. A last line that was torn is cut
    /// off; of changes that began and did not end, it is written at `now` that they were interrupted.
    ///
    /// # Errors
    /// The directory or its files cannot be made or read.
    pub fn open(dir: &Path, bounds: AuditBounds, now: Timestamp) -> io::Result<Self> {
        let files = Arc::new(Files::new(dir, bounds)?);
        let writer = Writer::open(Arc::clone(&files), now)?;
        let (jobs, waiting) = mpsc::channel(WAITING);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(waiting))?;
        let search = Arc::new(Semaphore::new(1));
        Ok(Self(Arc::new(Inner { jobs, files, search, left_out: AtomicU64::new(0) })))
    }

    /// Writes down that a change begins.
    pub(crate) async fn begin(&self, draft: Draft, now: Timestamp) -> Result<Begun, ApiError> {
        self.begin_with(draft.record(now)).await.map_err(ApiError::Audit)
    }

    /// The same for a line that is made already.
    pub(crate) async fn begin_with(&self, mut record: Record) -> Result<Begun, String> {
        let began = Instant::now();
        record.seq = self.write(record.clone(), false).await?;
        Ok(Begun { record, began })
    }

    /// Writes down how it ended. What cannot be written now is written as soon as it can be: the change was made,
    /// and whoever asked for it should hear so.
    pub(crate) async fn end(&self, begun: Begun, now: Timestamp, how: impl FnOnce(&mut Record)) {
        let Begun { mut record, began } = begun;
        record.begun = Some(record.seq);
        record.at = now;
        record.duration_ms = u64::try_from(began.elapsed().as_millis()).ok();
        how(&mut record);
        // The writer has said in the log why it could not.
        let _ = self.write(record, true).await;
    }

    /// Writes down that somebody was turned away, unless the address had too many lines already.
    pub(crate) async fn deny(&self, app: &App, draft: Draft, error: &ApiError) {
        let is_worth_it = app.limiter().may_note(draft.peer);
        let (status, code) = (Some(error.status().as_u16()), Some(error.code().to_owned()));
        self.deny_with(is_worth_it, || Record { status, code, ..draft.record(app.now()) }).await;
    }

    /// The same for any line; one that is not worth it is counted and never made.
    pub(crate) async fn deny_with(&self, is_worth_it: bool, record: impl FnOnce() -> Record) {
        if !is_worth_it {
            self.0.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.0.left_out.swap(0, Ordering::Relaxed);
        let mut record = record();
        record.outcome = Some(AuditOutcome::Denied);
        record.left_out = (left_out > 0).then_some(left_out);
        if self.write(record, false).await.is_err() {
            self.0.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
        }
    }

    /// Hands a line over and waits until it is on the disk; gives its number. `keep`: try again when it fails.
    async fn write(&self, record: Record, keep: bool) -> Result<u64, String> {
        let (done, written) = oneshot::channel();
        let gone = || "its writer has ended".to_owned();
        self.0.jobs.send(Job { record, keep, done }).await.map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }

    /// Hands many lines over and blocks until they are on the disk. The writer says in the log why one is not.
    pub(crate) fn write_all(&self, records: Vec<Record>) {
        let mut last = None;
        for record in records {
            let (done, written) = oneshot::channel();
            if self.0.jobs.blocking_send(Job { record, keep: false, done }).is_err() {
                return;
            }
            last = Some(written);
        }
        // They are written in their order.
        let _in_the_log = last.map(oneshot::Receiver::blocking_recv);
    }

    /// What fits, the newest first.
    pub(crate) async fn search(&self, app: &App, filter: Filter, limit: usize) -> Result<Found, ApiError> {
        let defect = |error: &dyn std::fmt::Display| ApiError::Internal(format!("the audit log: {error}"));
        let permit = Arc::clone(&self.0.search).acquire_owned().await.map_err(|error| defect(&error))?;
        let log = self.clone();
        let work = app.tasks().spawn_blocking(move || {
            let found = log.look(&filter, limit);
            drop(permit);
            found
        });
        work.await.map_err(|error| defect(&error))?.map_err(|error| defect(&error))
    }

    /// The same; blocks while it reads.
    pub(crate) fn look(&self, filter: &Filter, limit: usize) -> io::Result<Found> {
        search::search(&self.0.files, filter, limit)
    }
}
