//! Which servers and tools a caller of the gateway may reach, and how often. Every door asks here, for each message anew:
//! what is taken away is gone at once, and open streams end.

mod group;

use self::group::OfGroup;
use super::duplex::End;
use super::target::{Entrance, Target};
use crate::app::App;
use crate::auth::Caller;
use crate::body::{GATEWAY_LIMIT, read};
use crate::calls::{By, Pending};
use crate::error::ApiError;
use crate::limit::Rate;
use crate::sse;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use dtma_core::connection::{Access, Connection, Part, Reach};
use dtma_core::id::{ConnectionId, InstanceName};
use dtma_manager::ManagerError;
use dtma_mcp::demand::{Demand, demands};
use dtma_mcp::{ToolFilter, TraceContext};
use futures_util::{Stream, StreamExt};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at a connection that ends at some time, however the clock is set meanwhile.
const LOOK: Duration = Duration::from_secs(30);
/// Connections whose calls are counted before those that are gone are forgotten.
const COUNTED: usize = 1024;

/// What a caller may reach in all.
pub(crate) fn access(app: &App, caller: &Caller) -> Access {
    match &caller.digest {
        None => Access::Everything,
        Some(digest) => app.manager().access(&caller.name, digest, app.auth().needs_connections()),
    }
}

/// What a caller may reach of a server. One that is not granted is as if it were not there.
pub(crate) fn reach(app: &App, caller: &Caller, instance: &InstanceName) -> Result<Reach, ApiError> {
    let access = access(app, caller);
    if access.is_nothing() {
        return Err(ApiError::NoConnection);
    }
    let reach = access.to(instance, || app.manager().group_of(instance));
    reach.ok_or_else(|| ManagerError::NoSuchServer(instance.clone()).into())
}

/// What a caller may reach of what a door leads to.
#[derive(Clone)]
pub(crate) enum Reached {
    Server(Reach),
    Group(OfGroup),
}

/// The same for either. What is not granted is as if it were not there.
pub(crate) fn reached(app: &App, caller: &Caller, target: &Target) -> Result<Reached, ApiError> {
    match target {
        Target::Server(instance) => reach(app, caller, instance).map(Reached::Server),
        Target::Group(group) => OfGroup::look(app, caller, group).map(Reached::Group),
    }
}

/// The way in for somebody who reaches so much of it.
pub(super) fn limited(entrance: &Entrance, reached: &Reached) -> Entrance {
    match (entrance, reached) {
        (Entrance::Server(door), Reached::Server(reach)) => {
            let part = reach.part().filter(|part| !part.allows_all());
            let filtered = part.map(|part| door.filtered_by(Arc::new(Allowed(Arc::clone(part)))));
            filtered.map_or_else(|| entrance.clone(), Entrance::Server)
        }
        (Entrance::Group(_), _) => opened(entrance.clone(), reached),
        (Entrance::Server(_), Reached::Group(_)) => entrance.clone(),
    }
}

/// The same for as long as a stream is open: what of a server is granted is looked at for each message, what of a group
/// always.
pub(super) fn opened(entrance: Entrance, reached: &Reached) -> Entrance {
    match (entrance, reached) {
        (Entrance::Group(group), Reached::Group(of)) if of.limits() => {
            Entrance::Group(group.seen_by(Arc::new(of.clone())))
        }
        (entrance, _) => entrance,
    }
}

/// Lets pass what is granted.
struct Allowed(Arc<Part>);

impl ToolFilter for Allowed {
    fn refuses(&self, name: &str, _: Option<&str>) -> Option<String> {
        let refused = || format!("tool {name:?} of {} is not granted to this token", self.0.instance);
        (!self.0.allows(name)).then(refused)
    }
}

/// Counts the calls in a text, or says how long to wait. Each counts for one of the connections that grant it, and for
/// none if one of these has no rate; what none grants is refused elsewhere.
pub(super) fn charge(
    app: &App,
    entrance: &Entrance,
    reached: &Reached,
    text: &Bytes,
) -> Result<(), Duration> {
    match (entrance, reached) {
        (Entrance::Group(group), Reached::Group(of)) if of.limits() => {
            group.demands(text).iter().try_for_each(|(server, demand)| {
                of.reach(server).map_or(Ok(()), |reach| spend(app, &reach, || vec![demand.clone()]))
            })
        }
        (_, Reached::Server(reach)) => spend(app, reach, || demands(text)),
        (_, Reached::Group(_)) => Ok(()),
    }
}

fn spend(app: &App, reach: &Reach, demands: impl FnOnce() -> Vec<Demand>) -> Result<(), Duration> {
    let Some(part) = reach.part() else { return Ok(()) };
    if part.granting(None).all(|connection| connection.terms.rate.is_none()) {
        return Ok(());
    }
    demands().iter().try_for_each(|demand| app.spent().charge(app, part, demand))
}

/// What calls have used up of each connection's rate: when its bucket is full again. A connection that is changed begins
/// anew.
#[derive(Default)]
pub(crate) struct Spent(Mutex<HashMap<ConnectionId, (u64, Instant)>>);

