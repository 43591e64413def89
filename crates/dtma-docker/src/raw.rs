//! Answers read past the client's own model, which knows Docker's words only: Podman (4.3, measured) calls a container
//! `stopped` while its process has ended and has not been put away, for some tenths of a second as a rule. The client
//! would refuse the whole answer, and of a list every container in it.

use crate::connect::Link;
use crate::dialect::Dialect;
use crate::errors::Op;
use crate::transport::Transport;
use bollard::Docker;
use bollard::errors::Error;
use bytes::Bytes;
use dtma_core::port::runtime::RuntimeError;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write as _;

/// The answer to a question of the client; on Podman to the same question at `path`, with Docker's word for that state.
/// `path` has its query, without the version.
pub(crate) async fn read<T, F>(
    link: &Link,
    op: Op<'_>,
    path: &str,
    ask: impl FnOnce(Docker) -> F,
) -> Result<T, RuntimeError>
where
    T: DeserializeOwned,
    F: Future<Output = Result<T, Error>>,
{
    let ask = |docker, dialect| async move {
        match dialect {
            Dialect::Docker => ask(docker).await,
            Dialect::Podman => translated(link.transport(), &docker, path).await,
        }
    };
    link.read_in_dialect(op, ask).await
}

async fn translated<T: DeserializeOwned>(
    transport: &Transport,
    docker: &Docker,
    path: &str,
) -> Result<T, Error> {
    let path = format!("/v{}{path}", docker.client_version());
    let mut answer: Value = serde_json::from_slice(transport.get(&path).await?.body())?;
    translate(&mut answer);
    Ok(serde_json::from_value(answer)?)
}

/// `{"State": {"Status": "stopped"}}` of an inspection, `{"State": "stopped"}` in a list.
fn translate(answer: &mut Value) {
    match answer {
        Value::Array(items) => items.iter_mut().for_each(translate),
        Value::Object(fields) => {
            for word in ["State", "Status"] {
                match fields.get_mut(word) {
                    Some(Value::String(state)) if state == "stopped" => "exited".clone_into(state),
                    Some(inner @ Value::Object(_)) => translate(inner),
                    Some(_) | None => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One `GET` on a connection of its own. An answer that is no success is an error.
pub(crate) async fn get<C>(connector: C, uri: Uri) -> Result<Response<Bytes>, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let request = Request::builder().method(Method::GET).uri(uri).body(Full::<Bytes>::default())?;
    let answer = client.request(request).await?;
    let (head, body) = answer.into_parts();
    let (status, body) = (head.status, body.collect().await?.to_bytes());
    if status.is_success() {
        return Ok(Response::from_parts(head, body));
    }
    let said: Option<Value> = serde_json::from_slice(&body).ok();
    let message = said.and_then(|said| Some(said.get("message")?.as_str()?.to_owned())).unwrap_or_default();
    Err(Error::DockerResponseServerError { status_code: status.as_u16(), message })
}

/// A value of a query.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_state_of_a_container_is_translated() {
        let mut list = json!([
            { "State": "stopped", "Names": ["stopped"], "Labels": { "State": "stopped" } },
            { "State": "running", "Status": "Up 3 seconds" },
        ]);
        translate(&mut list);
        let expected = json!([
            { "State": "exited", "Names": ["stopped"], "Labels": { "State": "stopped" } },
            { "State": "running", "Status": "Up 3 seconds" },
        ]);
        assert_eq!(list, expected);
        let mut inspection = json!({ "Name": "stopped", "State": { "Status": "stopped", "ExitCode": 3 } });
        translate(&mut inspection);
        assert_eq!(inspection["State"], json!({ "Status": "exited", "ExitCode": 3 }));
        assert_eq!(inspection["Name"], "stopped");
    }

    #[test]
    fn a_query_is_written_in_plain_letters() {
        assert_eq!(percent_encoded(r#"{"a":["b=c"]}"#), "%7B%22a%22%3A%5B%22b%3Dc%22%5D%7D");
    }
}
