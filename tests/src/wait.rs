//! Waiting for what must come true: polling with a deadline, and a failure that says what was seen last.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks `look` until it says `Ok`, at most for `patience`; then panics with what it said last.
pub async fn eventually<T, E, F>(what: &str, patience: Duration, mut look: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => {
                panic!("not within {patience:?}: {what}; last seen: {last:#?}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
