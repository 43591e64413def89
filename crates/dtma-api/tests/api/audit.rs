//! The audit log: every change and every refusal has its line, and no line holds a secret.

use crate::house::{House, ROBOT, one_tool};
use crate::wire::Answer;
use dtma_api::limit::Rates;
use dtma_api::{AccessLines, ServeLimits};
use dtma_client::types::{AuditEntryView, AuditOutcome};
use dtma_client::{AuditQuery, ChangeOptions, Mutation, OperationQuery, RemoveOptions, Wait};
use futures_util::StreamExt;
use serde_json::json;

async fn audit(house: &House, which: AuditQuery) -> Vec<AuditEntryView> {
    house.client("admin").list_audit(&which).await.unwrap().entries
}

/// `action outcome status code`, the newest first.
fn told(entries: &[AuditEntryView]) -> Vec<String> {
    let line = |entry: &AuditEntryView| {
        let (status, code) = (entry.status.unwrap_or(0), entry.code.as_deref().unwrap_or("-"));
        format!("{} {} {status} {code}", entry.action, entry.outcome)
    };
    entries.iter().map(line).collect()
}

async fn with(house: &House, headers: &[(&str, &str)], method: &str, path: &str) -> Answer {
    house.send(method, path, headers, "").await
}

#[tokio::test]
async fn every_change_has_a_line_that_says_who_what_and_how_it_ended() {
    let house = House::new().await;
    let client = house.client("deploy");
    let keyed = Mutation { key: Some("k".into()), ..Mutation::default() };
    let made = client.deploy_group(&one_tool("demo"), &keyed).await.unwrap();
    client.deploy_group(&one_tool("demo"), &keyed).await.unwrap();
    let quick = Mutation { wait: Wait::No, key: None };
    client.stop_server("web", &quick).await.unwrap();
    assert!(client.restart_server("nobody", &Mutation::default()).await.is_err());
    client.remove_group("demo", &RemoveOptions::default()).await.unwrap();
    let entries = audit(&house, AuditQuery::default()).await;
    assert_eq!(
        told(&entries),
        [
            "removeGroup done 200 -",
            "restartServer refused 404 no_such_server",
            "stopServer accepted 202 -",
            "deployGroup replayed 201 -",
            "deployGroup done 201 -",
        ]
    );
    let first = &entries[4];
    assert_eq!((first.actor.as_deref(), first.group_id.as_deref()), (Some("deploy"), Some("demo")));
    assert_eq!(first.operation_id.as_deref(), Some(made.operation_id.as_str()));
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/mcp/groups"));
    assert!(first.idempotency_key && !entries[2].idempotency_key);
    assert_eq!(first.peer.as_deref(), Some("127.0.0.1"));
    assert!(first.duration_ms.is_some() && !first.request_id.is_empty());
    assert_eq!(
        (entries[2].instance_name.as_deref(), entries[2].path.as_str()),
        (Some("web"), "/mcp/servers/web/stop")
    );
    assert_eq!(entries[1].instance_name.as_deref(), Some("nobody"), "from the path: there was no operation");
}

#[tokio::test]
async fn a_dry_run_is_no_change() {
    let house = House::new().await;
    let client = house.client("deploy");
    client.deploy_group(&one_tool("demo"), &Mutation::default()).await.unwrap();
    client.plan_group("demo", &one_tool("demo"), &ChangeOptions::default()).await.unwrap();
    let entries = audit(&house, AuditQuery::default()).await;
    assert_eq!(told(&entries), ["putGroup done 200 -", "deployGroup done 201 -"]);
    let marks: Vec<_> = entries.iter().map(|entry| (entry.dry_run, entry.operation_id.is_some())).collect();
    assert_eq!(marks, [(true, false), (false, true)]);
}

