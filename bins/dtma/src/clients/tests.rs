//! What each client's file looks like, and what stays of one that somebody else wrote, too.

use super::*;
use crate::app::TlsFiles;
use crate::exit::Exit;
use std::path::Path;

const URL: &str = "http://127.0.0.1:30000";

fn daemon(files: &TlsFiles) -> Daemon<'_> {
    Daemon {
        url: URL,
        files,
        program: Path::new("/usr/bin/dtma"),
        token_file: Some("/home/ada/agent token".into()),
    }
}

fn client(name: ClientName) -> Client {
    Client::of(name).unwrap()
}

fn server(name: &str) -> Aim {
    Aim::Server(name.to_owned())
}

fn put(name: ClientName, text: &str, servers: &[&str], force: bool) -> Result<Outcome, Failure> {
    let (files, client) = (TlsFiles::default(), client(name));
    let daemon = daemon(&files);
    let named = names(&client, servers.iter().copied());
    let entries: Vec<Entry> =
        servers.iter().map(|name| daemon.entry(&client, named[*name].clone(), server(name))).collect();
    client.change("the file", text, &Order::Put { daemon: &daemon, entries: &entries, force })
}

fn take(name: ClientName, text: &str, servers: Option<&[&str]>) -> Outcome {
    let files = TlsFiles::default();
    let aims: Option<Vec<Aim>> = servers.map(|names| names.iter().map(|name| server(name)).collect());
    let order = Order::Take { daemon: &daemon(&files), aims: aims.as_deref() };
    client(name).change("the file", text, &order).unwrap()
}

fn told(failure: Failure) -> String {
    let Failure::Report(report) = failure else { panic!("{failure:?}") };
    format!("{} {:?}", report.message, report.cause)
}

#[test]
fn every_client_reads_its_own_form() {
    let header =
        |token: &str| format!("\"headers\": {{\n        \"Authorization\": \"Bearer {token}\"\n      }}");
    let url = "http://127.0.0.1:30000/gateway/servers/time/mcp";
    let command = "\"command\": \"/usr/bin/dtma\",\n      \"args\": [\"mcp\", \"connect\", \"time\", \"--url\", \
                   \"http://127.0.0.1:30000\", \"--token-file\", \"/home/ada/agent token\"]";
    let section = |name: &str, fields: &str| {
        format!("{{\n  \"{name}\": {{\n    \"time\": {{\n      {fields}\n    }}\n  }}\n}}\n")
    };
    let typed = format!("\"type\": \"http\",\n      \"url\": \"{url}\",\n      ");
    for (name, form) in [
        (ClientName::Claude, section("mcpServers", &format!("{typed}{}", header("${DTMA_TOKEN}")))),
        (ClientName::ClaudeDesktop, section("mcpServers", command)),
        (
            ClientName::Cursor,
            section("mcpServers", &format!("\"url\": \"{url}\",\n      {}", header("${env:DTMA_TOKEN}"))),
        ),
        (
            ClientName::Windsurf,
            section("mcpServers", &format!("\"serverUrl\": \"{url}\",\n      {}", header("${env:DTMA_TOKEN}"))),
        ),
        (ClientName::Zed, section("context_servers", &format!("\"source\": \"custom\",\n      {command}"))),
        (
            ClientName::Gemini,
            section("mcpServers", &format!("\"httpUrl\": \"{url}\",\n      {}", header("$DTMA_TOKEN"))),
        ),
        (
            ClientName::Codex,
            format!("[mcp_servers.time]\nurl = \"{url}\"\nbearer_token_env_var = \"DTMA_TOKEN\"\n"),
        ),
        (
            ClientName::Vscode,
            section("servers", &format!("{typed}{}", header("${input:dtma-token}"))).replace(
                "  }\n}\n",
                "  },\n  \"inputs\": [\n    {\n      \"type\": \"promptString\",\n      \"id\": \"dtma-token\",\n      \
                 \"description\": \"Token for the MCP servers of DTMA\",\n      \"password\": true\n    }\n  ]\n}\n",
            ),
        ),
    ] {
        assert_eq!(put(name, "", &["time"], false).unwrap().text, form, "{name:?}");
    }
}

const SETTINGS: &str = "// mine\n{\n\t\"theme\": \"dark\", // not light\n\t\"numbers\": [1,2,  3],\n\t\"context_servers\": {\n\t\t\
                        /* somebody else's */\n\t\t\"other\": { \"command\": \"npx\" , \"args\": [] },\n\t},\n\t\"last\": 1.50,\n}\n";

#[test]
fn what_is_not_ours_stays_byte_for_byte_and_comes_back() {
    let merged = put(ClientName::Zed, SETTINGS, &["time", "git"], false).unwrap();
    assert_eq!(merged.added, ["time", "git"]);
    for line in SETTINGS.lines() {
        assert!(merged.text.lines().any(|kept| kept == line), "{line} is not in\n{}", merged.text);
    }
    let again = put(ClientName::Zed, &merged.text, &["time", "git"], false).unwrap();
    assert_eq!((again.text.as_str(), again.unchanged.len()), (merged.text.as_str(), 2));
    let one = take(ClientName::Zed, &merged.text, Some(&["git"]));
    assert_eq!(one.removed, ["git"]);
    assert!(one.text.contains("\"time\""), "{}", one.text);
    let all = take(ClientName::Zed, &merged.text, None);
    assert_eq!(all.removed, ["time", "git"]);
    assert_eq!(all.text, SETTINGS);
}

