//! From the older words to the canonical request.

use super::docker::{self, Place};
use super::label;
use super::notes::Notes;
use dtma_api_types::compat::{CompatResources, DeployServersRequest, ToolRequest};
use dtma_api_types::{GroupRequest, Kind, Publish, Resources, ServerRequest, Transport};
use dtma_core::violation::{Violation, pointer_token};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Through which door the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `/tools`: an MCP server when an MCP field is there.
    Tools,
    /// `/mcp-servers` and `/container-groups`: always an MCP server, unless it says otherwise.
    McpServers,
}

/// The words `mcpConfig` and the like may have inside `baseConfigOverrideJson`; everything else there is Docker's.
const HOISTED: [&str; 11] = [
    "dockerImage",
    "mcpServerType",
    "mcpTransport",
    "mcpTransportType",
    "mcpCapabilities",
    "mcpServerCapabilities",
    "mcpEndpoint",
    "mcpEndpointPath",
    "mcpDiscoveryMetadata",
    "mcp_config",
    "oauthConnectionIds",
];
/// What every route after the first says of credentials.
const NO_CREDENTIALS: &str = "credentials are not injected yet: the server starts without them";

/// A tool alone: a group of one that bears its name.
pub(crate) fn tool(request: ToolRequest, family: Family, notes: &mut Notes) -> GroupRequest {
    notes.place("/servers/0", "");
    let server = server(request, family, &Place { theirs: "", ours: "/servers/0" }, notes);
    notes.place("/groupId", "/instanceNameOnToolbox");
    GroupRequest { group_id: server.instance_name.clone(), servers: vec![server], ..GroupRequest::default() }
}

/// Many servers.
pub(crate) fn group(request: DeployServersRequest, notes: &mut Notes) -> GroupRequest {
    let (field, wire) = match (request.mcp_servers, request.servers) {
        (Some(servers), _) => ("mcpServers", servers),
        (None, Some(servers)) => ("servers", servers),
        (None, None) => {
            notes.miss("/mcpServers".into(), "the field \"mcpServers\" is missing");
            ("mcpServers", Vec::new())
        }
    };
    if request.network_config.is_some() {
        notes.warn("/networkConfig".into(), "compat.no-effect", "networks follow from the servers");
    }
    let mut servers = Vec::new();
    for (index, mut one) in wire.into_iter().enumerate() {
        one.resource_limits = one.resource_limits.or_else(|| request.resource_limits.clone());
        one.credential_requirements =
            one.credential_requirements.or_else(|| request.credential_requirements.clone());
        let (theirs, ours) = (format!("/{field}/{index}"), format!("/servers/{index}"));
        notes.place(&*ours, &*theirs);
        servers.push(server(one, Family::McpServers, &Place { theirs: &theirs, ours: &ours }, notes));
    }
    notes.place("/servers", format!("/{field}"));
    let group_id = request.group_id.or(request.id).unwrap_or_else(|| named_after(&servers));
    GroupRequest { group_id, servers, ..GroupRequest::default() }
}

/// The same servers have the same group, so that asking again is asking the same.
fn named_after(servers: &[ServerRequest]) -> String {
    let mut names: Vec<&str> = servers.iter().map(|server| server.instance_name.as_str()).collect();
    names.sort_unstable();
    let digest = Sha256::digest(names.join("\n"));
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("mcp-{hex}")
}

fn server(mut wire: ToolRequest, family: Family, at: &Place<'_>, notes: &mut Notes) -> ServerRequest {
    let mut base = wire.base_config_override_json.take().unwrap_or_default();
    let inner = hoist(&mut base, at, notes);
    let mut reader = Reader { at, notes };
    reader.needed(&wire);
    let said = reader.said(&wire, &inner, family);
    let mut server = ServerRequest {
        instance_name: reader.name(&wire),
        image: reader.image(&wire, &inner),
        command: wire.command.take(),
        args: wire.args.take(),
        environment: reader.environment(&mut wire),
        publish: reader.publish(&wire, &mut base),
        resources: wire.resource_limits.take().map(|limits| resources(&limits)),
        labels: reader.labels(&wire, &inner, &said),
        ..ServerRequest::default()
    };
    reader.kind(&mut server, &said);
    reader.remarks(&wire, &inner, &server);
    if !base.is_empty() {
        reader.notes.place(format!("{}/overrides", at.ours), format!("{}/baseConfigOverrideJson", at.theirs));
        server.overrides = Some(base);
    }
    server
}

