//! The thread that owns the file: what waits is written and synced in one go, then everybody is told.

use super::backward::Backward;
use super::files::Files;
use super::record::Record;
use dtma_core::Timestamp;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Lines written in one go at most.
const BATCH: usize = 256;

/// A line to be written.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) record: Record,
    /// Write it later when it cannot be written now. Bounded, because only what was begun can end.
    pub(super) keep: bool,
    /// Its number, once it is on the disk; else why not.
    pub(super) done: oneshot::Sender<Result<u64, String>>,
}

/// The owner of the file.
pub(super) struct Writer {
    files: Arc<Files>,
    /// The file and its length; closed after a failure, because nobody knows what of it is on the disk.
    open: Option<(File, u64)>,
    next: u64,
    /// What could not be written and must be.
    kept: Vec<Record>,
}

impl Writer {
    pub(super) fn open(files: Arc<Files>, now: Timestamp) -> io::Result<Self> {
        let open = Some(files.open()?);
        let Past { last, unended } = past(&files)?;
        let kept: Vec<Record> = unended.into_iter().map(|record| record.interrupted(now)).collect();
        let mut writer = Self { files, open, next: last + 1, kept };
        if !writer.kept.is_empty() {
            tracing::warn!(changes = writer.kept.len(), "changes were interrupted by the daemon's last end");
            writer.write(Vec::new());
        }
        Ok(writer)
    }

    /// Writes until nobody has anything to say any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
            self.write(std::mem::take(&mut batch));
        }
        if !self.kept.is_empty() {
            self.write(Vec::new());
        }
    }

    fn write(&mut self, batch: Vec<Job>) {
        let mut text = Vec::new();
        let new = batch.iter().map(|job| &job.record);
        for (record, seq) in self.kept.iter().chain(new).zip(self.next..) {
            encode(&Record { seq, ..record.clone() }, &mut text);
        }
        let first = self.next + self.kept.len() as u64;
        match self.append(&text) {
            Ok(()) => {
                self.kept.clear();
                self.next = first + batch.len() as u64;
                // Whoever does not listen any more needs no number.
                batch.into_iter().zip(first..).for_each(|(job, seq)| drop(job.done.send(Ok(seq))));
            }
            Err(error) => self.failed(batch, &error),
        }
    }

    fn failed(&mut self, batch: Vec<Job>, error: &io::Error) {
        tracing::error!(%error, lines = batch.len(), "the audit log cannot be written: no change is let through");
        if let Some((file, length)) = self.open.take() {
            // What cannot be cut off is cut off when the file is opened anew, as far as it is no whole line.
            let _ = file.set_len(length);
        }
        for job in batch {
            if job.keep {
                self.kept.push(job.record);
            }
            let _ = job.done.send(Err(error.to_string()));
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let (mut file, mut length) = match self.open.take() {
            Some(open) => open,
            None => self.files.open()?,
        };
        if length > 0 && length + text.len() as u64 > self.files.bounds.size {
            self.files.rotate()?;
            (file, length) = self.files.open()?;
        }
        let written = file.write_all(text).and_then(|()| file.sync_data());
        let grown = if written.is_ok() { text.len() as u64 } else { 0 };
        self.open = Some((file, length + grown));
        written
    }
}

fn encode(record: &Record, text: &mut Vec<u8>) {
    match serde_json::to_vec(record) {
        Ok(line) => text.extend(line),
        Err(error) => tracing::error!(%error, "a line of the audit log cannot be encoded"),
    }
    text.push(b'\n');
}

/// What earlier daemons left behind.
struct Past {
    /// The highest number, 0 when there is none.
    last: u64,
    /// Changes that began and did not end, in their order.
    unended: Vec<Record>,
}

/// Files that are looked through for changes that did not end: a change that ends is seldom farther than that from
/// its beginning.
const RECENT: usize = 2;

fn past(files: &Files) -> io::Result<Past> {
    let mut past = Past { last: 0, unended: Vec::new() };
    let mut ended = HashSet::new();
    for (number, (file, length)) in files.all()?.into_iter().enumerate() {
        if number >= RECENT && past.last > 0 {
            break;
        }
        let mut lines = Backward::new(file, length);
        while let Some(line) = lines.line()? {
            let Some(record) = Record::read(&line) else { continue };
            past.last = past.last.max(record.seq);
            ended.extend(record.begun);
            if record.outcome.is_none() && !ended.contains(&record.seq) {
                past.unended.push(record);
            }
        }
    }
    past.unended.reverse();
    Ok(past)
}

