//! Where in the request stands what the manager refused. The manager names servers and ports; a person who wrote a
//! file wants the place.

use crate::error::ApiError;
use dtma_core::id::InstanceName;
use dtma_core::port::RuntimeError;
use dtma_core::spec::ServerSpec;
use dtma_core::violation::Violation;
use dtma_manager::ManagerError;

impl ApiError {
    /// The same, with its place among `servers` when it has one.
    pub(crate) fn located(self, servers: &[ServerSpec]) -> Self {
        let Self::Manager(error) = self else { return self };
        match place(&error, servers) {
            Some(violation) => Self::Located(error, Box::new(violation)),
            None => Self::Manager(error),
        }
    }
}

fn place(error: &ManagerError, servers: &[ServerSpec]) -> Option<Violation> {
    let name = |instance, rule| {
        Some(Violation::new(format!("{}/instanceName", server(servers, instance)?), rule, error.to_string()))
    };
    match error {
        ManagerError::InstanceTaken { instance, .. } => name(instance, "taken.instance"),
        ManagerError::ContainerNameTaken { instance, .. } => name(instance, "taken.container-name"),
        ManagerError::PortTaken { port, .. } => {
            Some(Violation::new(host_port(servers, *port)?, "taken.port", error.to_string()))
        }
        ManagerError::Refused { instance, source, .. } => {
            let (field, rule) = refused(source);
            let pointer = format!("{}{field}", server(servers, instance)?);
            Some(Violation { hint: remedy(source), ..Violation::new(pointer, rule, source.to_string()) })
        }
        ManagerError::Invalid(_)
        | ManagerError::NoSuchGroup(_)
        | ManagerError::NoSuchServer(_)
        | ManagerError::NotRunning(_)
        | ManagerError::GroupChanged(_)
        | ManagerError::BeingRemoved(_)
        | ManagerError::Busy(_)
        | ManagerError::Engine(_)
        | ManagerError::ServersFailed(_)
        | ManagerError::Deadline { .. }
        | ManagerError::Store(_)
        | ManagerError::Defect(_)
        | ManagerError::Superseded(_)
        | ManagerError::TooManyOperations { .. }
        | ManagerError::KeyReused(_)
        | ManagerError::FailedBefore { .. }
        | ManagerError::Stale { .. }
        | ManagerError::Outdated { .. }
        | ManagerError::GenerationTaken { .. }
        | ManagerError::NoSuchGeneration { .. }
        | ManagerError::UpdateFailed { .. }
        | ManagerError::ChangeSuperseded(_)
        | ManagerError::NotDiscovered(_)
        | ManagerError::NoSuchTool { .. }
        | ManagerError::OfferChanged(_)
        | ManagerError::NoSuchConnection(_)
        | ManagerError::ConnectionChanged { .. }
        | ManagerError::ShuttingDown => None,
    }
}

fn server(servers: &[ServerSpec], instance: &InstanceName) -> Option<String> {
    let index = servers.iter().position(|server| server.instance == *instance)?;
    Some(format!("/servers/{index}"))
}

fn host_port(servers: &[ServerSpec], port: u16) -> Option<String> {
    servers.iter().enumerate().find_map(|(index, server)| {
        let publish = server.publish.iter().position(|publish| publish.host_port == port)?;
        Some(format!("/servers/{index}/publish/{publish}/hostPort"))
    })
}

/// The field an engine's refusal is about, when it is about one.
fn refused(error: &RuntimeError) -> (&'static str, &'static str) {
    match error {
        RuntimeError::ImageMissing { .. } => ("/image", "engine.image-missing"),
        RuntimeError::PullStalled { .. } => ("/image", "engine.pull-stalled"),
        RuntimeError::PortTaken { .. } => ("/publish", "engine.port-taken"),
        RuntimeError::NameTaken { .. } => ("/instanceName", "engine.name-taken"),
        RuntimeError::NotFound { .. }
        | RuntimeError::EngineAway { .. }
        | RuntimeError::Timeout { .. }
        | RuntimeError::OutOfSpace { .. }
        | RuntimeError::PortClosed { .. }
        | RuntimeError::Conflict { .. }
        | RuntimeError::Refused { .. }
        | RuntimeError::Broken { .. } => ("", "engine.refused"),
    }
}

/// What a person can do about it, where that is known without the cause.
fn remedy(error: &RuntimeError) -> Option<String> {
    let hint = match error {
        RuntimeError::ImageMissing { image, .. } => format!(
            "check the name {image} and the registry's credentials (--registry-auth of the daemon), or load it into \
             the engine (docker pull, build or load); with pullPolicy never no registry is asked"
        ),
        RuntimeError::PullStalled { image, .. } => format!(
            "look at the network between the engine and the registry (docker pull {image} shows it); the daemon's \
             --pull-stall-ms says how long nothing may come"
        ),
        RuntimeError::NotFound { .. }
        | RuntimeError::NameTaken { .. }
        | RuntimeError::PortTaken { .. }
        | RuntimeError::EngineAway { .. }
        | RuntimeError::Timeout { .. }
        | RuntimeError::OutOfSpace { .. }
        | RuntimeError::PortClosed { .. }
        | RuntimeError::Conflict { .. }
        | RuntimeError::Refused { .. }
        | RuntimeError::Broken { .. } => return None,
    };
    Some(hint)
}
