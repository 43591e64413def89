//! Asking an address whether a Docker Engine answers there, without a Docker client at hand.

use super::Engine;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A healthy engine answers within a millisecond; a stopped process accepts and then says nothing.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long systemd may take to bring up the engine it has just installed.
const SYSTEM_START: Duration = Duration::from_secs(15);

/// Whether an engine answers `/_ping` at `unix://...` or `tcp://...`.
pub(crate) fn answers(host: &str) -> bool {
    let reply = match host.split_once("://") {
        Some(("unix", path)) => ask_unix(Path::new(path)),
        Some(("tcp" | "http", address)) => ask_tcp(address),
        _ => return false,
    };
    reply.is_ok_and(|reply| reply.starts_with("HTTP/1.") && reply.contains(" 200 "))
}

/// Waits for the system's engine on a machine where systemd starts what is installed.
pub(crate) fn wait_for_system(host: &str) -> Option<Engine> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    eprintln!("    systemd runs here: giving it a moment to start the system's own engine");
    until(SYSTEM_START, || answers(host)).then(|| Engine::at(host.to_owned()))
}

/// Polls until `done` holds or the time is over; says which.
pub(crate) fn until(deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

fn ask_unix(path: &Path) -> std::io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ping(stream)
}

fn ask_tcp(address: &str) -> std::io::Result<String> {
    let address = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ping(stream)
}

fn ping(mut stream: impl Read + Write) -> std::io::Result<String> {
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut reply = [0; 256];
    let length = stream.read(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_socket_and_a_strange_scheme_do_not_answer() {
        assert!(!answers("unix:///nowhere/docker.sock"));
        assert!(!answers("ssh://somewhere"));
    }

    #[test]
    fn a_listener_that_is_no_engine_does_not_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"SSH-2.0\r\n"));
        assert!(!answers(&format!("tcp://{address}")));
        peer.join().unwrap().unwrap();
    }
}
