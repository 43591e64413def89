//! Whoever comes in between, wherever: a member is replaced while clients call, listen, come and go.

use super::*;
use crate::interleave::testing::explore;
use crate::{Drained, MessageStream, SessionError};
use futures_util::StreamExt;
use shuttle::future::{JoinHandle, block_on, spawn};

const ORDERS: usize = 1000;

struct Scene {
    door: Door,
    others: Vec<JoinHandle<()>>,
}

impl Scene {
    /// Members of these names, which answer and do not serve yet.
    async fn set(names: &[&'static str]) -> Self {
        Self::with(Limits::default(), names).await
    }

    async fn with(limits: Limits, names: &[&'static str]) -> Self {
        let parts =
            Parts { store: Arc::<Memory>::default(), wall: Arc::new(|| Timestamp::UNIX_EPOCH), limits };
        let mut scene = Self { door: Door::new(instance(), parts), others: Vec::new() };
        for (number, name) in (1..).zip(names) {
            scene.member(number, name).await;
        }
        scene
    }

    async fn member(&mut self, number: u64, name: &'static str) {
        let (handle, owner) = self.door.admit(name.into(), origin(name)).unwrap();
        self.others.push(spawn(owner.run()));
        let (process, attached) = Process::new();
        self.others.push(spawn(answers(process, name)));
        handle.connect(run(number), attached, Attachment::Fresh).await.unwrap();
        handle.state().wait_for(|state| state.ready().is_some()).await.unwrap();
    }

    /// Every session lives at this member, and it is counted as having just those.
    fn all_at(&self, name: &str) {
        let table = self.door.table();
        let member = &table.members[&MemberId::from(name)];
        let lives_there = |session| table.kept_at(session, member).is_some();
        assert!(table.sessions.keys().copied().all(lives_there), "a session lives nowhere, or elsewhere");
        assert_eq!(member.load().sessions, table.sessions.len());
    }

    async fn end(self) {
        self.door.close();
        for other in self.others {
            other.await.unwrap();
        }
    }
}

/// Answers every call with its name until nobody asks any more.
async fn answers(mut process: Process, name: &str) {
    process.greet().await;
    while let Some(message) = process.heard().await {
        if message["method"] == "x" {
            process.answer(&message["id"], &json!(name).to_string());
        }
    }
}

async fn opened(door: &Door) -> Client {
    match door.post(None, hello().into()).await {
        PostReply::Opened { session, .. } => Client { door: door.clone(), id: session.to_string() },
        other => panic!("no session: {other:?}"),
    }
}

async fn calls(client: &Client, how_many: u64) {
    for id in 1..=how_many {
        let answer = match client.post(call(id)).await {
            PostReply::Stream(stream) => stream.collect::<Vec<_>>().await.pop().unwrap(),
            reply => body(reply).into(),
        };
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer["result"].is_string(), "{answer}");
    }
}

/// Listens until the session is closed, coming back whenever the stream ends.
async fn listens(client: Client) {
    loop {
        match client.door.listen(&client.id).await {
            Ok(stream) => drop(MessageStream::collect::<Vec<_>>(stream).await),
            Err(SessionError::Unknown) => return,
            Err(SessionError::Closed) => panic!("somebody serves"),
        }
    }
}

async fn replace(door: Door, old: &'static str, new: &'static str) {
    door.serve(&[new.into()]);
    assert_eq!(door.drain(&old.into(), Duration::from_secs(1)).await, Drained { unanswered: 0 });
    door.dismiss(&old.into());
}

#[test]
fn a_member_is_replaced_and_nobody_is_lost() {
    explore(ORDERS, || {
        block_on(async {
            let scene = Scene::set(&["a", "b"]).await;
            scene.door.serve(&["a".into()]);
            let client = opened(&scene.door).await;
            let listening = spawn(listens(Client { door: scene.door.clone(), id: client.id.clone() }));
            let replacing = spawn(replace(scene.door.clone(), "a", "b"));
            let (door, late) = (scene.door.clone(), scene.door.clone());
            let come_and_gone = spawn(async move {
                let client = opened(&door).await;
                calls(&client, 1).await;
                door.close_session(&client.id).await.unwrap();
            });
            let come = spawn(async move {
                let client = opened(&late).await;
                calls(&client, 1).await;
            });
            calls(&client, 2).await;
            for task in [replacing, come_and_gone, come] {
                task.await.unwrap();
            }
            // Whoever was not asked for since may live nowhere yet.
            calls(&client, 1).await;
            scene.all_at("b");
            scene.door.close_session(&client.id).await.unwrap();
            listening.await.unwrap();
            scene.all_at("b");
            scene.end().await;
        });
    });
}

#[test]
fn two_members_change_places_and_nobody_is_lost() {
    explore(ORDERS, || {
        block_on(async {
            let mut scene = Scene::set(&["a"]).await;
            scene.door.serve(&["a".into()]);
            let client = opened(&scene.door).await;
            let door = scene.door.clone();
            let busy = spawn(async move {
                calls(&client, 3).await;
                client
            });
            scene.member(2, "b").await;
            replace(door.clone(), "a", "b").await;
            scene.member(3, "a").await;
            replace(door, "b", "a").await;
            let client = busy.await.unwrap();
            calls(&client, 1).await;
            scene.all_at("a");
            scene.end().await;
        });
    });
}

#[test]
fn at_the_bound_those_who_come_together_do_not_push_each_other_out() {
    explore(ORDERS, || {
        block_on(async {
            let limits = Limits { sessions: 3, ..Limits::default() };
            let scene = Scene::with(limits, &["a"]).await;
            scene.door.serve(&["a".into()]);
            for _ in 0..3 {
                opened(&scene.door).await;
            }
            let come = || {
                let door = scene.door.clone();
                spawn(async move { calls(&opened(&door).await, 1).await })
            };
            for coming in [come(), come()] {
                coming.await.unwrap();
            }
            assert_eq!(scene.door.sessions(), 3);
            scene.end().await;
        });
    });
}
