//! The calls in flight, by the id under which the server knows them.

use super::CallDeadline;
use super::command::{First, HouseAnswer, Refusal};
use super::deadline::Due;
use super::reply::MessageStream;
use super::session::SessionId;
use crate::rpc;
use bytes::Bytes;
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// All of one server's.
#[derive(Default)]
pub(crate) struct Calls {
    table: HashMap<u64, Call>,
}

/// One.
pub(crate) struct Call {
    /// Its place in the order of writing.
    pub(crate) place: u64,
    /// `None`: never.
    pub(crate) due: Option<Due>,
    pub(crate) caller: Caller,
}

pub(crate) enum Caller {
    Client(ClientCaller),
    House { reply: oneshot::Sender<HouseAnswer>, may_ask: bool },
}

/// A client's end of a call.
pub(crate) struct ClientCaller {
    pub(crate) session: SessionId,
    pub(crate) id: Bytes,
    pub(crate) token: Option<Bytes>,
    pub(crate) way: Way,
}

/// How far the answer to the POST is.
pub(crate) enum Way {
    /// Nothing was sent back yet.
    Waiting(oneshot::Sender<First>),
    /// Other messages came first; the response goes beside the queue, so that a full one cannot lose it.
    Streaming { queue: mpsc::Sender<Bytes>, last: oneshot::Sender<Bytes> },
    /// The client has left.
    Gone,
}

impl Way {
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Waiting(reply) => !reply.is_closed(),
            Self::Streaming { queue, .. } => !queue.is_closed(),
            Self::Gone => false,
        }
    }

    /// Sends something that is not the response. `false`: the client has left or does not keep up.
    pub(crate) fn say(&mut self, message: Bytes, room: usize) -> bool {
        if let Self::Waiting(_) = self {
            self.open_stream(room);
        }
        match self {
            Self::Streaming { queue, .. } => queue.try_send(message).is_ok(),
            Self::Waiting(_) | Self::Gone => false,
        }
    }

    /// Sends the response. A client that has left hears nothing.
    pub(crate) fn finish(self, response: Bytes) {
        let _left = match self {
            Self::Waiting(reply) => reply.send(First::Response(response)).is_err(),
            Self::Streaming { last, .. } => last.send(response).is_err(),
            Self::Gone => true,
        };
    }

    /// The same of an error that says that the request may have been executed.
    pub(crate) fn lose(self, error: Bytes) {
        match self {
            Self::Waiting(reply) => drop(reply.send(First::Lost(error))),
            Self::Streaming { .. } | Self::Gone => self.finish(error),
        }
    }

    fn open_stream(&mut self, room: usize) {
        let (queue, receiver) = mpsc::channel(room.max(1));
        let (last, last_receiver) = oneshot::channel();
        let stream = MessageStream::of(receiver, Some(last_receiver));
        if let Self::Waiting(reply) = std::mem::replace(self, Self::Gone)
            && reply.send(First::Stream(stream)).is_ok()
        {
            *self = Self::Streaming { queue, last };
        }
    }
}

impl Call {
    /// Says that no answer will come.
    pub(crate) fn lose(self, may_have_executed: bool) {
        match self.caller {
            Caller::House { reply, .. } => drop(reply.send(HouseAnswer::Lost { may_have_executed })),
            Caller::Client(ClientCaller { way: Way::Waiting(reply), .. }) if !may_have_executed => {
                // Nothing of it was written: its poster waits for the next process and asks again.
                drop(reply.send(First::Refused(Refusal::NotReady)));
            }
            Caller::Client(client) => {
                let why = "the connection to the server ended before it answered";
                client.way.lose(rpc::lost(&client.id, why, may_have_executed));
            }
        }
    }

    fn is_awaited(&self) -> bool {
        match &self.caller {
            Caller::Client(client) => client.way.is_open(),
            Caller::House { reply, .. } => !reply.is_closed(),
        }
    }
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn insert(&mut self, id: u64, call: Call) {
        self.table.insert(id, call);
    }

    pub(crate) fn take(&mut self, id: u64) -> Option<Call> {
        self.table.remove(&id)
    }

    pub(crate) fn client(&mut self, id: u64) -> Option<&mut ClientCaller> {
        match &mut self.table.get_mut(&id)?.caller {
            Caller::Client(client) => Some(client),
            Caller::House { .. } => None,
        }
    }

    /// Those that are due by now.
    pub(crate) fn due(&self, now: Instant) -> Vec<u64> {
        let is_due = |call: &Call| call.due.is_some_and(|due| due.at <= now);
        self.table.iter().filter(|(_, call)| is_due(call)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.table.values().filter_map(|call| Some(call.due?.at)).min()
    }

    pub(crate) fn due_at(&self, id: u64) -> Option<Due> {
        self.table.get(&id)?.due
    }

    pub(crate) fn put_off(&mut self, id: u64, within: CallDeadline) {
        if let Some(due) = self.table.get_mut(&id).and_then(|call| call.due.as_mut()) {
            due.put_off(within);
        }
    }

    /// Whether the client of this call still listens.
    pub(crate) fn is_open(&mut self, id: u64) -> bool {
        self.client(id).is_some_and(|client| client.way.is_open())
    }

    /// Whether the house has a call in flight that the server may ask about.
    pub(crate) fn house_may_be_asked(&self) -> bool {
        let asked = |call: &Call| match call.caller {
            Caller::House { may_ask, .. } => may_ask,
            Caller::Client(_) => false,
        };
        self.table.values().any(asked)
    }

    /// How many are still to be answered before their server may go. One whose client has left counts: the server
    /// works on it all the same. Pings and what the start-up asks do not.
    pub(crate) fn owed(&self) -> usize {
        let counts = |call: &&Call| match call.caller {
            Caller::Client(_) => true,
            Caller::House { may_ask, .. } => may_ask,
        };
        self.table.values().filter(counts).count()
    }

    pub(crate) fn drain(&mut self) -> Vec<Call> {
        self.table.drain().map(|(_, call)| call).collect()
    }

    /// Removes the calls whose answer nobody awaits any more. (While there is room they stay: the server works on
    /// them all the same.)
    pub(crate) fn reap(&mut self) -> Vec<Call> {
        let abandoned = |_: &u64, call: &mut Call| !call.is_awaited();
        self.table.extract_if(abandoned).map(|(_, call)| call).collect()
    }
}
