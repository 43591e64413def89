//! Requests with a key that are under way: the first works, the others wait for its answer.

use super::Said;
use crate::error::ApiError;
use dtma_core::idempotency::IdempotencyKey;
use dtma_manager::ManagerError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

type Name = (Arc<str>, String);

/// Who is at work, by caller and key. Bounded by the requests under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<HashMap<Name, UnderWay>>>);

#[derive(Debug)]
struct UnderWay {
    digest: String,
    answer: watch::Receiver<Option<Said>>,
}

/// Where a request stands.
pub(crate) enum Place {
    /// It works.
    First(Turn),
    /// Another one works; this is where its answer comes. Closed without one when there is none to share.
    Later(watch::Receiver<Option<Said>>),
}

/// The right to work under a key; given back when dropped.
pub(crate) struct Turn {
    keys: Keys,
    name: Name,
    answer: watch::Sender<Option<Said>>,
}

impl Keys {
    /// Takes a place under the key.
    ///
    /// # Errors
    /// The key is in use for something else.
    pub(crate) fn enter(&self, caller: &Arc<str>, key: &IdempotencyKey) -> Result<Place, ApiError> {
        let name = (Arc::clone(caller), key.key.clone());
        let mut under_way = self.under_way();
        if let Some(first) = under_way.get(&name) {
            if first.digest != key.digest {
                return Err(ManagerError::KeyReused(key.key.clone()).into());
            }
            return Ok(Place::Later(first.answer.clone()));
        }
        let (answer, watched) = watch::channel(None);
        under_way.insert(name.clone(), UnderWay { digest: key.digest.clone(), answer: watched });
        Ok(Place::First(Turn { keys: self.clone(), name, answer }))
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Name, UnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Shares the answer with those who wait.
    pub(crate) fn tell(self, said: Said) {
        self.answer.send_replace(Some(said));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.keys.under_way().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn key(digest: &str) -> IdempotencyKey {
        IdempotencyKey::new("k", digest).unwrap()
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_another_question_is_refused() {
        let (keys, ann, bob): (_, Arc<str>, Arc<str>) = (Keys::default(), "ann".into(), "bob".into());
        let Ok(Place::First(first)) = keys.enter(&ann, &key("d")) else { panic!("nobody was before") };
        let Ok(Place::Later(mut answer)) = keys.enter(&ann, &key("d")) else { panic!("somebody was before") };
        assert!(keys.enter(&ann, &key("other")).is_err());
        assert!(matches!(keys.enter(&bob, &key("other")), Ok(Place::First(_))));
        let said = Said { status: StatusCode::CREATED, body: "x".into(), operation: None };
        first.tell(said.clone());
        assert_eq!(*answer.wait_for(Option::is_some).await.unwrap(), Some(said));
        assert!(matches!(keys.enter(&ann, &key("other")), Ok(Place::First(_))));
    }

    #[tokio::test]
    async fn one_that_ends_without_an_answer_lets_the_next_work() {
        let (keys, ann): (_, Arc<str>) = (Keys::default(), "ann".into());
        let Ok(Place::First(first)) = keys.enter(&ann, &key("d")) else { panic!("nobody was before") };
        let Ok(Place::Later(mut answer)) = keys.enter(&ann, &key("d")) else { panic!("somebody was before") };
        drop(first);
        assert!(answer.wait_for(Option::is_some).await.is_err());
        assert!(matches!(keys.enter(&ann, &key("d")), Ok(Place::First(_))));
    }
}
