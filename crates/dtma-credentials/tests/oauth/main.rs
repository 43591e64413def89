//! The client against a scripted provider, over HTTP.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod provider;

use dtma_credentials::oauth::{
    CallbackError, Client, ClientAuth, ClientParts, ExchangeError, Metadata, Verifier, discover,
};
use dtma_credentials::refresh::{Failure, FailureKind, Proof, Provider, Tokens};
use provider::{Scripted, web};
use secrecy::ExposeSecret;
use std::time::Duration;

const TOKENS: &str = r#"{"access_token":"fresh","refresh_token":"next","expires_in":3600}"#;

fn metadata(base: &str) -> Metadata {
    let endpoint = |path: &str| format!("{base}/{path}").parse().unwrap();
    Metadata {
        issuer: Some(base.to_owned()),
        authorization: Some(endpoint("authorize")),
        token: endpoint("token"),
        device: Some(endpoint("device")),
        revocation: Some(endpoint("revoke")),
        returns_issuer: true,
    }
}

fn client(base: &str, auth: ClientAuth) -> Client {
    let parts = ClientParts {
        provider: metadata(base),
        id: "dtma".to_owned(),
        auth,
        scope: "repo".to_owned(),
        resource: Some("https://mcp.example/".to_owned()),
        extra: Vec::new(),
    };
    Client::new(web(), parts)
}

#[expect(clippy::disallowed_methods, reason = "tests look at what they made up")]
fn parts(tokens: &Tokens) -> (&str, Option<&str>) {
    (tokens.access.expose_secret(), tokens.refresh.as_ref().map(ExposeSecret::expose_secret))
}

/// What a refresh fails with.
async fn failure(provider: &Scripted) -> Failure {
    let client = client(&provider.base, ClientAuth::Post("s3cret".into()));
    client.refresh(&Proof::RefreshToken("old-token".into())).await.expect_err("no tokens")
}

#[tokio::test]
async fn a_refresh_says_what_the_standard_wants_and_proves_who_asks() {
    let provider = Scripted::start().await;
    let body = "grant_type=refresh_token&resource=https%3A%2F%2Fmcp.example%2F";
    for (auth, header, expected) in [
        (ClientAuth::Public, "", format!("{body}&client_id=dtma&refresh_token=old")),
        (ClientAuth::Basic("p w".into()), "basic zhrtytpwk3c=", format!("{body}&refresh_token=old")),
        (
            ClientAuth::Post("s".into()),
            "",
            format!("{body}&client_id=dtma&refresh_token=old&client_secret=s"),
        ),
    ] {
        provider.says("200 OK", TOKENS);
        let tokens = client(&provider.base, auth).refresh(&Proof::RefreshToken("old".into())).await.unwrap();
        assert_eq!(parts(&tokens), ("fresh", Some("next")));
        let asked = provider.asked().join("\n");
        assert!(asked.starts_with("POST /token HTTP/1.1\r\n") && asked.ends_with(&expected), "{asked}");
        assert!(asked.to_lowercase().contains(header), "{asked}");
        assert_eq!(asked.to_lowercase().contains("authorization:"), !header.is_empty(), "{asked}");
    }
}

