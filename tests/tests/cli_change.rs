//! The command line on groups that stand: plan, apply, history, diff, rollback, scale, exec, operations, against a
//! real daemon.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops where something is broken")]

use dtma_tests::command_line::{ends, json_of};
use dtma_tests::{Toolbox, engine};

/// Writes `group.yaml`: a web server that tells its version, and a neighbour that never changes.
fn write(toolbox: &Toolbox, version: &str, image: &str) {
    let text = format!(
        "groupId: {}\n\
         servers:\n\
         \x20 - instanceName: web\n\
         \x20   kind: tool\n\
         \x20   image: {image}\n\
         \x20   command: [httpd, -f, -p, \"8080\"]\n\
         \x20   port: 8080\n\
         \x20   environment: {{ VERSION: \"{version}\" }}\n\
         \x20 - instanceName: beside\n\
         \x20   kind: tool\n\
         \x20   image: dtma/busybox:dev\n\
         \x20   command: [httpd, -f, -p, \"8080\"]\n\
         \x20   port: 8080\n",
        toolbox.named("shop")
    );
    std::fs::write(toolbox.dir().join("group.yaml"), text).expect("a file in the test's directory");
}

const BUSYBOX: &str = "dtma/busybox:dev";

fn container(group: &str, instance: &str) -> Vec<String> {
    let all = engine::container_ids(group);
    all.into_iter().filter(|(name, _)| name == instance).map(|(_, id)| id).collect()
}

fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_planned_applied_and_rolled_back() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("shop");
    write(&toolbox, "1", BUSYBOX);

    let new = ends(&toolbox, &["plan", "-f", "group.yaml"], 1).await.stdout;
    has(&new, &["+ web (create)", "/image: \"dtma/busybox:dev\"", "+ beside (create)", "is not there yet"]);
    assert_eq!(engine::remains(&group, true), Vec::<String>::new(), "a plan does nothing");
    ends(&toolbox, &["apply", "-f", "group.yaml"], 0).await;
    ends(&toolbox, &["plan", "-f", "group.yaml"], 0).await;
    let (web, beside) = (container(&group, "web"), container(&group, "beside"));

    write(&toolbox, "2", BUSYBOX);
    let plan = ends(&toolbox, &["plan", "-f", "group.yaml"], 1).await.stdout;
    has(
        &plan,
        &["~ web (replace)", "/environment/VERSION: \"1\" -> \"2\"", "generation 1 stands; 1 to replace"],
    );
    assert!(!plan.contains("beside"), "{plan}");
    let verbose = ends(&toolbox, &["apply", "--dry-run", "-f", "group.yaml"], 1).await.stdout;
    assert_eq!(verbose, plan, "a dry run is a plan");
    let verbose = ends(&toolbox, &["plan", "-v", "-f", "group.yaml"], 1).await.stdout;
    has(&verbose, &["effective configuration:", "beside:"]);
    let conflict = ends(&toolbox, &["up", "-f", "group.yaml"], 6).await.stderr;
    has(&conflict, &["dtma apply -f", "dtma plan -f"]);
    let stale = ends(&toolbox, &["apply", "-f", "group.yaml", "--if-match", "7"], 6).await.stderr;
    has(&stale, &["generation"]);

    let applied = ends(&toolbox, &["apply", "-f", "group.yaml", "--if-match", "1"], 0).await;
    has(&applied.stderr, &["~ web (replace)", "web  updating (the new one is ", "generation 2, in"]);
    assert_ne!(container(&group, "web"), web, "it is replaced");
    assert_eq!(container(&group, "beside"), beside, "its neighbour is not");
    let idle = ends(&toolbox, &["apply", "-f", "group.yaml"], 0).await.stderr;
    has(&idle, &["nothing had to be changed"]);

    let history = ends(&toolbox, &["history", &group], 0).await.stdout;
    has(&history, &["CURRENT", "GENERATION", "FATE", "established", "apply", "~web", "+web"]);
    let second = ends(&toolbox, &["history", &group, "--generation", "2", "-o", "yaml"], 0).await.stdout;
    has(&second, &["generation: 2", "current: true", "VERSION"]);
    let absent = ends(&toolbox, &["history", &group, "--generation", "9"], 5).await.stderr;
    has(&absent, &["there is 1, 2"]);
    let diff = ends(&toolbox, &["diff", &group], 0).await;
    has(&diff.stdout, &["~ web (replace)", "/environment/VERSION: \"1\" -> \"2\""]);
    let back = ends(&toolbox, &["diff", &group, "2", "1"], 0).await.stdout;
    has(&back, &["~ web (replace)", "/environment/VERSION: \"2\" -> \"1\""]);

    let rolled = ends(&toolbox, &["rollback", &group, "--to", "1"], 0).await.stderr;
    has(&rolled, &["~ web (replace)", "generation 3"]);
    let history = json_of(&toolbox, &["history", &group, "-o", "json"]).await;
    assert_eq!(history["generations"][2]["cause"], "rollback to 1", "{history}");
    let same = ends(&toolbox, &["diff", &group, "1", "3"], 0).await;
    assert_eq!(same.stdout, "", "generation 3 says what generation 1 said");
    assert_eq!(container(&group, "beside"), beside);
    ends(&toolbox, &["rollback", &group, "--to", "9"], 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_never_takes_the_old_one_down() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("shop");
    write(&toolbox, "1", BUSYBOX);
    ends(&toolbox, &["up", "-f", "group.yaml"], 0).await;
    let before = engine::container_ids(&group);

    write(&toolbox, "1", "dtma/no-such-image:dev");
    let failed = ends(&toolbox, &["apply", "-f", "group.yaml"], 1).await.stderr;
    has(&failed, &["error:", "dtma/no-such-image:dev", "generation 1 stands again"]);
    assert_eq!(engine::container_ids(&group), before, "what stood stands");
    let history = ends(&toolbox, &["history", &group], 0).await;
    has(&history.stdout, &["failed"]);
    has(&history.stderr, &["generation 2: ", "no-such-image"]);
    let of_group = ["operations", "ls", "--group", &group, "--state", "failed", "-o", "json"];
    let operations = json_of(&toolbox, &of_group).await;
    let id = operations["operations"][0]["id"].as_str().unwrap_or_else(|| panic!("{operations}"));
    let detail = ends(&toolbox, &["operations", "get", id], 0).await.stdout;
    has(&detail, &["failed", "apply", "no-such-image"]);
    ends(&toolbox, &["operations", "wait", id], 1).await;
    ends(&toolbox, &["operations", "get", "no-such-operation"], 5).await;
    let audit = ends(&toolbox, &["audit", "--group", &group], 0).await.stdout;
    has(&audit, &["putGroup", "update_failed", "deployGroup", "done"]);
    let audit = json_of(&toolbox, &["audit", "--action", "deployGroup", "-o", "json"]).await;
    assert_eq!(audit["entries"][0]["groupId"], group.as_str(), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_planned_ends_with_255() {
    let mut toolbox = Toolbox::start();
    let text = format!(
        "groupId: {}\nservers:\n  - instanceName: a\n    image: dtma/busybox:dev\n    kind: tool\n    \
         dependsOn: [{{ instance: nobody }}]\n    resources: {{ memory: 1TiB }}\n",
        toolbox.named("wrong")
    );
    std::fs::write(toolbox.dir().join("wrong.yaml"), text).expect("a file");
    let wrong = ends(&toolbox, &["plan", "-f", "wrong.yaml"], 255).await;
    has(&wrong.stdout, &["wrong.yaml:6", "nobody", "wrong.yaml:7", "memory"]);
    let wrong = ends(&toolbox, &["apply", "-f", "wrong.yaml"], 7).await.stderr;
    has(&wrong, &["wrong.yaml:6", "nobody", "wrong.yaml:7", "memory"]);
    std::fs::write(toolbox.dir().join("broken.yaml"), "groupId: [\n").expect("a file");
    ends(&toolbox, &["plan", "-f", "broken.yaml"], 255).await;
    ends(&toolbox, &["plan", "-f", "absent.yaml"], 255).await;
    toolbox.kill9();
    ends(&toolbox, &["plan", "-f", "wrong.yaml"], 255).await;
    ends(&toolbox, &["apply", "--dry-run", "-f", "wrong.yaml"], 255).await;
    ends(&toolbox, &["apply", "-f", "wrong.yaml"], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_scaled_up_and_down() {
    let toolbox = Toolbox::start();
    let group = toolbox.named("shop");
    write(&toolbox, "1", BUSYBOX);
    ends(&toolbox, &["up", "-f", "group.yaml"], 0).await;
    let first = container(&group, "web");

    let scaled = ends(&toolbox, &["scale", "web", "--replicas", "3"], 0).await.stdout;
    has(&scaled, &["web/0", "web/1", "web/2"]);
    let three = container(&group, "web");
    assert_eq!(three.len(), 3, "{three:?}");
    assert!(three.contains(&first[0]), "the first one stays: {first:?} {three:?}");
    has(&ends(&toolbox, &["ps", &group], 0).await.stdout, &["web/2", "beside"]);
    has(&ends(&toolbox, &["status", "web"], 0).await.stdout, &["3 of 3 ready", "web/1"]);
    let names = ends(&toolbox, &["ps", "-o", "name"], 0).await.stdout;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["web", "beside"]);

    let both = ends(&toolbox, &["scale", "web=1", "beside=2"], 0).await.stdout;
    has(&both, &["beside/0", "beside/1"]);
    assert_eq!(container(&group, "web").len(), 1);
    assert_eq!(container(&group, "beside").len(), 2);
    has(&ends(&toolbox, &["history", &group], 0).await.stdout, &["scale web to 3", "scale beside to 2"]);
    ends(&toolbox, &["scale", "nobody", "--replicas", "2"], 5).await;
    ends(&toolbox, &["scale", "web"], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_in_a_container_ends_as_it_ends() {
    let toolbox = Toolbox::start();
    write(&toolbox, "1", BUSYBOX);
    ends(&toolbox, &["up", "-f", "group.yaml"], 0).await;
    let script = "echo out $VERSION; echo err >&2; exit 3";
    let ended = ends(&toolbox, &["exec", "web", "--", "sh", "-c", script], 3).await;
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out 1\n", "err\n"));
    ends(&toolbox, &["exec", "web", "--", "true"], 0).await;
    ends(&toolbox, &["exec", "nobody", "--", "true"], 5).await;
    let slow = ["exec", "--timeout", "1s", "web", "--", "sleep", "5"];
    ends(&toolbox, &slow, 8).await;
}
