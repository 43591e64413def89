//! What is not allowed never gets anywhere, and is told why.
#![allow(clippy::unwrap_used, reason = "a broken test should stop where it broke")]

mod support;

use dtma_egress::Limits;
use proptest::prelude::*;
use support::{Habit, Origin, Stage};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[track_caller]
fn says(answer: &str, status: &str, words: &str) {
    let shown = answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words);
    assert!(shown, "{status} {words:?} is not in:\n{answer}");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(body.lines().count() <= 1, "one line: {body:?}");
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_not_even_looked_up() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = Stage::new(&[format!("api.example.org:{}", origin.port())]).await;
    stage.names.say("api.example.org", &[&["127.0.0.1"]]);
    let port = origin.port();
    let answer = stage.get(&format!("http://evil.example:{port}/")).await;
    says(&answer, "403", &format!("its `egress` would have to list \"evil.example:{port}\""));
    assert!(answer.contains("proxy-status: dtma; error=http_request_denied"), "{answer}");
    says(&stage.get("http://api.example.org/").await, "403", "api.example.org:80 is not among");
    let (_, head) = stage.tunnel(&format!("127.0.0.1:{port}")).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(stage.names.asked.lock().unwrap().is_empty());
    assert_eq!((origin.connections(), stage.ear.ends_so_far()), (0, 0));
    let expected = [format!("refused evil.example:{port}"), "refused api.example.org:80".to_owned()];
    assert_eq!(stage.ear.verdicts()[..2], expected);
}

#[tokio::test]
async fn one_address_that_may_not_be_reached_refuses_the_name() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = Stage::new(&["*.example.org:*".to_owned()]).await;
    let url = format!("http://api.example.org:{}/", origin.port());
    for (bad, words) in [
        ("10.0.0.1", "at 10.0.0.1, which is private (10.0.0.0/8)"),
        ("169.254.169.254", "metadata"),
        ("::1", "loopback"),
        ("::ffff:10.0.0.1", "at 10.0.0.1, which is private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("fd00::1", "private"),
        ("0.0.0.0", "this network"),
    ] {
        stage.names.say("api.example.org", &[&["127.0.0.1", bad]]);
        says(&stage.get(&url).await, "403", words);
    }
    assert_eq!(origin.connections(), 0);
    stage.names.say("api.example.org", &[&["127.0.0.1"]]);
    says(&stage.get(&url).await, "200", "ok");
}

#[tokio::test]
async fn the_machine_itself_is_refused_by_whatever_address() {
    let stage = Stage::new(&["api.example.org:80".to_owned()]).await;
    stage.names.say("api.example.org", &[&["198.41.0.4"]]);
    stage.names.own("198.41.0.4");
    says(&stage.get("http://api.example.org/").await, "403", "this machine itself");
}