/// Takes the MCP words out of Docker's.
fn hoist(base: &mut Map<String, Value>, at: &Place<'_>, notes: &mut Notes) -> ToolRequest {
    let mut words = Map::new();
    for name in HOISTED {
        words.extend(base.remove(name).map(|value| (name.to_owned(), value)));
    }
    if let Some(Value::Object(config)) = base.remove("mcpConfig") {
        for (name, word) in [("transport", "mcpTransport"), ("endpoint", "mcpEndpoint")] {
            if let Some(value) = config.get(name).filter(|value| value.is_string()) {
                words.entry(word).or_insert_with(|| value.clone());
            }
        }
        let pointer = format!("{}/baseConfigOverrideJson/mcpConfig", at.theirs);
        notes.warn(pointer, "compat.no-effect", "only transport and endpoint are read from mcpConfig");
    }
    serde_json::from_value(Value::Object(words)).unwrap_or_else(|problem| {
        let pointer = format!("{}/baseConfigOverrideJson", at.theirs);
        notes.break_rule(Violation::new(pointer, "override.type", problem.to_string()));
        ToolRequest::default()
    })
}

fn resources(limits: &CompatResources) -> Resources {
    Resources { memory: limits.memory.clone(), cpus: limits.cpus.or(limits.cpu), pids: limits.pids }
}

/// What is said of MCP.
struct Said {
    mcp: bool,
    /// As it is called here; `None` for one that is not known.
    transport: Option<&'static str>,
    endpoint: Option<String>,
}

struct Reader<'a> {
    at: &'a Place<'a>,
    notes: &'a mut Notes,
}