#[tokio::test]
async fn looking_leaves_no_line_and_being_turned_away_does() {
    let house = House::new().await;
    house.ask("GET", "/mcp/groups", None).await;
    house.ask("POST", "/mcp/validate", Some(&one_tool("demo"))).await;
    with(&house, &[], "GET", "/health").await;
    assert_eq!(audit(&house, AuditQuery::default()).await, []);
    with(&house, &[], "GET", "/mcp/groups").await;
    with(&house, &[("Authorization", "Bearer nobody")], "DELETE", "/mcp/groups/demo?force=secret").await;
    with(&house, &[("Authorization", "Bearer read")], "DELETE", "/mcp/groups/demo").await;
    with(&house, &[("Authorization", "Bearer admin"), ("Origin", "http://evil.example")], "GET", "/events")
        .await;
    let entries = audit(&house, AuditQuery::default()).await;
    assert_eq!(
        told(&entries),
        [
            "streamEvents denied 403 foreign_origin",
            "removeGroup denied 403 scope_missing",
            "removeGroup denied 401 token_unknown",
            "listGroups denied 401 token_missing",
        ]
    );
    let actors: Vec<_> = entries.iter().map(|entry| entry.actor.as_deref()).collect();
    assert_eq!(actors, [None, Some("read"), None, None]);
    assert_eq!(
        (entries[2].path.as_str(), entries[2].group_id.as_deref()),
        ("/mcp/groups/demo", Some("demo"))
    );
}

#[tokio::test]
async fn a_stranger_cannot_push_everything_else_out_of_it() {
    let house = House::new().await;
    for _ in 0..100 {
        with(&house, &[], "GET", "/mcp/groups").await;
    }
    let denied = audit(&house, AuditQuery { limit: Some(1000), ..AuditQuery::default() }).await.len();
    assert!((60..70).contains(&denied), "{denied}");
}

#[tokio::test]
async fn it_is_searched_page_by_page_by_admins_only() {
    let house = House::new().await;
    for number in 0..5 {
        house.ask("DELETE", &format!("/mcp/groups/g{number}"), None).await;
    }
    let client = house.client("admin");
    let mut which = AuditQuery { limit: Some(2), ..AuditQuery::default() };
    let mut groups = Vec::new();
    loop {
        let page = client.list_audit(&which).await.unwrap();
        groups.extend(page.entries.into_iter().filter_map(|entry| entry.group_id));
        which.cursor = page.next;
        // What happens meanwhile moves nothing.
        house.ask("DELETE", "/mcp/groups/later", None).await;
        if which.cursor.is_none() {
            break;
        }
    }
    assert_eq!(groups, ["g4", "g3", "g2", "g1", "g0"]);
    let count = async |which| audit(&house, which).await.len();
    let all = AuditQuery::default;
    assert_eq!(count(AuditQuery { group: Some("g3".into()), ..all() }).await, 1);
    assert_eq!(count(AuditQuery { instance: Some("g3".into()), ..all() }).await, 0);
    assert_eq!(count(AuditQuery { actor: Some("read".into()), ..all() }).await, 0);
    assert_eq!(count(AuditQuery { action: Some("removeGroup".into()), ..all() }).await, 8);
    assert_eq!(count(AuditQuery { outcome: Some(AuditOutcome::Done), ..all() }).await, 0);
    assert_eq!(count(AuditQuery { since: Some("1h".into()), ..all() }).await, 8);
    assert_eq!(count(AuditQuery { until: Some("1h".into()), ..all() }).await, 0);
    for bad in ["limit=0", "limit=1001", "outcome=odd", "action=odd", "since=yesterday", "cursor=x", "x=1"] {
        assert_eq!(house.ask("GET", &format!("/audit?{bad}"), None).await.status, 400, "{bad}");
    }
    for scope in ["read", "deploy", "credentials", "gateway"] {
        assert!(house.client(scope).list_audit(&all()).await.is_err(), "{scope}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit").join("audit.log");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let house = House::in_dir(ServeLimits::default(), None, Rates::off(), None, dir).await;
    let refused = house.ask("POST", "/mcp/groups", Some(&one_tool("demo"))).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "audit_failed"), "{refused:?}");
    assert!(refused.body.contains("No space left"), "{refused:?}");
    assert_eq!(house.engine.containers().len(), 0);
    assert_eq!(house.ask("GET", "/mcp/groups", None).await.status, 200, "looking works");
    assert_eq!(with(&house, &[], "GET", "/mcp/groups").await.status, 401);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(house.ask("POST", "/mcp/groups", Some(&one_tool("demo"))).await.status, 201);
    assert_eq!(told(&audit(&house, AuditQuery::default()).await), ["deployGroup done 201 -"]);
}

