//! A registry in a few lines: one image of one layer, over plain HTTP, which engines accept on the loopback.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Serves one image under every tag except `absent`.
pub(crate) struct Registry {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    pub(crate) digest: String,
    _serving: JoinSet<()>,
}

struct Shelf {
    blobs: HashMap<String, Vec<u8>>,
    manifest: String,
    /// Between the two halves of the layer.
    pause: Duration,
    asked: Arc<Mutex<Vec<String>>>,
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An archive with one file of so many bytes that no two registries share.
fn layer(size: usize) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "payload");
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    let noise = uuid::Uuid::new_v4();
    archive.extend(noise.as_bytes().iter().cycle().take(size.div_ceil(512) * 512));
    archive.extend([0; 1024]);
    archive
}

impl Registry {
    pub(crate) async fn with_layer_of(size: usize, pause: Duration) -> Self {
        let layer = layer(size);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"User":"1000:1001","Volumes":{{"/b":{{}},"/a":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest(&layer)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{},"digest":"{}"}}]}}"#,
            config.len(),
            digest(config.as_bytes()),
            layer.len(),
            digest(&layer)
        );
        let digest_of_all = digest(manifest.as_bytes());
        let blobs = [config.into_bytes(), layer].map(|blob| (digest(&blob), blob)).into();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shelf = Arc::new(Shelf { blobs, manifest, pause, asked: Arc::clone(&asked) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind the registry");
        let address = listener.local_addr().expect("its address").to_string();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, shelf));
        Self { address, asked, digest: digest_of_all, _serving: serving }
    }

    pub(crate) fn repository(&self) -> String {
        format!("{}/dtma/pulled", self.address)
    }

    /// How often a path that contains this was asked for.
    pub(crate) fn asked(&self, part: &str) -> usize {
        let asked = self.asked.lock().expect("the registry's record");
        asked.iter().filter(|path| path.contains(part)).count()
    }
}

async fn serve(listener: TcpListener, shelf: Arc<Shelf>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        clients.spawn(answer_all(client, Arc::clone(&shelf)));
    }
}

async fn answer_all(client: TcpStream, shelf: Arc<Shelf>) {
    let mut client = BufReader::new(client);
    while let Some((method, path)) = request(&mut client).await {
        shelf.asked.lock().expect("the registry's record").push(path.clone());
        if answer(&mut client, &shelf, &method, &path).await.is_err() {
            return;
        }
    }
}

/// Method and path of the next request; its headers do not matter, and it has no body.
async fn request(client: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    let mut line = String::new();
    client.read_line(&mut first).await.ok().filter(|read| *read > 0)?;
    while client.read_line(&mut line).await.ok()? > 2 {
        line.clear();
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    Some((words.next()?, words.next()?))
}

async fn answer(
    client: &mut BufReader<TcpStream>,
    shelf: &Shelf,
    method: &str,
    path: &str,
) -> std::io::Result<()> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let (status, kind, body) = match shelf.blobs.get(last) {
        Some(blob) => ("200 OK", "application/octet-stream", blob.as_slice()),
        None if path.contains("/manifests/") && last != "absent" => {
            ("200 OK", MANIFEST, shelf.manifest.as_bytes())
        }
        None if path == "/v2/" => ("200 OK", "application/json", &b"{}"[..]),
        None => ("404 Not Found", "application/json", &b"{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"[..]),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\n\r\n",
        body.len(),
        digest(body)
    );
    client.write_all(head.as_bytes()).await?;
    if method == "HEAD" {
        return client.flush().await;
    }
    let (first, second) = body.split_at(body.len() / 2);
    client.write_all(first).await?;
    client.flush().await?;
    if body.len() > 100_000 {
        wait(client, shelf.pause).await?;
    }
    client.write_all(second).await?;
    client.flush().await
}

/// Waits, unless the engine gives up before.
async fn wait(client: &mut BufReader<TcpStream>, pause: Duration) -> std::io::Result<()> {
    match tokio::time::timeout(pause, client.read_u8()).await {
        Err(_) => Ok(()),
        Ok(_) => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}
