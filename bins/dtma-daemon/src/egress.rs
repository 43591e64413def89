//! The way out of every server: one resolver and the operator's word for all of them, and a journal that hears of each
//! request before it leaves.

use async_trait::async_trait;
use dtma_api::{EgressJournal, Exit, Passage, Passed};
use dtma_config::Policy;
use dtma_core::egress::{Ceiling, EgressRule, Ranges};
use dtma_core::id::SlotId;
use dtma_core::port::EgressProxy;
use dtma_egress::{
    Decision, Egress, Ended, How, Limits, Parts, Resolver, Rules, Sink, SystemResolver, Verdict,
};
use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Makes a way out for each server that has rules.
pub(crate) struct Exits {
    resolver: Arc<dyn Resolver>,
    ceiling: Ceiling,
    ranges: Ranges,
    journal: EgressJournal,
}

impl Exits {
    pub(crate) fn new(policy: &Policy, journal: EgressJournal) -> Self {
        Self {
            resolver: Arc::new(SystemResolver::default()),
            ceiling: policy.egress.clone(),
            ranges: Ranges::new(policy.egress_ranges.clone()),
            journal,
        }
    }

    fn of(&self, server: &SlotId, rules: &[EgressRule]) -> Egress {
        let open = Mutex::default();
        Egress::new(Parts {
            rules: Rules::new(rules.to_vec(), self.ceiling.clone()),
            ranges: self.ranges.clone(),
            resolver: Arc::clone(&self.resolver),
            sink: Arc::new(Told { server: server.clone(), journal: self.journal.clone(), open }),
            limits: Limits::default(),
        })
    }
}

#[async_trait]
impl EgressProxy for Exits {
    async fn serve(&self, server: &SlotId, rules: &[EgressRule], listener: TcpListener) {
        let ours = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        match ours {
            Ok(ours) => {
                let for_ever = CancellationToken::new();
                dtma_egress::serve(ours, Arc::new(self.of(server, rules)), for_ever).await;
            }
            Err(error) => tracing::error!(%server, %error, "its way out cannot be served"),
        }
    }
}

/// Tells the journal of one server.
struct Told {
    server: SlotId,
    journal: EgressJournal,
    open: Mutex<HashMap<u64, Passage>>,
}

impl Told {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Passage>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for Told {
    async fn decided(&self, decision: &Decision) -> io::Result<()> {
        let exit = Exit { server: &self.server, way: decision.way.as_str(), target: &decision.target };
        match &decision.verdict {
            Verdict::Allowed { .. } => {
                let passage = self.journal.allowed(exit).await?;
                self.open().insert(decision.trip, passage);
            }
            Verdict::Refused { reason } => self.journal.refused(exit, reason).await,
        }
        Ok(())
    }

    fn ended(&self, end: &Ended) {
        let Some(passage) = self.open().remove(&end.trip) else { return };
        let problem = match &end.how {
            How::Closed => None,
            how @ (How::Unreachable(_) | How::Broken(_) | How::Idle | How::TooLong | How::Abandoned) => {
                Some(how.to_string())
            }
        };
        let (address, sent, received) = (end.address, end.sent, end.received);
        self.journal.ended(passage, Passed { address, sent, received, problem });
    }
}
