//! What the manager promises of logs: of all replicas together, each line with its origin, new runs taken in.

use crate::house::{House, SOON, mcp, name, spec, tool};
use dtma_core::id::Generation;
use dtma_core::log::OriginLine;
use dtma_core::port::runtime::LogQuery;
use dtma_core::record::Removal;
use dtma_core::spec::ServerSpec;
use dtma_manager::{Expect, LogStream};
use dtma_testing::fake_runtime::Process;
use futures_util::StreamExt;

/// A house with the image `talks`: one that says its version, and that it ends when it is told to.
async fn house() -> House {
    let house = House::new().await;
    house.engine.add_image_running("talks", |process: Process| async move {
        let version = process.container.config.environment.get("VERSION").cloned().unwrap_or_default();
        process.stdout.line(&format!("version {version}")).await;
        process.terminated.cancelled().await;
        process.stderr.line("ends").await;
        0
    });
    house
}

fn talker(replicas: u32, version: &str) -> ServerSpec {
    let mut server = ServerSpec { image: "talks".into(), replicas, ..tool("a") };
    server.environment.insert("VERSION".to_owned(), version.to_owned());
    server
}

fn told(line: &OriginLine) -> (u32, u64, &str) {
    (line.origin.replica, line.origin.generation.0, line.line.text.as_str())
}

impl House {
    async fn logs(&self, query: LogQuery, replica: Option<u32>) -> LogStream {
        self.manager.logs(&name("a"), &query, replica).await.unwrap()
    }

    async fn lines(&self, query: LogQuery, replica: Option<u32>) -> Vec<OriginLine> {
        self.logs(query, replica).await.map(|line| line.unwrap()).collect().await
    }
}

async fn next(lines: &mut LogStream) -> OriginLine {
    lines.next().await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn lines_of_all_replicas_come_in_the_order_of_time_and_tell_their_origin() {
    let house = house().await;
    house.deploy("g", vec![talker(3, "1")]).await.unwrap();
    let all = house.lines(LogQuery::default(), None).await;
    assert!(all.is_sorted_by_key(|line| line.line.at));
    let mut origins: Vec<_> = all.iter().map(told).collect();
    origins.sort_unstable();
    assert_eq!(origins, [(0, 1, "version 1"), (1, 1, "version 1"), (2, 1, "version 1")]);
    let last = house.lines(LogQuery { tail: Some(2), ..LogQuery::default() }, None).await;
    assert_eq!(last, all[1..], "the last two of all together");
    let second = house.lines(LogQuery::default(), Some(1)).await;
    assert_eq!(second.iter().map(told).collect::<Vec<_>>(), [(1, 1, "version 1")]);
}

#[tokio::test(start_paused = true)]
async fn who_follows_hears_of_the_next_generation_and_of_a_new_run() {
    let house = house().await;
    house.deploy("g", vec![talker(2, "1")]).await.unwrap();
    let follow = || LogQuery { tail: Some(0), follow: true, ..LogQuery::default() };
    let (mut first, mut second) = (house.logs(follow(), Some(0)).await, house.logs(follow(), Some(1)).await);
    house.manager.apply(spec("g", vec![talker(2, "2")]), Expect::default(), SOON).await.unwrap();
    for (lines, replica) in [(&mut first, 0), (&mut second, 1)] {
        assert_eq!(told(&next(lines).await), (replica, 2, "version 2"));
        assert_eq!(told(&next(lines).await), (replica, 1, "ends"), "old and new side by side");
    }
    house.manager.restart(&name("a"), SOON).await.unwrap();
    assert_eq!(told(&next(&mut first).await), (0, 2, "ends"));
    drop((first, second));
    let mut all = house.logs(follow(), None).await;
    house.remove("g", Removal::default()).await;
    let mut ends = [told(&next(&mut all).await).0, told(&next(&mut all).await).0];
    ends.sort_unstable();
    assert_eq!(ends, [0, 1]);
    assert!(all.next().await.is_none(), "nobody is left who could say anything");
}

#[tokio::test(start_paused = true)]
async fn a_member_behind_the_door_has_the_generation_that_made_it() {
    let house = House::new().await;
    house.deploy("g", vec![mcp("a")]).await.unwrap();
    let mut changed = mcp("a");
    changed.environment.insert("VERSION".to_owned(), "2".to_owned());
    house.manager.apply(spec("g", vec![changed]), Expect::default(), SOON).await.unwrap();
    let mut lines = house.logs(LogQuery { follow: true, ..LogQuery::default() }, Some(0)).await;
    house.mcp.write_stderr("hello\n");
    let line = next(&mut lines).await;
    assert_eq!((line.origin.generation, line.line.text.as_str()), (Generation(2), "hello"));
}