/// Whoever answers differently the second time is not asked a second time.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_taken_at_its_first_word() {
    let origin = Origin::at("127.0.1.1:0", Habit::Answer(OK)).await;
    let port = origin.port();
    let inner = Origin::at(&format!("127.0.0.1:{port}"), Habit::Answer(OK)).await;
    let limits = Limits::default();
    let stage = Stage::with(&[format!("api.example.org:{port}")], &["127.0.1.0/24"], limits).await;
    stage.names.say("api.example.org", &[&["127.0.1.1"], &["127.0.0.1"]]);
    let url = format!("http://api.example.org:{port}/");
    says(&stage.get(&url).await, "200", "ok");
    assert_eq!(stage.names.asked.lock().unwrap().len(), 1);
    says(&stage.get(&url).await, "403", "loopback");
    assert_eq!((origin.connections(), inner.connections()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_a_request_like_any_other() {
    let away = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::new(Habit::Answer(away)).await;
    let stage = Stage::new(&[format!("api.example.org:{}", origin.port())]).await;
    stage.names.say("api.example.org", &[&["127.0.0.1"]]);
    let answer = stage.get(&format!("http://api.example.org:{}/", origin.port())).await;
    says(&answer, "302", "");
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
    says(&stage.get(location).await, "403", "169.254.169.254:80 is not among");
    let open = Stage::new(&["169.254.169.254:80".to_owned()]).await;
    says(&open.get(location).await, "403", "link-local");
}

#[tokio::test]
async fn whatever_is_no_request_of_a_proxy_gets_a_clear_answer() {
    let stage = Stage::new(&["*.example.org:*".to_owned()]).await;
    for (line, status, words) in [
        ("GET / HTTP/1.1", "400", "this is a proxy, and the request names no host"),
        ("OPTIONS * HTTP/1.1", "400", "names no host"),
        ("GET https://a.example.org/ HTTP/1.1", "400", "https is not forwarded: ask with CONNECT"),
        ("GET ftp://a.example.org/ HTTP/1.1", "400", "ftp is not forwarded"),
        ("TRACE http://a.example.org/ HTTP/1.1", "405", "TRACE is not forwarded"),
        ("CONNECT a.example.org HTTP/1.1", "400", "the port is missing"),
        ("CONNECT http://a.example.org/ HTTP/1.1", "400", "names no host"),
        ("GET http://a.example.org@127.0.0.1/ HTTP/1.1", "400", "user name"),
        ("GET http://0x7f000001/ HTTP/1.1", "400", "four decimal numbers"),
        ("GET http://0177.0.0.1/ HTTP/1.1", "400", "four decimal numbers"),
        ("GET http://127.1/ HTTP/1.1", "400", "four decimal numbers"),
        ("GET http://2130706433/ HTTP/1.1", "400", "four decimal numbers"),
        ("CONNECT 127.0.0.1.:80 HTTP/1.1", "400", "four decimal numbers"),
        ("CONNECT [::ffff:7f00:1]:80 HTTP/1.1", "400", "written [::ffff:127.0.0.1]"),
        ("GET http://a.example.org..:80/ HTTP/1.1", "400", "between two dots"),
        ("GET http://a_b-.example.org/ HTTP/1.1", "400", "begins or ends"),
        ("GET http://a.example.org:0/ HTTP/1.1", "400", "from 1 to 65535"),
        ("HELLO", "400", ""),
        ("GET http://a.example.org:99999/ HTTP/1.1", "400", ""),
    ] {
        let answer = stage.ask(format!("{line}\r\nHost: a.example.org\r\nConnection: close\r\n\r\n")).await;
        says(&answer, status, words);
    }
    assert!(stage.names.asked.lock().unwrap().is_empty());
    let verdicts = stage.ear.verdicts();
    assert!(verdicts.iter().all(|verdict| verdict.starts_with("refused ")), "{verdicts:?}");
    assert!(verdicts.contains(&"refused http://a.example.org@127.0.0.1/".to_owned()), "{verdicts:?}");
}

#[tokio::test]
async fn what_cannot_be_noted_is_not_let_through() {
    let origin = Origin::new(Habit::Answer(OK)).await;
    let stage = Stage::new(&[format!("127.0.0.1:{}", origin.port())]).await;
    stage.ear.stop_listening();
    let answer = stage.get(&format!("http://127.0.0.1:{}/", origin.port())).await;
    says(&answer, "503", "could not be noted, so nothing is let through: the disk is full");
    assert_eq!((origin.connections(), stage.ear.ends_so_far()), (0, 0));
}

#[tokio::test]
async fn an_answer_that_is_none_is_not_passed_on() {
    for nonsense in [
        &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ] {
        let origin = Origin::new(Habit::Answer(nonsense)).await;
        let stage = Stage::new(&[format!("127.0.0.1:{}", origin.port())]).await;
        let answer = stage.get(&format!("http://127.0.0.1:{}/", origin.port())).await;
        says(&answer, "502", "gave no answer that can be passed on");
        stage.ear.end().await;
    }
}

/// How a request may write a host, `{}` standing for one of the names or addresses below.
fn spelling() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just("good.example"),
        Just("GOOD.example."),
        Just("evil.example"),
        Just("127.0.0.1"),
        Just("127.1"),
        Just("0x7f.0.0.1"),
        Just("[::1]"),
        Just("[::ffff:127.0.0.1]"),
        Just("0.0.0.0"),
        Just("localhost"),
        Just("127.0.1.1"),
        Just("good.example@127.0.0.1"),
    ];
    let form = prop_oneof![
        Just("CONNECT {host}:{port} HTTP/1.1\r\n"),
        Just("GET http://{host}:{port}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"),
        Just("GET http://{host}:{port}@127.0.0.1:{port}/ HTTP/1.1\r\n"),
        Just("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n"),
    ];
    (form, host).prop_map(|(form, host)| form.replace("{host}", host))
}

fn answers() -> impl Strategy<Value = Vec<&'static str>> {
    let all = vec!["127.0.1.1", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::ffff:127.0.1.1"];
    prop_oneof![prop::sample::subsequence(all, 0..4), Just(vec!["127.0.1.1"])]
}

/// A host that may be reached and one that may not, on the same port; whatever is asked and whatever the resolver says,
/// nobody ever comes to the second.
#[test]
fn nobody_gets_to_what_may_not_be_reached() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stage, good, bad) = runtime.block_on(async {
        let good = Origin::at("127.0.1.1:0", Habit::Answer(OK)).await;
        let bad = Origin::at(&format!("127.0.0.1:{}", good.port()), Habit::Answer(OK)).await;
        let rules = ["good.example", "localhost", "127.0.0.1", "[::1]", "0.0.0.0"];
        let rules = rules.map(|host| format!("{host}:*"));
        (Stage::with(&rules, &["127.0.1.0/24"], Limits::default()).await, good, bad)
    });
    let case = (spelling(), answers(), answers());
    proptest!(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }, |((form, first, second) in case)| {
        runtime.block_on(async {
            for name in ["good.example", "localhost"] {
                stage.names.say(name, &[&first, &second]);
            }
            let request = form.replace("{port}", &good.port().to_string());
            let before = good.connections();
            let mut client = stage.connect().await;
            tokio::io::AsyncWriteExt::write_all(&mut client, request.as_bytes()).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut client, b"Connection: close\r\n\r\n").await.unwrap();
            let answer = support::read_head(&mut client).await;
            assert_eq!(bad.connections(), 0, "{request} {first:?} {second:?}");
            assert!(answer.starts_with("HTTP/1.1 200") == (good.connections() > before), "{request}\n{answer}");
        });
    });
    assert!(good.connections() > 5, "the way that is open was hardly taken: {}", good.connections());
}
