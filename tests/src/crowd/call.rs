//! One call of many, and whether what came for it is what belongs to it.

use serde_json::{Value, json};

/// Numbers that look random and are the same in every run.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Another sequence for each seed.
    #[must_use]
    pub fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).expect("below a usize")
    }
}

/// A call of the tool `echo` of the echoing server.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its id and its progress token; others have the same at the same time.
    pub id: usize,
    /// What is said, and has to come back: the first word is this call's alone.
    pub say: String,
    /// After how many milliseconds it is to be answered.
    pub delay: usize,
    /// How many notes of progress are to come before.
    pub steps: usize,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer that belongs to it.
    Right,
    /// The error that says that there is none, and whether the server may have got it.
    Lost {
        /// As the error says.
        may_have_executed: bool,
    },
}

impl Call {
    /// The `id`th call of a client: mostly short, now and then 96 KiB; answered within 15 ms.
    #[must_use]
    pub fn random(client: usize, id: usize, dice: &mut Dice) -> Self {
        let most = match dice.below(200) {
            0 => 96 << 10,
            1..=20 => 4 << 10,
            _ => 200,
        };
        let said = padding(dice.below(most));
        let steps = if dice.below(4) == 0 { 1 + dice.below(2) } else { 0 };
        Self { id, say: format!("{client}/{id} {said}"), delay: dice.below(16), steps }
    }

    /// The message, and the `_meta` that a client without a handshake sends.
    #[must_use]
    pub fn message(&self, stateless: bool) -> Value {
        let mut meta = json!({"progressToken": self.id});
        if stateless {
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        let arguments = json!({"say": self.say, "delay": self.delay, "steps": self.steps});
        let params = json!({"name": "echo", "arguments": arguments, "_meta": meta});
        json!({"jsonrpc": "2.0", "id": self.id, "method": "tools/call", "params": params})
    }

    /// The word that no other call has.
    #[must_use]
    pub fn key(&self) -> &str {
        self.say.split(' ').next().unwrap_or_default()
    }

    fn outcome(&self, answer: &Value) -> Result<Outcome, String> {
        if let Some(may_have_executed) = answer["error"]["data"]["may_have_executed"].as_bool() {
            return Ok(Outcome::Lost { may_have_executed });
        }
        match answer["result"]["content"][0]["text"].as_str() {
            Some(text) if text == self.say => Ok(Outcome::Right),
            _ => Err(format!("{} is answered {:.300}", self.key(), answer.to_string())),
        }
    }

    fn belongs(&self, note: &Value) -> bool {
        note["params"]["progressToken"] == self.id && note["params"]["message"] == self.key()
    }
}

/// What looks like an envelope, needs escapes, or is of several bytes.
fn padding(length: usize) -> String {
    const PIECE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"x"} "\ä→"#;
    PIECE.chars().chain(['\n', '\t', '\u{1F980}']).cycle().take(length).collect()
}

/// What became of each of these calls, whose ids differ, when these were all the messages that came.
///
/// # Errors
/// A message that belongs to none of them, one that is missing, one that came twice.
pub fn judge(calls: &[Call], messages: &[Value]) -> Result<Vec<Outcome>, String> {
    let (mut outcomes, mut notes) = (vec![None; calls.len()], vec![0; calls.len()]);
    for message in messages {
        let id = if message.get("method").is_some() {
            &message["params"]["progressToken"]
        } else {
            &message["id"]
        };
        let place = calls.iter().position(|call| *id == call.id);
        let place = place.ok_or_else(|| format!("nobody asked for {:.300}", message.to_string()))?;
        let call = &calls[place];
        if message["method"] == "notifications/progress" && call.belongs(message) && outcomes[place].is_none()
        {
            notes[place] += 1;
        } else if message.get("method").is_some() {
            return Err(format!("{} is told {:.300}", call.key(), message.to_string()));
        } else if outcomes[place].replace(call.outcome(message)?).is_some() {
            return Err(format!("{} is answered twice", call.key()));
        }
    }
    let each = calls.iter().zip(outcomes).zip(notes);
    each.map(|((call, outcome), notes)| whole(call, outcome, notes)).collect()
}

fn whole(call: &Call, outcome: Option<Outcome>, notes: usize) -> Result<Outcome, String> {
    match outcome {
        None => Err(format!("{} is not answered", call.key())),
        Some(Outcome::Right) if notes != call.steps => {
            Err(format!("{} heard {notes} of {} notes", call.key(), call.steps))
        }
        Some(outcome) => Ok(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(client: usize, id: usize, steps: usize) -> Call {
        Call { id, say: format!("{client}/{id} x"), delay: 0, steps }
    }

    fn answer(id: usize, text: &str) -> Value {
        json!({"id": id, "result": {"content": [{"type": "text", "text": text}]}})
    }

    fn note(token: usize, key: &str) -> Value {
        json!({"method": "notifications/progress", "params": {"progressToken": token, "message": key}})
    }

    #[test]
    fn what_belongs_to_calls_is_right_in_any_order() {
        let calls = [call(1, 1, 1), call(1, 2, 0)];
        let lost = json!({"id": 2, "error": {"data": {"may_have_executed": true}}});
        let outcomes = judge(&calls, &[lost, note(1, "1/1"), answer(1, "1/1 x")]).unwrap();
        assert_eq!(outcomes, [Outcome::Right, Outcome::Lost { may_have_executed: true }]);
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        for (messages, why) in [
            (vec![answer(1, "2/1 x")], "is answered"),
            (vec![answer(2, "1/2 x")], "nobody asked"),
            (vec![answer(1, "1/1 x"), answer(1, "1/1 x")], "twice"),
            (vec![note(1, "2/1"), answer(1, "1/1 x")], "is told"),
            (vec![answer(1, "1/1 x"), note(1, "1/1")], "is told"),
            (vec![answer(1, "1/1 x")], "heard 0 of 1"),
            (vec![note(1, "1/1")], "not answered"),
            (vec![json!({"id": 1, "error": {"code": -32603}})], "is answered"),
        ] {
            let problem = judge(&[call(1, 1, 1)], &messages).unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn sizes_and_delays_differ() {
        let mut dice = Dice::new(3);
        let calls: Vec<Call> = (0..2000).map(|id| Call::random(3, id, &mut dice)).collect();
        assert!(
            calls.iter().any(|call| call.say.len() > 10_000) && calls.iter().any(|call| call.say.len() < 20)
        );
        assert!((0..16).all(|delay| calls.iter().any(|call| call.delay == delay)));
        assert!((0..3).all(|steps| calls.iter().any(|call| call.steps == steps)));
    }
}
