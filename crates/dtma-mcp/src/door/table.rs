//! What a door knows: its members, who of them serves, and where each session lives. Look-ups and changes only;
//! nothing here waits.

use super::logs::Logbook;
use super::member::{Member, MemberId, Seat, Turn};
use super::news::Seen;
use super::opening::Opening;
use super::places::Place;
use crate::wish::Wish;
use crate::{ServerState, SessionId};
use dtma_core::record::GatewaySession;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Logs of dismissed members that are kept: why the last one went is asked after it has gone.
const PAST_LOGS: usize = 2;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) members: BTreeMap<MemberId, Arc<Member>>,
    pub(crate) serving: Vec<Arc<Member>>,
    pub(crate) sessions: HashMap<SessionId, Entry>,
    /// Whose members were not waited for.
    pub(crate) opening: Vec<Opening>,
    pub(crate) past: VecDeque<Logbook>,
    pub(crate) closed: bool,
    /// Members ever admitted.
    pub(crate) admitted: u64,
    /// How often it was looked for sessions that nobody uses.
    looks: u64,
}

/// A session. The owner where it lives has its own entry, made when it is first needed there.
pub(crate) struct Entry {
    pub(crate) kept: Arc<GatewaySession>,
    at: Option<Seat>,
    /// The owner at `at` was told of it, so it makes way there in its turn.
    installed: bool,
    /// Its client is being answered: it is not unused, though nobody was told of it yet.
    opening: bool,
    /// The look after which it was used last.
    used: u64,
    /// Where calls of it may still be in flight.
    former: Vec<Arc<Member>>,
    /// What its client knows, when that is of another member than the one at `at`.
    before: Option<Arc<Seen>>,
    /// It has the process at `at` for itself and goes nowhere else.
    pub(crate) own: Option<Place>,
}

/// Where a session's requests go.
pub(crate) enum Route {
    To(Arc<Member>),
    /// It lives nowhere at the moment.
    Nowhere,
    Unknown,
}

/// Where a session lives, and where calls of it may still be in flight.
pub(crate) struct Hearers {
    pub(crate) at: Option<Arc<Member>>,
    pub(crate) former: Vec<Arc<Member>>,
}

/// Where a session lives from now on, and where it lived until now if that is another member.
pub(crate) struct Settled {
    pub(crate) at: Arc<Member>,
    pub(crate) left: Option<Seat>,
}

impl Entry {
    fn new(kept: Arc<GatewaySession>, at: Option<Seat>) -> Self {
        let (former, before, own) = (Vec::new(), None, None);
        Self { kept, at, installed: false, opening: false, used: 0, former, before, own }
    }

    /// One that has a process of its own there.
    pub(crate) fn own(kept: Arc<GatewaySession>, at: Seat, place: Place) -> Self {
        Self { own: Some(place), ..Self::new(kept, Some(at)) }
    }

    /// One that is opened just now, until [`Table::opened`] says otherwise.
    pub(crate) fn opening(kept: Arc<GatewaySession>, at: Seat) -> Self {
        Self { opening: true, ..Self::new(kept, Some(at)) }
    }

    /// One of an earlier run of the daemon: what its client knows is not known.
    pub(crate) fn restored(kept: Arc<GatewaySession>) -> Self {
        Self { before: Some(Arc::default()), ..Self::new(kept, None) }
    }

    fn move_to(&mut self, to: Option<&Arc<Member>>) -> Option<Seat> {
        self.installed = false;
        if let Some(at) = &self.at {
            self.before.get_or_insert_with(|| Arc::new(at.seen()));
        }
        std::mem::replace(&mut self.at, to.map(Seat::at))
    }

    fn lives_at(&self, member: &Arc<Member>) -> bool {
        self.at.as_ref().is_some_and(|at| Arc::ptr_eq(at, member))
    }

    /// Everybody who may know of it.
    pub(crate) fn everywhere(self) -> impl Iterator<Item = Arc<Member>> {
        self.at.map(|at| Arc::clone(&at)).into_iter().chain(self.former)
    }
}

/// Sessions.
impl Table {
    pub(crate) fn route(&mut self, session: SessionId) -> Route {
        match self.using(session).map(|entry| &entry.at) {
            Some(Some(at)) => Route::To(Arc::clone(at)),
            Some(None) => Route::Nowhere,
            None => Route::Unknown,
        }
    }

    /// A session that is used now.
    fn using(&mut self, session: SessionId) -> Option<&mut Entry> {
        let entry = self.sessions.get_mut(&session)?;
        entry.used = self.looks;
        Some(entry)
    }

    /// Who may have to hear what a session says.
    pub(crate) fn hearers(&mut self, session: SessionId) -> Option<Hearers> {
        let entry = self.using(session)?;
        Some(Hearers { at: entry.at.as_deref().cloned(), former: entry.former.clone() })
    }

