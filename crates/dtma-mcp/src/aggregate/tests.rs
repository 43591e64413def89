//! Several scripted servers behind one door.
#![allow(clippy::needless_pass_by_value, reason = "what is sent and expected is written where it is")]

mod asking;
mod calling;
mod degraded;
mod finding;
mod listing;
mod selecting;
mod stateless;

use super::Aggregate;
use crate::server::tests::harness::{Memory, Process, run};
use crate::{Attachment, Door, Limits, MemberId, MessageStream, Parts, PostReply, ServerHandle};
use bytes::Bytes;
use dtma_core::Timestamp;
use dtma_core::id::Generation;
use dtma_core::log::Origin;
use dtma_core::spec::GatewaySpec;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// Longer than anything here takes. Where time is paused it passes at once when nothing else can happen.
const PATIENCE: Duration = Duration::from_secs(300);

/// A group of servers.
struct House {
    all: Aggregate,
    doors: Vec<Door>,
    gateway: GatewaySpec,
    tasks: JoinSet<()>,
    runs: u64,
}

/// One of them.
struct Server {
    door: Door,
    handle: ServerHandle,
    heard: Arc<Mutex<Vec<Value>>>,
    process: AbortHandle,
}

/// What a scripted server answers.
#[derive(Clone)]
struct Script {
    capabilities: Value,
    lists: Value,
    /// Elements of one page.
    page: usize,
}

impl Script {
    fn tools(names: &[&str]) -> Self {
        let tools: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
        let capabilities = json!({"tools": {"listChanged": true}, "logging": {}});
        Self { capabilities, lists: json!({"tools": tools}), page: 1000 }
    }

    fn full() -> Self {
        let mut script = Self::tools(&["echo", "ask", "note", "link", "hang"]);
        script.capabilities["prompts"] = json!({});
        script.capabilities["resources"] = json!({"subscribe": true});
        script.capabilities["completions"] = json!({});
        script.lists["prompts"] = json!([{"name": "greet"}]);
        script.lists["resources"] = json!([{"name": "a", "uri": "test://a"}]);
        script.lists["resourceTemplates"] = json!([{"name": "t", "uriTemplate": "test://{x}"}]);
        script
    }

    fn answer(&self, heard: &Value) -> Option<Value> {
        let (params, method) = (&heard["params"], heard["method"].as_str()?);
        let text = |text: Value| json!({"content": [{"type": "text", "text": text.to_string()}]});
        Some(match method {
            "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": self.capabilities,
                "serverInfo": {"name": "scripted", "version": "1"}, "instructions": "Be kind."}),
            "tools/list" => self.page("tools", params),
            "prompts/list" => self.page("prompts", params),
            "resources/list" => self.page("resources", params),
            "resources/templates/list" => self.page("resourceTemplates", params),
            "tools/call" if params["name"] == "link" => {
                json!({"content": [{"type": "resource_link", "uri": "test://a", "name": "a"}]})
            }
            "tools/call" if params["name"] == "ask" || params["name"] == "hang" => return None,
            "tools/call" => text(params.clone()),
            "prompts/get" => {
                json!({"messages": [{"role": "user", "content": {"type": "text", "text": params["name"]}}]})
            }
            "resources/read" => json!({"contents": [{"uri": params["uri"], "text": "read"}]}),
            "completion/complete" => json!({"completion": {"values": [params["ref"].to_string()]}}),
            _ => json!({}),
        })
    }

    fn page(&self, list: &str, params: &Value) -> Value {
        let begin: usize = params["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let all = self.lists[list].as_array().cloned().unwrap_or_default();
        let end = all.len().min(begin + self.page);
        let mut page = json!({list: all[begin..end]});
        if end < all.len() {
            page["nextCursor"] = json!(end.to_string());
        }
        page
    }

    /// Plays the server until it is ended.
    async fn play(self, mut process: Process, seen: Arc<Mutex<Vec<Value>>>) {
        let mut asker = Value::Null;
        while let Some(heard) = process.heard().await {
            seen.lock().unwrap().push(heard.clone());
            let call = (heard["method"] == "tools/call").then(|| heard["params"]["name"].clone());
            if call == Some(json!("note")) {
                process.say(
                    json!({"jsonrpc": "2.0", "method": "notifications/message",
                    "params": {"level": "info", "data": "noted"}})
                    .to_string(),
                );
                process.say(
                    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params":
                    {"progressToken": heard["params"]["_meta"]["progressToken"], "progress": 1}})
                    .to_string(),
                );
            }
            if call == Some(json!("ask")) {
                asker = heard["id"].clone();
                process.say(
                    json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create",
                    "params": {"message": "who?", "requestedSchema": {}}})
                    .to_string(),
                );
            }
            if heard.get("method").is_none() && heard["id"] == 1 {
                process.answer(
                    &asker,
                    &json!({"content": [{"type": "text", "text": heard["result"].to_string()}]}).to_string(),
                );
            }
            if let (Some(result), Some(id)) = (self.answer(&heard), heard.get("id")) {
                process.answer(id, &result.to_string());
            }
        }
    }
}

