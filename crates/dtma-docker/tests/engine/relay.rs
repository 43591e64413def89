//! A socket between the adapter and the engine whose connections can be cut, because the engine itself must not be
//! restarted: others use it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(crate) struct Relay {
    dir: tempfile::TempDir,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Relay {
    pub(crate) fn to(engine: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the socket");
        let listener = UnixListener::bind(socket(dir.path())).expect("bind the relay's socket");
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, engine.to_owned(), Arc::clone(&connections)));
        Self { dir, connections, _accepting: accepting }
    }

    /// The same engine behind a TCP address, for as long as the answer lives.
    pub(crate) async fn tcp(engine: &str) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind the relay's port");
        let host = format!("tcp://{}", listener.local_addr().expect("its address"));
        let (engine, mut accepting) = (engine.to_owned(), JoinSet::new());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(relay(client, engine.clone()));
            }
        });
        (host, accepting)
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", socket(self.dir.path()).display())
    }

    /// Ends every connection there is; new ones are accepted at once.
    pub(crate) fn cut(&self) {
        self.connections.lock().expect("the relay's connections").abort_all();
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("engine.sock")
}

async fn accept(listener: UnixListener, engine: String, connections: Arc<Mutex<JoinSet<()>>>) {
    while let Ok((client, _)) = listener.accept().await {
        connections.lock().expect("the relay's connections").spawn(relay(client, engine.clone()));
    }
}

async fn relay(mut client: impl Duplex, engine: String) {
    if let Ok(mut engine) = dial(&engine).await {
        // Its end is the other side's business.
        let _ = copy_bidirectional(&mut client, &mut engine).await;
    }
}

async fn dial(engine: &str) -> std::io::Result<Box<dyn Duplex>> {
    Ok(match engine.split_once("://") {
        Some(("unix", path)) => Box::new(UnixStream::connect(path).await?),
        Some((_, address)) => Box::new(TcpStream::connect(address).await?),
        None => return Err(std::io::ErrorKind::InvalidInput.into()),
    })
}
