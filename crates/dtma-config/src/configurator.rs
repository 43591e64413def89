//! The two questions other crates ask: is this group allowed, and what are its containers made from?

use crate::hash::config_hash;
use crate::policy::Policy;
use crate::render::Ingredients;
use crate::template::Templates;
use dtma_core::container::ContainerConfig;
use dtma_core::graph::Graph;
use dtma_core::id::{ConfigHash, InstanceName, OwnerId};
use dtma_core::spec::{GroupSpec, ServerSpec};
use dtma_core::violation::Violation;
use std::collections::BTreeMap;

/// A server's configuration and its hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// What its container is made from.
    pub config: ContainerConfig,
    /// Hash of that.
    pub hash: ConfigHash,
}

/// Judges and renders groups by templates and a policy.
#[derive(Debug, Clone)]
pub struct Configurator {
    templates: Templates,
    policy: Policy,
}

impl Configurator {
    /// Judges by these.
    #[must_use]
    pub fn new(templates: Templates, policy: Policy) -> Self {
        Self { templates, policy }
    }

    /// The templates a server may name.
    #[must_use]
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The ceilings.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Every mistake of the group, none when it can be deployed. Pointers use the names of the HTTP contract.
    #[must_use]
    pub fn validate(&self, group: &GroupSpec) -> Vec<Violation> {
        let errors = Graph::new(&group.servers).err().unwrap_or_default();
        errors.iter().map(|error| Violation::new("/servers", "graph", error.to_string())).collect()
    }

    /// What is allowed and probably not meant.
    #[must_use]
    pub fn warnings(&self, _group: &GroupSpec) -> Vec<Violation> {
        Vec::new()
    }

    /// The configuration of every server.
    ///
    /// # Errors
    /// What [`validate`](Self::validate) finds, when it finds anything.
    pub fn render(
        &self,
        group: &GroupSpec,
        owner: &OwnerId,
    ) -> Result<BTreeMap<InstanceName, Rendered>, Vec<Violation>> {
        let violations = self.validate(group);
        if !violations.is_empty() {
            return Err(violations);
        }
        let rendered = |server: &ServerSpec| (server.instance.clone(), self.rendered(group, server, owner));
        Ok(group.servers.iter().map(rendered).collect())
    }

    fn rendered(&self, group: &GroupSpec, server: &ServerSpec, owner: &OwnerId) -> Rendered {
        let template = server.template.as_deref().and_then(|name| self.templates.get(name));
        let template = &template.unwrap_or(self.templates.standard()).values;
        let config = Ingredients { group, server, template, policy: &self.policy, owner }.config();
        Rendered { hash: config_hash(&config), config }
    }
}