impl House {
    fn new() -> Self {
        let all = Aggregate::new("group".parse().unwrap(), Limits::default());
        let gateway = GatewaySpec::default();
        Self { all, doors: Vec::new(), gateway, tasks: JoinSet::new(), runs: 0 }
    }

    /// `b` and `a`, that can everything, in that order.
    async fn pair() -> (Self, Server, Server) {
        let mut house = Self::new();
        let b = house.server("b", Script::full()).await;
        let a = house.server("a", Script::full()).await;
        (house, a, b)
    }

    async fn server(&mut self, name: &str, script: Script) -> Server {
        let (door, handle) = self.admit(name, Limits::default());
        self.start(door, handle, script).await
    }

    /// A server of which no process answers.
    fn admit(&mut self, name: &str, limits: Limits) -> (Door, ServerHandle) {
        let parts =
            Parts { store: Arc::<Memory>::default(), wall: Arc::new(|| Timestamp::UNIX_EPOCH), limits };
        let door = Door::new(name.parse().unwrap(), parts);
        let origin = Origin { replica: 0, generation: Generation(1) };
        let (handle, owner) = door.admit(MemberId::from("0"), origin).unwrap();
        door.serve(&[MemberId::from("0")]);
        self.tasks.spawn(owner.run());
        self.doors.push(door.clone());
        self.all.set_servers(self.doors.clone(), &self.gateway);
        (door, handle)
    }

    async fn start(&mut self, door: Door, handle: ServerHandle, script: Script) -> Server {
        self.runs += 1;
        let (process, attached) = Process::new();
        handle.connect(run(self.runs), attached, Attachment::Fresh).await.unwrap();
        let heard = Arc::<Mutex<Vec<Value>>>::default();
        let process = self.tasks.spawn(script.play(process, Arc::clone(&heard)));
        handle.state().wait_for(|state| state.ready().is_some()).await.unwrap();
        Server { door, handle, heard, process }
    }

    async fn client(&self) -> Client {
        self.client_with("2025-11-25").await.0
    }

    /// A client, and what it was told.
    async fn client_with(&self, version: &str) -> (Client, Value) {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {"elicitation": {}}}});
        match self.all.post(None, hello.to_string().into()).await {
            PostReply::Opened { session, body } => {
                (Client { all: self.all.clone(), id: session.to_string() }, decoded(&body)["result"].clone())
            }
            other => panic!("no session: {other:?}"),
        }
    }
}

impl Server {
    /// Its process ends.
    async fn dies(&self) {
        self.process.abort();
        self.handle.state().wait_for(|state| state.ready().is_none()).await.unwrap();
    }

    /// What it heard of that method: the parameters.
    fn heard(&self, method: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .filter(|message| message["method"] == method)
            .map(|message| message["params"].clone())
            .collect()
    }

    async fn hears(&self, method: &str) {
        let heard = async {
            while self.heard(method).is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{method} was not heard"));
    }
}

#[derive(Clone)]
struct Client {
    all: Aggregate,
    id: String,
}

impl Client {
    async fn post(&self, message: Value) -> PostReply {
        self.all.post(Some(&self.id), message.to_string().into()).await
    }

    /// The answer to a request, and what came before it.
    async fn exchange(&self, method: &str, params: Value) -> (Value, Vec<Value>) {
        let message = json!({"jsonrpc": "2.0", "id": "x", "method": method, "params": params});
        told(self.post(message).await).await
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        self.exchange(method, params).await.0["result"].clone()
    }

    async fn call(&self, tool: &str) -> Value {
        self.exchange("tools/call", json!({"name": tool, "arguments": {"n": 1}})).await.0
    }

    async fn call_with(&self, tool: &str, arguments: Value) -> Value {
        self.exchange("tools/call", json!({"name": tool, "arguments": arguments})).await.0
    }

    /// What elements of a list are called.
    async fn names(&self, list: &str, member: &str, key: &str) -> Vec<String> {
        names(&self.ask(list, json!({})).await[member], key)
    }

    async fn tools(&self) -> Vec<String> {
        self.names("tools/list", "tools", "name").await
    }

    fn listen(&self) -> MessageStream {
        self.all.listen(&self.id).unwrap()
    }
}

fn names(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|element| element[key].as_str().unwrap().to_owned()).collect()
}

async fn told(reply: PostReply) -> (Value, Vec<Value>) {
    let mut all: Vec<Value> = match reply {
        PostReply::Body(body) | PostReply::Refused(body) => vec![decoded(&body)],
        PostReply::Stream(messages) => {
            let all = tokio::time::timeout(PATIENCE, messages.collect::<Vec<_>>()).await.expect("no answer");
            all.iter().map(decoded).collect()
        }
        other => panic!("no answer: {other:?}"),
    };
    (all.pop().expect("an answer"), all)
}

async fn next(stream: &mut MessageStream) -> Value {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await;
    decoded(&next.expect("nothing is said").expect("the stream ended"))
}

fn decoded(text: &Bytes) -> Value {
    serde_json::from_slice(text).unwrap()
}

/// What a scripted server was called with.
fn called(answer: &Value) -> Value {
    let text = answer["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("no text: {answer}"))).unwrap()
}