impl Reader<'_> {
    fn theirs(&self, field: &str) -> String {
        format!("{}/{field}", self.at.theirs)
    }

    /// The first spelling that is there; a second one must not say something else.
    fn choose<T: PartialEq + Clone>(
        &mut self,
        canonical: &str,
        spellings: &[(&str, &Option<T>)],
    ) -> Option<T> {
        let mut given = spellings.iter().filter_map(|(field, value)| Some((*field, value.as_ref()?)));
        let (field, chosen) = given.next()?;
        for (other, _) in given.filter(|(_, value)| *value != chosen) {
            let message = format!("{other} says something else than {field}");
            self.notes.break_rule(Violation::new(self.theirs(other), "compat.contradiction", message));
        }
        self.notes.place(format!("{}{canonical}", self.at.ours), self.theirs(field));
        Some(chosen.clone())
    }

    /// What the original refused to do without.
    fn needed(&mut self, wire: &ToolRequest) {
        let originals = wire.docker_image_url.is_some() || wire.instance_name_on_toolbox.is_some();
        let empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if originals && empty(&wire.account_tool_instance_id) {
            let pointer = self.theirs("accountToolInstanceId");
            self.notes.miss(pointer, "the field \"accountToolInstanceId\" is missing");
        }
    }

    fn name(&mut self, wire: &ToolRequest) -> String {
        let spellings = [
            ("instanceNameOnToolbox", &wire.instance_name_on_toolbox),
            ("tool_name", &wire.tool_name),
            ("instanceName", &wire.instance_name),
        ];
        let name = self.choose("/instanceName", &spellings).filter(|name| !name.is_empty());
        name.unwrap_or_else(|| self.absent("instanceNameOnToolbox"))
    }

    /// What is said among the overrides wins: that is what they are for.
    fn image(&mut self, wire: &ToolRequest, inner: &ToolRequest) -> String {
        if let Some(image) = &inner.docker_image {
            let theirs = self.theirs("baseConfigOverrideJson/dockerImage");
            self.notes.place(format!("{}/image", self.at.ours), theirs);
            return image.clone();
        }
        let spellings = [
            ("dockerImageUrl", &wire.docker_image_url),
            ("dockerImage", &wire.docker_image),
            ("docker_image", &wire.docker_image_snake),
            ("image", &wire.image),
        ];
        let image = self.choose("/image", &spellings).filter(|image| !image.is_empty());
        image.unwrap_or_else(|| self.absent("dockerImageUrl"))
    }

    fn absent(&mut self, field: &str) -> String {
        let pointer = self.theirs(field);
        self.notes.miss(pointer, &format!("the field {field:?} is missing"));
        String::new()
    }

    fn said(&mut self, wire: &ToolRequest, inner: &ToolRequest, family: Family) -> Said {
        let config =
            [&inner.mcp_config, &wire.mcp_config].into_iter().flatten().next().cloned().unwrap_or_default();
        let transport = first([&inner.mcp_transport, &inner.mcp_transport_type]).or_else(|| {
            self.choose(
                "/transport",
                &[
                    ("mcpTransportType", &wire.mcp_transport_type),
                    ("mcpTransport", &wire.mcp_transport),
                    ("transport", &wire.transport),
                    ("mcp_config/transport", &config.transport),
                ],
            )
        });
        let endpoint = first([&inner.mcp_endpoint, &inner.mcp_endpoint_path]).or_else(|| {
            self.choose(
                "/labels/dtma.mcp-endpoint-path",
                &[
                    ("mcpEndpointPath", &wire.mcp_endpoint_path),
                    ("mcpEndpoint", &wire.mcp_endpoint),
                    ("endpointPath", &wire.endpoint_path),
                    ("mcp_config/endpoint_path", &config.endpoint_path),
                ],
            )
        });
        let kind = first([&inner.mcp_server_type, &wire.mcp_server_type]);
        let mcp = match kind.as_deref() {
            Some("standard_tool" | "tool") => false,
            Some(_) => true,
            None => {
                family == Family::McpServers
                    || transport.is_some()
                    || endpoint.is_some()
                    || has_capabilities(wire, inner)
            }
        };
        Said { mcp, transport: self.transport(transport.as_deref().unwrap_or("stdio")), endpoint }
    }

    fn transport(&mut self, word: &str) -> Option<&'static str> {
        let known = match word.to_ascii_lowercase().replace('_', "-").as_str() {
            "stdio" => "stdio",
            "sse" | "http+sse" => "sse",
            "websocket" | "ws" => "websocket",
            "streamable-http" | "http" => "streamable-http",
            _ => {
                let shown: String = word.chars().take(40).collect();
                let message = format!("{shown:?} is none of stdio, sse, websocket, streamable-http");
                let pointer = self.theirs("mcpTransportType");
                self.notes.break_rule(Violation::new(pointer, "transport.unknown", message));
                return None;
            }
        };
        Some(known)
    }

    fn environment(&mut self, wire: &mut ToolRequest) -> BTreeMap<String, String> {
        let spellings = [
            ("environmentVariables", &wire.environment_variables),
            ("environment_variables", &wire.environment_variables_snake),
        ];
        self.choose("/environment", &spellings).unwrap_or_default()
    }

    fn publish(&mut self, wire: &ToolRequest, base: &mut Map<String, Value>) -> Vec<Publish> {
        let theirs = self.theirs("baseConfigOverrideJson");
        let mut publish =
            docker::take_apart(base, &Place { theirs: &theirs, ours: self.at.ours }, self.notes);
        let mut more = Vec::new();
        for (index, mapping) in wire.port_mappings.iter().flatten().enumerate() {
            more.push((
                self.theirs(&format!("port_mappings/{index}")),
                Publish { host_port: mapping.external, container_port: mapping.internal },
            ));
        }
        for (theirs, one) in more {
            let ours = format!("{}/publish/{}", self.at.ours, publish.len());
            self.notes.place(format!("{ours}/hostPort"), format!("{theirs}/external"));
            self.notes.place(format!("{ours}/containerPort"), format!("{theirs}/internal"));
            self.notes.place(ours, theirs);
            publish.push(one);
        }
        if let (true, Some(bindings)) = (publish.is_empty(), &wire.port_bindings) {
            let theirs = self.theirs("portBindings");
            return docker::port_bindings(
                bindings,
                &Place { theirs: &theirs, ours: self.at.ours },
                self.notes,
            );
        }
        publish
    }

    /// A server that is spoken to over a port, and names none, runs like a tool.
    fn kind(&mut self, server: &mut ServerRequest, said: &Said) {
        if !said.mcp {
            server.kind = Some(Kind::Tool);
        } else if said.transport.is_none_or(|transport| transport == "stdio") {
            server.transport = Some(Transport::Stdio);
            server.network = (!server.publish.is_empty()).then_some(dtma_api_types::Network::Group);
        } else if let Some(port) = server.publish.first().map(|publish| publish.container_port) {
            server.transport = said.transport.and_then(transport);
            server.port = Some(port);
            server.endpoint_path = said.endpoint.clone();
            self.notes.place(format!("{}/endpointPath", self.at.ours), self.theirs("mcpEndpointPath"));
        } else {
            self.by_port(server, said);
        }
    }

    fn by_port(&mut self, server: &mut ServerRequest, said: &Said) {
        let transport = said.transport.unwrap_or("stdio");
        server.kind = Some(Kind::Tool);
        let endpoint = said.endpoint.clone().unwrap_or_else(|| "/mcp".to_owned());
        let ours = [
            ("MCP_TRANSPORT", transport),
            ("MCP_TRANSPORT_TYPE", transport),
            ("MCP_ENDPOINT", &endpoint),
            ("MCP_ENDPOINT_PATH", &endpoint),
            ("MCP_SERVER_NAME", &server.instance_name),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in ours {
            server.environment.entry(name).or_insert(value);
        }
        let message = format!("no port is named on which the server speaks {transport}: it runs as a tool");
        let pointer = self.theirs("mcpTransportType");
        self.notes.warn(pointer, "transport.by-port", message);
    }

    fn labels(&mut self, wire: &ToolRequest, inner: &ToolRequest, said: &Said) -> BTreeMap<String, String> {
        let config = wire.mcp_config.as_ref().or(inner.mcp_config.as_ref());
        let capabilities =
            [&inner.mcp_server_capabilities, &inner.mcp_capabilities, &wire.mcp_server_capabilities];
        let capabilities = capabilities.into_iter().chain([&wire.mcp_capabilities]).flatten().next();
        let capabilities = capabilities.or_else(|| config?.capabilities.as_ref());
        let metadata = wire.mcp_discovery_metadata.as_ref().or(inner.mcp_discovery_metadata.as_ref());
        let list = |list: &Option<Vec<Value>>| list.as_ref().map(|list| Value::from(list.clone()));
        let oauth = wire.oauth_connection_ids.as_ref().or(inner.oauth_connection_ids.as_ref());
        let carried = [
            (label::ACCOUNT_ID, "accountToolInstanceId", wire.account_tool_instance_id.clone()),
            (
                label::TRANSPORT,
                "mcpTransportType",
                said.mcp.then(|| said.transport.unwrap_or("stdio").to_owned()),
            ),
            (label::ENDPOINT, "mcpEndpointPath", said.endpoint.clone()),
            (label::CAPABILITIES, "mcpServerCapabilities", capabilities.map(Value::to_string)),
            (label::METADATA, "mcpDiscoveryMetadata", metadata.map(Value::to_string)),
            (label::OAUTH, "oauthConnectionIds", oauth.map(|ids| ids.join(","))),
            (
                label::PROVIDERS,
                "requiredOAuthProviders",
                list(&wire.required_oauth_providers).map(|v| v.to_string()),
            ),
            (
                label::CREDENTIALS,
                "credentialRequirements",
                list(&wire.credential_requirements).map(|v| v.to_string()),
            ),
        ];
        let mut labels = BTreeMap::new();
        for (key, field, value) in carried {
            let Some(value) = value else { continue };
            let ours = format!("{}/labels/{}", self.at.ours, pointer_token(key));
            self.notes.place(ours, self.theirs(field));
            labels.insert(key.to_owned(), value);
        }
        labels
    }

    fn remarks(&mut self, wire: &ToolRequest, inner: &ToolRequest, server: &ServerRequest) {
        let some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let oauth =
            wire.oauth_connection_ids.iter().chain(&inner.oauth_connection_ids).any(|ids| !ids.is_empty());
        let health = [wire.health_check_interval.is_some(), wire.health_check_timeout.is_some()];
        let breaker = [wire.failure_threshold.is_some(), wire.recovery_threshold.is_some()];
        let no_probe = "health is judged by the daemon's own means";
        let remarks = [
            ("oauthConnectionIds", oauth, NO_CREDENTIALS),
            ("requiredOAuthProviders", some(&wire.required_oauth_providers), NO_CREDENTIALS),
            ("credentialRequirements", some(&wire.credential_requirements), NO_CREDENTIALS),
            ("networkConfig", wire.network_config.is_some(), "networks follow from the servers"),
            ("healthCheckUrl", wire.health_check_url.is_some(), no_probe),
            ("healthCheckInterval", health.contains(&true), no_probe),
            (
                "circuitBreakerEnabled",
                wire.circuit_breaker_enabled.is_some() || breaker.contains(&true),
                no_probe,
            ),
        ];
        for (field, _, why) in remarks.into_iter().filter(|(_, there, _)| *there) {
            let pointer = self.theirs(field);
            self.notes.warn(pointer, "compat.no-effect", why);
        }
        for (index, name) in wire.required_env_vars.iter().flatten().enumerate() {
            if !server.environment.contains_key(name) {
                let pointer = self.theirs(&format!("requiredEnvVars/{index}"));
                self.notes.warn(pointer, "compat.environment", format!("{name} is not in the environment"));
            }
        }
    }
}