    /// A member whose process answers, for a session whose own may not: its own if that does after all. `None`:
    /// nobody answers.
    pub(crate) fn settle(&mut self, session: SessionId) -> Option<Result<Settled, Unknown>> {
        let best = least(&self.serving, |member| member.handle.is_ready());
        self.settle_at(session, |at| at.handle.is_ready(), best)
    }

    /// A member to listen to, whether its process answers or not.
    pub(crate) fn place(&mut self, session: SessionId) -> Option<Result<Settled, Unknown>> {
        let ready = least(&self.serving, |member| member.handle.is_ready());
        let best = ready.or_else(|| least(&self.serving, |member| member.handle.takes_new()));
        self.settle_at(session, |at| at.handle.takes_new(), best)
    }

    fn settle_at(
        &mut self,
        session: SessionId,
        may_stay: impl Fn(&Member) -> bool,
        best: Option<Arc<Member>>,
    ) -> Option<Result<Settled, Unknown>> {
        let Some(entry) = self.using(session) else { return Some(Err(Unknown)) };
        if let Some(at) = entry.at.as_ref().filter(|at| may_stay(at)) {
            return Some(Ok(Settled { at: Arc::clone(at), left: None }));
        }
        let at = best.filter(|_| entry.own.is_none())?;
        let left = entry.move_to(Some(&at));
        Some(Ok(Settled { at, left }))
    }

    /// What the client of a session that lives there knows of another member, and who it is.
    pub(crate) fn before(
        &self,
        session: SessionId,
        member: &Arc<Member>,
    ) -> Option<(Arc<GatewaySession>, Arc<Seen>)> {
        let entry = self.sessions.get(&session).filter(|entry| entry.lives_at(member))?;
        Some((Arc::clone(&entry.kept), entry.before.clone()?))
    }

    /// Its client was told what is different from that.
    pub(crate) fn told(&mut self, session: SessionId, before: &Arc<Seen>) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.before.take_if(|known| Arc::ptr_eq(known, before));
        }
    }

    /// What a member needs to know of a session that lives there.
    pub(crate) fn kept_at(&self, session: SessionId, member: &Arc<Member>) -> Option<Arc<GatewaySession>> {
        self.sessions
            .get(&session)
            .filter(|entry| entry.lives_at(member))
            .map(|entry| Arc::clone(&entry.kept))
    }

    /// Changes what is known of a session's wishes. Gives back what is to be kept, and where it lives.
    pub(crate) fn wish(
        &mut self,
        session: SessionId,
        wish: &Wish,
    ) -> Option<(Arc<GatewaySession>, Option<Arc<Member>>)> {
        let entry = self.sessions.get_mut(&session)?;
        wish.apply(&mut Arc::make_mut(&mut entry.kept).wishes);
        Some((Arc::clone(&entry.kept), entry.at.as_deref().cloned()))
    }

    /// The member took the session; another one may have made way there.
    pub(crate) fn installed(&mut self, session: SessionId, member: &Arc<Member>, evicted: Option<SessionId>) {
        if let Some(evicted) = evicted {
            self.sessions.remove(&evicted);
        }
        if let Some(entry) = self.sessions.get_mut(&session).filter(|entry| entry.lives_at(member)) {
            entry.installed = true;
        }
    }

    /// Whoever opened it has been answered, or has gone.
    pub(crate) fn opened(&mut self, session: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.opening = false;
        }
    }

    /// Adds a session. Where there are as many as all members together may have, at `limit` each, one that came from
    /// elsewhere and was not used since makes way and is given back; where there is none, the member that takes the
    /// new one sees to the bound.
    pub(crate) fn reserve(&mut self, session: SessionId, entry: Entry, limit: usize) -> Option<SessionId> {
        self.settle_openings();
        let bound = limit.max(1) * self.members.len().max(1);
        let evicted = if self.sessions.len() >= bound { self.oldest_unused() } else { None };
        if let Some(evicted) = evicted {
            self.sessions.remove(&evicted);
        }
        self.sessions.insert(session, Entry { used: self.looks, ..entry });
        evicted
    }

    /// Looks for sessions that nobody has used for so many looks; `in_use` are being used now. They are no sessions any
    /// more. Those with a process of their own end by a time of their own.
    pub(crate) fn take_unused(&mut self, in_use: &[SessionId], looks: u64) -> Vec<(SessionId, Entry)> {
        self.settle_openings();
        self.looks += 1;
        for session in in_use {
            self.using(*session);
        }
        let now = self.looks;
        let is_unused = |entry: &Entry| !entry.opening && entry.own.is_none() && now - entry.used >= looks;
        self.sessions.extract_if(|_, entry| is_unused(entry)).collect()
    }

    fn oldest_unused(&self) -> Option<SessionId> {
        let goes = |entry: &Entry| !entry.installed && !entry.opening && entry.own.is_none();
        let unused = self.sessions.iter().filter(|(_, entry)| goes(entry));
        unused.min_by_key(|(_, entry)| entry.kept.opened_at).map(|(id, _)| *id)
    }
}

/// There is no such session.
pub(crate) struct Unknown;

