//! The published protocol versions: those that begin with a handshake, and the one that does not.

/// Handshake-era versions, oldest first. Their order as text is their order in time.
pub const HANDSHAKE_ERA: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The newest of them: what is asked of a server.
pub const LATEST: &str = "2025-11-25";

/// The version without a handshake: each request says itself what one would have said.
pub const STATELESS: &str = "2026-07-28";

/// The only version that knows JSON-RPC batches.
pub const BATCHING: &str = "2025-03-26";

/// From this version on the stream of a GET may begin with an event that has an id and no message.
pub(crate) const PRIMING: &str = "2025-11-25";

/// True for a published handshake-era version; also what the `MCP-Protocol-Version` header may say.
#[must_use]
pub fn is_known(version: &str) -> bool {
    HANDSHAKE_ERA.contains(&version)
}

/// What a client is told: the older of what it asked for and what the server agreed to. A client that asks for
/// something unknown gets what the server agreed to and may leave.
#[must_use]
pub fn agree<'a>(asked: &'a str, server: &'a str) -> &'a str {
    if is_known(asked) { asked.min(server) } else { server }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_older_of_both_versions() {
        for (asked, server, told) in [
            ("2025-11-25", "2025-06-18", "2025-06-18"),
            ("2024-11-05", "2025-11-25", "2024-11-05"),
            ("2025-03-26", "2025-03-26", "2025-03-26"),
            ("2026-07-28", "2025-11-25", "2025-11-25"),
            ("", "2024-11-05", "2024-11-05"),
        ] {
            assert_eq!(agree(asked, server), told, "asked {asked}, server {server}");
        }
    }

    #[test]
    fn the_latest_is_the_last() {
        assert_eq!(HANDSHAKE_ERA.last(), Some(&LATEST));
        assert!(HANDSHAKE_ERA.is_sorted() && is_known(BATCHING));
    }
}
