//! The logs of all members as one, in the order of time.

use super::{Door, Inner};
use crate::ring::LogReader;
use dtma_core::port::runtime::{LogLine, LogQuery};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

impl Door {
    /// What the members wrote that is no protocol: their stderr, and what is not JSON-RPC on their stdout; those
    /// of the last two dismissed included. What is there already comes in the order of time, what comes while
    /// following as it comes. Following takes in members admitted later and ends with the door, or when every
    /// member is past a line that is not before `until`.
    #[must_use]
    pub fn logs(&self, query: &LogQuery) -> BoxStream<'static, LogLine> {
        let changes = self.inner.changes.subscribe();
        let (readers, known) = {
            let table = self.table();
            let present = table.members.values().map(|member| member.handle.reader());
            (table.past.iter().chain(present).cloned().collect::<Vec<_>>(), table.admitted)
        };
        let newcomers = newcomers(Arc::downgrade(&self.inner), changes, known);
        let query = query.clone();
        stream::once(merged(readers, newcomers, query)).flatten().boxed()
    }
}

async fn merged(
    readers: Vec<LogReader>,
    newcomers: BoxStream<'static, LogReader>,
    query: LogQuery,
) -> impl Stream<Item = LogLine> {
    let tails = tails(&readers, &query).await;
    let ask = |(reader, tail): (&LogReader, _)| reader.query(&LogQuery { tail, ..query.clone() });
    let sources = readers.iter().zip(tails).map(ask).map(Source::new).collect();
    let newcomers = (query.follow && query.until.is_none()).then_some(newcomers);
    Merged { sources, newcomers, query: LogQuery { tail: None, ..query } }
}

/// How many of the last lines are each one's.
async fn tails(readers: &[LogReader], query: &LogQuery) -> Vec<Option<usize>> {
    let Some(wanted) = query.tail else { return vec![None; readers.len()] };
    let once = LogQuery { follow: false, ..query.clone() };
    let mut lines = Vec::new();
    for (whose, reader) in readers.iter().enumerate() {
        let times: Vec<_> = reader.query(&once).map(|line| line.at).collect().await;
        lines.extend(times.into_iter().map(|at| (at, whose)));
    }
    lines.sort_by_key(|(at, _)| *at);
    let shown = lines.iter().skip(lines.len().saturating_sub(wanted));
    let mut tails = vec![0; readers.len()];
    shown.for_each(|(_, whose)| tails.get_mut(*whose).into_iter().for_each(|tail| *tail += 1));
    tails.into_iter().map(Some).collect()
}

/// The logs of members as they are admitted. Holds no door open.
fn newcomers(
    door: Weak<Inner>,
    changes: tokio::sync::watch::Receiver<()>,
    known: u64,
) -> BoxStream<'static, LogReader> {
    let next = |(door, mut changes, known): (Weak<Inner>, tokio::sync::watch::Receiver<()>, u64)| async move {
        changes.changed().await.ok()?;
        let (readers, admitted) = admitted_since(&*door.upgrade()?, known)?;
        Some((stream::iter(readers), (door, changes, admitted)))
    };
    stream::unfold((door, changes, known), next).flatten().boxed()
}

/// `None` when nobody will be admitted any more.
fn admitted_since(door: &Inner, known: u64) -> Option<(Vec<LogReader>, u64)> {
    let table = door.table();
    let new = table.members.values().filter(|member| member.number > known);
    let readers = new.map(|member| member.handle.reader().clone()).collect();
    (!table.closed).then_some((readers, table.admitted))
}

/// One member's lines, with the next one taken out to be compared.
struct Source {
    lines: BoxStream<'static, LogLine>,
    head: Option<LogLine>,
    ended: bool,
}

impl Source {
    fn new(lines: BoxStream<'static, LogLine>) -> Self {
        Self { lines, head: None, ended: false }
    }

    fn look(&mut self, cx: &mut Context<'_>) {
        if self.head.is_none() && !self.ended {
            match self.lines.as_mut().poll_next(cx) {
                Poll::Ready(head) => (self.ended, self.head) = (head.is_none(), head),
                Poll::Pending => {}
            }
        }
    }
}

/// The earliest of the lines that are there; waits for none while there is one.
struct Merged {
    sources: Vec<Source>,
    newcomers: Option<BoxStream<'static, LogReader>>,
    query: LogQuery,
}

impl Merged {
    fn welcome(&mut self, cx: &mut Context<'_>) {
        let Some(newcomers) = &mut self.newcomers else { return };
        loop {
            match newcomers.as_mut().poll_next(cx) {
                Poll::Ready(Some(reader)) => self.sources.push(Source::new(reader.query(&self.query))),
                Poll::Ready(None) => return self.newcomers = None,
                Poll::Pending => return,
            }
        }
    }
}

impl Stream for Merged {
    type Item = LogLine;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LogLine>> {
        self.welcome(cx);
        self.sources.iter_mut().for_each(|source| source.look(cx));
        self.sources.retain(|source| !source.ended);
        let is_over = self.sources.is_empty() && self.newcomers.is_none();
        let heads = self.sources.iter_mut().filter(|source| source.head.is_some());
        match heads.min_by_key(|source| source.head.as_ref().map(|line| line.at)) {
            Some(earliest) => Poll::Ready(earliest.head.take()),
            None if is_over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
