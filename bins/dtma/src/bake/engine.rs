//! The two things asked of an engine directly: whether it has an image, and to take one as a layer.

use crate::exit::Exit;
use crate::failure::Failure;
use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use http_body_util::{BodyStream, Either, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

/// How long a layer may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much of a layer is read at once.
const PIECE: usize = 256 << 10;
/// The most of an answer that is kept.
const MOST: usize = 64 << 10;

/// A container engine, by its address.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    address: Address,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Tcp(String),
}

type Body = Either<
    Empty<Bytes>,
    StreamBody<std::pin::Pin<Box<dyn Stream<Item = std::io::Result<Frame<Bytes>>> + Send>>>,
>;

impl Engine {
    /// The engine at `unix:///PATH` or `tcp://HOST:PORT`.
    pub(crate) fn at(host: &str) -> Result<Self, Failure> {
        let address = match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Address::Unix(path.into()),
            Some(("tcp", authority)) if !authority.is_empty() => Address::Tcp(authority.to_owned()),
            Some(_) | None => {
                let failure =
                    Failure::new(Exit::Usage, format!("no image can be given to the engine at {host:?}"));
                return Err(failure.hint("DOCKER_HOST names the engine: unix:///PATH or tcp://HOST:PORT"));
            }
        };
        Ok(Self { address, name: host.to_owned() })
    }

    /// Whether it has the image.
    pub(crate) async fn has(&self, image: &str) -> Result<bool, Failure> {
        let (status, said) =
            self.ask("GET", &format!("/images/{image}/json"), Either::Left(Empty::new())).await?;
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused(&said)),
        }
    }

    /// Takes a layer as an image of that name.
    pub(crate) async fn import(&self, layer: &Path, image: &str, changes: &[String]) -> Result<(), Failure> {
        let unreadable = |error: std::io::Error| {
            Failure::new(Exit::Failed, "the layer cannot be read").cause(error.to_string())
        };
        let file = tokio::fs::File::open(layer).await.map_err(unreadable)?;
        let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let changes: String = changes.iter().map(|change| format!("&changes={}", escape(change))).collect();
        let path = format!("/images/create?fromSrc=-&repo={}&tag={}{changes}", escape(name), escape(tag));
        let (status, said) =
            self.ask("POST", &path, Either::Right(StreamBody::new(Box::pin(pieces(file))))).await?;
        // A failure in the middle comes with 200: the answer is a stream of messages.
        if status.is_success() && !said.contains("\"error\"") { Ok(()) } else { Err(self.refused(&said)) }
    }

    async fn ask(&self, method: &str, path: &str, body: Body) -> Result<(StatusCode, String), Failure> {
        let talk = async {
            match &self.address {
                Address::Unix(socket) => {
                    exchange(UnixStream::connect(socket).await?, method, path, body).await
                }
                Address::Tcp(authority) => {
                    exchange(TcpStream::connect(authority).await?, method, path, body).await
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, talk).await;
        let away = |problem: String| {
            Failure::new(Exit::Failed, format!("the engine at {} does not answer", self.name))
                .cause(problem)
                .hint("DOCKER_HOST names the engine; it must be the daemon's own (dtma status shows that)")
        };
        answer.map_err(|_| away(format!("not within {PATIENCE:?}")))?.map_err(|error| away(error.to_string()))
    }

    fn refused(&self, said: &str) -> Failure {
        Failure::new(Exit::Failed, format!("the engine at {} refuses the image", self.name))
            .cause(said.trim())
    }
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    method: &str,
    path: &str,
    body: Body,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(method).uri(path).header("host", "engine").body(body)?;
    let answer = async {
        let response: Response<Incoming> = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, text(response.into_body()).await))
    };
    // The connection is driven as long as the answer is awaited, and ends with it.
    tokio::select! {
        biased;
        answer = answer => answer,
        ended = connection => Err(ended.err().map_or("the connection was closed".into(), Into::into)),
    }
}

async fn text(body: Incoming) -> String {
    let mut said = Vec::new();
    let mut frames = BodyStream::new(body);
    while let Some(Ok(frame)) = futures_util::StreamExt::next(&mut frames).await {
        if let Ok(data) = frame.into_data() {
            said.extend_from_slice(&data[..data.len().min(MOST.saturating_sub(said.len()))]);
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn pieces(file: tokio::fs::File) -> impl Stream<Item = std::io::Result<Frame<Bytes>>> + Send {
    unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Frame::data(piece.into())), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    })
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_has_one_of_two_kinds_of_address() {
        assert_eq!(Engine::at("unix:///run/x.sock").unwrap().address, Address::Unix("/run/x.sock".into()));
        assert_eq!(Engine::at("tcp://h:2375").unwrap().address, Address::Tcp("h:2375".into()));
        for bad in ["", "unix://x", "ssh://h", "/run/x.sock", "tcp://"] {
            assert!(Engine::at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_changes_an_image_is_one_value_of_the_query() {
        assert_eq!(escape("ENV A=b&c \"d\""), "ENV%20A%3Db%26c%20%22d%22");
    }
}
