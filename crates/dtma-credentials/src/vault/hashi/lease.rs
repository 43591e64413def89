//! A token and how long it lives: what is to be done with it. Pure; time is an argument.

use super::reply::Term;
use secrecy::SecretString;
use std::time::Duration;
use tokio::time::Instant;

/// However short a lease is and whatever becomes of a renewal, there is so long between two.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a renewal that failed.
const AGAIN: Duration = Duration::from_secs(10);

/// A token as it was given.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) token: SecretString,
    term: Term,
    /// When the term began.
    since: Instant,
    /// The term at the login: renewals that become ever shorter come to its end.
    first: Option<Duration>,
    not_before: Instant,
}

/// What is to be done with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it can be used.
    Use,
    /// It can be used, and it is time to renew it.
    Renew,
    /// It has ended or will soon, and cannot be renewed.
    Login,
}

impl Lease {
    pub(super) fn new(token: SecretString, term: Term, now: Instant) -> Self {
        Self { token, term, since: now, first: term.lasts, not_before: now + PATIENCE }
    }

    /// The same token with a new term.
    pub(super) fn renewed(self, token: SecretString, term: Term, now: Instant) -> Self {
        Self { first: self.first, ..Self::new(token, term, now) }
    }

    pub(super) fn lives(&self, now: Instant) -> bool {
        self.term.lasts.is_none_or(|lasts| now < self.since + lasts)
    }

    /// There is neither a renewal nor another token for now.
    pub(super) fn later(&mut self, now: Instant) {
        self.not_before = now + AGAIN;
    }

    pub(super) fn step(&self, now: Instant) -> Step {
        let Some(lasts) = self.term.lasts else { return Step::Use };
        let is_dwindling = self.first.is_some_and(|first| lasts < first / 3);
        let can_renew = self.term.renewable && !is_dwindling;
        match self.due() {
            _ if !self.lives(now) => Step::Login,
            Some(due) if now < due => Step::Use,
            _ if can_renew => Step::Renew,
            _ => Step::Login,
        }
    }

    /// When something is to be done: after two thirds of the term.
    pub(super) fn due(&self) -> Option<Instant> {
        self.term.lasts.map(|lasts| (self.since + lasts * 2 / 3).max(self.not_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(seconds: u64, renewable: bool, now: Instant) -> Lease {
        let lasts = (seconds > 0).then(|| Duration::from_secs(seconds));
        Lease::new("t".into(), Term { lasts, renewable }, now)
    }

    #[test]
    fn a_token_is_renewed_at_two_thirds_and_given_up_at_its_end() {
        let now = Instant::now();
        let at = |lease: &Lease, seconds| lease.step(now + Duration::from_secs(seconds));
        let renewable = lease(90, true, now);
        assert_eq!(
            [59, 60, 89, 90].map(|s| at(&renewable, s)),
            [Step::Use, Step::Renew, Step::Renew, Step::Login]
        );
        let other = lease(90, false, now);
        assert_eq!([59, 60].map(|s| at(&other, s)), [Step::Use, Step::Login]);
        let endless = lease(0, true, now);
        assert_eq!((at(&endless, 1 << 30), endless.due()), (Step::Use, None));
    }

    #[test]
    fn renewals_that_become_shorter_end_with_a_login() {
        let now = Instant::now();
        let term = |seconds| Term { lasts: Some(Duration::from_secs(seconds)), renewable: true };
        let half = lease(90, true, now).renewed("t".into(), term(45), now);
        assert_eq!(half.step(now + Duration::from_secs(30)), Step::Renew);
        let short = half.renewed("t".into(), term(20), now);
        assert_eq!(short.step(now + Duration::from_secs(14)), Step::Login);
    }

    #[test]
    fn a_renewal_that_failed_waits() {
        let now = Instant::now();
        let mut lease = lease(90, true, now);
        let due = now + Duration::from_secs(60);
        lease.later(due);
        assert_eq!(lease.step(due + Duration::from_secs(9)), Step::Use);
        assert_eq!(lease.step(due + Duration::from_secs(10)), Step::Renew);
    }
}
