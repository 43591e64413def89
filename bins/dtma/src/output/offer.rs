//! What MCP servers offer.

use super::Shape;
use super::ink::Ink;
use super::table::{Field, field, number_if, render};
use super::text::{headline, line};
use super::time::{length, since};
use dtma_client::types::DiscoveredView;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::time::Duration;

/// A line for each server.
pub(crate) fn list(servers: &[DiscoveredView], shape: Shape, ink: Ink) -> String {
    let narrow = ["SERVER", "TRANSPORT", "PROTOCOL", "TOOLS", "PROMPTS", "RESOURCES", "AGE"];
    match shape {
        Shape::Name => servers.iter().map(|server| line(&server.instance_name) + "\n").collect(),
        Shape::Table => render(&narrow, servers.iter().map(row).collect(), ink),
        Shape::Wide => {
            let header: Vec<&str> = narrow
                .into_iter()
                .chain(["GROUP", "PHASE", "IMPLEMENTATION", "CONTRACT", "ENDPOINT"])
                .collect();
            let rows = servers.iter().map(|server| [row(server), wide(server)].concat());
            render(&header, rows.collect(), ink)
        }
    }
}

fn row(server: &DiscoveredView) -> Vec<Field> {
    let known = server.discovered_at.is_some();
    let count = |many: usize| number_if(known.then_some(many as u64));
    vec![
        field(line(&server.instance_name)),
        field(server.transport_type.to_string()),
        field(server.protocol_version.as_deref().map(line).unwrap_or_default()),
        count(server.tools.len()),
        count(server.prompts.len()),
        count(server.resources.len() + server.resource_templates.len()),
        field(age(server)),
    ]
}

/// How old it is; `stale` where nothing that runs confirms it.
fn age(server: &DiscoveredView) -> String {
    let Some(seconds) = server.age_seconds else { return String::new() };
    let stale = if server.stale { " (stale)" } else { "" };
    format!("{}{stale}", length(Duration::from_secs(seconds)))
}

fn wide(server: &DiscoveredView) -> Vec<Field> {
    let contract = match server.contract_drift {
        0 => server.pinning.to_string(),
        differ => format!("{}, {differ} differ", server.pinning),
    };
    vec![
        field(line(&server.group_id)),
        field(server.phase.to_string()),
        field(implementation(server)),
        field(contract),
        field(line(&server.endpoint_url)),
    ]
}

fn implementation(server: &DiscoveredView) -> String {
    let info = server.server_info.as_deref().map(value).unwrap_or_default();
    let word = |key: &str| info.get(key).and_then(Value::as_str).map(line).unwrap_or_default();
    format!("{} {}", word("name"), word("version")).trim().to_owned()
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// The names of tools or prompts.
pub(crate) fn names(items: &[Box<RawValue>]) -> Vec<String> {
    items.iter().filter_map(|item| Some(value(item).get("name")?.as_str()?.to_owned())).collect()
}

/// Everything one server offers.
pub(crate) fn detail(server: &DiscoveredView, now: Timestamp, ink: Ink) -> String {
    let mut told = format!("{}  {}\n", ink.bold(&line(&server.instance_name)), implementation(server));
    for (label, said) in facts(server, now) {
        if !said.is_empty() {
            let _ = writeln!(told, "  {label:<12} {said}");
        }
    }
    for (title, items, piece) in sections(server) {
        if !items.is_empty() {
            let _ = write!(told, "\n{title}\n");
            items.iter().for_each(|item| told.push_str(&piece(&value(item), ink)));
        }
    }
    told
}

type Piece = fn(&Value, Ink) -> String;

fn sections(server: &DiscoveredView) -> [(&'static str, &[Box<RawValue>], Piece); 4] {
    [
        ("TOOLS", &server.tools, tool),
        ("PROMPTS", &server.prompts, prompt),
        ("RESOURCES", &server.resources, resource),
        ("RESOURCE TEMPLATES", &server.resource_templates, resource),
    ]
}

fn facts(server: &DiscoveredView, now: Timestamp) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.as_deref().map(line).unwrap_or_default();
    let capabilities = server.capabilities.as_deref().map(value).unwrap_or_default();
    let declared = capabilities.as_object().into_iter().flat_map(|map| map.keys().map(|name| line(name)));
    let asked = match since(server.discovered_at.as_deref(), now) {
        age if age.is_empty() => "never".to_owned(),
        age if server.stale => format!("{age} ago; this is what it offered then"),
        age => format!("{age} ago"),
    };
    let cut = server.cut.iter().map(|(list, why)| format!("{}: {}", line(list), line(why)));
    let contract = match server.contract_drift {
        0 => format!("pinning {}", server.pinning),
        differ => format!("pinning {}; {differ} tool(s) are not as approved (--contract)", server.pinning),
    };
    vec![
        ("group", line(&server.group_id)),
        ("phase", server.phase.to_string()),
        ("transport", server.transport_type.to_string()),
        ("protocol", text(&server.protocol_version)),
        ("endpoint", line(&server.endpoint_url)),
        ("capabilities", declared.collect::<Vec<_>>().join(", ")),
        ("asked", asked),
        ("problem", text(&server.problem)),
        ("cut short", cut.collect::<Vec<_>>().join("; ")),
        ("contract", contract),
        ("instructions", server.instructions.as_deref().map(|all| headline(all, 200)).unwrap_or_default()),
    ]
}

fn word<'a>(item: &'a Value, key: &str) -> &'a str {
    item.get(key).and_then(Value::as_str).unwrap_or("")
}

