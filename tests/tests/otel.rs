//! A daemon that was built with OpenTelemetry: a collector gets a span of every call, and one that is slow or away is
//! nobody's business but its own.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops where something is broken; it starts processes"
)]

use dtma_client::mcp::Target;
use dtma_tests::collector::{Collector, Mood, Told};
use dtma_tests::mcp::call;
use dtma_tests::program::run;
use dtma_tests::{McpClient, Toolbox, binaries, eventually, groups, text};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// A trace that is recorded.
const CONTEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Another one, and one that is not recorded.
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const UNRECORDED: &str = "00-33333333333333333333333333333333-4444444444444444-00";

fn env(collector: &Collector, further: &[(&str, &str)]) -> Vec<(String, String)> {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint());
    let further = further.iter().map(|(name, said)| ((*name).to_owned(), (*said).to_owned()));
    [endpoint].into_iter().chain(further).collect()
}

async fn deployed(env: Vec<(String, String)>) -> Toolbox {
    let toolbox = Toolbox::start_with(|launch| {
        launch.program = Some(binaries::daemon_with("otel"));
        launch.env = env;
    });
    toolbox.deploy(&toolbox.group("traced", &[groups::fixture("fixture")])).await;
    toolbox
}

async fn echo(client: &McpClient, id: usize) {
    let message = format!("call {id}");
    let answer = client.call(&json!(id), "echo", &json!({"message": message})).await;
    assert_eq!(text(&answer), format!("Echo: {message}"));
}

/// What the metrics count of spans: delivered, failed, dropped.
async fn counted(toolbox: &Toolbox) -> [usize; 3] {
    let metrics = toolbox.get("/metrics").await.text;
    ["delivered", "failed", "dropped"].map(|outcome| {
        let line = format!("dtma_otel_spans_total{{outcome=\"{outcome}\"}} ");
        let number = metrics.lines().find_map(|metric| metric.strip_prefix(&line)?.parse().ok());
        number.unwrap_or_else(|| panic!("no {line} in\n{metrics}"))
    })
}

/// The same, when something became of every one of so many.
async fn all_counted(toolbox: &Toolbox, spans: usize) -> [usize; 3] {
    eventually(&format!("{spans} spans are counted"), PATIENCE, || async {
        let counted = counted(toolbox).await;
        if counted.iter().sum::<usize>() == spans { Ok(counted) } else { Err(counted) }
    })
    .await
}

#[track_caller]
fn the<'a>(told: &'a [Told], id: &str) -> &'a Told {
    let found: Vec<&Told> = told.iter().filter(|span| span.attributes["jsonrpc.request.id"] == id).collect();
    assert_eq!(found.len(), 1, "spans of {id} in {told:#?}");
    found[0]
}

