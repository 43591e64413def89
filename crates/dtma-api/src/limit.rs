//! How often somebody may ask: a bucket for each token (without tokens: for each address), and one for the wrong
//! tokens that come from an address.
//!
//! A bucket holds so many requests and fills up evenly again. What a request counts as is read from the route table:
//! what needs the scope `deploy` or more is a mutation, the gateway is the gateway, everything else a read.

use crate::auth::{Access, Scope};
use crate::error::ApiError;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Buckets kept at most of one kind. At the bound those that are full again are forgotten, else all: a crowd that big
/// is not held off by counting.
const MOST_BUCKETS: usize = 10_000;
/// The longest time a rate may speak of.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    most: u32,
    per: Duration,
}

impl Rate {
    /// `most` at once; a whole empty bucket fills up in `per`. `None` when either is zero, or `per` above a day.
    #[must_use]
    pub const fn new(most: u32, per: Duration) -> Option<Self> {
        if most == 0 || per.is_zero() || per.as_secs() > LONGEST.as_secs() {
            return None;
        }
        Some(Self { most, per })
    }

    /// When the bucket will be full after one more was taken, or how long to wait for it.
    pub(crate) fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let after = missing + self.per / self.most;
        if after > self.per { Err(after - self.per) } else { Ok(now + after) }
    }
}

/// A rate as people write it: `10/10s`, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<Rate>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let rate = text.split_once('/').and_then(|(most, per)| {
            let per = crate::duration::parse(per).ok()?;
            Rate::new(most.parse().ok()?, per)
        });
        rate.map(|rate| Self(Some(rate)))
            .ok_or_else(|| "it is neither COUNT/TIME such as 10/10s nor off".into())
    }
}

/// The limits there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of requests that change something.
    pub mutations: Limit,
    /// Of requests that look.
    pub reads: Limit,
    /// Of messages to MCP servers.
    pub gateway: Limit,
    /// Of wrong tokens, by address.
    pub failures: Limit,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            mutations: Limit(Rate::new(10, Duration::from_secs(10))),
            reads: Limit(None),
            gateway: Limit(None),
            failures: Limit(Rate::new(30, Duration::from_secs(60))),
        }
    }
}

impl Rates {
    /// Nothing is limited.
    #[must_use]
    pub fn off() -> Self {
        let off = Limit(None);
        Self { mutations: off, reads: off, gateway: off, failures: off }
    }
}

/// Whose bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    Token(Arc<str>),
    Peer(IpAddr),
}

/// Every bucket.
#[derive(Debug)]
pub(crate) struct Limiter {
    mutations: Option<Buckets<Asker>>,
    reads: Option<Buckets<Asker>>,
    gateway: Option<Buckets<Asker>>,
    failures: Option<Buckets<IpAddr>>,
    refusals: Option<Buckets<IpAddr>>,
}

/// Refusals of one address, and of one server on its way out, that get lines in their audit log: nobody who is refused
/// should be able to push everything else out of it.
pub(crate) const NOTED: Limit = Limit(Rate::new(60, Duration::from_secs(60)));

