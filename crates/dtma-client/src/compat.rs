//! The older families of routes: one method for each of their operations.

use crate::client::Client;
use crate::error::Error;
use crate::operations::Mutation;
use crate::query::{Query, escape};
use dtma_api_types::ApplyView;
use dtma_api_types::compat::{
    CompatStatusView, ContainerGroupView, DeployedServersView, ExecRequestBody, ExecView, ExecuteRequest,
    ExecuteView, McpServersView, ScaleMcpServerRequest, ToolDeployedView, ToolListView, ToolRemovedView,
    ToolStateView,
};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What a command may take when its request does not say.
const DEFAULT_COMMAND: Duration = Duration::from_secs(30);

/// Each method fails with [`Error`]; what the daemon refuses is [`Error::Refused`].
impl Client {
    async fn changed<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        options: &Mutation,
    ) -> Result<T, Error> {
        let path = options.wait.query(Query::default()).onto(path);
        self.call(method, path).patience(options.wait.patience()).data().await
    }

    async fn made<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        options: &Mutation,
    ) -> Result<T, Error> {
        let path = options.wait.query(Query::default()).onto(path);
        self.call(Method::POST, path).json(body)?.patience(options.wait.patience()).data().await
    }

    /// `GET /status`: the daemon and everything on it; without a token only a summary.
    pub async fn get_daemon_status(&self) -> Result<CompatStatusView, Error> {
        self.call(Method::GET, "/status").data().await
    }

    /// `POST /tools`: deploys a tool or an MCP server. `body` is a
    /// [`ToolRequest`](dtma_api_types::compat::ToolRequest) or a document that should be one.
    pub async fn deploy_tool(
        &self,
        body: &impl Serialize,
        options: &Mutation,
    ) -> Result<ToolDeployedView, Error> {
        self.made("/tools", body, options).await
    }

    /// `GET /tools`: every tool and MCP server.
    pub async fn list_tools(&self) -> Result<ToolListView, Error> {
        self.call(Method::GET, "/tools").data().await
    }

    /// `GET /tools/status`: the same.
    pub async fn get_tools_status(&self) -> Result<ToolListView, Error> {
        self.call(Method::GET, "/tools/status").data().await
    }

    /// `DELETE /tools/{name}`: removes a tool by its name or the caller's own id of it.
    pub async fn remove_tool(&self, name: &str, options: &Mutation) -> Result<ToolRemovedView, Error> {
        self.changed(Method::DELETE, &format!("/tools/{}", escape(name)), options).await
    }

    /// `POST /tools/{name}/start`: starts a stopped tool.
    pub async fn start_tool(&self, name: &str, options: &Mutation) -> Result<ToolStateView, Error> {
        self.changed(Method::POST, &format!("/tools/{}/start", escape(name)), options).await
    }

    /// `POST /tools/{name}/stop`: stops a tool until somebody starts it.
    pub async fn stop_tool(&self, name: &str, options: &Mutation) -> Result<ToolStateView, Error> {
        self.changed(Method::POST, &format!("/tools/{}/stop", escape(name)), options).await
    }

    /// `POST /tools/{name}/execute`: executes a capability of a tool.
    pub async fn execute_tool(&self, name: &str, request: &ExecuteRequest) -> Result<ExecuteView, Error> {
        let time = request.timeout_ms.map_or(DEFAULT_COMMAND, Duration::from_millis);
        let path = format!("/tools/{}/execute", escape(name));
        self.call(Method::POST, path).json(request)?.patience(time).data().await
    }

    /// `POST /mcp/servers/{instanceName}/exec`: runs a command in a server's container.
    pub async fn exec_server(&self, instance: &str, request: &ExecRequestBody) -> Result<ExecView, Error> {
        let time = request.timeout_ms.map_or(DEFAULT_COMMAND, Duration::from_millis);
        let path = format!("/mcp/servers/{}/exec", escape(instance));
        self.call(Method::POST, path).json(request)?.patience(time).data().await
    }

    /// `POST /mcp-servers`: deploys one MCP server.
    pub async fn deploy_mcp_server(
        &self,
        body: &impl Serialize,
        options: &Mutation,
    ) -> Result<ToolDeployedView, Error> {
        self.made("/mcp-servers", body, options).await
    }

    /// `POST /mcp-servers/deploy`: deploys many MCP servers as one group.
    pub async fn deploy_mcp_servers(
        &self,
        body: &impl Serialize,
        options: &Mutation,
    ) -> Result<DeployedServersView, Error> {
        self.made("/mcp-servers/deploy", body, options).await
    }

    /// `GET /mcp-servers/status`: every MCP server.
    pub async fn get_mcp_servers_status(&self) -> Result<McpServersView, Error> {
        self.call(Method::GET, "/mcp-servers/status").data().await
    }

    /// `PUT /mcp-servers/scale`: another number of replicas for an MCP server.
    pub async fn scale_mcp_server(
        &self,
        body: &ScaleMcpServerRequest,
        options: &Mutation,
    ) -> Result<ApplyView, Error> {
        let path = options.wait.query(Query::default()).onto("/mcp-servers/scale");
        self.call(Method::PUT, path).json(body)?.patience(options.wait.patience()).data().await
    }

    /// `DELETE /mcp-servers/{id}`: removes an MCP server by its name or the caller's own id of it.
    pub async fn remove_mcp_server(&self, id: &str, options: &Mutation) -> Result<ToolRemovedView, Error> {
        self.changed(Method::DELETE, &format!("/mcp-servers/{}", escape(id)), options).await
    }

    /// `POST /container-groups`: deploys a group.
    pub async fn create_container_group(
        &self,
        body: &impl Serialize,
        options: &Mutation,
    ) -> Result<DeployedServersView, Error> {
        self.made("/container-groups", body, options).await
    }

    /// `GET /container-groups/{id}`: one group.
    pub async fn get_container_group(&self, id: &str) -> Result<ContainerGroupView, Error> {
        self.call(Method::GET, format!("/container-groups/{}", escape(id))).data().await
    }

    /// `PUT /container-groups/{id}/restart`: restarts every running server of a group.
    pub async fn restart_container_group(
        &self,
        id: &str,
        options: &Mutation,
    ) -> Result<ContainerGroupView, Error> {
        self.changed(Method::PUT, &format!("/container-groups/{}/restart", escape(id)), options).await
    }
}
