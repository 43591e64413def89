//! Answers of providers by cases.

use super::*;
use crate::web::retry_after;
use secrecy::ExposeSecret;

fn reply(status: u16, body: &str) -> Reply<'_> {
    Reply { status, retry_after: None, body: body.as_bytes() }
}

#[expect(clippy::disallowed_methods, reason = "tests look at what they made up")]
fn parts(tokens: &Tokens) -> (&str, Option<&str>, Option<f64>) {
    let refresh = tokens.refresh.as_ref().map(ExposeSecret::expose_secret);
    (tokens.access.expose_secret(), refresh, tokens.expires_in)
}

#[track_caller]
fn check(body: &str, expected: (&str, Option<&str>, Option<f64>)) {
    let tokens = reply(200, body).tokens().unwrap_or_else(|error| panic!("{body}: {error}"));
    assert_eq!(parts(&tokens), expected, "{body}");
}

#[track_caller]
fn refused(status: u16, body: &str, kind: FailureKind) {
    let failure = reply(status, body).tokens().expect_err(body);
    assert_eq!(failure.kind, kind, "{body}: {failure}");
}

#[test]
fn tokens_are_found_however_they_are_written() {
    check(r#"{"access_token":"a","expires_in":3600}"#, ("a", None, Some(3600.0)));
    check(
        r#"{"access_token":"a","refresh_token":"r","expires_in":"28800"}"#,
        ("a", Some("r"), Some(28800.0)),
    );
    check(
        "access_token=a%2Bb&expires_in=28800&refresh_token=r&token_type=bearer",
        ("a+b", Some("r"), Some(28800.0)),
    );
    check(r#"{"ok":true,"access_token":"xoxb","authed_user":{"access_token":"xoxp"}}"#, ("xoxb", None, None));
    check(
        r#"{"ok":true,"authed_user":{"access_token":"xoxp","refresh_token":"xoxe"}}"#,
        ("xoxp", Some("xoxe"), None),
    );
    check(r#"{"access_token":"a","expires_in":-3}"#, ("a", None, Some(-3.0)));
    check(r#"{"access_token":"a","expires_in":1e308}"#, ("a", None, Some(1e308)));
    check(r#"{"access_token":"a","expires_in":{}}"#, ("a", None, None));
}

#[test]
fn a_refusal_is_told_from_an_absence_and_from_the_end_of_a_grant() {
    use FailureKind::{Away, Refused, Revoked};
    refused(400, r#"{"error":"invalid_grant"}"#, Revoked);
    refused(200, "error=bad_refresh_token&error_description=The+refresh+token+is+invalid", Revoked);
    refused(200, r#"{"ok":false,"error":"invalid_refresh_token"}"#, Revoked);
    refused(200, r#"{"ok":false}"#, Refused);
    refused(401, r#"{"error":"invalid_client"}"#, Refused);
    refused(400, r#"{"error":"temporarily_unavailable"}"#, Away);
    refused(503, r#"{"error":"invalid_grant"}"#, Away);
    refused(429, r#"{"error":"invalid_grant"}"#, Away);
    refused(302, "", Away);
    refused(200, "<html>Sign in to the airport's network</html>", Away);
    refused(200, r#"{"access_token":"a""#, Away);
    refused(200, r#"{"access_token":""}"#, Away);
    refused(200, r#"{"access_token":"a\r\nb"}"#, Away);
    refused(200, "", Away);
    refused(200, "OK", Away);
}

#[test]
fn what_is_said_of_an_error_is_short_and_one_line() {
    let body =
        format!(r#"{{"error":"invalid_grant","error_description":"a\n\u001b[31m{}"}}"#, "x".repeat(5000));
    let said = reply(400, &body).tokens().unwrap_err().said;
    assert!(said.len() < 400 && !said.contains(char::is_control), "{said}");
    assert!(!said.contains("xx"), "a word is not cut, it may be a secret: {said}");
}

#[test]
fn a_device_is_given_codes_within_bounds() {
    let body = r#"{"device_code":"d","user_code":"U-1","verification_url":"https://a.example/device","interval":-1,"expires_in":1e9}"#;
    let code = reply(200, body).device().unwrap();
    assert_eq!((code.interval, code.expires_in), (Duration::from_secs(5), Duration::from_secs(3600)));
    assert_eq!(code.verification_uri, "https://a.example/device");
    let script = r#"{"device_code":"d","user_code":"U-1","verification_uri":"javascript:alert(1)"}"#;
    assert!(reply(200, script).device().is_err());
}

#[test]
fn a_device_waits_for_its_person() {
    let polled = |status, body| reply(status, body).polled();
    assert!(matches!(polled(400, r#"{"error":"authorization_pending"}"#), Ok(Polled::Pending)));
    assert!(matches!(polled(200, "error=slow_down&interval=10"), Ok(Polled::SlowDown)));
    assert!(matches!(polled(429, r#"{"error":"slow_down"}"#), Ok(Polled::SlowDown)));
    assert!(matches!(polled(200, r#"{"access_token":"a"}"#), Ok(Polled::Tokens(_))));
    let no = polled(400, r#"{"error":"access_denied"}"#).unwrap_err();
    assert_eq!(no.kind, FailureKind::Revoked);
}

#[test]
fn a_wish_for_patience_is_seconds_or_a_date() {
    let date = "Sat, 21 Nov 2026 12:00:00 GMT";
    let wish = |wish| retry_after(wish, date).map(|wish| wish.as_secs());
    assert_eq!(wish("120"), Some(120));
    assert_eq!(wish("Sat, 21 Nov 2026 12:01:30 GMT"), Some(90));
    for none in ["Sat, 21 Nov 2026 11:00:00 GMT", "soon", "-5", ""] {
        assert_eq!(wish(none), None, "{none}");
    }
}
