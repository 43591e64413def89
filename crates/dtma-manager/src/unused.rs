//! Ends the sessions of MCP clients that are gone for good.

use crate::registry::Registry;
use dtma_mcp::UNUSED_INTERVALS;

/// Never does anything where sessions are kept for ever.
pub(crate) async fn end_for_ever(registry: &Registry) {
    let Some(idle) = registry.settings.session_idle else { return };
    loop {
        tokio::time::sleep(idle / UNUSED_INTERVALS).await;
        end(registry).await;
    }
}

async fn end(registry: &Registry) {
    let (doors, groups) = registry.doors();
    // First those of groups: they have sessions at the doors of servers.
    for group in groups {
        let ended = group.end_unused().await;
        if ended > 0 {
            tracing::info!(group = %group.group(), ended, "sessions that nobody used were ended");
        }
    }
    for door in doors {
        let ended = door.end_unused().await;
        if ended > 0 {
            tracing::info!(server = %door.instance(), ended, "sessions that nobody used were ended");
        }
    }
}
