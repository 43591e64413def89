//! How much MCP clients may have of the servers: sessions, time, bytes.

use super::{File, Sources};
use crate::cli::{SettingArgs, time};
use dtma_mcp::{CallDeadline, Limits};
use std::time::Duration;

/// Never.
const OFF: &str = "off";
pub(crate) const MAX_SESSIONS: &str = "1024";
/// A person may be back the next morning.
pub(crate) const SESSION_IDLE: &str = "24h";
/// Clients have deadlines of their own, and cancel.
pub(crate) const CALL_TIMEOUT: &str = OFF;
pub(crate) const MAX_MESSAGE_MB: &str = "16";
const MOST_SESSIONS: usize = 100_000;
/// What the doors and the shims let through.
const MOST_MESSAGE_MB: usize = 16;
/// The longest that progress can make a call where nothing else is said, in timeouts.
const EXTENSION: u32 = 10;
/// Looked for eight times in that time.
const SHORTEST_IDLE: Duration = Duration::from_secs(1);
const SHORTEST_CALL: Duration = Duration::from_secs(1);

impl Sources<'_> {
    pub(super) fn mcp(&mut self, args: &SettingArgs, file: &File) -> Limits {
        let number =
            |said: &Option<String>, file: Option<u64>| said.clone().or(file.map(|count| count.to_string()));
        let sessions = number(&args.max_sessions, file.max_sessions);
        let message = number(&args.max_message_mb, file.max_message_mb);
        Limits {
            sessions: self.count("max_sessions", sessions, MAX_SESSIONS, MOST_SESSIONS),
            message: self.count("max_message_mb", message, MAX_MESSAGE_MB, MOST_MESSAGE_MB) << 20,
            deadline: self.deadline(args, file),
            ..Limits::default()
        }
    }

    /// `None`: sessions are kept for ever.
    pub(super) fn session_idle(&mut self, args: &SettingArgs, file: &File) -> Option<Duration> {
        let said = args.session_idle.clone().or(file.session_idle.clone());
        self.span("session_idle", said, SESSION_IDLE, SHORTEST_IDLE)
    }

    fn deadline(&mut self, args: &SettingArgs, file: &File) -> Option<CallDeadline> {
        let said = args.call_timeout.clone().or(file.call_timeout.clone());
        let quiet = self.span("call_timeout", said, CALL_TIMEOUT, SHORTEST_CALL);
        let longest = args.call_timeout_max.clone().or(file.call_timeout_max.clone());
        let longest = longest.and_then(|said| self.span("call_timeout_max", Some(said), OFF, SHORTEST_CALL));
        match (quiet, longest) {
            (Some(quiet), Some(longest)) if longest < quiet => {
                self.report(
                    "call_timeout_max",
                    format!("{longest:?} is shorter than call_timeout, {quiet:?}"),
                );
                None
            }
            (Some(quiet), longest) => {
                Some(CallDeadline { quiet, longest: longest.unwrap_or(quiet.saturating_mul(EXTENSION)) })
            }
            (None, Some(_)) => {
                self.report(
                    "call_timeout_max",
                    "it is for calls with a timeout: give --call-timeout too".to_owned(),
                );
                None
            }
            (None, None) => None,
        }
    }

    fn count(&mut self, id: &'static str, said: Option<String>, default: &str, most: usize) -> usize {
        let text = said.unwrap_or_else(|| default.to_owned());
        let count = text.parse().ok().filter(|count| (1..=most).contains(count));
        if count.is_none() {
            self.report(id, format!("{text:?} is not a number from 1 to {most}"));
        }
        count.unwrap_or(1)
    }

    fn span(
        &mut self,
        id: &'static str,
        said: Option<String>,
        default: &str,
        least: Duration,
    ) -> Option<Duration> {
        let text = said.unwrap_or_else(|| default.to_owned());
        if text == OFF {
            return None;
        }
        match time(&text) {
            Ok(time) if time >= least => return Some(time),
            Ok(_) => self.report(id, format!("{text:?} is shorter than {least:?}")),
            Err(problem) => self.report(id, format!("{text:?}: {problem}; or say {OFF}")),
        }
        None
    }
}
