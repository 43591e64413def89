//! The task that owns a server: waits for whatever can wake it and changes its tables, alone. It awaits nothing
//! else, so no client and no disk can hold it up.

use super::calls::{Call, Caller, Calls};
use super::command::{Aside, AsideKind, Command, Connect, HouseAnswer, HouseCall, Refusal};
use super::deadline::Alarm;
use super::link::{Heard, Link, LinkEvent};
use super::questions::Questions;
use super::recent::Recent;
use super::sessions::Sessions;
use super::startup::{self, Started, Talk};
use super::state::{Ready, ServerState, ToolList};
use super::{Attachment, Depth, Shared};
use crate::ring::LogWriter;
use crate::upstream::stateless;
use bytes::Bytes;
use dtma_core::port::runtime::{OutputChunk, OutputStream};
use dtma_core::record::{Handshake, Wishes};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, watch};

/// Commands taken together, so that what they write goes out in one piece.
const ROUND: usize = 64;

pub(crate) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) state: watch::Sender<ServerState>,
    pub(super) log: LogWriter,
    pub(super) link: Option<Link>,
    /// Counts connections and their ends: what was begun for another turn is of no effect.
    pub(super) turn: u64,
    pub(super) sessions: Sessions,
    pub(super) calls: Calls,
    pub(super) alarm: Alarm,
    pub(super) questions: Questions,
    pub(super) recent: Recent,
    /// What the present process was told of its clients' wishes.
    pub(super) told: Wishes,
    /// Somebody drains this server and wants to know how many calls are left.
    pub(super) left: Option<watch::Sender<Option<usize>>>,
    /// The last handshake of this daemon's life.
    greeted: Option<Handshake>,
    pub(super) relisting: Relisting,
    commands: mpsc::Receiver<Command>,
    asides: mpsc::Receiver<Aside>,
    aside_sender: mpsc::Sender<Aside>,
    pub(super) chores: FuturesUnordered<BoxFuture<'static, Chore>>,
    lines: Vec<Heard>,
}

/// Everything that can wake the owner.
enum Wake {
    /// The house closes the server, or nobody holds a handle any more.
    Closing,
    Command(Command),
    Aside(Aside),
    Link(LinkEvent),
    Chore(Chore),
    /// A call may be due.
    Alarm,
}

/// What was done beside.
pub(crate) enum Chore {
    Started { turn: u64, outcome: Result<Started, String> },
    Listed { turn: u64, tools: ToolList },
    Kept,
}

/// Whether the tools are being listed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relisting {
    No,
    Running,
    /// They changed again meanwhile.
    Again,
}

