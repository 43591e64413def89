//! The house's own calls.

use super::Door;
use super::table::Table;
use super::wait::Unserved;
use crate::{CallError, Closed};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

impl Door {
    /// A call of the house's own, at the serving member that has the fewest. `params` is raw JSON; the result is
    /// the raw `result`. Waits for a server that is not up; all of it takes at most `within`, after which the
    /// server is told that the call is cancelled. What the server asks or notes in its course goes nowhere: there
    /// is no client to hear it.
    ///
    /// # Errors
    /// [`CallError`]; an error that the server answered is [`CallError::Rpc`].
    pub async fn call(
        &self,
        method: &str,
        params: Option<&[u8]>,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        if let Some(problem) = self.refused(method, params) {
            return Err(CallError::Refused { problem });
        }
        let deadline = Instant::now() + within;
        loop {
            let member = self.until(deadline, |table: &mut Table| table.turn()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            match member.handle.call_now(method, params, left).await {
                // What the caller gave, not what was left of it.
                Err(CallError::Timeout { .. }) => return Err(CallError::Timeout { after: within }),
                Err(problem) if was_not_written(&problem) && Instant::now() < deadline => {}
                answer => return answer,
            }
        }
    }

    /// Whether the server answers right now; does not wait for one that is not up.
    ///
    /// # Errors
    /// [`CallError`], but any answer will do: an error answer to `ping` is an answer.
    pub async fn ping(&self, within: Duration) -> Result<(), CallError> {
        let turn = self.table().turn();
        match turn {
            Some(member) => member.handle.ping(within).await,
            None => Err(self.not_up().into()),
        }
    }
}

/// The server has seen nothing of it: its process ended, or it is being drained.
fn was_not_written(problem: &CallError) -> bool {
    match problem {
        CallError::NotReady { .. } | CallError::Closed(_) => true,
        CallError::Lost { may_have_executed } => !may_have_executed,
        CallError::Invalid { .. }
        | CallError::Refused { .. }
        | CallError::Timeout { .. }
        | CallError::Rpc { .. }
        | CallError::Busy => false,
    }
}

impl From<Unserved> for CallError {
    fn from(unserved: Unserved) -> Self {
        match unserved {
            Unserved::NotUp(reason) => Self::NotReady { reason },
            Unserved::Closed => Self::Closed(Closed),
        }
    }
}
