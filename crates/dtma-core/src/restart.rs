//! Whether and when a server that exited starts again: a pure function of policy, history and nothing else, so that
//! the answer is the same before and after a restart of the daemon.

use crate::Timestamp;
use crate::history::Exit;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How exits are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// Restarts allowed within [`interval`](Self::interval); 0 means never.
    pub attempts: u32,
    /// The window in which attempts are counted.
    pub interval: Duration,
    /// Delay before the second restart of a streak (the first is immediate); doubles from there.
    pub delay: Duration,
    /// The delay never grows past this (a jitter of up to a tenth is added on top).
    pub max_delay: Duration,
    /// A run of at least this length ends the streak: the next restart is immediate again.
    pub clean_run: Duration,
    /// What happens when the attempts are used up.
    pub mode: RestartMode,
}

/// What happens when the attempts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartMode {
    /// The server is `failed` until a person restarts it.
    #[default]
    Fail,
    /// It waits until the window has room again.
    Delay,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            interval: Duration::from_secs(600),
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(300),
            clean_run: Duration::from_secs(600),
            mode: RestartMode::Fail,
        }
    }
}

/// The answer to an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start at this time (or at once, when it has passed).
    StartAt {
        /// When.
        due: Timestamp,
        /// Which restart of the streak, from 1; 0 when nothing counted stands before it.
        attempt: u32,
    },
    /// The attempts are used up.
    GiveUp {
        /// Exits counted in the window.
        exits: u32,
    },
}

/// Decides on the counted exits of a server, oldest first, of which the last has not been answered yet. The window
/// ends at the last exit, not at the present, so giving up is final until a person resets the budget. `seed`
/// spreads the delays of different servers.
#[must_use]
pub fn decide(policy: &RestartPolicy, exits: &[Exit], seed: u64) -> Decision {
    let Some(last) = exits.last() else {
        return Decision::StartAt { due: Timestamp::UNIX_EPOCH, attempt: 0 };
    };
    let streak = streak(policy, exits);
    let window: Vec<&Exit> = exits[exits.len() - streak..]
        .iter()
        .filter(|exit| after(exit.at, policy.interval) > last.at)
        .collect();
    let backoff = after(last.at, backoff(policy, streak, seed));
    let attempt = u32::try_from(streak).unwrap_or(u32::MAX);
    if window.len() <= policy.attempts as usize {
        return Decision::StartAt { due: backoff, attempt };
    }
    match (policy.mode, window.get(window.len() - policy.attempts as usize)) {
        (RestartMode::Delay, Some(oldest)) => {
            Decision::StartAt { due: backoff.max(after(oldest.at, policy.interval)), attempt }
        }
        (RestartMode::Delay, None) | (RestartMode::Fail, _) => {
            Decision::GiveUp { exits: u32::try_from(window.len()).unwrap_or(u32::MAX) }
        }
    }
}

/// How many exits stand since the last clean run, the exit that ended it included.
fn streak(policy: &RestartPolicy, exits: &[Exit]) -> usize {
    let since_clean = exits.iter().rev().position(|exit| exit.ran_for() >= policy.clean_run);
    since_clean.map_or(exits.len(), |before| before + 1)
}

fn backoff(policy: &RestartPolicy, streak: usize, seed: u64) -> Duration {
    if streak <= 1 {
        return Duration::ZERO;
    }
    exponential(policy.delay, policy.max_delay, streak - 2, seed)
}

/// `base * 2^step`, at most `max`, plus up to a tenth of jitter drawn from `seed` and `step`.
#[must_use]
pub fn exponential(base: Duration, max: Duration, step: usize, seed: u64) -> Duration {
    let factor = 1_u32.checked_shl(u32::try_from(step).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
    let delay = base.saturating_mul(factor).min(max);
    delay + delay.mul_f64(0.1 * fraction(seed ^ step as u64))
}

/// Spreads a seed evenly over `0.0..1.0` (splitmix64, Steele et al. 2014).
fn fraction(seed: u64) -> f64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// `at + wait`, at the end of time when that overflows.
#[must_use]
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunKey;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Runs given as (started, ended) in seconds.
    fn exits(runs: &[(i64, i64)]) -> Vec<Exit> {
        let exit = |(start, end): &(i64, i64)| Exit {
            run: RunKey { container: "c".into(), started_at: at(*start) },
            at: at(*end),
            code: 1,
            oom: false,
            asked: false,
            config: None,
        };
        runs.iter().map(exit).collect()
    }

    #[track_caller]
    fn check(policy: RestartPolicy, runs: &[(i64, i64)], low: i64, high: i64) {
        match decide(&policy, &exits(runs), 7) {
            Decision::StartAt { due, .. } => assert!(due >= at(low) && due <= at(high), "due {due}"),
            Decision::GiveUp { exits } => panic!("gave up after {exits}"),
        }
    }

    #[test]
    fn the_first_restart_is_immediate_and_then_the_delay_doubles() {
        let policy = RestartPolicy::default();
        check(policy, &[(0, 5)], 5, 5);
        check(policy, &[(0, 5), (5, 6)], 7, 8);
        check(policy, &[(0, 5), (5, 6), (7, 8)], 10, 11);
        check(policy, &[(0, 5), (5, 6), (7, 8), (10, 11)], 15, 16);
    }

    #[test]
    fn a_clean_run_makes_the_next_restart_immediate() {
        check(RestartPolicy::default(), &[(0, 1), (1, 2), (3, 700)], 700, 700);
        check(RestartPolicy::default(), &[(0, 1), (1, 2), (3, 700), (700, 701)], 702, 703);
    }

    #[test]
    fn the_sixth_exit_in_ten_minutes_gives_up_for_good() {
        let runs: Vec<_> = (0..6).map(|n| (n * 10, n * 10 + 1)).collect();
        let policy = RestartPolicy::default();
        assert_eq!(decide(&policy, &exits(&runs), 7), Decision::GiveUp { exits: 6 });
        check(RestartPolicy { mode: RestartMode::Delay, ..policy }, &runs, 611, 611);
        check(policy, &runs[..5], 49, 50);
    }

    #[test]
    fn old_exits_leave_the_window() {
        let runs: Vec<_> = (0..6).map(|n| (n * 200, n * 200 + 1)).collect();
        check(RestartPolicy::default(), &runs, 1001, 1001 + 18);
    }

    #[test]
    fn no_attempts_means_never() {
        let policy = RestartPolicy { attempts: 0, ..RestartPolicy::default() };
        assert_eq!(decide(&policy, &exits(&[(0, 1)]), 7), Decision::GiveUp { exits: 1 });
        let delay = RestartPolicy { mode: RestartMode::Delay, ..policy };
        assert_eq!(decide(&delay, &exits(&[(0, 1)]), 7), Decision::GiveUp { exits: 1 });
    }

    #[test]
    fn the_delay_is_capped_and_jitter_differs_by_server() {
        let cap = |seed| exponential(Duration::from_secs(1), Duration::from_secs(300), 40, seed);
        assert!(cap(1) >= Duration::from_secs(300) && cap(1) <= Duration::from_secs(330));
        assert_ne!(cap(1), cap(2));
    }
}
