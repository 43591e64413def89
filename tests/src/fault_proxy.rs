//! A socket between a client and an engine that can be told to answer what no healthy engine answers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// By the engine.
    None,
    /// With this status and a message.
    Status(u16),
    /// With half of a JSON document that claims to be whole.
    TruncatedJson,
    /// With a chunked body that breaks off in the middle of a chunk.
    HalfChunk,
    /// With half of the head of an answer, and then nothing.
    HalfHead,
    /// Not at all; the connection stays open.
    Hang,
    /// Not at all; the connection is closed.
    Close,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 7] = [
        Self::Status(500),
        Self::Status(429),
        Self::TruncatedJson,
        Self::HalfChunk,
        Self::HalfHead,
        Self::Hang,
        Self::Close,
    ];

    fn answer(self) -> Option<String> {
        let json = "Content-Type: application/json\r\n";
        match self {
            Self::None | Self::Hang | Self::Close => None,
            Self::Status(status) => {
                let body = format!("{{\"message\":\"scripted {status}\"}}");
                Some(format!("HTTP/1.1 {status} No\r\n{json}Content-Length: {}\r\n\r\n{body}", body.len()))
            }
            Self::TruncatedJson => {
                Some(format!("HTTP/1.1 200 OK\r\n{json}Content-Length: 12\r\n\r\n[{{\"Id\":\"ab1"))
            }
            Self::HalfChunk => Some(format!(
                "HTTP/1.1 200 OK\r\n{json}Transfer-Encoding: chunked\r\n\r\n40\r\n[{{\"Id\":\"ab"
            )),
            Self::HalfHead => Some(format!("HTTP/1.1 200 OK\r\n{json}Conte")),
        }
    }

    /// Whether the client, not the proxy, has to end it.
    fn waits(self) -> bool {
        matches!(self, Self::Hang | Self::HalfHead)
    }
}

/// The socket.
pub struct FaultProxy {
    dir: TempDir,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

struct State {
    engine: PathBuf,
    fault: Mutex<Fault>,
    open: AtomicUsize,
    struck: AtomicUsize,
    cut: Notify,
}

impl FaultProxy {
    /// In front of an engine at `unix://…`.
    #[must_use]
    pub fn before(engine: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the socket");
        let listener = UnixListener::bind(dir.path().join("d.sock")).expect("bind the proxy's socket");
        let engine = engine.strip_prefix("unix://").expect("an engine on a unix socket").into();
        let fault = Mutex::new(Fault::None);
        let (open, struck) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Arc::new(State { engine, fault, open, struck, cut: Notify::new() });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&state)));
        Self { dir, state, _accepting: accepting }
    }

    /// Its address, for `DOCKER_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("d.sock").display())
    }

    /// Requests that arrive from now on are answered so.
    pub fn set(&self, fault: Fault) {
        *self.state.fault.lock().expect("the fault") = fault;
    }

    /// Ends every connection there is; new ones are accepted at once.
    pub fn cut(&self) {
        self.state.cut.notify_waiters();
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Requests that were answered by a fault so far.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.state.struck.load(Ordering::SeqCst)
    }
}

async fn accept(listener: UnixListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        connections.spawn(async move {
            state.open.fetch_add(1, Ordering::SeqCst);
            // A client that goes away in the middle is what is tested here; a connection that is cut is dropped.
            tokio::select! {
                () = state.cut.notified() => {}
                _ = serve(client, &state) => {}
            }
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One connection bears one request: that is how the adapter speaks to engines.
async fn serve(mut client: UnixStream, state: &State) -> std::io::Result<()> {
    let mut head = vec![0; 64 * 1024];
    let read = client.read(&mut head).await?;
    if read == 0 {
        return Ok(());
    }
    let fault = *state.fault.lock().expect("the fault");
    if fault == Fault::None {
        let mut engine = UnixStream::connect(&state.engine).await?;
        engine.write_all(&head[..read]).await?;
        return copy_bidirectional(&mut client, &mut engine).await.map(drop);
    }
    state.struck.fetch_add(1, Ordering::SeqCst);
    if let Some(answer) = fault.answer() {
        client.write_all(answer.as_bytes()).await?;
    }
    // A body that comes late must be taken, or the client would only see a broken pipe.
    while fault.waits() && client.read(&mut head).await? > 0 {}
    Ok(())
}
