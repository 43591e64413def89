//! The thread that reads what passed and writes it down, a while's worth in one go.

use super::call::{Call, Fate};
use super::sink::{CallOver, CallSink, Meta};
use super::{CallOptions, Load};
use crate::audit::{AuditLog, Record, clean};
use crate::gateway::Target;
use dtma_api_types::{AuditOutcome, CallView};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The `action` of every line.
const ACTION: &str = "call";
/// For more to come before the disk is asked.
const LINGER: Duration = Duration::from_millis(100);
/// Calls looked at in one go.
const BATCH: usize = 1024;
/// The longest text of arguments, in characters.
const ARGUMENTS: usize = 4096;

/// What the thread is told.
pub(super) enum Note {
    Call(Box<Call>),
    /// Everything before is to be written; then say so.
    Finish(oneshot::Sender<()>),
}

/// The thread.
pub(super) struct Scribe {
    log: AuditLog,
    load: Arc<Load>,
    arguments: bool,
    sink: Option<Box<dyn CallSink>>,
}

/// A request, as far as anybody wants to know.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// What it is about: a tool or prompt by name, a resource by address.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered<'a> {
    error: Option<Fault>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Fault {
    code: i64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Outcome {
    is_error: bool,
}

impl Scribe {
    pub(super) fn new(log: AuditLog, load: Arc<Load>, options: CallOptions) -> Self {
        let CallOptions { arguments, sink } = options;
        Self { log, load, arguments, sink }
    }

    /// Writes until nobody has anything to say any more.
    pub(super) fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        let mut batch = Vec::new();
        while notes.blocking_recv_many(&mut batch, BATCH) > 0 {
            let hurried = batch.iter().any(|note| matches!(note, Note::Finish(_)));
            let (records, waiting) = self.read(batch.drain(..));
            self.log.write_all(records);
            for done in waiting {
                let _nobody_waits = done.send(());
            }
            if !hurried {
                std::thread::park_timeout(LINGER);
            }
        }
    }

    fn read(&mut self, notes: impl Iterator<Item = Note>) -> (Vec<Record>, Vec<oneshot::Sender<()>>) {
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        for note in notes {
            match note {
                Note::Call(call) => {
                    records.extend(self.record(&call));
                    self.load.held.fetch_sub(call.size(), Ordering::Relaxed);
                }
                Note::Finish(done) => waiting.push(done),
            }
        }
        (records, waiting)
    }

    /// Nothing for what asked for nothing.
    fn record(&mut self, call: &Call) -> Option<Record> {
        let asked: Asked<'_> = serde_json::from_slice(&call.asked).unwrap_or_default();
        let is_call = asked.id.is_some() && asked.method.is_some();
        if !is_call && matches!(call.fate, Fate::Left) {
            return None;
        }
        let params: Params<'_> =
            asked.params.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let about = params.name.or(params.uri).unwrap_or_default();
        let (outcome, code) = outcome(&call.fate);
        let (group_id, instance_name) = target(call, &about);
        if let (Some(sink), Some(id), Some(method)) = (&mut self.sink, asked.id, asked.method.as_deref()) {
            let meta = Meta::read(params.meta);
            sink.over(&CallOver {
                id: id.get(),
                method,
                about: &about,
                server: instance_name.as_deref(),
                group: group_id.as_deref(),
                door: call.by.as_str(),
                version: meta.version.as_deref(),
                agent: &call.who,
                at: call.at,
                took: call.took,
                outcome,
                code: code.as_deref(),
                trace_parent: meta.traceparent.as_deref(),
                trace_state: meta.tracestate.as_deref(),
            });
        }
        // A subscription is as long as its client likes.
        if is_call && asked.method.as_deref() != Some("subscriptions/listen") {
            self.load.seconds.observe(call, outcome);
        }
        let left_out = self.load.left_out.swap(0, Ordering::Relaxed);
        let method = asked.method.as_deref().map_or_else(String::new, clean);
        Some(Record {
            actor: Some(clean(&call.who)),
            group_id,
            instance_name,
            outcome: Some(outcome),
            code,
            duration_ms: u64::try_from(call.took.as_millis()).ok(),
            left_out: (left_out > 0).then_some(left_out),
            call: Some(CallView {
                door: call.by.as_str().to_owned(),
                sent: call.asked.len() as u64,
                received: call.received,
                micros: u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX),
                arguments: params.arguments.filter(|_| self.arguments).map(cut),
            }),
            ..Record::new(call.at, ACTION, method, clean(&about))
        })
    }
}

/// The group, where all of one was asked, and the server.
fn target(call: &Call, about: &str) -> (Option<String>, Option<String>) {
    match &call.target {
        Target::Server(instance) => (None, Some(instance.to_string())),
        Target::Group(group) => {
            let known = call.naming.as_ref().and_then(|naming| naming.server_of(about));
            let server = known.map(ToString::to_string);
            (Some(group.to_string()), server.or_else(|| dtma_mcp::named_server(about).map(clean)))
        }
    }
}

fn cut(arguments: &RawValue) -> String {
    arguments.get().chars().take(ARGUMENTS).collect()
}

fn outcome(fate: &Fate) -> (AuditOutcome, Option<String>) {
    let failed = |code: &str| (AuditOutcome::Failed, Some(code.to_owned()));
    match fate {
        Fate::Answered(text) => {
            let answered: Answered<'_> = serde_json::from_slice(text).unwrap_or_default();
            let result = answered.result.and_then(|raw| serde_json::from_str(raw.get()).ok());
            match (answered.error, result) {
                (Some(Fault { code }), _) => failed(&format!("rpc_error_{code}")),
                (None, Some(Outcome { is_error: true })) => failed("tool_error"),
                (None, _) => (AuditOutcome::Done, None),
            }
        }
        Fate::Refused(_) => (AuditOutcome::Refused, Some("malformed_message".to_owned())),
        Fate::NoSession => (AuditOutcome::Refused, Some("no_such_session".to_owned())),
        Fate::Barred(code) => (AuditOutcome::Refused, Some((*code).to_owned())),
        Fate::Closed => failed("shutting_down"),
        Fate::Left => failed("client_left"),
    }
}
