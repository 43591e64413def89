//! The command line against a real daemon: what it prints, and with which code it ends.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::Toolbox;
use dtma_tests::command_line::{PATIENCE, dtma, ends, json_of};
use dtma_tests::engine::remains;
use dtma_tests::program::{Ended, run_aside};
use std::path::PathBuf;

// The exit codes that `dtma --help` promises.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const UNREACHABLE: i32 = 3;
const NOT_AUTHORISED: i32 = 4;
const NOT_THERE: i32 = 5;
const CONFLICT: i32 = 6;
const NOT_VALID: i32 = 7;

async fn run(toolbox: &Toolbox, args: &[&str]) -> Ended {
    run_aside(dtma(toolbox, args), PATIENCE).await
}

fn file(toolbox: &Toolbox, name: &str, text: &str) -> PathBuf {
    let path = toolbox.dir().join(name);
    std::fs::write(&path, text).expect("a file in the test's directory");
    path
}

fn notes(toolbox: &Toolbox) -> PathBuf {
    let text = format!(
        "# two servers\n\
         groupId: {}\n\
         servers:\n\
         \x20 - instanceName: time\n\
         \x20   image: dtma/mcp-server-time:dev\n\
         \x20   transport: stdio\n\
         \x20 - instanceName: web\n\
         \x20   kind: tool\n\
         \x20   image: dtma/busybox:dev\n\
         \x20   command: [httpd, -f, -v, -p, \"8080\"]\n\
         \x20   port: 8080\n\
         \x20   dependsOn:\n\
         \x20     - {{ instance: time, condition: healthy }}\n",
        toolbox.named("notes")
    );
    file(toolbox, "notes.yaml", &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_from_its_file_to_its_end() {
    let toolbox = Toolbox::start();
    let (path, group) = (notes(&toolbox), toolbox.named("notes"));
    let path = path.to_str().expect("a path in UTF-8");

    ends(&toolbox, &["doctor"], DONE).await;
    ends(&toolbox, &["validate", "-f", path], DONE).await;
    assert_eq!(remains(&group, true), Vec::<String>::new(), "validating deploys nothing");
    ends(&toolbox, &["up", "-f", path], DONE).await;

    let table = ends(&toolbox, &["ps"], DONE).await.stdout;
    for word in ["time", "web", "ready", group.as_str()] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let names = ends(&toolbox, &["ps", "-o", "name"], DONE).await.stdout;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["time", "web"]);
    let status = json_of(&toolbox, &["status", &group, "-o", "json"]).await;
    assert!(status.to_string().contains("\"ready\""), "{status}");
    let detail = ends(&toolbox, &["status", "time"], DONE).await.stdout;
    assert!(detail.contains("dtma/mcp-server-time:dev"), "{detail}");

    let servers = ends(&toolbox, &["mcp", "ls"], DONE).await.stdout;
    assert!(servers.lines().any(|line| line.starts_with("time ") && line.contains("stdio")), "{servers}");
    let tools = ends(&toolbox, &["mcp", "ls", "--tools"], DONE).await.stdout;
    assert!(tools.contains("get_current_time"), "{tools}");
    let call = ["mcp", "call", "time", "get_current_time", "--arg", "timezone=Europe/Berlin"];
    let answer = ends(&toolbox, &call, DONE).await.stdout;
    assert!(answer.contains("Europe/Berlin"), "{answer}");
    ends(&toolbox, &["logs", "web"], DONE).await;

    ends(&toolbox, &["stop", "web"], DONE).await;
    ends(&toolbox, &["start", "web"], DONE).await;
    ends(&toolbox, &["restart", "time"], DONE).await;
    ends(&toolbox, &["down", &group, "--volumes"], DONE).await;
    assert_eq!(remains(&group, true), Vec::<String>::new());
    ends(&toolbox, &["down", &group], NOT_THERE).await;
    ends(&toolbox, &["status", &group], NOT_THERE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_named_with_the_place_of_each_mistake() {
    let toolbox = Toolbox::start();
    let text = format!(
        "groupId: {}\nservers:\n  - instanceName: a\n    image: dtma/busybox:dev\n    kind: tool\n    \
         dependsOn: [{{ instance: nobody }}]\n    resources: {{ memory: 1TiB }}\n",
        toolbox.named("wrong")
    );
    file(&toolbox, "wrong.yaml", &text);
    for command in ["up", "validate"] {
        let ended = ends(&toolbox, &[command, "-f", "wrong.yaml"], NOT_VALID).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        for word in ["wrong.yaml", "dependsOn", "nobody", "memory", "2"] {
            assert!(said.contains(word), "{command}: {word} is missing in: {said}");
        }
    }
    file(&toolbox, "broken.yaml", "groupId: [unclosed\n");
    let broken = ends(&toolbox, &["up", "-f", "broken.yaml"], USAGE).await;
    assert!(broken.stderr.contains("broken.yaml"), "{}", broken.stderr);
    let absent = ends(&toolbox, &["up", "-f", "absent.yaml"], USAGE).await;
    assert!(absent.stderr.contains("absent.yaml"), "{}", absent.stderr);
    ends(&toolbox, &["no-such-command"], USAGE).await;
    assert_eq!(remains(&toolbox.named("wrong"), true), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn toml_and_json_say_the_same_as_yaml() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("same");
    let toml = format!(
        "groupId = \"{group}\"\n[[servers]]\ninstanceName = \"web\"\nkind = \"tool\"\n\
         image = \"dtma/busybox:dev\"\ncommand = [\"httpd\", \"-f\", \"-p\", \"8080\"]\nport = 8080\n"
    );
    file(&toolbox, "same.toml", &toml);
    let json = serde_json::json!({"groupId": group, "servers": [{"instanceName": "web", "kind": "tool",
        "image": "dtma/busybox:dev", "command": ["httpd", "-f", "-p", "8080"], "port": 8080}]});
    file(&toolbox, "same.json", &json.to_string());
    ends(&toolbox, &["up", "-f", "same.toml"], DONE).await;
    let before = dtma_tests::engine::container_ids(&group);
    ends(&toolbox, &["up", "-f", "same.json"], DONE).await;
    assert_eq!(dtma_tests::engine::container_ids(&group), before, "the same group in another spelling");

    file(&toolbox, "other.json", &json.to_string().replace("8080", "8081"));
    let conflict = ends(&toolbox, &["up", "-f", "other.json"], CONFLICT).await;
    assert!(conflict.stderr.contains("down"), "it says what to do: {}", conflict.stderr);
    ends(&toolbox, &["down", "-f", "same.toml"], DONE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_fails_ends_with_1_and_one_that_is_not_there_says_so() {
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("time", &[dtma_tests::groups::time("time")])).await;
    let call = ["mcp", "call", "time", "get_current_time", "--arg", "timezone=Nowhere/Land"];
    let failed = ends(&toolbox, &call, FAILED).await;
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(said.contains("Nowhere/Land"), "{said}");
    let absent = run(&toolbox, &["mcp", "call", "time", "no_such_tool"]).await;
    assert_ne!(absent.code(), DONE, "{absent:?}");
    ends(&toolbox, &["mcp", "call", "nobody", "echo"], NOT_THERE).await;
    ends(&toolbox, &["logs", "nobody"], NOT_THERE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_daemon_and_a_wrong_token_have_codes_of_their_own() {
    let mut toolbox = Toolbox::start();
    let mut command = dtma(&toolbox, &["ps"]);
    command.env("DTMA_TOKEN", "wrong");
    let ended = run_aside(command, PATIENCE).await;
    assert_eq!(ended.code(), NOT_AUTHORISED, "{ended:?}");
    assert!(!ended.stderr.contains(toolbox.token()), "{}", ended.stderr);
    let mut command = dtma(&toolbox, &["ps"]);
    command.env_remove("DTMA_TOKEN");
    assert_eq!(run_aside(command, PATIENCE).await.code(), NOT_AUTHORISED);

    toolbox.kill9();
    let ended = ends(&toolbox, &["ps"], UNREACHABLE).await;
    assert!(ended.stderr.contains(toolbox.url()), "{}", ended.stderr);
    ends(&toolbox, &["doctor"], UNREACHABLE).await;
}
