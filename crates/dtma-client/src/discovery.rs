//! What MCP servers offer, and what was approved of it.

use crate::client::Client;
use crate::error::Error;
use crate::query::{Query, escape};
use dtma_api_types::{ApproveRequest, ContractView, DiscoveryView};
use http::Method;

/// Which servers; what is absent fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiscoveryQuery {
    /// Only those of this group.
    pub group: Option<String>,
    /// Only this server.
    pub instance: Option<String>,
    /// Only those that offer a tool of this name.
    pub tool: Option<String>,
    /// Only those that declared this capability.
    pub capability: Option<String>,
}

fn path(instance: &str, rest: &str) -> String {
    format!("/mcp-servers/{}{rest}", escape(instance))
}

/// Each method fails with [`Error`]; what the daemon refuses is [`Error::Refused`].
impl Client {
    /// `GET /mcp-servers/discovery`: what MCP servers offer, or offered when they were last asked.
    pub async fn get_mcp_servers_discovery(&self, query: &DiscoveryQuery) -> Result<DiscoveryView, Error> {
        let DiscoveryQuery { group, instance, tool, capability } = query;
        let query = Query::default().with("group", group.as_ref()).with("instance", instance.as_ref());
        let query = query.with("tool", tool.as_ref()).with("capability", capability.as_ref());
        self.call(Method::GET, query.onto("/mcp-servers/discovery")).data().await
    }

    /// `GET /mcp-servers/{instanceName}/contract`: what was approved, and what differs since.
    pub async fn get_mcp_server_contract(&self, instance: &str) -> Result<ContractView, Error> {
        self.call(Method::GET, path(instance, "/contract")).data().await
    }

    /// `POST /mcp-servers/{instanceName}/contract/approve`: approves of what the server offers.
    pub async fn approve_mcp_server_contract(
        &self,
        instance: &str,
        body: &ApproveRequest,
    ) -> Result<ContractView, Error> {
        let call = self.call(Method::POST, path(instance, "/contract/approve"));
        call.json(body)?.data().await
    }
}