#[tokio::test]
async fn a_client_without_a_person_asks_for_itself() {
    let provider = Scripted::start().await;
    provider.says("200 OK", r#"{"access_token":"own"}"#);
    let tokens = client(&provider.base, ClientAuth::Public).refresh(&Proof::Client).await.unwrap();
    assert_eq!(parts(&tokens), ("own", None));
    let asked = provider.asked().join("");
    assert!(asked.contains("grant_type=client_credentials&scope=repo&resource="), "{asked}");
}

#[tokio::test]
async fn answers_that_are_none_are_told_from_refusals() {
    let provider = Scripted::start().await;
    let long = "x".repeat(300 * 1024);
    for (head, body) in [
        ("200 OK\r\nContent-Type: text/html", "<html>Sign in</html>"),
        ("200 OK", r#"{"access_token":"fre"#),
        ("200 OK", ""),
        ("502 Bad Gateway", "<html>nginx</html>"),
        ("200 OK", &long),
    ] {
        provider.says(head, body);
        let failure = failure(&provider).await;
        assert_eq!(failure.kind, FailureKind::Away, "{head}: {failure}");
        assert!(failure.said.len() < 500, "{failure}");
    }
    provider.say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"access_token\":\"fresh\"}");
    assert_eq!(failure(&provider).await.kind, FailureKind::Away, "an answer that breaks off");
    provider.say("no HTTP at all\r\n\r\n");
    assert_eq!(failure(&provider).await.kind, FailureKind::Away);
    provider.says("400 Bad Request", r#"{"error":"invalid_grant"}"#);
    assert_eq!(failure(&provider).await.kind, FailureKind::Revoked);
    provider.says("401 Unauthorized", r#"{"error":"invalid_client"}"#);
    assert_eq!(failure(&provider).await.kind, FailureKind::Refused);
}

#[tokio::test]
async fn a_provider_that_is_busy_says_until_when() {
    let provider = Scripted::start().await;
    provider.says("429 Too Many Requests\r\nRetry-After: 17", r#"{"error":"slow_down"}"#);
    let busy = failure(&provider).await;
    assert_eq!((busy.kind, busy.retry_after), (FailureKind::Away, Some(Duration::from_secs(17))));
    provider.says("503 Service Unavailable\r\nRetry-After: 5", "<html>");
    assert_eq!(failure(&provider).await.retry_after, Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn a_redirect_gets_no_secret() {
    let (provider, thief) = (Scripted::start().await, Scripted::start().await);
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        provider.says(&format!("{status}\r\nLocation: {}/token", thief.base), "");
        let failure = failure(&provider).await;
        assert!(failure.said.contains("redirects are not followed"), "{failure}");
    }
    assert_eq!((provider.asked().len(), thief.asked().len()), (3, 0));
}

#[tokio::test]
async fn nobody_there_is_an_absence() {
    let gone = Scripted::start().await.base;
    let client = client(&gone, ClientAuth::Public);
    let failure = client.refresh(&Proof::RefreshToken("old".into())).await.expect_err("nobody is there");
    assert_eq!(failure.kind, FailureKind::Away);
}

#[tokio::test]
async fn no_error_repeats_a_secret() {
    let provider = Scripted::start().await;
    provider.says(
        "400 Bad Request",
        r#"{"error":"invalid_grant","error_description":"old-token of s3cret is bad"}"#,
    );
    let failure = failure(&provider).await;
    let shown =
        format!("{failure} {failure:?} {:?}", client(&provider.base, ClientAuth::Basic("s3cret".into())));
    assert!(shown.contains("*** of *** is bad"), "{shown}");
    assert!(!shown.contains("old-token") && !shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_person_comes_back_with_a_code_that_only_we_can_exchange() {
    let provider = Scripted::start().await;
    let client = client(&provider.base, ClientAuth::Public);
    let pending = client.begin("http://127.0.0.1:7000/back", Verifier::new([7; 32]), [1; 16]).unwrap();
    let state = pending.url.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let good = format!("code=c0de&state={state}&iss={}", provider.base);
    for (query, expected) in [
        (good.replace("state=", "state=x"), CallbackError::State),
        (format!("{good}x"), CallbackError::Issuer),
        (format!("code=c0de&state={state}"), CallbackError::Issuer),
    ] {
        match client.exchange(&pending, &query).await {
            Err(ExchangeError::Callback(error)) => assert_eq!(error, expected, "{query}"),
            other => panic!("{query}: {other:?}"),
        }
    }
    assert!(provider.asked().is_empty(), "nothing is exchanged for a return that is not believed");
    provider.says("200 OK", TOKENS);
    assert_eq!(parts(&client.exchange(&pending, &good).await.unwrap()).0, "fresh");
    let asked = provider.asked().join("");
    for part in [
        "grant_type=authorization_code",
        "code=c0de",
        "code_verifier=BwcHBwcH",
        "resource=https",
        "redirect_uri=http",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
}

#[tokio::test]
async fn a_device_gets_codes_and_then_tokens() {
    let provider = Scripted::start().await;
    let client = client(&provider.base, ClientAuth::Public);
    provider.says(
        "200 OK",
        r#"{"device_code":"d3vice","user_code":"AB-12","verification_uri":"https://idp.example/device","interval":1}"#,
    );
    let code = client.device().await.unwrap();
    assert_eq!((&*code.user_code, code.interval), ("AB-12", Duration::from_secs(1)));
    assert!(!format!("{code:?}").contains("d3vice"));
    provider.says("400 Bad Request", r#"{"error":"authorization_pending"}"#);
    provider.says("200 OK", TOKENS);
    assert_eq!(parts(&client.device_tokens(&code).await.unwrap()).0, "fresh");
    let asked = provider.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[0].starts_with("POST /device ") && asked[0].contains("scope=repo"), "{}", asked[0]);
    assert!(asked[2].contains("device_code=d3vice"), "{}", asked[2]);
}

#[tokio::test]
async fn a_grant_is_ended_at_the_provider() {
    let provider = Scripted::start().await;
    let client = client(&provider.base, ClientAuth::Public);
    provider.says("200 OK", "");
    assert!(client.revoke(&"old".into()).await.unwrap());
    let asked = provider.asked().join("");
    assert!(asked.contains("token_type_hint=refresh_token&client_id=dtma&token=old"), "{asked}");
    provider.says("200 OK", r#"{"ok":false,"error":"not_authed"}"#);
    assert_eq!(client.revoke(&"old".into()).await.expect_err("a no").kind, FailureKind::Refused);
}

#[tokio::test]
async fn a_provider_is_discovered_where_it_is_and_believed_when_it_is_itself() {
    let provider = Scripted::start().await;
    let issuer = format!("{}/tenant", provider.base);
    let body = |issuer: &str| format!(r#"{{"issuer":"{issuer}","token_endpoint":"{issuer}/token"}}"#);
    provider.says("404 Not Found", "");
    provider.says("404 Not Found", "");
    provider.says("200 OK", &body(&issuer));
    let metadata = discover(&web(), &issuer).await.unwrap();
    assert_eq!(metadata.token.to_string(), format!("{issuer}/token"));
    assert!(provider.asked()[2].starts_with("GET /tenant/.well-known/openid-configuration "));
    provider.says("200 OK", &body("https://evil.example"));
    assert_eq!(discover(&web(), &issuer).await.expect_err("another issuer").kind, FailureKind::Refused);
    provider.says("500 Internal Server Error", "");
    assert_eq!(discover(&web(), &issuer).await.expect_err("a failure").kind, FailureKind::Away);
    let foreign = discover(&web(), "http://idp.example").await.expect_err("no https");
    assert!(foreign.said.contains("not https"), "{foreign}");
}
