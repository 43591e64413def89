//! Waiting for an answer that comes at once, without letting the processor fall asleep meanwhile.
//!
//! A processor with nothing to do is put to sleep, and waking it takes longer than all that the daemon does for a call
//! (docs/performance.md). Whoever waits for a server whose last answer came quickly therefore looks for the next one a short
//! while before it lets go, as hypervisors do before they take a guest's processor away (`halt_poll_ns`).
//!
//! That is worth a processor's time only where nobody else wants it: nobody looks while another such call is under way, where
//! there is one processor, or on a runtime of one thread.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::yield_now;
use tokio::time::Instant;

/// A processor's time that a call may cost in vain.
const QUICK: Duration = Duration::from_micros(500);

/// What all servers of this process share.
static HERE: LazyLock<Processors> =
    LazyLock::new(|| Processors::new(available_parallelism().is_ok_and(|count| count.get() > 1), QUICK));

/// What calls that are answered quickly share.
#[derive(Debug)]
struct Processors {
    several: bool,
    /// An answer that took no longer was quick; for so long the next one is looked for.
    quick: Duration,
    /// Calls under way whose servers are quick.
    awaited: AtomicUsize,
}

impl Processors {
    fn new(several: bool, quick: Duration) -> Self {
        Self { several, quick, awaited: AtomicUsize::new(0) }
    }

    fn can_look(&self) -> bool {
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        self.several && matches!(flavor, Ok(RuntimeFlavor::MultiThread))
    }

    fn awaiting(&self) -> Awaiting<'_> {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Awaiting(self)
    }
}

/// A call under way whose server is quick.
struct Awaiting<'a>(&'a Processors);

impl Awaiting<'_> {
    fn may_look(&self, waited: Duration) -> bool {
        waited <= self.0.quick && self.0.awaited.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How quickly a server answered last.
#[derive(Debug)]
pub(crate) struct Quickness {
    /// In microseconds; the most there is before its first answer.
    last: AtomicU64,
}

impl Default for Quickness {
    fn default() -> Self {
        Self { last: AtomicU64::new(u64::MAX) }
    }
}

impl Quickness {
    /// Waits for an answer of that server.
    pub(crate) async fn answer<F: Future + Unpin>(&self, answer: F) -> F::Output {
        self.answer_beside(&HERE, answer).await
    }

    async fn answer_beside<F: Future + Unpin>(&self, processors: &Processors, mut answer: F) -> F::Output {
        let began = Instant::now();
        let awaiting =
            (self.is_quick(processors.quick) && processors.can_look()).then(|| processors.awaiting());
        let early = match &awaiting {
            Some(awaiting) => look(&mut answer, awaiting, began).await,
            None => None,
        };
        let answered = match early {
            Some(answered) => answered,
            None => answer.await,
        };
        self.last.store(micros(began.elapsed()), Ordering::Relaxed);
        answered
    }

    fn is_quick(&self, quick: Duration) -> bool {
        self.last.load(Ordering::Relaxed) <= micros(quick)
    }
}

/// Whatever else is there to do is done between two looks.
async fn look<F: Future + Unpin>(
    answer: &mut F,
    awaiting: &Awaiting<'_>,
    began: Instant,
) -> Option<F::Output> {
    while awaiting.may_look(began.elapsed()) {
        tokio::select! {
            biased;
            // Not dropped: it is borrowed.
            answered = &mut *answer => return Some(answered),
            () = yield_now() => {}
        }
    }
    None
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;
    use tokio::time::timeout;

    /// Comes when it is looked at for the hundredth time, and tells nobody.
    fn silent() -> impl Future<Output = ()> + Unpin {
        let mut looks = 0;
        poll_fn(move |_| {
            looks += 1;
            if looks < 100 { Poll::Pending } else { Poll::Ready(()) }
        })
    }

    async fn comes_within(time: Duration, quickness: &Quickness, processors: &Processors) -> bool {
        timeout(time, quickness.answer_beside(processors, silent())).await.is_ok()
    }

    async fn is_looked_for(quickness: &Quickness, processors: &Processors) -> bool {
        comes_within(LONG, quickness, processors).await
    }

    /// One that nobody looks for never comes.
    async fn is_left_alone(quickness: &Quickness, processors: &Processors) -> bool {
        !comes_within(Duration::from_millis(20), quickness, processors).await
    }

    /// Its last answer took so long.
    fn after(took: Duration) -> Quickness {
        Quickness { last: AtomicU64::new(micros(took)) }
    }

    /// So long that no machine is too slow for it.
    const LONG: Duration = Duration::from_secs(60);

    fn processors() -> Processors {
        Processors::new(true, LONG)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_next_answer_of_a_quick_server_is_looked_for() {
        let server = Quickness::default();
        assert!(is_left_alone(&server, &processors()).await, "nobody knows how quick it is");
        server.answer_beside(&processors(), std::future::ready(())).await;
        assert!(is_looked_for(&server, &processors()).await);
        assert!(is_looked_for(&after(LONG), &processors()).await);
        assert!(is_left_alone(&after(2 * LONG), &processors()).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn it_is_not_looked_for_longer_than_a_quick_answer_takes() {
        let processors = Processors::new(true, Duration::ZERO);
        assert!(is_left_alone(&after(Duration::ZERO), &processors).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn nobody_looks_beside_others_and_whoever_leaves_is_not_counted() {
        let (processors, one, other) = (processors(), after(Duration::ZERO), after(Duration::ZERO));
        let mut waiting = Box::pin(one.answer_beside(&processors, std::future::pending::<()>()));
        assert!(timeout(Duration::from_millis(5), &mut waiting).await.is_err());
        assert!(is_left_alone(&other, &processors).await);
        drop(waiting);
        assert!(is_looked_for(&other, &processors).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn nobody_looks_where_there_is_one_processor() {
        assert!(is_left_alone(&after(Duration::ZERO), &Processors::new(false, LONG)).await);
    }

    #[tokio::test]
    async fn nobody_looks_where_there_is_one_thread() {
        assert!(is_left_alone(&after(Duration::ZERO), &processors()).await);
    }
}