/// Members.
impl Table {
    pub(crate) fn seat(&self) -> Option<Seat> {
        least(&self.serving, |member| member.handle.is_ready()).as_ref().map(Seat::at)
    }

    pub(crate) fn turn(&self) -> Option<Turn> {
        let ready = self.serving.iter().filter(|member| member.handle.is_ready());
        ready.min_by_key(|member| (member.load().calls, member.load().sessions)).map(Turn::at)
    }

    /// A member serves no longer and its sessions go to others, or to nobody for the time being.
    pub(crate) fn retire(&mut self, member: &MemberId) -> Option<Arc<Member>> {
        let leaver = Arc::clone(self.members.get(member)?);
        self.serving.retain(|member| !Arc::ptr_eq(member, &leaver));
        leaver.handle.set_draining(true);
        self.resettle(&leaver, |entry| entry.former.push(Arc::clone(&leaver)));
        Some(leaver)
    }

    /// Who had it for itself is over, and given back: whatever it holds must not be dropped under the lock.
    pub(crate) fn dismiss(&mut self, member: &MemberId) -> Option<(Arc<Member>, Option<Entry>)> {
        let gone = self.members.remove(member)?;
        let lodger = self.lodger_of(&gone).and_then(|lodger| self.sessions.remove(&lodger));
        self.serving.retain(|member| !Arc::ptr_eq(member, &gone));
        self.resettle(&gone, |_| {});
        self.forget_former(&gone);
        self.past.push_back(gone.logbook());
        self.past.drain(..self.past.len().saturating_sub(PAST_LOGS));
        Some((gone, lodger))
    }

    fn resettle(&mut self, leaver: &Arc<Member>, note: impl Fn(&mut Entry)) {
        let stays = |entry: &&mut Entry| entry.lives_at(leaver) && entry.own.is_none();
        for entry in self.sessions.values_mut().filter(stays) {
            let ready = least(&self.serving, |member| member.handle.is_ready());
            let to = ready.or_else(|| least(&self.serving, |member| member.handle.takes_new()));
            drop(entry.move_to(to.as_ref()));
            note(entry);
        }
    }

    /// Nothing is in flight at this member any more.
    pub(crate) fn forget_former(&mut self, member: &Arc<Member>) {
        for entry in self.sessions.values_mut() {
            entry.former.retain(|former| !Arc::ptr_eq(former, member));
        }
    }

    /// The session that has a member for itself.
    pub(crate) fn lodger_of(&self, member: &Arc<Member>) -> Option<SessionId> {
        let mut lodgers = self.lodgers();
        lodgers.find(|(_, at)| Arc::ptr_eq(at, member)).map(|(session, _)| session)
    }

    /// The sessions that have a process of their own.
    pub(crate) fn lodgers(&self) -> impl Iterator<Item = (SessionId, Arc<Member>)> {
        let own = self.sessions.iter().filter(|(_, entry)| entry.own.is_some());
        own.filter_map(|(session, entry)| Some((*session, Arc::clone(entry.at.as_deref()?))))
    }

    /// Who may come to answer: those that serve, but for a session with a process of its own nobody but that.
    pub(crate) fn hoped_for(&self, session: Option<SessionId>) -> Vec<Arc<Member>> {
        let entry = session.and_then(|session| self.sessions.get(&session));
        match entry.filter(|entry| entry.own.is_some()) {
            Some(entry) => entry.at.as_deref().cloned().into_iter().collect(),
            None => self.serving.clone(),
        }
    }

    /// Where the best of the serving members stands.
    pub(crate) fn state(&self) -> ServerState {
        Self::best_state(&self.serving)
    }

    /// Where the best of these stands.
    pub(crate) fn best_state(members: &[Arc<Member>]) -> ServerState {
        let there = members.iter().filter(|member| !member.handle.is_closed());
        let states = there.map(|member| member.handle.state().borrow().clone());
        let none = || ServerState::Down { reason: "none of its processes serves yet".into() };
        states.min_by_key(promise).unwrap_or_else(none)
    }

    /// Nobody will ever answer, as far as is known.
    pub(crate) fn is_over(&self) -> bool {
        self.are_over(&self.serving)
    }

    /// The same of these.
    pub(crate) fn are_over(&self, members: &[Arc<Member>]) -> bool {
        self.closed || !members.is_empty() && members.iter().all(|member| member.handle.is_closed())
    }
}

/// How soon a server in this state may answer; less is sooner.
fn promise(state: &ServerState) -> u8 {
    match state {
        ServerState::Ready(_) => 0,
        ServerState::Resting(_) | ServerState::Connecting { .. } | ServerState::Expecting { .. } => 1,
        ServerState::Down { .. } => 2,
        ServerState::Failed { .. } => 3,
    }
}

/// The member that fits with the fewest sessions.
fn least(members: &[Arc<Member>], fits: impl Fn(&Member) -> bool) -> Option<Arc<Member>> {
    let fitting = members.iter().filter(|member| fits(member));
    fitting.min_by_key(|member| (member.load().sessions, member.load().calls)).cloned()
}
