//! The task that owns one grant: does what the machine says, and answers whoever asks.

use super::machine::{Access, Action, Answer, Input, Machine, Outcome, Strategy, Unavailable, View};
use super::pace::{Failure, FailureKind};
use super::record::{Proof, Record, Tokens};
use super::timeline::Moment;
use async_trait::async_trait;
use dtma_core::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// An action takes no longer; one that does counts as unanswered.
const DEADLINE: Duration = Duration::from_secs(30);
/// A timer does not run while the machine sleeps, so both clocks are looked at so often.
const LOOK: Duration = Duration::from_secs(60);
/// Timers are no finer than this, and a task sleeps between any two of them.
const SHORTEST: Duration = Duration::from_millis(5);
/// Orders that wait to be taken; who orders more waits.
const ORDERS: usize = 64;
/// Who waits for one token; one more is turned away.
const WAITERS: usize = 1024;

/// Tells the time of day.
pub type Wall = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where tokens come from.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Asks for a new access token.
    ///
    /// # Errors
    /// [`Failure`], as one line without a secret.
    async fn refresh(&self, proof: &Proof) -> Result<Tokens, Failure>;
}

/// Where one grant is kept.
#[async_trait]
pub trait GrantVault: Send + Sync {
    /// Reads the grant.
    ///
    /// # Errors
    /// [`Failure`], as one line without a secret.
    async fn load(&self) -> Result<Record, Failure>;

    /// Writes it in one piece: afterwards it is there, durably.
    ///
    /// # Errors
    /// [`Failure`]; it may have been written all the same.
    async fn save(&self, record: &Record) -> Result<(), Failure>;
}

/// What a grant's task works with.
pub struct GrantParts {
    /// Where tokens come from.
    pub provider: Arc<dyn Provider>,
    /// Where the grant is kept.
    pub vault: Arc<dyn GrantVault>,
    /// When tokens are renewed.
    pub strategy: Strategy,
    /// The wall clock.
    pub wall: Wall,
    /// Chance: a number from 0 to 1.
    pub dice: Box<dyn FnMut() -> f64 + Send>,
}

enum Order {
    Access { reply: oneshot::Sender<Result<Access, Unavailable>> },
    Rejected { generation: u64, reply: oneshot::Sender<Result<Access, Unavailable>> },
    Refresh { reply: oneshot::Sender<Result<Access, Unavailable>> },
    Reconnect(Record),
}

struct Waiter {
    past: u64,
    reply: oneshot::Sender<Result<Access, Unavailable>>,
}

/// The way to a grant's task. Whoever stops waiting loses nothing: what was begun goes on.
#[derive(Debug, Clone)]
pub struct GrantHandle {
    orders: mpsc::Sender<Order>,
    view: watch::Receiver<View>,
}

impl GrantHandle {
    /// The token to use now; waits while one is being fetched.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn access(&self) -> Result<Access, Unavailable> {
        self.ask(|reply| Order::Access { reply }).await
    }

    /// Upstream answered 401 to the token of this generation: the one after it.
    ///
    /// # Errors
    /// [`Unavailable`]; in particular when a new token was refused as well just now.
    pub async fn rejected(&self, generation: u64) -> Result<Access, Unavailable> {
        self.ask(|reply| Order::Rejected { generation, reply }).await
    }

    /// A new token, because a person wants one.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn refresh(&self) -> Result<Access, Unavailable> {
        self.ask(|reply| Order::Refresh { reply }).await
    }

    /// Puts a new grant in the place of the old one.
    ///
    /// # Errors
    /// [`Unavailable::Stopped`].
    pub async fn reconnect(&self, record: Record) -> Result<(), Unavailable> {
        self.orders.send(Order::Reconnect(record)).await.map_err(|_| Unavailable::Stopped)
    }

    /// How the grant does; changes can be waited for.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    async fn ask(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<Access, Unavailable>>) -> Order,
    ) -> Result<Access, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.map_err(|_| Unavailable::Stopped)?;
        answer.await.unwrap_or(Err(Unavailable::Stopped))
    }
}

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// The owner of a grant; [`GrantTask::run`] is to be spawned by somebody who hears of its end.
pub struct GrantTask {
    parts: GrantParts,
    machine: Machine,
    work: Option<Work>,
    began: Instant,
    orders: mpsc::Receiver<Order>,
    view: watch::Sender<View>,
    waiters: Vec<Waiter>,
}