#[test]
fn files_of_all_kinds_come_back_as_they_were() {
    for text in [
        "{}",
        "{}\n",
        "{\n  \"a\": 1\n}\n",
        "{\r\n  \"mcpServers\": {\r\n    \"x\": {\"url\": \"u\"}\r\n  }\r\n}\r\n",
        "\u{feff}{\n  \"a\": 1\n}\n",
        "{\n    \"mcpServers\": {\n        \"x\": {\n            \"url\": \"u\"\n        }\n    }\n}",
    ] {
        let merged = put(ClientName::Cursor, text, &["time"], false).unwrap().text;
        assert_ne!(merged, text);
        let back = take(ClientName::Cursor, &merged, None).text;
        let space = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(space(&back), space(text), "{text:?} {merged:?}");
        if text.lines().count() > 1 {
            assert_eq!(back, text, "{merged:?}");
        }
    }
}

const TOML: &str = "# mine\nmodel = \"o\"   # the best\n\n[mcp_servers.other]\ncommand = 'npx' # theirs\n\n[tui]\n# quiet\nbell = false\n";

#[test]
fn comments_and_order_of_toml_stay() {
    let merged = put(ClientName::Codex, TOML, &["time", "a.b"], false).unwrap();
    assert_eq!(merged.added, ["time", "a-b"]);
    for line in TOML.lines() {
        assert!(merged.text.lines().any(|kept| kept == line), "{line} is not in\n{}", merged.text);
    }
    assert!(merged.text.contains("[mcp_servers.a-b]\nurl"), "{}", merged.text);
    let again = put(ClientName::Codex, &merged.text, &["time", "a.b"], false).unwrap();
    assert_eq!(again.text, merged.text);
    assert_eq!(take(ClientName::Codex, &merged.text, None).text, TOML);
    let inline = "mcp_servers = { other = { command = \"npx\" } } # all\n";
    let merged = put(ClientName::Codex, inline, &["time"], false).unwrap();
    assert!(merged.text.contains("bearer_token_env_var = \"DTMA_TOKEN\""), "{}", merged.text);
    assert_eq!(take(ClientName::Codex, &merged.text, None).text, inline);
}

#[test]
fn an_entry_of_ours_is_renewed_and_keeps_what_its_user_added() {
    let old = "{\"mcpServers\": {\n  \"time\": {\n    // slow\n    \"timeout\": 5,\n    \"httpUrl\": \"http://127.0.0.1:30000/gateway/servers/time/mcp\",\n    \
               \"headers\": {\"Authorization\": \"Bearer of old\"}\n  }\n}}\n";
    let renewed = put(ClientName::Gemini, old, &["time"], false).unwrap();
    assert_eq!(renewed.replaced, ["time"]);
    assert!(renewed.text.contains("// slow\n    \"timeout\": 5,"), "{}", renewed.text);
    assert!(renewed.text.contains("$DTMA_TOKEN") && !renewed.text.contains("of old"), "{}", renewed.text);
    let door = put(ClientName::ClaudeDesktop, old, &["time"], false).unwrap();
    assert!(door.text.contains("connect") && !door.text.contains("httpUrl"), "{}", door.text);
    let toml = "[mcp_servers.time]\nurl = \"http://127.0.0.1:30000/gateway/servers/time/mcp\" # here\nenabled = true\n";
    let renewed = put(ClientName::Codex, toml, &["time"], false).unwrap();
    assert_eq!(renewed.text, format!("{toml}bearer_token_env_var = \"DTMA_TOKEN\"\n"));
}

