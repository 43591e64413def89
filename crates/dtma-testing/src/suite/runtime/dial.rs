//! Connections to ports inside.

use super::{Room, RuntimeHarness, Script, assert_conflict, assert_not_found, join, within};
use crate::sample;
use dtma_core::id::ContainerId;
use dtma_core::port::runtime::RuntimeError;
use std::net::TcpStream;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const PORT: u16 = 8080;
/// A little later than at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A room on an engine whose containers' addresses lead somewhere, with a server on a network.
async fn serving(harness: &impl RuntimeHarness) -> Option<(Room, ContainerId)> {
    if !harness.traits().addresses_lead_there {
        return None;
    }
    let room = Room::enter(harness).await;
    let network = room.runtime.create_network(&room.network()).await.expect("create_network");
    let id = join(&room, "a", Script::Serve, &network).await;
    Some((room, id))
}

/// It may not listen yet.
async fn dialled(room: &Room, id: &ContainerId) -> TcpStream {
    let dialled = async {
        loop {
            match room.runtime.dial(id, PORT).await {
                Ok(stream) => return stream,
                Err(RuntimeError::PortClosed { port: PORT, .. }) => {}
                Err(other) => panic!("expected a connection or PortClosed, got {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the port is dialled", dialled).await
}

/// The answer to a request of a web page.
async fn ask(stream: TcpStream) -> String {
    stream.set_nonblocking(true).expect("it need not block");
    let mut stream = tokio::net::TcpStream::from_std(stream).expect("it is a socket");
    let mut answer = String::new();
    let asked = async {
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        stream.read_to_string(&mut answer).await
    };
    within("the answer comes", asked).await.expect("the connection holds");
    answer
}

/// Several at the same time reach the same server.
pub async fn a_port_that_is_listened_on_is_dialled(harness: impl RuntimeHarness) {
    let Some((room, id)) = serving(&harness).await else { return };
    let (first, second) = (dialled(&room, &id).await, dialled(&room, &id).await);
    for stream in [second, first] {
        let answer = ask(stream).await;
        assert!(answer.contains("It works."), "{answer:?}");
    }
    room.leave().await;
}

/// Waiting for anything would make a start slower than it is.
pub async fn a_port_where_nobody_listens_is_closed_at_once(harness: impl RuntimeHarness) {
    let Some((room, id)) = serving(&harness).await else { return };
    dialled(&room, &id).await;
    let began = Instant::now();
    for _ in 0..3 {
        let answer = room.runtime.dial(&id, PORT + 1).await;
        let closed = |error: &RuntimeError| match error {
            RuntimeError::PortClosed { port, problem } => {
                *port == PORT + 1 && problem.to_lowercase().contains("refused") && error.is_transient()
            }
            _ => false,
        };
        assert!(answer.as_ref().is_err_and(closed), "{answer:?}");
    }
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
    room.leave().await;
}

/// Not before, not after, and again in its next run.
pub async fn a_container_is_dialled_while_it_runs(harness: impl RuntimeHarness) {
    let Some((room, id)) = serving(&harness).await else { return };
    dialled(&room, &id).await;
    room.runtime.kill(&id).await.expect("kill");
    room.exited(&id).await;
    assert_conflict(room.runtime.dial(&id, PORT).await);
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    assert!(ask(dialled(&room, &id).await).await.contains("It works."));
    room.runtime.remove(&id).await.expect("remove");
    assert_not_found(room.runtime.dial(&id, PORT).await);
    room.leave().await;
}

/// That does not change by itself, so nobody need try again.
pub async fn a_container_that_joins_no_network_is_not_dialled(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Serve).await;
    let answer = room.runtime.dial(&id, PORT).await;
    assert!(matches!(answer, Err(RuntimeError::Refused { .. })), "{answer:?}");
    room.leave().await;
}
