//! The logs of all members as one, in the order of time.

use super::{Door, Inner};
use crate::ring::LogReader;
use dtma_core::log::{Merged, Origin, OriginLine, tails};
use dtma_core::port::runtime::LogQuery;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::{Arc, Weak};

/// One member's log.
#[derive(Clone)]
pub(crate) struct Logbook {
    pub(crate) origin: Origin,
    pub(crate) reader: LogReader,
}

impl Logbook {
    fn query(&self, query: &LogQuery) -> BoxStream<'static, OriginLine> {
        let origin = self.origin;
        self.reader.query(query).map(move |line| OriginLine { origin, line }).boxed()
    }

    fn is_of(&self, replica: Option<u32>) -> bool {
        replica.is_none_or(|replica| self.origin.replica == replica)
    }
}

impl Door {
    /// What the members wrote that is no protocol: their stderr, and what is not JSON-RPC on their stdout; those
    /// of the last two dismissed included. Of one replica, or of all. What is there already comes in the order of
    /// time, what comes while following as it comes. Following takes in members admitted later and ends with the
    /// door, or when every member is past a line that is not before `until`.
    #[must_use]
    pub fn logs(&self, query: &LogQuery, replica: Option<u32>) -> BoxStream<'static, OriginLine> {
        let changes = self.inner.changes.subscribe();
        let (mut books, known) = {
            let table = self.table();
            let present = table.members.values().map(|member| member.logbook());
            (table.past.iter().cloned().chain(present).collect::<Vec<_>>(), table.admitted)
        };
        books.retain(|book| book.is_of(replica));
        let others = newcomers(Arc::downgrade(&self.inner), changes, known);
        let later = LogQuery { tail: None, ..query.clone() };
        let others = others
            .filter(move |book| std::future::ready(book.is_of(replica)))
            .map(move |book| book.query(&later))
            .boxed();
        stream::once(merged(books, others, query.clone())).flatten().boxed()
    }
}

async fn merged(
    books: Vec<Logbook>,
    newcomers: BoxStream<'static, BoxStream<'static, OriginLine>>,
    query: LogQuery,
) -> Merged<OriginLine> {
    let tails = tails(&times(&books, &query).await, query.tail);
    let ask = |(book, tail): (&Logbook, _)| book.query(&LogQuery { tail, ..query.clone() });
    let merged = Merged::new(books.iter().zip(tails).map(ask), |line| Some(line.line.at));
    if query.follow && query.until.is_none() { merged.welcoming(newcomers).waiting() } else { merged }
}

/// When the lines of each were written.
async fn times(books: &[Logbook], query: &LogQuery) -> Vec<Vec<dtma_core::Timestamp>> {
    let once = LogQuery { follow: false, ..query.clone() };
    let mut times = Vec::new();
    for book in books {
        times.push(book.reader.query(&once).map(|line| line.at).collect().await);
    }
    times
}

/// The logs of members as they are admitted. Holds no door open.
fn newcomers(
    door: Weak<Inner>,
    changes: tokio::sync::watch::Receiver<()>,
    known: u64,
) -> BoxStream<'static, Logbook> {
    let next = |(door, mut changes, known): (Weak<Inner>, tokio::sync::watch::Receiver<()>, u64)| async move {
        changes.changed().await.ok()?;
        let (books, admitted) = admitted_since(&*door.upgrade()?, known)?;
        Some((stream::iter(books), (door, changes, admitted)))
    };
    stream::unfold((door, changes, known), next).flatten().boxed()
}

/// `None` when nobody will be admitted any more.
fn admitted_since(door: &Inner, known: u64) -> Option<(Vec<Logbook>, u64)> {
    let table = door.table();
    let new = table.members.values().filter(|member| member.number > known);
    let books = new.map(|member| member.logbook()).collect();
    (!table.closed).then_some((books, table.admitted))
}
