//! A client's session with a server, over whatever leads there: opened, and asked one call after the other.

mod http;
mod lines;
mod sse;
mod websocket;

pub(super) use http::{Address, Http};
pub(super) use lines::Lines;
pub(super) use sse::Sse;
pub(super) use websocket::WebSocket;

use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How much is asked at once and in all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) clients: usize,
    pub(super) calls: usize,
    /// Every client has ids of its own. Real ones all begin with the same.
    pub(super) own_ids: bool,
}

/// Between the ids of two clients that have their own.
const APART: u64 = 1_000_000;
/// Calls before the measured ones, as a part of these.
const WARM_UP: usize = 10;

/// One open session.
pub(super) enum Session {
    Http(Http),
    Sse(Sse),
    WebSocket(WebSocket),
    Lines(Lines),
}

impl Session {
    /// A call, and how long its answer took.
    async fn call(&mut self, client: usize, id: u64) -> Result<Duration> {
        match self {
            Self::Http(session) => session.call(client, id).await,
            Self::Sse(session) => session.call(client, id).await,
            Self::WebSocket(session) => session.call(client, id).await,
            Self::Lines(session) => session.call(client, id).await,
        }
    }

    async fn calls(&mut self, client: usize, ids: std::ops::Range<u64>) -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        for id in ids {
            took.push(self.call(client, id).await?);
        }
        Ok(took)
    }
}

/// Has the sessions call, each one call after the other; how long each call took, and all of them.
pub(super) async fn together(sessions: &mut Vec<Session>, load: Load) -> Result<(Vec<Duration>, Duration)> {
    let warm = load.calls / WARM_UP;
    let apart = if load.own_ids { APART } else { 0 };
    run(sessions, 1, apart, warm).await?;
    let began = Instant::now();
    let took = run(sessions, 1 + warm as u64, apart, load.calls).await?;
    Ok((took, began.elapsed()))
}

async fn run(sessions: &mut Vec<Session>, first: u64, apart: u64, calls: usize) -> Result<Vec<Duration>> {
    let (clients, mut work) = (sessions.len(), JoinSet::new());
    for (client, mut session) in sessions.drain(..).enumerate() {
        // The first ones take what cannot be divided.
        let share = calls / clients + usize::from(client < calls % clients);
        let first = first + apart * client as u64;
        work.spawn(async move {
            let took = session.calls(client, first..first + share as u64).await;
            (session, took)
        });
    }
    let mut took = Vec::with_capacity(calls);
    while let Some(done) = work.join_next().await {
        let (session, times) = done.context("a client")?;
        sessions.push(session);
        took.extend(times?);
    }
    Ok(took)
}
