//! Many clients with the same ids at once.

use super::harness::*;
use crate::PostReply;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// Answers in a shuffled order, every seventh with a progress note before it, until all is answered.
async fn answer_all(mut process: Process, calls: usize) {
    let (mut dice, mut waiting, mut read) = (Dice(0x9E37_79B9_7F4A_7C15), Vec::new(), 0);
    for round in 0..calls {
        // Holds back some, to have a choice; but callers that wait for their answer send nothing more.
        let hold = 1 + dice.below(40);
        while read < calls && (waiting.is_empty() || waiting.len() < hold && process.has_more().await) {
            waiting.push(process.read().await);
            read += 1;
        }
        let request = waiting.swap_remove(dice.below(waiting.len()));
        reply(&process, &request, round);
    }
}

fn reply(process: &Process, request: &Value, round: usize) {
    let id = &request["id"];
    if round.is_multiple_of(7) {
        let progress = json!({"jsonrpc":"2.0","method":"notifications/progress",
            "params":{"progressToken":id,"who":request["params"]["who"]}});
        process.say(progress.to_string());
    }
    process.answer(id, &request["params"].to_string());
}

async fn caller(client: Client, who: usize, calls: usize) -> usize {
    let mut right = 0;
    for id in 0..calls {
        let name = format!("{who}/{id}");
        let call =
            json!({"jsonrpc":"2.0","id":id,"method":"x","params":{"who":name,"_meta":{"progressToken":id}}});
        let answers: Vec<String> = match client.post(call.to_string()).await {
            PostReply::Body(body) => vec![text(body)],
            PostReply::Stream(stream) => stream.map(text).collect().await,
            other => panic!("{name}: {other:?}"),
        };
        let last: Value = serde_json::from_str(answers.last().unwrap()).unwrap();
        assert_eq!((&last["id"], &last["result"]["who"]), (&json!(id), &json!(name)), "{answers:?}");
        for note in &answers[..answers.len() - 1] {
            let note: Value = serde_json::from_str(note).unwrap();
            assert_eq!(
                (&note["params"]["progressToken"], &note["params"]["who"]),
                (&json!(id), &json!(name))
            );
        }
        right += 1;
    }
    right
}

/// Callers of one session must not share ids in flight, so each caller is a session of its own; all use the ids
/// 0, 1, 2, … at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_answers_out_of_order_all_reach_their_callers() {
    const CALLERS: usize = 50;
    const CALLS: usize = 1000;
    let (mut house, process) = House::ready().await;
    house.tasks.spawn(answer_all(process, CALLERS * CALLS));
    let mut callers = JoinSet::new();
    for who in 0..CALLERS {
        callers.spawn(caller(house.client(json!({})).await, who, CALLS));
    }
    let right: usize = callers.join_all().await.into_iter().sum();
    assert_eq!(right, CALLERS * CALLS);
}
