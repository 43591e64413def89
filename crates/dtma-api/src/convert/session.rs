//! How an MCP server's clients share it: one word, or the whole.

use super::Finder;
use super::number::Numbers;
use dtma_api_types::{SessionMode as WireMode, SessionRequest, SessionRules};
use dtma_core::spec::{SessionMode, SessionSpec};
use std::time::Duration;

/// Most containers that sessions of one server may have.
const MOST: u64 = 256;
/// A week, in seconds.
const LONGEST_IDLE: u64 = 7 * 24 * 3600;

pub(super) fn convert(wire: SessionRequest, finder: &mut Finder<'_>) -> SessionSpec {
    match wire {
        SessionRequest::Mode(mode) => SessionSpec { mode: self::mode(mode), ..SessionSpec::default() },
        SessionRequest::Rules(rules) => self::rules(&rules, finder),
    }
}

fn rules(wire: &SessionRules, finder: &mut Finder<'_>) -> SessionSpec {
    let idle: Option<u64> = finder.at("idleTimeoutSecs").within(wire.idle_timeout_secs, 1, LONGEST_IDLE);
    SessionSpec {
        mode: wire.mode.map_or_else(SessionMode::default, mode),
        max: finder.at("max").within(wire.max.map(u64::from), 1, MOST),
        idle_timeout: idle.map(Duration::from_secs),
        spares: finder.at("spares").within(wire.spares.map(u64::from), 0, MOST),
    }
}

fn mode(wire: WireMode) -> SessionMode {
    match wire {
        WireMode::Shared => SessionMode::Shared,
        WireMode::PerSession => SessionMode::PerSession,
    }
}