impl Spent {
    fn charge(&self, app: &App, part: &Part, demand: &Demand) -> Result<(), Duration> {
        let tool = match demand {
            Demand::Tool(tool) => Some(tool.as_str()),
            Demand::Other => None,
        };
        let granting: Vec<_> = part.granting(tool).collect();
        if granting.is_empty() || granting.iter().any(|connection| connection.terms.rate.is_none()) {
            return Ok(());
        }
        self.forget(app);
        let mut wait = Duration::MAX;
        for connection in granting {
            match self.take(connection, Instant::now()) {
                Ok(()) => return Ok(()),
                Err(longer) => wait = wait.min(longer),
            }
        }
        Err(wait)
    }

    fn take(&self, connection: &Connection, now: Instant) -> Result<(), Duration> {
        let Some(rate) = connection.terms.rate.and_then(|rate| {
            let per = Duration::from_secs(60).saturating_mul(rate.burst) / rate.per_minute.max(1);
            Rate::new(rate.burst, per)
        }) else {
            return Ok(());
        };
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = table.get(&connection.id).filter(|(revision, _)| *revision == connection.revision);
        let full_at = rate.take(before.map(|(_, full_at)| *full_at), now)?;
        table.insert(connection.id.clone(), (connection.revision, full_at));
        Ok(())
    }

    /// Those of connections that are gone, once there are many.
    fn forget(&self, app: &App) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() > COUNTED {
            table.retain(|id, _| app.manager().connection(id).is_some());
        }
    }
}

/// A message that may be passed on.
pub(super) struct Admitted {
    pub(super) server: Entrance,
    pub(super) body: Bytes,
    pub(super) call: Pending,
}

/// Reads a message that came over HTTP, if its sender may send it. What is refused is in the log of calls, too.
pub(super) async fn admitted(
    app: &App,
    caller: &Caller,
    target: &Target,
    most_tools: Option<usize>,
    request: Request,
) -> Result<Admitted, ApiError> {
    let trace = TraceContext::of(request.headers());
    let reached = match reached(app, caller, target) {
        Ok(reached) => reached,
        Err(error) => {
            let body = traced(trace, read(request, GATEWAY_LIMIT).await?);
            app.calls().asked(caller, target, By::Http, &body).barred(error.code());
            return Err(error);
        }
    };
    let server = limited(&target.answering(app)?.with_most_tools(most_tools), &reached);
    let body = traced(trace, read(request, GATEWAY_LIMIT).await?);
    let call = app.calls().asked(caller, target, By::Http, &body).called(server.naming());
    match charge(app, &server, &reached, &body) {
        Ok(()) => Ok(Admitted { server, body, call }),
        Err(wait) => {
            let error = ApiError::TooMany("calls", wait);
            call.barred(error.code());
            Err(error)
        }
    }
}

/// A body as part of the trace that its request is part of.
pub(super) fn traced(trace: Option<TraceContext>, body: Bytes) -> Bytes {
    match trace {
        Some(trace) => trace.on(body),
        None => body,
    }
}

/// Ends when the caller's token is none any more, or nothing of the server is granted to it; of a group, when one of its
/// servers is not that was.
pub(super) async fn over(app: App, caller: Caller, target: Target) -> End {
    let mut tokens = app.auth().changes();
    let mut changes = app.manager().connection_changes();
    let before = match reached(&app, &caller, &target) {
        Ok(Reached::Group(of)) => of.servers(),
        Ok(Reached::Server(_)) | Err(_) => BTreeSet::new(),
    };
    loop {
        let Some(token) = app.auth().lasts(&caller, app.now()) else { return End::Revoked };
        if !still(&app, &caller, &target, &before) {
            return End::Ungranted;
        }
        let until = token.until.into_iter().chain(access(&app, &caller).until()).min();
        let left = until.map(|until| Duration::try_from(until.duration_since(app.now())).unwrap_or_default());
        // Either may be dropped: whatever happened is looked at anew.
        tokio::select! {
            () = tokens.next() => {}
            () = changes.next() => {}
            () = at_the_end(left) => {}
        }
    }
}

fn still(app: &App, caller: &Caller, target: &Target, before: &BTreeSet<InstanceName>) -> bool {
    if caller.digest.is_none() {
        return true;
    }
    match reached(app, caller, target) {
        Ok(Reached::Server(_)) => true,
        Ok(Reached::Group(of)) => !of.lost(before),
        Err(_) => false,
    }
}

async fn at_the_end(left: Option<Duration>) {
    match left {
        // A little later, since what has ended by the clock must have ended by then.
        Some(left) => tokio::time::sleep(left.min(LOOK) + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

/// A stream of events for the caller, as long as it may hear them.
pub(super) fn stream(
    app: &App,
    caller: &Caller,
    target: &Target,
    events: impl Stream<Item = Bytes> + Send + 'static,
) -> Response {
    let over = over(app.clone(), caller.clone(), target.clone());
    sse::answer(app, events.take_until(Box::pin(over)))
}
