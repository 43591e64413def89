//! A server by its instance name or by the caller's own id of it.

use super::label;
use crate::app::App;
use crate::error::ApiError;
use dtma_core::id::InstanceName;
use dtma_core::spec::{GroupSpec, ServerSpec};
use dtma_manager::{GroupStatus, ManagerError, ServerStatus};
use std::sync::Arc;

/// A server as it is wanted and as it stands.
pub(crate) struct Found {
    pub(crate) group: Arc<GroupStatus>,
    pub(crate) spec: Arc<GroupSpec>,
    pub(crate) instance: InstanceName,
}

impl Found {
    pub(crate) fn status(&self) -> Option<&ServerStatus> {
        self.group.server(&self.instance)
    }

    pub(crate) fn wanted(&self) -> Option<&ServerSpec> {
        self.spec.server(&self.instance)
    }

    /// The caller's own id of it.
    pub(crate) fn account_id(&self) -> Option<&str> {
        account_id(self.wanted()?)
    }
}

pub(crate) fn account_id(spec: &ServerSpec) -> Option<&str> {
    spec.labels.get(label::ACCOUNT_ID).map(String::as_str)
}

/// Names come first: an id that is also somebody's name means that one.
///
/// # Errors
/// `no_such_server`, or `invalid_name` for what can be neither.
pub(crate) fn find(app: &App, text: &str) -> Result<Found, ApiError> {
    let name: Result<InstanceName, _> = text.parse();
    let named = name.as_ref().ok().and_then(|name| app.manager().group_of(name).map(|_| name.clone()));
    let instance = named.or_else(|| by_account_id(app, text));
    let name = name.map_err(|problem| ApiError::PathName(problem.to_string()));
    let unknown = |name: InstanceName| ApiError::from(ManagerError::NoSuchServer(name));
    let Some(instance) = instance else { return Err(unknown(name?)) };
    let group = app.manager().group_of(&instance);
    let found = group.and_then(|group| Some((app.manager().group(&group)?, app.manager().spec(&group)?)));
    let (group, spec) = found.ok_or_else(|| unknown(instance.clone()))?;
    Ok(Found { group, spec, instance })
}

/// Who bears the id.
pub(crate) fn by_account_id(app: &App, id: &str) -> Option<InstanceName> {
    let groups = app.manager().groups();
    let specs = groups.iter().filter_map(|group| app.manager().spec(&group.group_id));
    specs.into_iter().find_map(|spec| {
        let bears = |server: &&ServerSpec| account_id(server) == Some(id);
        spec.servers.iter().find(bears).map(|server| server.instance.clone())
    })
}