fn tool(tool: &Value, ink: Ink) -> String {
    let hints = tool.get("annotations").and_then(Value::as_object);
    let said = hints.into_iter().flatten().filter(|(_, value)| **value == Value::Bool(true));
    let said: Vec<String> = said.map(|(name, _)| line(name)).collect();
    let said = if said.is_empty() { String::new() } else { format!("  [{}]", said.join(", ")) };
    let mut told = format!("  {}{said}\n", ink.bold(&line(word(tool, "name"))));
    told.push_str(&about(tool));
    told.push_str(&super::mcp::arguments(tool.get("inputSchema")));
    told
}

fn about(item: &Value) -> String {
    let text = [word(item, "description"), word(item, "title")];
    let text = text.iter().find(|text| !text.is_empty()).copied().unwrap_or("");
    text.trim().lines().map(|text| format!("    {}\n", line(text.trim_end()))).collect()
}

fn prompt(prompt: &Value, ink: Ink) -> String {
    let arguments = prompt.get("arguments").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = arguments.map(|argument| line(word(argument, "name"))).collect();
    let taken = if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) };
    format!("  {}{taken}\n{}", ink.bold(&line(word(prompt, "name"))), about(prompt))
}

fn resource(resource: &Value, ink: Ink) -> String {
    let uri = [word(resource, "uri"), word(resource, "uriTemplate")].concat();
    let kind = word(resource, "mimeType");
    let kind = if kind.is_empty() { String::new() } else { format!("  {}", line(kind)) };
    format!("  {}{kind}  {}\n", ink.bold(&line(&uri)), line(word(resource, "name")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn time(stale: bool) -> DiscoveredView {
        let view = json!({
            "instanceId": "time", "instanceName": "time", "groupId": "demo", "transportType": "stdio",
            "endpointUrl": "/gateway/servers/time/mcp", "phase": "ready", "healthStatus": "healthy",
            "discoveredAt": "2026-11-22T00:00:00Z", "ageSeconds": 65, "stale": stale,
            "protocolVersion": "2025-06-18", "serverInfo": {"name": "mcp-time", "version": "1.0"},
            "capabilities": {"tools": {}, "prompts": {}}, "instructions": "Ask.\nMore.",
            "tools": [{"name": "now", "description": "The time.\nOf day.", "annotations": {"readOnlyHint": true, "openWorldHint": false},
                "inputSchema": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}}],
            "prompts": [{"name": "ask", "arguments": [{"name": "a"}, {"name": "b"}]}],
            "resources": [{"uri": "x:1", "name": "one", "mimeType": "text/plain"}], "resourceTemplates": [],
            "cut": {"tools": "there are more than 1"}, "pinning": "warn", "contractDrift": 2
        });
        serde_json::from_str(&view.to_string()).unwrap()
    }

    #[test]
    fn servers_with_their_counts() {
        let mut silent = time(true);
        (silent.instance_name, silent.discovered_at, silent.age_seconds) = ("silent".into(), None, None);
        silent.protocol_version = None;
        assert_eq!(
            list(&[time(true), silent], Shape::Table, Ink::OFF),
            "\
SERVER  TRANSPORT  PROTOCOL    TOOLS  PROMPTS  RESOURCES  AGE
time    stdio      2025-06-18      1        1          1  65s (stale)
silent  stdio      -               -        -          -  -
"
        );
        let wide = list(&[time(false)], Shape::Wide, Ink::OFF);
        assert!(
            wide.contains("65s  demo   ready  mcp-time 1.0    warn, 2 differ  /gateway/servers/time/mcp"),
            "{wide}"
        );
    }

    #[test]
    fn one_server_in_full() {
        let now = "2026-11-22T00:01:05Z".parse().unwrap();
        assert_eq!(
            detail(&time(false), now, Ink::OFF),
            "\
time  mcp-time 1.0
  group        demo
  phase        ready
  transport    stdio
  protocol     2025-06-18
  endpoint     /gateway/servers/time/mcp
  capabilities prompts, tools
  asked        65s ago
  cut short    tools: there are more than 1
  contract     pinning warn; 2 tool(s) are not as approved (--contract)
  instructions Ask.

TOOLS
  now  [readOnlyHint]
    The time.
    Of day.
    zone (string, required)

PROMPTS
  ask(a, b)

RESOURCES
  x:1  text/plain  one
"
        );
    }
}