#[track_caller]
fn has(told: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (key, text) in expected {
        assert_eq!(told.get(*key).map(String::as_str), Some(*text), "{key} of {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_spans_of_calls_as_parts_of_their_clients_traces() {
    let collector = Collector::start().await;
    // Nothing is sent before the end, which sends everything.
    let env = env(&collector, &[("OTEL_BSP_SCHEDULE_DELAY", "1000000"), ("OTEL_SERVICE_NAME", "tools")]);
    let mut toolbox = deployed(env).await;
    let client = toolbox.raw_mcp("fixture").await;
    let mut in_message = call(&json!("in message"), "echo", &json!({"message": "secret"}));
    in_message["params"]["_meta"] = json!({"traceparent": CONTEXT, "tracestate": "a=b"});
    client.exchange(&in_message).await;
    let traced = client.clone().with_header("traceparent", OTHER);
    traced.call(&json!("in header"), "test_error_handling", &json!({})).await;
    in_message["id"] = json!("in both");
    traced.exchange(&in_message).await;
    let unknown = json!({"jsonrpc": "2.0", "id": 5, "method": "no/such", "params": {"name": "x"}});
    client.exchange(&unknown).await;
    let unrecorded = client.clone().with_header("traceparent", UNRECORDED);
    unrecorded.call(&json!("unrecorded"), "echo", &json!({"message": "x"})).await;
    let group = toolbox.named("traced");
    let of_group =
        McpClient::open_at(&toolbox.client(), Target::Group(group.clone()), &json!({})).await.unwrap();
    of_group.call(&json!("of a group"), "fixture__echo", &json!({"message": "x"})).await;
    assert!(collector.told().is_empty(), "{:#?}", collector.told());
    assert!(toolbox.terminate().await.success());
    let told = collector.told();
    check(&told);
    let names =
        [("dtma.group", group.as_str()), ("dtma.server", "fixture"), ("gen_ai.tool.name", "fixture__echo")];
    has(&the(&told, "of a group").attributes, &names);
}

fn check(told: &[Told]) {
    let of_message = the(told, "in message");
    assert_eq!((of_message.trace.as_str(), of_message.parent.as_str()), (TRACE, PARENT));
    assert_eq!((of_message.name.as_str(), of_message.state.as_str()), ("tools/call echo", "a=b"));
    assert_eq!((of_message.kind, of_message.status), (2, 0), "a server's, without an error");
    assert!((1..60_000_000_000).contains(&of_message.nanos), "{of_message:#?}");
    let expected = [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "echo"),
        ("gen_ai.operation.name", "execute_tool"),
        ("network.transport", "tcp"),
        ("network.protocol.name", "http"),
        ("dtma.server", "fixture"),
        ("dtma.door", "http"),
        ("dtma.era", "handshake"),
        ("dtma.outcome", "done"),
    ];
    has(&of_message.attributes, &expected);
    has(&of_message.resource, &[("service.name", "tools"), ("service.version", env!("CARGO_PKG_VERSION"))]);
    assert!(!format!("{told:?}").contains("secret"), "what is said is in no span: {told:#?}");

    let of_header = the(told, "in header");
    assert_eq!(
        (&*of_header.trace, &*of_header.parent),
        ("11111111111111111111111111111111", "2222222222222222")
    );
    assert_eq!((of_header.name.as_str(), of_header.status), ("tools/call test_error_handling", 2));
    has(&of_header.attributes, &[("error.type", "tool_error"), ("dtma.outcome", "failed")]);

    assert_eq!(the(told, "in both").trace, TRACE, "a message that is part of a trace stays there");
    let of_none = the(told, "5");
    assert!(
        of_none.parent.is_empty() && ![TRACE, &"0".repeat(32)].contains(&&*of_none.trace),
        "{of_none:#?}"
    );
    assert_eq!(of_none.name, "no/such");
    has(&of_none.attributes, &[("error.type", "-32601"), ("rpc.response.status_code", "-32601")]);
    assert!(!told.iter().any(|span| span.attributes["jsonrpc.request.id"] == "unrecorded"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_refuses_or_is_gone_costs_spans_and_no_call() {
    let collector = Collector::start().await;
    collector.be(Mood::Hangs);
    // One span on its way and one that waits: whatever comes beside them has no room.
    let narrow = [("OTEL_BSP_MAX_QUEUE_SIZE", "1"), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let toolbox =
        deployed(env(&collector, &[&narrow[..], &[("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")]].concat())).await;
    let client = toolbox.raw_mcp("fixture").await;
    // Of the handshake there is a span, too.
    let mut spans = 1;
    loop {
        echo(&client, spans).await;
        spans += 1;
        let [delivered, failed, dropped] = counted(&toolbox).await;
        assert!(delivered == 0 && spans < 10_000, "{failed} {dropped}");
        if failed > 0 && dropped > 5 {
            break;
        }
    }
    let [_, failed, dropped] = all_counted(&toolbox, spans).await;
    assert!(collector.struck() > 0);

    collector.be(Mood::Refuses(400));
    echo(&client, spans).await;
    assert_eq!(all_counted(&toolbox, spans + 1).await, [0, failed + 1, dropped]);
    collector.be(Mood::Takes);
    echo(&client, spans + 1).await;
    assert_eq!(all_counted(&toolbox, spans + 2).await, [1, failed + 1, dropped]);
    the(&collector.told(), &(spans + 1).to_string());
    drop(collector);
    echo(&client, spans + 2).await;
    assert_eq!(all_counted(&toolbox, spans + 3).await, [1, failed + 2, dropped]);
    let log = std::fs::read_to_string(toolbox.dir().join("daemon.log")).unwrap();
    let times = |told| log.matches(told).count();
    assert_eq!(times("spans cannot be delivered to the collector"), 2, "once each time\n{log}");
    assert_eq!(times("spans are delivered to the collector again"), 1, "{log}");
}

#[test]
fn wrong_variables_are_all_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(binaries::daemon_with("otel"));
    command.env_clear().env("DTMA_BEARER_TOKEN", "a-token-of-this-test").args(["--listen", "127.0.0.1:0"]);
    command.arg("--state-dir").arg(dir.path().join("state"));
    let wrong = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "nowhere",
            "\"nowhere\" is no address of a collector, such as http://",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "\"grpc\": this daemon knows http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,c:secret", "header 2 of it is not of the form name=value"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "\"0\" is no number from 1 to"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "\"sometimes\": this daemon knows always_on,"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "\"2\" is no number from 0 to 1"),
    ];
    command.envs(wrong.map(|(name, said, _)| (name, said)));
    let ended = run(&mut command, PATIENCE);
    assert_eq!(ended.code(), 2, "{ended:?}");
    for (name, _, problem) in wrong {
        assert!(ended.stderr.contains(&format!("error: {name}: {problem}")), "{name}: {}", ended.stderr);
    }
    assert!(ended.stderr.contains("6 setting(s) to mend") && !ended.stderr.contains("secret"), "{ended:?}");
    // Nobody reads them where no spans are wanted.
    let sound = run(command.env("OTEL_TRACES_EXPORTER", "none").args(["config", "check"]), PATIENCE);
    assert_eq!(sound.code(), 0, "{sound:?}");
}
