//! The older families of routes: `/tools`, `/mcp-servers`, `/container-groups`, `/status`, in the words their callers
//! already use. One wire type takes every spelling; what it means is decided at the border of the API.

mod request;
mod status;
mod tool;

pub use request::{
    CompatMcpConfig, CompatPortMapping, CompatResources, DeployServersRequest, ExecRequestBody, ExecView,
    ExecuteRequest, ExecuteView, ScaleMcpServerRequest, ToolRequest,
};
pub use status::{
    CompatStatusView, DiskMetrics, HeartbeatView, McpServersView, MemoryMetrics, OauthStatusView,
    SystemMetrics, TransportDistribution,
};
pub use tool::{
    ContainerGroupView, DeployedServersView, DockerPort, DockerState, PortBinding, ToolDeployedView,
    ToolInstanceView, ToolListView, ToolRemovedView, ToolStateView,
};
