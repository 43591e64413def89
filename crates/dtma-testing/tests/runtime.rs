//! The engine's suite over the engine in memory, and what only that one can do.
#![expect(clippy::expect_used, reason = "a broken test should stop where it broke")]

use async_trait::async_trait;
use dtma_core::id::{ImageRef, OwnerId};
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::{ContainerRuntime, RuntimeError};
use dtma_testing::fake_runtime::{Process, Verb};
use dtma_testing::suite::runtime::{RuntimeHarness, Script};
use dtma_testing::{FakeMcpServer, FakeRuntime, FakeRuntimeRemote, sample};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

struct InMemory {
    runtime: Arc<FakeRuntime>,
    remote: FakeRuntimeRemote,
}

fn in_memory() -> InMemory {
    let (runtime, remote) = FakeRuntime::new();
    remote.add_image_running("suite", shell);
    InMemory { runtime: Arc::new(runtime), remote }
}

#[async_trait]
impl RuntimeHarness for InMemory {
    fn runtime(&self) -> Arc<dyn ContainerRuntime> {
        Arc::clone(&self.runtime) as Arc<dyn ContainerRuntime>
    }
    fn owner(&self) -> OwnerId {
        owner()
    }
    fn image(&self) -> ImageRef {
        "suite".into()
    }
    async fn break_connections(&self) {
        self.remote.away(true);
        self.remote.away(false);
    }
}

fn owner() -> OwnerId {
    "0a0b0c0d-0000-4000-8000-000000000001".into()
}

/// Runs the suite's scripts.
async fn shell(mut process: Process) -> i64 {
    let command = process.container.config.command.clone().unwrap_or_default();
    let script = Script::ALL.into_iter().find(|script| script.command() == command).expect("a script");
    match script {
        Script::Idle => stay(&process).await,
        Script::Stubborn => std::future::pending().await,
        Script::Succeed => 0,
        Script::FailLoudly => {
            process.stdout.line("to stdout").await;
            process.stderr.line("to stderr").await;
            3
        }
        Script::Echo => {
            while let Some(chunk) = process.stdin.chunk().await {
                process.stdout.write(chunk).await;
            }
            0
        }
        Script::AnswerOnce => {
            let line = process.stdin.line().await.expect("a line");
            process.stdout.write("first ").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            process.stdout.line(&line).await;
            process.stderr.line(&line).await;
            0
        }
        Script::CountAndStay => {
            process.stdout.line("1").await;
            process.stderr.line("2").await;
            process.stdout.line("3").await;
            stay(&process).await
        }
        Script::Flood => {
            for _ in 0..100 {
                process.stdout.write(vec![0; 4000]).await;
            }
            process.stderr.line("too much").await;
            5
        }
        Script::Serve => serve(&process).await,
    }
}

/// Answers every connection with the same page.
async fn serve(process: &Process) -> i64 {
    let listener = process.ports.listen(8080);
    let mut answers = JoinSet::new();
    let answer = async {
        while let Ok((mut connection, _)) = listener.accept().await {
            answers.spawn(async move {
                let _ = connection.read(&mut [0; 1024]).await;
                connection.write_all(b"HTTP/1.0 200 OK\r\n\r\n<p>It works.</p>\n").await
            });
        }
    };
    process.terminated.run_until_cancelled(answer).await;
    143
}

async fn stay(process: &Process) -> i64 {
    process.terminated.cancelled().await;
    143
}

dtma_testing::runtime_suite!(in_memory());

/// A running container of the image `image`, called `a`.
async fn running(runtime: &FakeRuntime, remote: &FakeRuntimeRemote) {
    let facts = remote.add_image("image");
    let config = sample::container_config("image");
    let request = sample::create_container(&owner(), &sample::slot("g", "a"), config, &facts);
    let id = runtime.create(&request).await.expect("create");
    runtime.start(&id, &sample::launch()).await.expect("start");
}

#[tokio::test]
async fn scripted_failures_hit_the_call_they_are_meant_for() {
    let (runtime, remote) = FakeRuntime::new();
    running(&runtime, &remote).await;
    let error = RuntimeError::Broken { call: "stop container", problem: "scripted".to_owned() };
    remote.fail_on(Verb::Stop, "g-a-0", 1, error.clone());
    let id = remote.id_of("a");
    assert_eq!(runtime.stop(&id, Duration::ZERO).await, Err(error));
    assert!(remote.container("a").expect("it is there").is_live());
    assert_eq!(runtime.stop(&id, Duration::ZERO).await, Ok(()));
    assert_eq!(remote.count(Verb::Stop), 2);
}

#[tokio::test]
async fn a_lost_reply_is_an_effect_without_an_answer() {
    let (runtime, remote) = FakeRuntime::new();
    running(&runtime, &remote).await;
    remote.lose_reply(Verb::Remove, 1);
    let id = remote.id_of("a");
    assert!(matches!(runtime.remove(&id).await, Err(RuntimeError::Timeout { .. })));
    assert_eq!(remote.containers(), vec![]);
}

#[tokio::test(start_paused = true)]
async fn time_is_tokios_and_runs_differ_even_when_it_stands_still() {
    let (runtime, remote) = FakeRuntime::new();
    running(&runtime, &remote).await;
    let first = remote.container("a").and_then(|seen| seen.run());
    remote.exit("a", 1);
    runtime.start(&remote.id_of("a"), &sample::launch()).await.expect("start");
    assert_ne!(remote.container("a").and_then(|seen| seen.run()), first);
    let before = remote.now();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(remote.now().duration_since(before).as_secs(), 3600);
}

#[tokio::test]
async fn a_reboot_ends_every_process_and_no_container() {
    let (runtime, remote) = FakeRuntime::new();
    running(&runtime, &remote).await;
    remote.reboot();
    let state = remote.container("a").expect("it is there").state;
    assert!(matches!(state, ContainerState::Exited { code: 255, .. }), "{state:?}");
}

#[tokio::test]
async fn a_held_call_waits_for_the_test() {
    let (runtime, remote) = FakeRuntime::new();
    let held = remote.hold(Verb::Info);
    let waiting = runtime.info();
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
    drop(held);
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn an_mcp_server_answers_out_of_order_when_told() {
    let (runtime, remote) = FakeRuntime::new();
    let (server, mcp) = FakeMcpServer::new();
    let facts = remote.add_image_running("mcp", server);
    let config = sample::container_config("mcp");
    let request = sample::create_container(&owner(), &sample::slot("g", "a"), config, &facts);
    let id = runtime.create(&request).await.expect("create");
    let mut attached = runtime.attach(&id).await.expect("attach");
    runtime.start(&id, &sample::launch()).await.expect("start");
    mcp.answer_in_reverse(2);
    let lines = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n{\"id\":\"b\",\"method\":\"ping\"}\n";
    attached.input.send(lines.into()).await.expect("send");
    let mut answers = Vec::new();
    for _ in 0..2 {
        let chunk = attached.output.next().await.expect("an answer").expect("output");
        answers.push(String::from_utf8_lossy(&chunk.bytes).into_owned());
    }
    let answer = |id: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n");
    assert_eq!(answers, [answer("\"b\""), answer("1")]);
    assert_eq!(mcp.received().len(), 2);
}
