//! What a server is told through its environment: what it is, and where it finds its way out and its dependencies.

use dtma_core::container::ContainerConnect;
use dtma_core::egress::PROXY_PORT;
use dtma_core::id::InstanceName;
use dtma_core::spec::{ServerKind, ServerSpec};
use std::collections::BTreeMap;

/// Programs read one spelling or the other, `curl` only the small one for plain HTTP.
const PROXY: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What a request may repeat and not contradict: others rely on it.
pub(crate) fn told(server: &ServerSpec) -> BTreeMap<String, String> {
    let addresses = connects(server)
        .into_iter()
        .rev()
        .map(|connect| (address_variable(&connect.instance), format!("127.0.0.1:{}", connect.local_port)));
    let ours = mcp(server).into_iter().chain(proxy(server));
    ours.map(|(name, value)| (name.to_owned(), value)).chain(addresses).collect()
}

/// What helps, unless the request says otherwise. Node takes no notice of a proxy without it.
pub(crate) fn suggested(server: &ServerSpec) -> impl Iterator<Item = (&'static str, &'static str)> {
    (!server.egress.is_empty()).then_some(("NODE_USE_ENV_PROXY", "1")).into_iter()
}

/// What it finds inside of its dependencies.
pub(crate) fn connects(server: &ServerSpec) -> Vec<ContainerConnect> {
    let inside = server.depends_on.iter().filter_map(|wanted| {
        let connect = wanted.connect?;
        let instance = wanted.instance.clone();
        Some(ContainerConnect { instance, port: connect.port, local_port: connect.local_port() })
    });
    inside.collect()
}

/// `MY_DB_ADDR` of `my-db`.
pub(crate) fn address_variable(instance: &InstanceName) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = instance.as_str().chars().map(upper).collect();
    // No shell knows a name that begins with a digit.
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    format!("{}{name}_ADDR", if digit { "_" } else { "" })
}

fn mcp(server: &ServerSpec) -> Vec<(&'static str, String)> {
    let ServerKind::Mcp(transport) = server.kind else { return Vec::new() };
    let endpoint = server.endpoint().unwrap_or_default();
    vec![
        ("MCP_TRANSPORT", transport.as_str().to_owned()),
        ("MCP_TRANSPORT_TYPE", transport.as_str().to_owned()),
        ("MCP_ENDPOINT", endpoint.to_owned()),
        ("MCP_ENDPOINT_PATH", endpoint.to_owned()),
        ("MCP_SERVER_NAME", server.instance.to_string()),
    ]
}

fn proxy(server: &ServerSpec) -> Vec<(&'static str, String)> {
    if server.egress.is_empty() {
        return Vec::new();
    }
    let way = PROXY.map(|name| (name, format!("http://127.0.0.1:{PROXY_PORT}")));
    let inside = NO_PROXY.map(|name| (name, "localhost,127.0.0.1,::1".to_owned()));
    way.into_iter().chain(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_one_to_a_shell_whatever_the_server_is_called() {
        for (instance, variable) in
            [("db", "DB_ADDR"), ("my-db.eu_1", "MY_DB_EU_1_ADDR"), ("9lives", "_9LIVES_ADDR")]
        {
            assert_eq!(address_variable(&instance.parse().unwrap()), variable);
        }
    }
}
