//! MCP servers and their tools, and what a tool answered.

use super::Shape;
use super::ink::Ink;
use super::table::{field, render};
use super::text::{block, headline, line};
use dtma_client::types::{McpView, ServerView, ToolView};
use serde_json::Value;
use std::fmt::Write;

/// Every tool of every server in a line. Servers that have not answered yet say so.
pub(crate) fn list(servers: &[&ServerView], shape: Shape, ink: Ink) -> String {
    let pairs = servers.iter().flat_map(|server| rows(server));
    if shape == Shape::Name {
        let named = pairs.filter_map(|(server, tool)| Some((server, tool?)));
        return named.map(|(server, tool)| format!("{} {}\n", line(server), line(&tool.name))).collect();
    }
    let most = if shape == Shape::Wide { usize::MAX } else { 72 };
    let rows = pairs.map(|(server, tool)| {
        let (name, description) = match tool {
            Some(tool) => (line(&tool.name), headline(about(tool), most)),
            None => (String::new(), String::new()),
        };
        vec![field(line(server)), field(name), field(description)]
    });
    render(&["SERVER", "TOOL", "DESCRIPTION"], rows.collect(), ink)
}

/// Its tools, or one row without a tool.
fn rows(server: &ServerView) -> Vec<(&str, Option<&ToolView>)> {
    let name = server.instance_name.as_str();
    match &server.mcp {
        Some(mcp) if !mcp.tools.is_empty() => mcp.tools.iter().map(|tool| (name, Some(tool))).collect(),
        Some(_) | None => vec![(name, None)],
    }
}

fn about(tool: &ToolView) -> &str {
    tool.description.as_deref().or(tool.title.as_deref()).unwrap_or("")
}

/// One server: every tool with its description in full and what it takes.
pub(crate) fn detail(server: &ServerView, mcp: &McpView, ink: Ink) -> String {
    let mut told = format!(
        "{}  {} {}, protocol {}, at {}\n",
        ink.bold(&line(&server.instance_name)),
        line(&mcp.server_name),
        line(&mcp.server_version),
        line(&mcp.protocol_version),
        line(&mcp.endpoint)
    );
    for tool in &mcp.tools {
        let _ = writeln!(told, "\n{}", ink.bold(&line(&tool.name)));
        for about in about(tool).trim().lines() {
            let _ = writeln!(told, "  {}", line(about.trim_end()));
        }
        told.push_str(&arguments(tool.input_schema.as_ref()));
    }
    told
}

/// What a tool takes, a line each, by its schema.
pub(crate) fn arguments(schema: Option<&Value>) -> String {
    let Some(properties) = schema.and_then(|schema| schema.get("properties")?.as_object()) else {
        return String::new();
    };
    let required = schema.and_then(|schema| schema.get("required")?.as_array());
    let parameters = properties.iter().map(|(name, property)| {
        let must = required.is_some_and(|required| required.iter().any(|one| one == name.as_str()));
        let must = if must { ", required" } else { "" };
        let about = property.get("description").and_then(Value::as_str).unwrap_or("");
        let about = if about.is_empty() { String::new() } else { format!("  {}", headline(about, 200)) };
        format!("    {} ({}{must}){about}\n", line(name), type_of(property))
    });
    parameters.collect()
}

/// The type a schema names, in a word or two.
fn type_of(schema: &Value) -> String {
    match (schema.get("type"), schema.get("enum").and_then(Value::as_array)) {
        (_, Some(words)) => words.iter().map(|word| line(&word.to_string())).collect::<Vec<_>>().join("|"),
        (Some(Value::String(name)), None) => line(name),
        (Some(Value::Array(names)), None) => {
            names.iter().filter_map(Value::as_str).map(line).collect::<Vec<_>>().join("|")
        }
        (Some(_) | None, None) => "any".into(),
    }
}

/// What a tool answered, for people: its text as text, anything else named.
pub(crate) fn answer(result: &Value) -> String {
    let content = result.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if content.is_empty() {
        let structured = result.get("structuredContent").unwrap_or(result);
        let text = serde_json::to_string_pretty(structured).unwrap_or_default();
        return format!("{}\n", super::text::escape_json(&text));
    }
    content.iter().map(|piece| format!("{}\n", block(self::piece(piece).trim_end_matches('\n')))).collect()
}

fn piece(piece: &Value) -> String {
    let word = |key: &str| piece.get(key).and_then(Value::as_str).unwrap_or("");
    match word("type") {
        "text" => word("text").to_owned(),
        kind @ ("image" | "audio") => {
            format!("[{kind}: {}, {} bytes; -o json has it]", word("mimeType"), word("data").len() / 4 * 3)
        }
        "resource_link" => format!("[{}: {}]", word("name"), word("uri")),
        "resource" => resource(piece.get("resource").unwrap_or(&Value::Null)),
        _ => piece.to_string(),
    }
}

fn resource(resource: &Value) -> String {
    let word = |key: &str| resource.get(key).and_then(Value::as_str);
    match word("text") {
        Some(text) => text.to_owned(),
        None => format!("[resource: {}; -o json has it]", word("uri").unwrap_or("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::server::tests::{time, web};
    use serde_json::json;

    #[test]
    fn tools_in_a_line_each() {
        let mut silent = web();
        silent.instance_name = "silent".into();
        assert_eq!(
            list(&[&time(), &silent], Shape::Table, Ink::OFF),
            "\
SERVER  TOOL              DESCRIPTION
time    get_current_time  Get the time.
silent  -                 -
"
        );
        assert_eq!(list(&[&time()], Shape::Name, Ink::OFF), "time get_current_time\n");
    }

    #[test]
    fn one_server_in_full() {
        let time = time();
        assert_eq!(
            detail(&time, time.mcp.as_ref().unwrap(), Ink::OFF),
            "\
time  mcp-time 1.0, protocol 2025-06-18, at /gateway/servers/time/mcp

get_current_time
  Get the time.
  In a zone.
    timezone (string, required)  IANA name
"
        );
    }

    #[test]
    fn answers_are_text_where_they_are_text() {
        let result = json!({"content": [
            {"type": "text", "text": "a\n\u{1b}[2Jb\n"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource", "resource": {"uri": "x:", "text": "inside"}},
            {"type": "resource_link", "name": "file", "uri": "file:///x"},
            {"type": "future", "x": 1}
        ]});
        assert_eq!(
            answer(&result),
            "a\n\\u{1b}[2Jb\n[image: image/png, 3 bytes; -o json has it]\ninside\n[file: file:///x]\n\
             {\"type\":\"future\",\"x\":1}\n"
        );
        assert_eq!(answer(&json!({"structuredContent": {"a": 1}})), "{\n  \"a\": 1\n}\n");
    }
}
