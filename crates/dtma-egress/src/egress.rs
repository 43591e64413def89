//! One server's way out: looks up, has it judged, tells what was decided.

use crate::dial::dial;
use crate::fault::Fault;
use crate::judge::{Cleared, Rules, judge};
use crate::limits::Limits;
use crate::metered::Metered;
use crate::port::{Decision, How, Resolver, Sink, Verdict, Way};
use crate::target::Misdirected;
use crate::trip::Trip;
use dtma_core::egress::{Authority, Host, Ranges};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Longest text of a request's target that is told on, in characters.
const MOST_SHOWN: usize = 128;

/// What a way out is made of.
pub struct Parts {
    /// What the server may name.
    pub rules: Rules,
    /// Which addresses may be reached.
    pub ranges: Ranges,
    /// Who knows the addresses of names.
    pub resolver: Arc<dyn Resolver>,
    /// Who hears of decisions.
    pub sink: Arc<dyn Sink>,
    /// How much and how long.
    pub limits: Limits,
}

/// One server's way out; [`serve`](crate::serve()) opens it.
pub struct Egress {
    parts: Parts,
    lookups: Semaphore,
    trips: AtomicU64,
}

/// An allowed request with its connection.
pub(crate) struct Departure {
    pub(crate) target: Authority,
    pub(crate) upstream: Metered<TcpStream>,
    pub(crate) trip: Trip,
}

impl Egress {
    /// Puts it together; nothing is done yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let lookups = Semaphore::new(parts.limits.lookups.max(1));
        Self { parts, lookups, trips: AtomicU64::new(1) }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.parts.limits
    }

    /// Decides, tells, connects. `shown` is the target as it was written.
    pub(crate) async fn depart(
        &self,
        way: Way,
        shown: &str,
        target: Result<Authority, Misdirected>,
    ) -> Result<Departure, Fault> {
        let (mut trip, (target, cleared)) = self.decide(way, shown, target).await?;
        match dial(&cleared, self.parts.limits.connect).await {
            Ok((stream, address)) => {
                trip.arrived(address);
                let upstream = Metered::new(stream, Arc::clone(trip.traffic()));
                Ok(Departure { target, upstream, trip })
            }
            Err(problem) => {
                trip.end(How::Unreachable(problem.to_string()));
                Err(Fault::Unreachable { target, problem })
            }
        }
    }

    async fn decide(
        &self,
        way: Way,
        shown: &str,
        target: Result<Authority, Misdirected>,
    ) -> Result<(Trip, (Authority, Cleared)), Fault> {
        let shown = match &target {
            Ok(target) => target.to_string(),
            Err(_) => shown.chars().take(MOST_SHOWN).flat_map(char::escape_default).collect(),
        };
        let judged = match target {
            Ok(target) => self.clear(&target).await.map(|cleared| (target, cleared)),
            Err(problem) => Err(problem.into()),
        };
        let trip = self.trips.fetch_add(1, Ordering::Relaxed);
        let verdict = verdict(&judged);
        let noted = self.parts.sink.decided(&Decision { trip, way, target: shown.clone(), verdict }).await;
        let judged = judged?;
        noted.map_err(Fault::Unnoted)?;
        Ok((Trip::new(trip, shown, Arc::clone(&self.parts.sink)), judged))
    }

    async fn clear(&self, target: &Authority) -> Result<Cleared, Fault> {
        let Parts { rules, ranges, resolver, .. } = &self.parts;
        rules.admit(target)?;
        let addresses = match &target.host {
            Host::Name(name) => self.look_up(name, target).await?,
            Host::Address(_) => Vec::new(),
        };
        Ok(judge(rules, ranges, target, &addresses, |address| resolver.is_own(address))?)
    }

    async fn look_up(&self, name: &str, target: &Authority) -> Result<Vec<IpAddr>, Fault> {
        let answer = async {
            // It is never closed.
            let _place = self.lookups.acquire().await;
            self.parts.resolver.resolve(name).await
        };
        match tokio::time::timeout(self.parts.limits.resolve, answer).await {
            Ok(found) => found.map_err(|problem| Fault::Unresolved { target: target.clone(), problem }),
            Err(_) => Err(Fault::ResolvedTooLate { target: target.clone() }),
        }
    }
}

fn verdict(judged: &Result<(Authority, Cleared), Fault>) -> Verdict {
    match judged {
        Ok((_, cleared)) => {
            Verdict::Allowed { addresses: cleared.addresses().iter().map(SocketAddr::ip).collect() }
        }
        Err(fault) => Verdict::Refused { reason: fault.to_string() },
    }
}
