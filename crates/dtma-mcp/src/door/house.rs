//! The house's own calls.

use super::Door;
use super::own::ONLY_SESSIONS;
use super::repeat::{ended, is_repeatable_call};
use super::table::Table;
use super::wait::Unserved;
use crate::{CallError, Closed, rpc};
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
        if self.serves_sessions_only() {
            return Err(CallError::NotReady { reason: ONLY_SESSIONS.to_owned() });
        }
        if let Some(result) = self.remembered_list(|list| list == method, params) {
            return Ok(result);
        }
        let deadline = Instant::now() + within;
        let mut lost = None;
        loop {
            let found = self.until(deadline, |table: &mut Table| table.turn()).await;
            let member = found.map_err(|unserved| lost.take().unwrap_or(unserved.into()))?;
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = member.handle.ready();
            match member.handle.call_now(method, params, left).await {
                // What the caller gave, not what was left of it.
                Err(CallError::Timeout { .. }) => return Err(CallError::Timeout { after: within }),
                Err(problem) if was_not_written(&problem) && Instant::now() < deadline => {}
                Err(problem)
                    if was_lost(&problem)
                        && lost.is_none()
                        && is_repeatable_call(asked.as_deref(), method, params) =>
                {
                    ended(&member.handle, asked).await;
                    lost = Some(problem);
                }
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

/// The server can have received it, and its process, or the connection to it, ended.
fn was_lost(problem: &CallError) -> bool {
    match problem {
        CallError::Lost { may_have_executed } => *may_have_executed,
        CallError::Rpc { raw, .. } => rpc::may_have_executed(raw),
        _ => false,
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