impl Owner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        state: watch::Sender<ServerState>,
        log: LogWriter,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        // The start-up asks one thing at a time.
        let (aside_sender, asides) = mpsc::channel(4);
        let sessions = Sessions::new(shared.limits.sessions);
        Self {
            shared,
            state,
            log,
            link: None,
            turn: 0,
            sessions,
            calls: Calls::default(),
            alarm: Alarm::default(),
            questions: Questions::default(),
            recent: Recent::new(),
            told: Wishes::default(),
            left: None,
            greeted: None,
            relisting: Relisting::No,
            commands,
            asides,
            aside_sender,
            chores: FuturesUnordered::new(),
            lines: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let closing = self.shared.closing.clone();
        let mut closing = pin!(closing.cancelled());
        loop {
            match self.wake(closing.as_mut()).await {
                Wake::Closing => return self.farewell().await,
                Wake::Command(command) => self.round(command),
                Wake::Aside(aside) => self.aside(aside),
                Wake::Link(event) => self.on_link(event),
                Wake::Chore(chore) => self.on_chore(chore),
                Wake::Alarm => self.rung(),
            }
            if let Some(link) = &mut self.link {
                link.kick();
            }
            self.report_left();
            let queued = self.link.as_ref().map_or(0, Link::queued);
            self.shared.depth.set(Depth { calls: self.calls.len(), queued });
        }
    }

    /// Answers everybody who still waits, so that what was not begun here can go elsewhere.
    async fn farewell(&mut self) {
        self.hang_up("it is being removed".into());
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            self.obey(command);
        }
    }

    async fn wake(&mut self, closing: Pin<&mut impl Future<Output = ()>>) -> Wake {
        let Self { commands, asides, link, chores, alarm, .. } = self;
        tokio::select! {
            // Dropped: the token stays cancelled.
            () = closing => Wake::Closing,
            // Dropped: a command not received stays in its channel; likewise the asides.
            command = commands.recv() => command.map_or(Wake::Closing, Wake::Command),
            Some(aside) = asides.recv() => Wake::Aside(aside),
            // Dropped: see `Link::event`.
            event = next_event(link) => Wake::Link(event),
            // Dropped: the chores live in their set.
            Some(chore) = chores.next() => Wake::Chore(chore),
            // Dropped: see `Alarm::rings`.
            () = alarm.rings() => Wake::Alarm,
        }
    }

    /// One command and those that wait behind it.
    fn round(&mut self, first: Command) {
        self.obey(first);
        for _ in 1..ROUND {
            let Ok(next) = self.commands.try_recv() else { return };
            self.obey(next);
        }
    }

    fn obey(&mut self, command: Command) {
        // A reply that cannot be sent belongs to somebody who no longer waits.
        match command {
            Command::Connect(connect) => self.connect(*connect),
            Command::Disconnect { reason } => self.hang_up(reason),
            Command::Open { session, id, reply } => drop(reply.send(self.open(id, &session))),
            Command::Release { session } => self.release(session),
            Command::Leave { left } => self.leave(left),
            Command::Close { session, reply } => drop(reply.send(self.close(session))),
            Command::Listen { session, after, reply } => {
                drop(reply.send(self.listen(session, after.as_ref())));
            }
            Command::Touch { session, reply } => drop(reply.send(self.sessions.using(session).is_some())),
            Command::InUse { reply } => drop(reply.send(self.sessions.in_use())),
            Command::Unused { session, reply } => drop(reply.send(self.sessions.unused_for(session))),
            Command::Claim { session, message, reply } => drop(reply.send(self.claim(session, &message))),
            Command::Wish { session, wish } => self.wish(session, &wish),
            Command::Notice { session, message, reply } => drop(reply.send(self.notice(session, &message))),
            Command::Call(call) => self.client_call(call),
            Command::House(call) if self.takes(&call) => self.house_call(call),
            Command::House(call) => drop(call.reply.send(HouseAnswer::Refused(Refusal::NotReady))),
            Command::GiveUp { id, why } => self.give_up(id, why),
            Command::ToolsShowOtherwise => self.tools_show_otherwise(),
            Command::Rest { unused_since, reply } => drop(reply.send(self.rest(unused_since))),
            Command::GoOn => self.go_on(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().ready().is_some()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// A server that is being drained answers pings still.
    fn takes(&self, call: &HouseCall) -> bool {
        self.is_ready() && !(call.may_ask && self.is_draining())
    }

    fn connect(&mut self, connect: Connect) {
        if self.link.is_some() {
            self.hang_up("another process took its place".into());
        }
        let Connect { run, attached, how } = connect;
        let limits = &self.shared.limits;
        let adopted = matches!(how, Attachment::Adopted { .. });
        let torn = adopted && !attached.exact;
        let known = self.known_handshake(how).filter(|handshake| handshake.run == run);
        let attached = stateless::with_handshake(attached, known.as_ref(), self.shared.limits.message);
        let mut link = Link::new(run.clone(), attached, torn, limits.message, limits.backlog);
        if adopted {
            self.shared.ids.leap();
        }
        if torn {
            // Ends the half line that may stand in the server's input; an empty line is none.
            link.push(Bytes::from_static(b"\n"));
        }
        self.link = Some(link);
        self.recent.begin(&run);
        self.state.send_replace(ServerState::Connecting { run: run.clone() });
        let (talk, shared, turn) = (self.talk(), self.shared.clone(), self.turn);
        self.chores.push(Box::pin(async move {
            Chore::Started { turn, outcome: startup::start(&talk, &shared, run, known).await }
        }));
    }

    fn known_handshake(&self, how: Attachment) -> Option<Handshake> {
        match how {
            Attachment::Fresh => None,
            Attachment::Adopted { handshake } => handshake.or_else(|| self.greeted.clone()),
        }
    }

    fn talk(&self) -> Talk {
        Talk { turn: self.turn, shared: self.shared.clone(), owner: self.aside_sender.clone() }
    }

    /// Lets the process go. What was not answered will not be; sessions stay.
    pub(super) fn hang_up(&mut self, reason: Arc<str>) {
        let link = self.fall_silent(reason);
        drop(link);
    }

    /// Like [`hang_up`](Self::hang_up), but gives the link back.
    fn fall_silent(&mut self, reason: Arc<str>) -> Option<Link> {
        let link = self.link.take();
        self.turn += 1;
        // Before the calls are given back, so that their posters wait for the next process.
        self.state.send_replace(ServerState::Down { reason });
        self.relisting = Relisting::No;
        self.questions.clear();
        self.told = Wishes::default();
        for call in self.calls.drain() {
            call_lost(call, link.as_ref());
        }
        self.sessions.clear_calls();
        link
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Written => {}
            LinkEvent::Output(chunk) => self.output(chunk),
            LinkEvent::Ended(problem) => self.ended(problem),
            LinkEvent::InputBroke(problem) => {
                // Its last words may still come: the link stays for the log until its output ends.
                self.link = self.fall_silent(format!("its input broke: {problem}").into());
            }
        }
    }

    fn output(&mut self, chunk: OutputChunk) {
        let mut lines = std::mem::take(&mut self.lines);
        if let Some(link) = &mut self.link {
            link.frame(chunk, &mut lines);
        }
        for heard in lines.drain(..) {
            self.heard(heard);
        }
        self.lines = lines;
    }

    fn ended(&mut self, problem: Option<std::io::Error>) {
        let rest = self.link.as_mut().map(Link::rest).unwrap_or_default();
        for (stream, text) in rest {
            // Half a message is no log line: it may hold what only the client should see.
            if stream == OutputStream::Stderr || !text.starts_with(b"{") {
                self.log.push((self.shared.wall)(), stream, &text);
            }
        }
        let reason =
            problem.map_or("its output ended".to_owned(), |problem| format!("its output broke: {problem}"));
        self.hang_up(reason.into());
    }

    fn on_chore(&mut self, chore: Chore) {
        // What the start-up wanted written stands before what becomes possible by its end.
        while let Ok(aside) = self.asides.try_recv() {
            self.aside(aside);
        }
        match chore {
            Chore::Kept => {}
            Chore::Started { turn, outcome } if turn == self.turn => self.started(outcome),
            Chore::Listed { turn, tools } if turn == self.turn => self.listed(tools),
            // Of a process that is gone.
            Chore::Started { .. } | Chore::Listed { .. } => {}
        }
    }

    fn started(&mut self, outcome: Result<Started, String>) {
        let Some(run) = self.link.as_ref().map(|link| link.run.clone()) else { return };
        let state = match outcome {
            Err(reason) => {
                tracing::warn!(server = %self.shared.instance, reason, "the handshake failed");
                ServerState::Failed { run, reason: reason.into() }
            }
            Ok(Started { greeting, tools, handshake }) => {
                self.greeted = Some(handshake);
                let since = (self.shared.wall)();
                self.shared.used.note();
                ServerState::Ready(Arc::new(Ready { run, since, greeting, tools }))
            }
        };
        self.state.send_replace(state);
        self.tell_wishes();
        if self.relisting == Relisting::Again || self.shared.host.is_session() {
            self.relist();
        }
    }

    /// The server says that its tools changed.
    pub(super) fn tools_changed(&mut self) {
        match self.relisting {
            // While connecting the start-up lists them; whether before or after this change is unknown.
            Relisting::No if !self.is_ready() => self.relisting = Relisting::Again,
            Relisting::No => self.relist(),
            Relisting::Running | Relisting::Again => self.relisting = Relisting::Again,
        }
    }

    fn relist(&mut self) {
        let Some(ready) = self.state.borrow().ready().cloned() else { return };
        self.relisting = Relisting::Running;
        let (talk, turn) = (self.talk(), self.turn);
        let within = self.shared.limits.listing;
        self.chores.push(Box::pin(async move {
            tokio::time::sleep(startup::SETTLE).await;
            Chore::Listed { turn, tools: startup::list_tools(&talk, &ready.greeting, within).await }
        }));
    }

    fn listed(&mut self, tools: ToolList) {
        let again = self.relisting == Relisting::Again;
        self.relisting = Relisting::No;
        match tools {
            ToolList::Listed(_) => self.state.send_modify(|state| {
                if let ServerState::Ready(ready) = state {
                    *ready = Arc::new(Ready { tools, ..Ready::clone(ready) });
                }
            }),
            // The last list that was read stays.
            ToolList::Unknown { reason } => {
                tracing::warn!(server = %self.shared.instance, %reason, "its tools changed and cannot be listed");
            }
        }
        if again {
            self.relist();
        }
    }

    fn aside(&mut self, aside: Aside) {
        if aside.turn != self.turn {
            // Dropping the reply tells the asker.
            return;
        }
        match aside.what {
            AsideKind::Call(call) => self.house_call(call),
            AsideKind::Notify(line) => drop(self.write(line)),
            AsideKind::Expect => self.expect(),
        }
    }

    fn expect(&mut self) {
        let run = match &*self.state.borrow() {
            ServerState::Connecting { run } => run.clone(),
            ServerState::Down { .. }
            | ServerState::Expecting { .. }
            | ServerState::Ready(_)
            | ServerState::Resting(_)
            | ServerState::Failed { .. } => return,
        };
        self.state.send_replace(ServerState::Expecting { run });
    }

    pub(super) fn house_call(&mut self, call: HouseCall) {
        if self.calls.len() >= self.shared.limits.calls {
            self.reap();
        }
        if self.calls.len() >= self.shared.limits.calls {
            return drop(call.reply.send(HouseAnswer::Refused(Refusal::TooManyCalls)));
        }
        match self.write(call.line) {
            Err(refusal) => drop(call.reply.send(HouseAnswer::Refused(refusal))),
            Ok(place) => {
                let caller = Caller::House { reply: call.reply, may_ask: call.may_ask };
                self.calls.insert(call.id, Call { place, due: None, caller });
            }
        }
    }

    /// Queues a line for the server.
    pub(super) fn write(&mut self, line: Bytes) -> Result<u64, Refusal> {
        let link = self.link.as_mut().ok_or(Refusal::NotReady)?;
        link.push(line).ok_or(Refusal::Backlog)
    }
}

fn call_lost(call: Call, link: Option<&Link>) {
    let may_have_executed = link.is_some_and(|link| link.may_have_sent(call.place));
    call.lose(may_have_executed);
}

async fn next_event(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.event().await,
        None => std::future::pending().await,
    }
}