#[test]
fn what_is_somebody_elses_is_refused_unless_forced() {
    for (name, text) in [
        (
            ClientName::Cursor,
            "{\"mcpServers\": {\"time\": {\"url\": \"http://elsewhere/gateway/servers/time/mcp\"}}}",
        ),
        (
            ClientName::Cursor,
            "{\"mcpServers\": {\"time\": {\"url\": \"http://127.0.0.1:30000/gateway/servers/other/mcp\"}}}",
        ),
        (
            ClientName::ClaudeDesktop,
            "{\"mcpServers\": {\"time\": {\"command\": \"uvx\", \"args\": [\"mcp-server-time\"]}}}",
        ),
        (ClientName::Codex, "[mcp_servers.time]\ncommand = \"uvx\"\n"),
    ] {
        let refused = put(name, text, &["time"], false).unwrap_err();
        assert_eq!(refused.exit(), Some(Exit::Conflict));
        let forced = put(name, text, &["time"], true).unwrap();
        assert_eq!(forced.replaced, ["time"]);
        assert!(!forced.text.contains("elsewhere") && !forced.text.contains("uvx"), "{}", forced.text);
        let again = put(name, &forced.text, &["time"], false).unwrap();
        assert_eq!(again.unchanged, ["time"]);
        assert_eq!(take(name, text, Some(&["time"])).removed, [""; 0], "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_its_place() {
    let refused = |name, text: &str| told(put(name, text, &["time"], false).unwrap_err());
    let json = |text: &str| refused(ClientName::Claude, text);
    assert!(json("{\n  \"a\" 1\n}").contains("the file:2:7 is not JSON"), "{}", json("{\n  \"a\" 1\n}"));
    assert!(json("{a: 1}").contains("the file:1:2 is not JSON"));
    assert!(json("{'a': 1}").contains("is not JSON"));
    assert!(json("{\"a\": 1").contains("is not JSON"));
    assert!(json("[]").contains("is not an object"));
    assert!(json("{\"mcpServers\": []}").contains("mcpServers is not an object"));
    assert!(json("{\"mcpServers\": {}, \"mcpServers\": {}}").contains("twice"));
    assert!(json("{\"mcpServers\": {\"a\": {}, \"a\": {}}}").contains("a is there twice"));
    assert!(json(&"[".repeat(100_000)).contains("is not JSON"));
    assert!(refused(ClientName::Vscode, "{\"inputs\": {}}").contains("inputs is not a list"));
    assert!(refused(ClientName::Codex, "a = 1\nb = [\n").contains("the file:"));
    assert!(refused(ClientName::Codex, "a = 1\n  b 2\n").contains("the file:2:5 is not TOML"));
    assert!(refused(ClientName::Codex, "mcp_servers = 1\n").contains("mcp_servers is not a table"));
}

#[test]
fn vs_code_asks_for_the_token_as_long_as_a_server_needs_it() {
    let theirs =
        "{\n  \"inputs\": [\n    {\"id\": \"key\", \"type\": \"promptString\"}\n  ],\n  \"servers\": {}\n}\n";
    let merged = put(ClientName::Vscode, theirs, &["a", "b"], false).unwrap().text;
    assert_eq!(merged.matches("dtma-token\"").count(), 1, "{merged}");
    let again = put(ClientName::Vscode, &merged, &["a"], false).unwrap();
    assert_eq!(again.text, merged);
    assert_eq!(again.others, [("b".to_owned(), server("b"))]);
    let one = take(ClientName::Vscode, &merged, Some(&["a"])).text;
    assert!(one.contains("\"dtma-token\""), "{one}");
    let none = take(ClientName::Vscode, &one, None).text;
    assert!(!none.contains("dtma") && none.contains("\"key\""), "{none}");
}

#[test]
fn a_command_is_given_everything_it_needs_by_reference() {
    let files =
        TlsFiles { ca: Some("/ca.pem".into()), cert: Some("/c.pem".into()), key: Some("/k.pem".into()) };
    let daemon = Daemon { token_file: None, ..daemon(&files) };
    let client = client(ClientName::ClaudeDesktop);
    let entries = [daemon.entry(&client, "time".into(), server("time"))];
    let order = Order::Put { daemon: &daemon, entries: &entries, force: false };
    let text = client.change("f", "", &order).unwrap().text;
    for part in ["\"--ca-file\", \"/ca.pem\"", "\"--cert-file\", \"/c.pem\"", "\"--key-file\", \"/k.pem\""] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("token"), "{text}");
}

#[test]
fn every_client_takes_a_group_for_one_server_and_gives_its_entry_back() {
    let files = TlsFiles::default();
    let (daemon, lab) = (daemon(&files), Aim::Group("lab".to_owned()));
    for name in ClientName::value_variants() {
        let Some(client) = Client::of(*name) else { continue };
        let entries = [daemon.entry(&client, "lab".into(), lab.clone())];
        let order = Order::Put { daemon: &daemon, entries: &entries, force: false };
        let servers = put(*name, "", &["time"], false).unwrap().text;
        let merged = client.change("the file", &servers, &order).unwrap();
        let form = match client.starts_a_command() {
            true => "[\"mcp\", \"connect\", \"--group\", \"lab\", \"--url\", \"http://127.0.0.1:30000\"",
            false => "\"http://127.0.0.1:30000/gateway/groups/lab/mcp\"",
        };
        assert!(merged.text.contains(form), "{name:?}: {}", merged.text);
        assert_eq!(merged.others, [("time".to_owned(), server("time"))], "{name:?}");
        let again = client.change("the file", &merged.text, &order).unwrap();
        assert_eq!((again.unchanged.as_slice(), &again.text), (&["lab".to_owned()][..], &merged.text));
        let taken = Order::Take { daemon: &daemon, aims: Some(std::slice::from_ref(&lab)) };
        assert_eq!(client.change("the file", &merged.text, &taken).unwrap().text, servers, "{name:?}");
        assert_eq!(
            take(*name, &merged.text, Some(&["lab"])).removed,
            [""; 0],
            "no server is meant by a group's name"
        );
        let refused = put(*name, &merged.text, &["lab"], false).unwrap_err();
        assert_eq!(refused.exit(), Some(Exit::Conflict), "{name:?}");
    }
}
