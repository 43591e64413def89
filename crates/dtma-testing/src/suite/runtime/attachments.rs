//! Attachments: a process's three streams.

use super::{Room, RuntimeHarness, Script, within};
use crate::sample;
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::{Attached, OutputStream};
use futures_util::StreamExt;
use std::time::Duration;

/// What an attachment showed until it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    stdout: String,
    stderr: String,
}

impl Heard {
    fn add(&mut self, stream: OutputStream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match stream {
            OutputStream::Stdout => self.stdout.push_str(&text),
            OutputStream::Stderr => self.stderr.push_str(&text),
        }
    }
}

async fn hear_to_the_end(attached: &mut Attached) -> Heard {
    let mut heard = Heard::default();
    let listen = async {
        while let Some(chunk) = attached.output.next().await {
            let chunk = chunk.expect("output");
            heard.add(chunk.stream, &chunk.bytes);
        }
    };
    within("the output ends", listen).await;
    heard
}

async fn hear_until(attached: &mut Attached, expected: &str) {
    let mut heard = Heard::default();
    let listen = async {
        while !heard.stdout.contains(expected) {
            let chunk = attached.output.next().await.expect("the output goes on").expect("output");
            heard.add(chunk.stream, &chunk.bytes);
        }
    };
    within(&format!("{expected:?} is heard"), listen).await;
}

/// Both outputs, told apart, and the end.
pub async fn attach_sees_output_and_eof(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::FailLoudly).await;
    let mut attached = room.runtime.attach(&id).await.expect("attach");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let heard = hear_to_the_end(&mut attached).await;
    assert_eq!(heard, Heard { stdout: "to stdout\n".to_owned(), stderr: "to stderr\n".to_owned() });
    room.leave().await;
}

/// Input included, and a line that arrives in parts is not completed by the other output.
pub async fn attach_before_start_misses_nothing(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::AnswerOnce).await;
    let mut attached = room.runtime.attach(&id).await.expect("attach");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    attached.input.send("half a ".into()).await.expect("send");
    tokio::time::sleep(Duration::from_millis(100)).await;
    attached.input.send("line\n".into()).await.expect("send");
    let heard = hear_to_the_end(&mut attached).await;
    let expected = Heard { stdout: "first half a line\n".to_owned(), stderr: "half a line\n".to_owned() };
    assert_eq!(heard, expected);
    room.leave().await;
}

/// As large as MCP messages get.
pub async fn attach_carries_input_both_ways(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.create("a", Script::Echo).await;
    let mut attached = room.runtime.attach(&id).await.expect("attach");
    room.runtime.start(&id, &sample::launch()).await.expect("start");
    let big = format!("{}\n", "0123456789".repeat(100_000));
    for line in ["ping\n", &big, "pong\n"] {
        let (input, output) = (&mut attached.input, &mut attached.output);
        let send = async { input.send(line.to_owned().into()).await.expect("send") };
        let hear = async {
            let mut heard = Vec::new();
            while heard.len() < line.len() {
                let chunk = output.next().await.expect("the output goes on").expect("output");
                heard.extend_from_slice(&chunk.bytes);
            }
            assert!(heard == line.as_bytes(), "{} bytes came back changed", line.len());
        };
        within("a line comes back", async { tokio::join!(send, hear) }).await;
    }
    room.leave().await;
}

/// A second client does not steal from the first.
pub async fn two_clients_see_the_same_output(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Echo).await;
    let mut first = room.runtime.attach(&id).await.expect("attach");
    let mut second = room.runtime.attach(&id).await.expect("attach again");
    first.input.send("hello\n".into()).await.expect("send");
    hear_until(&mut first, "hello\n").await;
    hear_until(&mut second, "hello\n").await;
    room.leave().await;
}

/// A client that goes away does not end the process's input, or does at once: nothing in between.
pub async fn attach_can_be_taken_up_again(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let id = room.run("a", Script::Echo).await;
    if !harness.traits().input_outlives_its_client {
        drop(room.runtime.attach(&id).await.expect("attach"));
        let state = room.exited(&id).await;
        assert!(matches!(state, ContainerState::Exited { code: 0, .. }), "{state:?}");
        return room.leave().await;
    }
    for word in ["one\n", "two\n"] {
        let mut attached = room.runtime.attach(&id).await.expect("attach");
        attached.input.send(word.into()).await.expect("send");
        hear_until(&mut attached, word).await;
    }
    assert!(matches!(room.state(&id).await, ContainerState::Running { .. }));
    room.leave().await;
}