fn transport(word: &str) -> Option<Transport> {
    Transport::ALL.iter().copied().find(|transport| transport.as_str() == word)
}

fn first<const N: usize>(values: [&Option<String>; N]) -> Option<String> {
    values.into_iter().flatten().next().cloned()
}

fn has_capabilities(wire: &ToolRequest, inner: &ToolRequest) -> bool {
    let said = |request: &ToolRequest| {
        request.mcp_config.is_some()
            || request.mcp_capabilities.is_some()
            || request.mcp_server_capabilities.is_some()
            || request.mcp_discovery_metadata.is_some()
    };
    said(wire) || said(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(fields: &Value) -> ServerRequest {
        let mut request = json!({"dockerImageUrl": "i", "instanceNameOnToolbox": "a", "accountToolInstanceId": "x",
            "portBindings": {"8080/tcp": [{"HostPort": "9090"}]}});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let request = serde_json::from_value(request).unwrap();
        tool(request, Family::McpServers, &mut Notes::default()).servers.remove(0)
    }

    #[test]
    fn a_server_that_listens_is_one_in_every_spelling() {
        for (word, transport) in [
            ("sse", Transport::Sse),
            ("HTTP+SSE", Transport::Sse),
            ("ws", Transport::Websocket),
            ("websocket", Transport::Websocket),
            ("http", Transport::StreamableHttp),
            ("streamable_http", Transport::StreamableHttp),
            ("streamable-http", Transport::StreamableHttp),
        ] {
            let server = read(&json!({"mcpTransportType": word, "mcpEndpointPath": "/at"}));
            assert_eq!(
                (server.kind, server.transport, server.port),
                (None, Some(transport), Some(8080)),
                "{word}"
            );
            assert_eq!(server.endpoint_path.as_deref(), Some("/at"));
        }
        let server = read(&json!({"mcp_config": {"transport": "sse"}}));
        assert_eq!((server.transport, server.endpoint_path), (Some(Transport::Sse), None));
    }

    #[test]
    fn one_that_names_no_port_runs_as_a_tool() {
        let server = read(&json!({"mcpTransportType": "sse", "portBindings": {}}));
        assert_eq!((server.kind, server.transport, server.port), (Some(Kind::Tool), None, None));
    }
}
