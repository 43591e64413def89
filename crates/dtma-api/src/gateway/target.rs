//! What a door leads to: one server, or all MCP servers of a group as one. The doors themselves do not care.

use crate::app::App;
use crate::error::ApiError;
use dtma_core::id::{GroupId, InstanceName};
use dtma_core::phase::Phase;
use dtma_manager::ManagerError;
use dtma_mcp::{
    Aggregate, Claims, Door, EventId, EventStream, MessageStream, Naming, PostReply, SessionError,
};
use std::fmt;

/// Which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Server(InstanceName),
    Group(GroupId),
}

/// As metrics and logs call it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(instance) => instance.fmt(f),
            Self::Group(group) => write!(f, "group/{group}"),
        }
    }
}

impl Target {
    /// Where its doors are.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Server(instance) => format!("/gateway/servers/{instance}"),
            Self::Group(group) => format!("/gateway/groups/{group}"),
        }
    }

    /// The way in, for somebody who may reach it ([`super::access`]).
    pub(super) fn entrance(&self, app: &App) -> Result<Entrance, ApiError> {
        match self {
            Self::Server(instance) => super::server(app, instance).map(Entrance::Server),
            Self::Group(group) => {
                let together = app.manager().mcp_group(group);
                together.map(Entrance::Group).ok_or_else(|| ManagerError::NoSuchGroup(group.clone()).into())
            }
        }
    }

    /// The same for somebody who wants an answer. From a server that stands still until a person starts it none would
    /// come; ending a session with it, or listening for its return, is another matter. Of a group the others answer.
    pub(super) fn answering(&self, app: &App) -> Result<Entrance, ApiError> {
        let entrance = self.entrance(app)?;
        entrance.answers(app).map(|()| entrance)
    }
}

fn stands_still(app: &App, instance: &InstanceName) -> Option<String> {
    let group = app.manager().group(&app.manager().group_of(instance)?)?;
    match &group.server(instance)?.phase {
        Phase::Stopped => Some("is stopped".to_owned()),
        Phase::Failed { reason, .. } => Some(format!("has failed ({reason})")),
        Phase::Creating
        | Phase::Waiting { .. }
        | Phase::Starting { .. }
        | Phase::OnDemand
        | Phase::Ready { .. }
        | Phase::Idle { .. }
        | Phase::Updating { .. }
        | Phase::Backoff { .. }
        | Phase::Completed { .. }
        | Phase::Stopping
        | Phase::Removing => None,
    }
}

/// The MCP side of what a door leads to. Cheap to clone.
#[derive(Clone)]
pub(super) enum Entrance {
    Server(Door),
    Group(Aggregate),
}

impl Entrance {
    /// Nothing, where an answer would come ([`Target::answering`]).
    pub(super) fn answers(&self, app: &App) -> Result<(), ApiError> {
        let Self::Server(door) = self else { return Ok(()) };
        match (!door.is_ready()).then(|| stands_still(app, door.instance())).flatten() {
            Some(why) => Err(ApiError::StandsStill(door.instance().clone(), why)),
            None => Ok(()),
        }
    }

    /// What things are called there, where that follows from more than the name of one server.
    pub(super) fn naming(&self) -> Option<Naming> {
        match self {
            Self::Server(_) => None,
            Self::Group(group) => Some(group.naming()),
        }
    }

    /// For a client whose session ends with its connection. Sessions with a group are never kept longer than the daemon.
    pub(super) fn passing(&self) -> Self {
        match self {
            Self::Server(door) => Self::Server(door.passing()),
            Self::Group(group) => Self::Group(group.clone()),
        }
    }

    /// The same for a client that wants to see at most so many tools at once. One server's are always seen.
    pub(super) fn with_most_tools(self, most: Option<usize>) -> Self {
        match (self, most) {
            (Self::Group(group), Some(most)) => Self::Group(group.with_most_tools(most)),
            (entrance, _) => entrance,
        }
    }

    /// What a call of a group's needs is much, and in a place of its own: calls of servers do without.
    pub(super) async fn post(&self, session: Option<&str>, body: bytes::Bytes) -> PostReply {
        match self {
            Self::Server(door) => door.post(session, body).await,
            Self::Group(group) => Box::pin(group.post(session, body)).await,
        }
    }

    pub(super) async fn post_stateless(&self, claims: &Claims, body: bytes::Bytes) -> PostReply {
        match self {
            Self::Server(door) => door.post_stateless(claims, body).await,
            Self::Group(group) => Box::pin(group.post_stateless(claims, body)).await,
        }
    }

    pub(super) async fn listen(&self, session: &str) -> Result<MessageStream, SessionError> {
        match self {
            Self::Server(door) => door.listen(session).await,
            Self::Group(group) => group.listen(session),
        }
    }

    pub(super) async fn listen_after(
        &self,
        session: &str,
        after: Option<EventId>,
    ) -> Result<EventStream, SessionError> {
        match self {
            Self::Server(door) => door.listen_after(session, after).await,
            Self::Group(group) => group.listen_after(session, after.as_ref()),
        }
    }

    /// Whether there is such a session.
    pub(super) async fn session(&self, session: &str) -> Result<(), SessionError> {
        match self {
            Self::Server(door) => door.session(session).await.map(drop),
            Self::Group(group) => group.session(session),
        }
    }

    pub(super) async fn close_session(&self, session: &str) -> Result<(), SessionError> {
        match self {
            Self::Server(door) => door.close_session(session).await,
            Self::Group(group) => group.close_session(session).await,
        }
    }
}