impl Limiter {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            mutations: Buckets::new(rates.mutations),
            reads: Buckets::new(rates.reads),
            gateway: Buckets::new(rates.gateway),
            failures: Buckets::new(rates.failures),
            refusals: Buckets::new(NOTED),
        }
    }

    /// Counts a request of somebody who may ask.
    pub(crate) fn admit(&self, access: Access, asker: impl FnOnce() -> Asker) -> Result<(), ApiError> {
        let (buckets, what) = match access {
            Access::Open => return Ok(()),
            Access::Needs(Scope::Gateway) => (&self.gateway, "messages to servers"),
            Access::Needs(Scope::Read) | Access::Redacted(_) => (&self.reads, "requests"),
            Access::Needs(Scope::Deploy | Scope::Credentials | Scope::Admin) => (&self.mutations, "changes"),
        };
        let Some(buckets) = buckets else { return Ok(()) };
        buckets.take(asker(), Instant::now()).map_err(|wait| ApiError::TooMany(what, wait))
    }

    /// Whoever sent too many wrong tokens is not listened to for a while, right or wrong; but on loopback, where
    /// every program has the same address, a right token is.
    pub(crate) fn may_try(&self, peer: IpAddr) -> Result<(), ApiError> {
        match &self.failures {
            Some(buckets) if !peer.is_loopback() => {
                let wait = buckets.look(&network(peer), Instant::now());
                wait.map_err(|wait| ApiError::TooMany(WRONG, wait))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// True when one more refusal of this address is worth a line.
    pub(crate) fn may_note(&self, peer: IpAddr) -> bool {
        let room = self.refusals.as_ref().map(|buckets| buckets.take(network(peer), Instant::now()));
        room.is_none_or(|taken| taken.is_ok())
    }

    /// Counts a wrong token.
    pub(crate) fn failed(&self, peer: IpAddr) -> Result<(), ApiError> {
        let Some(buckets) = &self.failures else { return Ok(()) };
        buckets.take(network(peer), Instant::now()).map_err(|wait| ApiError::TooMany(WRONG, wait))
    }
}

const WRONG: &str = "wrong tokens";

/// Whoever has one address of an IPv6 network has all of it.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// One bucket for each of many, all alike.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// None where nothing is limited.
    pub(crate) fn new(limit: Limit) -> Option<Self> {
        limit.0.map(|rate| Self { rate, full_at: Mutex::default() })
    }

    /// Takes one out of its bucket, or says how long to wait.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MOST_BUCKETS && !full_at.contains_key(&key) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= MOST_BUCKETS {
                full_at.clear();
            }
        }
        let at = self.rate.take(full_at.get(&key).copied(), now)?;
        full_at.insert(key, at);
        Ok(())
    }

    /// Whether one could be taken.
    fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.rate.take(full_at.get(key).copied(), now).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let rate = |most, secs| Ok(Limit(Rate::new(most, Duration::from_secs(secs))));
        assert_eq!("10/10s".parse::<Limit>(), rate(10, 10));
        assert_eq!("600/1m".parse::<Limit>(), rate(600, 60));
        assert_eq!("off".parse::<Limit>(), Ok(Limit(None)));
        for bad in ["", "10", "/10s", "0/10s", "10/0s", "-1/1s", "10/10y", "Off", "1/25h"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_emptied_at_once_and_fills_up_evenly() {
        let buckets = Buckets::new("10/10s".parse().unwrap()).unwrap();
        let take = |key| buckets.take(key, Instant::now());
        assert!((0..10).all(|_| take("a").is_ok()));
        assert_eq!(take("a"), Err(Duration::from_secs(1)));
        assert!(take("b").is_ok(), "another's bucket is another");
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert_eq!([take("a"), take("a")], [Ok(()), Ok(())]);
        assert_eq!(take("a"), Err(Duration::from_millis(500)));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!((0..10).all(|_| take("a").is_ok()) && take("a").is_err(), "it never holds more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_cannot_fill_the_memory() {
        let buckets = Buckets::new("1/1s".parse().unwrap()).unwrap();
        for key in 0..(3 * MOST_BUCKETS) {
            assert!(buckets.take(key, Instant::now()).is_ok());
        }
        assert!(buckets.full_at.lock().unwrap().len() <= MOST_BUCKETS);
    }

    #[tokio::test(start_paused = true)]
    async fn after_too_many_wrong_tokens_an_address_is_not_listened_to() {
        let limiter = Limiter::new(Rates { failures: "3/3s".parse().unwrap(), ..Rates::off() });
        let far: IpAddr = "203.0.113.9".parse().unwrap();
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        for peer in [far, near] {
            assert!((0..3).all(|_| limiter.failed(peer).is_ok()) && limiter.failed(peer).is_err(), "{peer}");
        }
        assert!(limiter.may_try(far).is_err(), "not even with a right token");
        assert!(limiter.may_try(near).is_ok(), "on loopback others have the same address");
        assert!(limiter.may_try("203.0.113.10".parse().unwrap()).is_ok());
        let neighbour = |last: &str| format!("2001:db8::{last}").parse::<IpAddr>().unwrap();
        assert!((1..=3).all(|n| limiter.failed(neighbour(&n.to_string())).is_ok()));
        assert!(limiter.may_try(neighbour("9")).is_err(), "one network, one bucket");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limiter.may_try(far).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_request_counts_as_is_read_from_its_scope() {
        let limiter = Limiter::new(Rates { mutations: "1/1s".parse().unwrap(), ..Rates::off() });
        let admit = |access| limiter.admit(access, || Asker::Token("ci".into())).is_ok();
        let (read, deploy) = (Access::Needs(Scope::Read), Access::Needs(Scope::Deploy));
        assert_eq!(
            [admit(deploy), admit(deploy), admit(read), admit(Access::Open)],
            [true, false, true, true]
        );
    }
}