/// Strings of these kinds are planted; what is searched must hold none of them.
const CANARY: &str = "canary-in-";

#[tokio::test]
async fn no_secret_gets_into_logs_operations_events_and_answers() {
    let (sender, mut lines) = tokio::sync::mpsc::channel(1000);
    let access = Some(AccessLines::new(sender));
    let house = House::with_all(ServeLimits::default(), None, Rates::off(), access).await;
    let token = format!("Bearer {ROBOT}");
    let headers =
        [("Authorization", token.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "k-1")];
    let mut body = one_tool("demo");
    body["servers"][0]["environment"] = json!({"PASSWORD": "canary-in-the-environment"});
    body["servers"][0]["labels"] = json!({"note": "canary-in-the-labels"});
    body["servers"][0]["args"] = json!(["--password", "canary-in-the-arguments"]);
    let mut seen = String::new();
    for (method, path, body) in [
        ("POST", "/mcp/groups", body.to_string()),
        ("POST", "/mcp/groups", body.to_string()),
        ("POST", "/mcp/groups?timeout=canary-in-the-query", body.to_string()),
        (
            "POST",
            "/tools",
            json!({"dockerImageUrl": "nowhere", "instanceNameOnToolbox": "t",
            "accountToolInstanceId": "a", "baseConfigOverrideJson": {"Env": ["P=canary-in-the-overrides"]}})
            .to_string(),
        ),
        ("POST", "/mcp/servers/web/exec", json!({"command": ["echo", "canary-in-the-command"]}).to_string()),
        ("DELETE", "/mcp/groups/demo", String::new()),
    ] {
        let keyed = if path == "/mcp/groups" { &headers[..] } else { &headers[..2] };
        let answer = house.send(method, path, keyed, &body).await;
        // What a program says is the answer's to tell, and what was wrong with a query.
        if !path.contains("exec") && !path.contains('?') {
            seen.push_str(&answer.body);
        }
    }
    let wrong = [("Authorization", "Bearer canary-in-the-wrong-token")];
    assert_eq!(with(&house, &wrong, "GET", "/mcp/groups?x=canary-in-the-query").await.status, 401);
    let client = house.client("admin");
    let operations = client.list_operations(&OperationQuery::default()).await.unwrap();
    assert!(operations.operations.len() >= 2);
    seen.push_str(&serde_json::to_string(&operations).unwrap());
    let events: Vec<String> =
        client.list_events().await.unwrap().map(|event| format!("{event:?}")).collect().await;
    assert!(events.len() > 3, "{events:?}");
    seen.push_str(&events.concat());
    let log = std::fs::read_to_string(house.dir.path().join("audit").join("audit.log")).unwrap();
    assert_eq!(log.lines().count(), 13, "two for each change, one for the wrong token: {log}");
    seen.push_str(&log);
    let mut access = Vec::new();
    while let Ok(line) = lines.try_recv() {
        access.push(line);
    }
    assert!(access.len() >= 8, "{access:?}");
    seen.push_str(&access.concat());
    let found: Vec<&str> =
        seen.match_indices(CANARY).map(|(at, _)| &seen[at..(at + 60).min(seen.len())]).collect();
    assert_eq!(found, [""; 0]);
    assert!(seen.contains("robot") && body.to_string().contains(CANARY), "the search finds what is there");
    house.ask("DELETE", "/mcp/groups/canary-in-the-path", None).await;
    let log = std::fs::read_to_string(house.dir.path().join("audit").join("audit.log")).unwrap();
    assert!(log.contains(CANARY), "what is planted where it shows is found");
}
