//! The log of a server as people read it: the logs of all its processes as one, each line with where it comes from.

use crate::Timestamp;
use crate::id::Generation;
use crate::port::runtime::LogLine;
use futures_core::stream::{BoxStream, Stream};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Which of a server's processes wrote something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The replica, from 0.
    pub replica: u32,
    /// The generation of the group that made it.
    pub generation: Generation,
}

/// A line, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginLine {
    /// Who.
    pub origin: Origin,
    /// What.
    pub line: LogLine,
}

/// How many of the last `wanted` lines are each source's, given when the lines of each were written. Nothing wanted in
/// particular: all of each.
#[must_use]
pub fn tails(times: &[Vec<Timestamp>], wanted: Option<usize>) -> Vec<Option<usize>> {
    let Some(wanted) = wanted else { return vec![None; times.len()] };
    let mut lines: Vec<(Timestamp, usize)> = Vec::new();
    for (whose, times) in times.iter().enumerate() {
        lines.extend(times.iter().map(|at| (*at, whose)));
    }
    lines.sort_by_key(|(at, _)| *at);
    let shown = lines.iter().skip(lines.len().saturating_sub(wanted));
    let mut tails = vec![0; times.len()];
    shown.for_each(|(_, whose)| tails.get_mut(*whose).into_iter().for_each(|tail| *tail += 1));
    tails.into_iter().map(Some).collect()
}

/// The earliest of the items that are there; waits for none while there is one.
pub struct Merged<T> {
    sources: Vec<Source<T>>,
    newcomers: Option<BoxStream<'static, BoxStream<'static, T>>>,
    waits: bool,
    at: fn(&T) -> Option<Timestamp>,
}

impl<T> Merged<T> {
    /// Of these, by the moment that `at` reads; what has none is told at once.
    pub fn new(
        sources: impl IntoIterator<Item = BoxStream<'static, T>>,
        at: fn(&T) -> Option<Timestamp>,
    ) -> Self {
        Self { sources: sources.into_iter().map(Source::new).collect(), newcomers: None, waits: false, at }
    }

    /// Takes in others as they come. Where nobody is left who could say anything, it ends.
    #[must_use]
    pub fn welcoming(self, newcomers: BoxStream<'static, BoxStream<'static, T>>) -> Self {
        Self { newcomers: Some(newcomers), ..self }
    }

    /// Waits for others as long as some may come.
    #[must_use]
    pub fn waiting(self) -> Self {
        Self { waits: true, ..self }
    }

    fn welcome(&mut self, cx: &mut Context<'_>) {
        let Some(newcomers) = &mut self.newcomers else { return };
        loop {
            match newcomers.as_mut().poll_next(cx) {
                Poll::Ready(Some(lines)) => self.sources.push(Source::new(lines)),
                Poll::Ready(None) => return self.newcomers = None,
                Poll::Pending => return,
            }
        }
    }

    fn is_over(&self) -> bool {
        self.sources.is_empty() && !(self.waits && self.newcomers.is_some())
    }
}

impl<T: Unpin> Stream for Merged<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.welcome(cx);
        self.sources.iter_mut().for_each(|source| source.look(cx));
        self.sources.retain(|source| !source.ended);
        let (is_over, at) = (self.is_over(), self.at);
        let heads = self.sources.iter_mut().filter(|source| source.head.is_some());
        match heads.min_by_key(|source| source.head.as_ref().and_then(at)) {
            Some(earliest) => Poll::Ready(earliest.head.take()),
            None if is_over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// One of several, with its next item taken out to be compared.
struct Source<T> {
    items: BoxStream<'static, T>,
    head: Option<T>,
    ended: bool,
}

impl<T> Source<T> {
    fn new(items: BoxStream<'static, T>) -> Self {
        Self { items, head: None, ended: false }
    }

    fn look(&mut self, cx: &mut Context<'_>) {
        if self.head.is_none() && !self.ended {
            match self.items.as_mut().poll_next(cx) {
                Poll::Ready(head) => (self.ended, self.head) = (head.is_none(), head),
                Poll::Pending => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::task::Waker;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Items that are there; then it ends, or stays open.
    struct Items<T>(VecDeque<T>, bool);

    impl<T: Unpin> Stream for Items<T> {
        type Item = T;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
            match (self.0.pop_front(), self.1) {
                (None, true) => Poll::Pending,
                (item, _) => Poll::Ready(item),
            }
        }
    }

    fn items<T: Unpin + Send + 'static>(
        items: impl IntoIterator<Item = T>,
        open: bool,
    ) -> BoxStream<'static, T> {
        Box::pin(Items(items.into_iter().collect(), open))
    }

    fn moment(second: &i64) -> Option<Timestamp> {
        (*second >= 0).then(|| at(*second))
    }

    /// What comes at once, and whether it is over then.
    fn told(mut merged: Merged<i64>) -> (Vec<i64>, bool) {
        let mut told = Vec::new();
        loop {
            match Pin::new(&mut merged).poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(item)) => told.push(item),
                Poll::Ready(None) => return (told, true),
                Poll::Pending => return (told, false),
            }
        }
    }

    #[test]
    fn the_earliest_comes_first_and_what_has_no_time_at_once() {
        let sources = || [items([1, 4], false), items([2, -1, 3], false)];
        assert_eq!(told(Merged::new(sources(), moment)), (vec![1, 2, -1, 3, 4], true));
        let open = sources().into_iter().chain([items([0, 9], true)]);
        assert_eq!(told(Merged::new(open, moment)), (vec![0, 1, 2, -1, 3, 4, 9], false));
    }

    #[test]
    fn others_are_waited_for_only_where_that_is_wanted() {
        let newcomers = |open| items([items([5], false)], open);
        let merged = || Merged::new([items([1], false)], moment);
        assert_eq!(told(merged().welcoming(newcomers(true))), (vec![1, 5], true));
        assert_eq!(told(merged().welcoming(newcomers(true)).waiting()), (vec![1, 5], false));
        assert_eq!(told(merged().welcoming(newcomers(false)).waiting()), (vec![1, 5], true));
    }

    #[test]
    fn the_last_lines_are_those_of_all_together() {
        let times = [vec![at(1), at(2), at(3)], vec![at(4)], vec![]];
        assert_eq!(tails(&times, Some(2)), [Some(1), Some(1), Some(0)]);
        assert_eq!(tails(&times, Some(9)), [Some(3), Some(1), Some(0)]);
        assert_eq!(tails(&times, None), [None; 3]);
    }
}
