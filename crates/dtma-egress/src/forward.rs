//! One plain request, asked again on a connection of its own.
//!
//! What concerns a single connection only is not passed on (RFC 9110, section 7.6.1): there are no upgrades this way,
//! a WebSocket goes through a tunnel. Bodies pass as they come.

use crate::egress::Departure;
use crate::fault::Fault;
use crate::limits::Limits;
use crate::proxy::{Work, Works};
use dtma_core::egress::Authority;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::error::Error;

/// Bytes of an answer's head.
const MOST_HEAD: usize = 64 << 10;

/// Of one connection only, whether `Connection` names them or not; and what is between a client and its proxy.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authentication-info",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Asks and brings the answer's head; the connection goes on in `works`.
pub(crate) async fn forward(
    request: Request<Incoming>,
    departure: Departure,
    works: &Works,
    limits: Limits,
) -> Result<Response<Incoming>, Fault> {
    let Departure { target, upstream, trip } = departure;
    let fault = |error: hyper::Error| Fault::NoAnswer { target: target.clone(), problem: chain(&error) };
    let mut builder = http1::Builder::new();
    builder.preserve_header_case(true).max_header_size(MOST_HEAD).max_buf_size(2 * MOST_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(upstream)).await.map_err(fault)?;
    let asked = async move { connection.await.map_err(|error| chain(&error)) };
    works.send(Work::Drive(Box::pin(async move { trip.accompany(&limits, asked).await }))).await;
    let response = sender.send_request(outgoing(request, &target)).await.map_err(fault)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let problem = "it switched protocols without being asked to".to_owned();
        return Err(Fault::NoAnswer { target, problem });
    }
    Ok(incoming(response))
}

/// The request as the host is to see it.
fn outgoing(mut request: Request<Incoming>, target: &Authority) -> Request<Incoming> {
    *request.uri_mut() = origin_form(request.uri());
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    strip(headers);
    if let Ok(host) = HeaderValue::try_from(host(target)) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.append(header::VIA, HeaderValue::from_static("1.1 dtma"));
    request
}

fn origin_form(uri: &Uri) -> Uri {
    let root = || PathAndQuery::from_static("/");
    Uri::from(uri.path_and_query().cloned().unwrap_or_else(root))
}

/// The port is left out where it is HTTP's own.
fn host(target: &Authority) -> String {
    if target.port == 80 { target.host.to_string() } else { target.to_string() }
}

/// The answer as the client is to see it.
fn incoming(mut response: Response<Incoming>) -> Response<Incoming> {
    strip(response.headers_mut());
    response.headers_mut().append(header::VIA, HeaderValue::from_static("1.1 dtma"));
    response
}

fn strip(headers: &mut HeaderMap) {
    // A length beside an encoding of the transfer is somebody's trick.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect();
    for name in named.iter().map(HeaderName::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// An error with its causes: hyper's own texts are short.
fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_concerns_one_connection_is_taken_away() {
        let mut all = headers(&[
            ("connection", "close, X-Mine, te"),
            ("connection", "content-length, host, ,"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic c2VjcmV0"),
            ("proxy-authenticate", "Basic"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
            ("x-mine", "1"),
            ("authorization", "Bearer kept"),
            ("host", "kept"),
            ("content-length", "3"),
        ]);
        strip(&mut all);
        let mut left: Vec<_> = all.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "content-length", "host"]);
    }

    #[test]
    fn a_length_beside_a_transfer_encoding_is_not_believed() {
        let mut all = headers(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        strip(&mut all);
        assert!(all.is_empty());
    }

    #[test]
    fn the_port_is_left_out_where_it_is_that_of_http() {
        let shown = |text: &str| host(&Authority::parse(text, None).unwrap());
        assert_eq!(shown("example.org:80"), "example.org");
        assert_eq!(shown("[2001:db8::1]:8080"), "[2001:db8::1]:8080");
    }
}