/// A grant, and the way to it.
#[must_use]
pub fn grant(parts: GrantParts) -> (GrantHandle, GrantTask) {
    let machine = Machine::new(parts.strategy, Moment { running: Duration::ZERO, wall: (parts.wall)() });
    let (orders, incoming) = mpsc::channel(ORDERS);
    let (view, watched) = watch::channel(machine.view());
    let task = GrantTask {
        parts,
        machine,
        work: None,
        began: Instant::now(),
        orders: incoming,
        view,
        waiters: Vec::new(),
    };
    (GrantHandle { orders, view: watched }, task)
}

impl GrantTask {
    /// Keeps the grant until it is told to stop or nobody can ask any more. What is under way then, and the write that
    /// belongs to it, are brought to their end first.
    pub async fn run(mut self, stop: CancellationToken) {
        self.step(Input::Tick);
        loop {
            let nap = self.machine.wait().map_or(LOOK, |wait| wait.clamp(SHORTEST, LOOK));
            // Work is not lost when another arm is taken: it stays where it is and is polled again. An order that was
            // received is taken at once, the nap is measured anew.
            tokio::select! {
                outcome = ended(&mut self.work) => self.done(outcome),
                order = self.orders.recv() => match order {
                    Some(order) => self.order(order),
                    None => break,
                },
                () = sleep(nap) => self.step(Input::Tick),
                () = stop.cancelled() => break,
            }
        }
        self.finish().await;
    }

    /// An answer of the provider is worth nothing until it is in the vault.
    async fn finish(&mut self) {
        self.orders.close();
        let mut saving = false;
        while self.work.is_some() && !saving {
            let outcome = ended(&mut self.work).await;
            saving = !matches!(outcome, Outcome::Asked(Ok(_)));
            self.done(outcome);
        }
    }

    fn done(&mut self, outcome: Outcome) {
        self.work = None;
        self.step(Input::Done(outcome));
    }

    fn order(&mut self, order: Order) {
        let (input, past, reply) = match order {
            Order::Access { reply } => (Input::Wanted, 0, reply),
            Order::Rejected { generation, reply } => (Input::Rejected(generation), generation, reply),
            Order::Refresh { reply } => (Input::Forced, self.machine.view().generation, reply),
            Order::Reconnect(record) => return self.step(Input::Reconnected(record)),
        };
        self.waiters.retain(|waiter| !waiter.reply.is_closed());
        if self.waiters.len() < WAITERS {
            self.waiters.push(Waiter { past, reply });
        } else {
            // Who asks gave up already, then nobody misses the answer.
            let _ = reply.send(Err(Unavailable::Busy));
        }
        self.step(input);
    }

    fn step(&mut self, input: Input) {
        let now = Moment { running: self.began.elapsed(), wall: (self.parts.wall)() };
        let dice = (self.parts.dice)();
        if let Some(action) = self.machine.step(now, input, dice) {
            self.work = Some(self.work(action));
        }
        self.answer();
        let view = self.machine.view();
        self.view.send_if_modified(|shown| {
            let changed = shown.health != view.health
                || (shown.generation, shown.usable) != (view.generation, view.usable);
            *shown = view;
            changed
        });
    }

    fn answer(&mut self) {
        let machine = &self.machine;
        let waiting = std::mem::take(&mut self.waiters);
        self.waiters = waiting.into_iter().filter_map(|waiter| waiter.answered(machine)).collect();
    }

    fn work(&self, action: Action) -> Work {
        let (provider, vault) = (Arc::clone(&self.parts.provider), Arc::clone(&self.parts.vault));
        match action {
            Action::Load => Box::pin(async move { Outcome::Loaded(within("vault", vault.load()).await) }),
            Action::Ask(proof) => {
                Box::pin(async move { Outcome::Asked(within("provider", provider.refresh(&proof)).await) })
            }
            Action::Save(record) => {
                Box::pin(async move { Outcome::Saved(within("vault", vault.save(&record)).await) })
            }
        }
    }
}

impl Waiter {
    /// Gives the waiter back when there is nothing to tell it yet.
    fn answered(self, machine: &Machine) -> Option<Self> {
        let answer = match machine.answer(self.past) {
            Answer::Wait => return Some(self),
            Answer::Token(access) => Ok(access),
            Answer::Not(unavailable) => Err(unavailable),
        };
        // Whoever does not wait any more needs no answer.
        let _ = self.reply.send(answer);
        None
    }
}

/// The end of what is under way; never, when nothing is.
async fn ended(work: &mut Option<Work>) -> Outcome {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

async fn within<T>(whom: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| {
        let said = format!("the {whom} did not answer within {} s", DEADLINE.as_secs());
        Err(Failure::new(FailureKind::Away, said))
    })
}
