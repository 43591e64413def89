//! Reports over hours of simulated time, and to a backend that behaves as backends do.

use super::*;
use crate::cli::Cli;
use crate::settings::Settings;
use clap::{CommandFactory, FromArgMatches};
use dtma_core::Timestamp;
use dtma_core::id::GroupId;
use dtma_manager::GroupState;
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

const HOUR: Duration = Duration::from_secs(3600);

fn record() -> Record {
    Record::new("http://127.0.0.1:1/heartbeat".to_owned(), Arc::new(|| Timestamp::UNIX_EPOCH))
}

fn event(kind: EventKind) -> Event {
    let group: GroupId = "g".parse().unwrap();
    Event { seq: 1, at: Timestamp::UNIX_EPOCH, group, instance: None, kind }
}

/// Runs for a simulated time against a backend that answers `answer(n)` to the nth report; something happens every
/// `happens`. Returns how many reports were sent.
async fn reports(
    time: Duration,
    happens: Option<Duration>,
    answer: impl Fn(u32) -> Result<(), Failure>,
) -> u32 {
    let (sender, receiver) = broadcast::channel(16);
    let (sent, record) = (Cell::new(0), record());
    let report = || async {
        sent.set(sent.get() + 1);
        answer(sent.get())
    };
    let world = async {
        match happens {
            None => std::future::pending().await,
            Some(period) => loop {
                tokio::time::sleep(period).await;
                sender.send(event(EventKind::Group(GroupState::Degraded))).unwrap();
            },
        }
    };
    tokio::select! {
        () = keep(receiver, &record, report) => panic!("it ended by itself"),
        () = world => {}
        () = tokio::time::sleep(time) => {}
    }
    sent.get()
}