#[cfg(test)]
mod tests {
    use super::super::AuditBounds;
    use super::super::record::sample;
    use super::super::search::{Filter, Found, search};
    use super::*;
    use dtma_api_types::AuditOutcome;

    fn files(dir: &tempfile::TempDir, size: u64) -> Arc<Files> {
        Arc::new(Files::new(dir.path(), AuditBounds { size, files: 3 }).unwrap())
    }

    fn writer(files: &Arc<Files>) -> Writer {
        Writer::open(Arc::clone(files), Timestamp::UNIX_EPOCH).unwrap()
    }

    fn write(writer: &mut Writer, record: Record, keep: bool) -> Result<u64, String> {
        let (done, mut written) = oneshot::channel();
        writer.write(vec![Job { record, keep, done }]);
        written.try_recv().unwrap()
    }

    fn ended(action: &str) -> Record {
        Record { outcome: Some(AuditOutcome::Done), ..sample(action) }
    }

    fn actions(found: &Found) -> String {
        found.entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn all(files: &Files) -> Found {
        search(files, &Filter::default(), 1000).unwrap()
    }

    #[test]
    fn what_is_written_is_found_newest_first_also_in_rotated_files_and_page_by_page() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir, 400);
        let mut writer = writer(&files);
        for number in 1..=5 {
            assert_eq!(write(&mut writer, ended(&format!("a{number}")), false), Ok(number));
        }
        assert!(files.path(2).exists() && !files.path(3).exists());
        let last = search(&files, &Filter::default(), 2).unwrap();
        assert_eq!((actions(&last).as_str(), last.next), ("a5 a4", Some(4)));
        for _ in 0..2 {
            write(&mut writer, ended("later"), false).unwrap();
        }
        let before = search(&files, &Filter { before: last.next, ..Filter::default() }, 1).unwrap();
        assert_eq!(
            (actions(&before).as_str(), before.next.is_some()),
            ("a3", false),
            "older ones were rotated away"
        );
        let of = |filter| actions(&search(&files, &filter, 9).unwrap());
        assert_eq!(of(Filter { action: Some("a4".into()), ..Filter::default() }), "a4");
        assert_eq!(of(Filter { actor: Some("bob".into()), ..Filter::default() }), "");
        assert_eq!(of(Filter { until: Some(Timestamp::UNIX_EPOCH), ..Filter::default() }), "");
    }

    #[test]
    fn a_daemon_that_comes_back_goes_on_and_tells_what_it_did_not_end() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir, 1 << 20);
        let mut first = writer(&files);
        let begun = write(&mut first, sample("ended"), false).unwrap();
        write(&mut first, Record { begun: Some(begun), ..ended("ended") }, true).unwrap();
        write(&mut first, sample("killed"), false).unwrap();
        drop(first);
        let torn = std::fs::OpenOptions::new().append(true).open(files.path(0)).unwrap();
        (&torn).write_all(b"{\"seq\":99,\"at").unwrap();
        let mut second = writer(&files);
        let found = all(&files);
        assert_eq!(actions(&found), "killed ended");
        assert_eq!(found.entries[0].outcome, AuditOutcome::Interrupted);
        assert_eq!(write(&mut second, ended("next"), false), Ok(5));
        drop(second);
        drop(writer(&files));
        assert_eq!(actions(&all(&files)), "next killed ended", "it is told once");
    }

    #[test]
    fn a_full_disk_refuses_what_begins_and_keeps_what_ended() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir, 1 << 20);
        std::os::unix::fs::symlink("/dev/full", files.path(0)).unwrap();
        let mut writer = writer(&files);
        let refused = write(&mut writer, sample("begins"), false).unwrap_err();
        assert!(refused.contains("No space left"), "{refused}");
        assert!(write(&mut writer, ended("ended"), true).is_err());
        std::fs::remove_file(files.path(0)).unwrap();
        assert_eq!(write(&mut writer, ended("later"), false), Ok(2));
        assert_eq!(actions(&all(&files)), "later ended");
    }

    #[test]
    fn the_files_are_for_the_daemon_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::new(&dir.path().join("audit"), AuditBounds::default()).unwrap());
        write(&mut writer(&files), ended("a"), false).unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&files.path(0)), mode(&dir.path().join("audit"))), (0o600, 0o700));
    }
}
