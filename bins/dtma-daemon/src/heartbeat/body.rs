//! What a report says, in the words of its receiver.

use bytes::Bytes;
use dtma_api::ToolReport;
use dtma_api_types::compat::{SystemMetrics, ToolInstanceView};
use serde_json::{Value, json};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The whole report as JSON.
pub(super) fn body(tools: &[ToolReport], system: &SystemMetrics) -> Bytes {
    let tools: Vec<_> = tools.iter().map(tool).collect();
    json!({"dtma_version": VERSION, "system_status": system, "tool_statuses": tools}).to_string().into()
}

/// A server that the backend never heard of has no id of it; its name tells it.
fn tool(ToolReport { tool, state, word }: &ToolReport) -> Value {
    let mut details = json!({
        "container_id": tool.container_id,
        "image": tool.image,
        "started_at": tool.started_at,
        "state_details": state,
    });
    if tool.mcp_transport_type.is_some() {
        details["mcp"] = mcp(tool);
    }
    json!({
        "account_tool_instance_id": tool.account_tool_instance_id,
        "instance_name_on_toolbox": tool.instance_name_on_toolbox,
        "status_on_toolbox": word,
        "runtime_details": details,
    })
}

fn mcp(tool: &ToolInstanceView) -> Value {
    json!({
        "transport": tool.mcp_transport_type,
        "status": tool.mcp_status,
        "state": tool.mcp_state,
        "health": tool.mcp_health,
        "endpoint": tool.endpoint,
    })
}