#[tokio::test(start_paused = true)]
async fn in_hours_of_silence_there_is_one_a_minute() {
    let sent = reports(HOUR * 10, None, |_| Ok(())).await;
    assert!((560..=650).contains(&sent), "{sent} in ten hours");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_away_for_hours_is_left_in_peace() {
    let restless = Some(Duration::from_millis(50));
    let sent = reports(HOUR * 10, restless, |_| Err(Failure::Slow)).await;
    assert!((100..=160).contains(&sent), "{sent} in ten hours, changes notwithstanding");
}

#[tokio::test(start_paused = true)]
async fn endless_changes_do_not_make_it_hot() {
    let sent = reports(HOUR, Some(Duration::from_millis(50)), |_| Ok(())).await;
    assert!((1700..=1900).contains(&sent), "{sent} in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_within_a_second_and_many_at_once_are_told_once() {
    let (sender, receiver) = broadcast::channel(16);
    let (sent, record) = (Cell::new(0), record());
    let report = || async {
        sent.set(sent.get() + 1);
        Ok(())
    };
    let world = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(sent.get(), 1, "the first at the start");
        for _ in 0..40 {
            // More than the channel holds: what is lost is a change too.
            sender.send(event(EventKind::Removed)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(sent.get(), 2);
        sender.send(event(EventKind::Pull { received: 1, total: 2 })).unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(sent.get(), 2, "an image's progress is no change");
    };
    tokio::select! {
        () = keep(receiver, &record, report) => panic!("it ended by itself"),
        () = world => {}
    }
}

#[test]
fn what_became_of_them_is_kept() {
    let record = record();
    record.note(&Err(Failure::Slow));
    record.note(&Err(Failure::Slow));
    let view = record.view.lock().unwrap().clone();
    assert_eq!((view.consecutive_failures, view.failures, view.last_success), (2, 2, None));
    assert_eq!(view.last_error.as_deref(), Some("no answer within 10 s"));
    record.note(&Ok(()));
    let view = record.view.lock().unwrap().clone();
    assert_eq!((view.consecutive_failures, view.failures, view.successes, view.last_error), (0, 2, 1, None));
    assert_eq!(view.last_success.as_deref(), Some("1970-01-01T00:00:00Z"));
}

fn address(words: &[&str]) -> Result<Address, String> {
    let line = [&["dtma-daemon", "--config", "/dev/null"], words].concat();
    let matches = Cli::command().get_matches_from(line);
    let args = Cli::from_arg_matches(&matches).unwrap().settings;
    match Settings::resolve(&args, &matches, None) {
        Ok(settings) => settings.backend.ok_or_else(|| "no backend".to_owned()),
        Err(mistakes) => Err(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// The whole request as it came.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = vec![0; 4096];
    while !text.ends_with("{}") {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

/// What comes of a report to a backend that answers so, and the request it got.
async fn told(answer: &str, rest: Option<&str>) -> (Result<(), Failure>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let address = address(&["--backend-url", &url, "--backend-token-file", token.to_str().unwrap()]).unwrap();
    let backend = Backend::new(&address);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        // The reader may have had enough and closed.
        for _ in 0..rest.map_or(0, |_| 10_000) {
            if stream.write_all(rest.unwrap_or_default().as_bytes()).await.is_err() {
                break;
            }
        }
        (asked, stream)
    };
    let (result, (asked, _stream)) = tokio::join!(backend.post("{}".into()), serve);
    (result, asked)
}

#[tokio::test]
async fn a_report_is_a_post_with_the_token_below_the_base() {
    let (result, asked) = told("HTTP/1.1 204 No Content\r\n\r\n", None).await;
    result.unwrap();
    let asked = asked.to_lowercase();
    assert!(asked.starts_with("post /base/heartbeat http/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: bearer s3cret\r\n"), "{asked}");
    assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    let page = "content-type: text/html; charset=utf-8\r\ncontent-length: 6\r\n\r\n<html>";
    let table = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(), ""),
        (format!("HTTP/1.1 200 OK\r\n{page}"), "it answered 200 OK with a page for people"),
        (format!("HTTP/1.1 502 Bad Gateway\r\n{page}"), "it answered 502 Bad Gateway with a page"),
        (
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
            "it answered 307 Temporary Redirect and points to \"http://elsewhere/\"",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 8\r\n\r\nno token".to_owned(),
            "it answered 401 Unauthorized: no token",
        ),
        ("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(), "it answered 202 Accepted"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "it cannot be reached: "),
    ];
    for (answer, expected) in table {
        let said = told(&answer, None).await.0.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{answer}\n{said}");
    }
}

#[tokio::test]
async fn a_backend_that_has_enough_says_when_to_come_again() {
    let answer = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n";
    let (result, _) = told(answer, None).await;
    assert_eq!(result.err().and_then(|failure| failure.retry_after()), Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let head = |status| format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
    told(&head("200 OK"), Some(&chunk)).await.0.unwrap();
    let said = told(&head("500 Oh"), Some(&chunk)).await.0.unwrap_err().to_string();
    assert!(said.len() < 400 && said.starts_with("it answered 500"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_takes_its_time_is_given_ten_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let backend = Backend::new(&address(&["--backend-url", &url, "--conf", "/nowhere"]).unwrap());
    let (begun, silent) = (Instant::now(), async { std::future::pending::<()>().await });
    let failure = tokio::select! {
        result = backend.post("{}".into()) => result.unwrap_err(),
        () = silent => unreachable!("it never ends"),
    };
    assert!(matches!(failure, Failure::Slow), "{failure}");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn nobody_there_is_a_failure_with_a_reason() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let backend = Backend::new(&address(&["--backend-url", &url]).unwrap());
    let said = backend.post("{}".into()).await.unwrap_err().to_string();
    assert!(said.contains("Connection refused"), "{said}");
}

#[test]
fn an_address_that_would_give_the_token_away_is_refused() {
    let refused = |words: &[&str], expected: &str| {
        let said = address(words).err().unwrap_or_default();
        assert!(said.starts_with(expected), "{words:?}: {said}");
    };
    let clear = "--backend-url: \"http://backend.example/x\": the token would travel in clear";
    refused(&["--backend-url", "http://backend.example/x"], clear);
    refused(&["--backend-url", "http://10.0.0.1"], "--backend-url: \"http://10.0.0.1\": the token would");
    refused(&["--backend-url", "ftp://x"], "--backend-url: \"ftp://x\" is neither");
    refused(&["--backend-url", "backend"], "--backend-url: \"backend\" is neither");
    refused(&["--backend-url", "https://u:s3cret@x"], "--backend-url: it must be");
    refused(
        &["--backend-url", "https://x", "--backend-heartbeat-path", "beat"],
        "--backend-heartbeat-path: \"beat\"",
    );
    refused(
        &["--backend-url", "https://x", "--backend-ca-file", "/nowhere"],
        "--backend-ca-file: /nowhere: No such",
    );
    refused(
        &["--backend-url", "https://x", "--backend-token-file", "/nowhere"],
        "--backend-token-file: /nowhere: ",
    );
    refused(&["--backend-ca-file", "/nowhere"], "--backend-ca-file: it is for a backend");
    for sound in
        ["http://localhost:1", "http://127.0.0.1/x", "http://[::1]:2", "https://backend.example/functions/v1"]
    {
        let address = address(&["--backend-url", sound]).unwrap();
        assert_eq!(address.uri.to_string(), format!("{}/heartbeat", sound.trim_end_matches('/')));
    }
}

#[test]
fn the_originals_file_names_the_backend_too() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("dtma.conf");
    std::fs::write(&conf, "AGENTOPIA_API_BASE_URL=https://backend.example\nDTMA_AUTH_TOKEN=x\n").unwrap();
    let conf = conf.to_str().unwrap();
    assert_eq!(address(&["--conf", conf]).unwrap().uri, "https://backend.example/heartbeat");
    std::fs::write(conf, "AGENTOPIA_API_BASE_URL=http://backend.example\n").unwrap();
    let said = address(&["--conf", conf]).unwrap_err();
    assert!(said.starts_with(&format!("AGENTOPIA_API_BASE_URL in {conf}: ")), "{said}");
}
