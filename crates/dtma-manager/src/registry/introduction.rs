//! Who the engine is: asked on behalf of many who want to know at once, and often.
//!
//! A status is read thousands of times a second and a readiness probe needs no token, so an answer is good for
//! [`ENGINE_KNOWN_FOR`], one question is under way at a time, and while it is those who come are given the last answer.

use dtma_core::port::runtime::EngineInfo;
use dtma_core::port::{ContainerRuntime, RuntimeError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For so long an answer of the engine about itself is given to everybody who asks, a failure included.
pub const ENGINE_KNOWN_FOR: Duration = Duration::from_secs(1);
/// So long the engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// And for so long an answer is given while the engine is being asked again.
const WHILE_ASKED: Duration = Duration::from_secs(3);

/// The last answer.
#[derive(Default)]
pub(crate) struct Introduction {
    last: Mutex<Option<Known>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    at: Instant,
    answer: Result<EngineInfo, RuntimeError>,
}

impl Introduction {
    /// What the engine says of itself, now or a moment ago.
    pub(crate) async fn of(&self, runtime: &dyn ContainerRuntime) -> Result<EngineInfo, RuntimeError> {
        if let Some(known) = self.known(ENGINE_KNOWN_FOR) {
            return known;
        }
        let _turn = match self.asking.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                if let Some(known) = self.known(WHILE_ASKED) {
                    return known;
                }
                self.asking.lock().await
            }
        };
        if let Some(known) = self.known(ENGINE_KNOWN_FOR) {
            return known;
        }
        let late = |_| Err(RuntimeError::Timeout { call: "info", after: PATIENCE });
        let answer = tokio::time::timeout(PATIENCE, runtime.info()).await.unwrap_or_else(late);
        self.keep(Some(Known { at: Instant::now(), answer: answer.clone() }));
        answer
    }

    /// The engine may be another one now.
    pub(crate) fn forget(&self) {
        self.keep(None);
    }

    fn known(&self, within: Duration) -> Option<Result<EngineInfo, RuntimeError>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|known| known.at.elapsed() < within).map(|known| known.answer.clone())
    }

    fn keep(&self, known: Option<Known>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::FakeRuntime;
    use dtma_testing::fake_runtime::Verb;
    use futures_util::future::join_all;

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_are_one_question() {
        let (runtime, engine) = FakeRuntime::new();
        let introduction = Introduction::default();
        let held = engine.hold(Verb::Info);
        let all = join_all((0..100).map(|_| introduction.of(&runtime)));
        let (answers, ()) = tokio::join!(all, async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop(held);
        });
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(engine.count(Verb::Info), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_keeps_only_one_waiting() {
        let (runtime, engine) = FakeRuntime::new();
        let introduction = Introduction::default();
        introduction.of(&runtime).await.unwrap();
        tokio::time::sleep(ENGINE_KNOWN_FOR).await;
        let _held = engine.hold(Verb::Info);
        let mut first = std::pin::pin!(introduction.of(&runtime));
        assert!(futures_util::poll!(&mut first).is_pending());
        introduction.of(&runtime).await.unwrap();
        let late = first.await;
        assert!(matches!(late, Err(RuntimeError::Timeout { .. })), "{late:?}");
        introduction.of(&runtime).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_is_heard_of_after_a_second() {
        let (runtime, engine) = FakeRuntime::new();
        let introduction = Introduction::default();
        introduction.of(&runtime).await.unwrap();
        engine.away(true);
        introduction.of(&runtime).await.unwrap();
        tokio::time::sleep(ENGINE_KNOWN_FOR).await;
        introduction.of(&runtime).await.unwrap_err();
        engine.away(false);
        introduction.of(&runtime).await.unwrap_err();
        introduction.forget();
        introduction.of(&runtime).await.unwrap();
    }
}
