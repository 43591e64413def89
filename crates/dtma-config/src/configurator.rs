//! The two questions other crates ask: is this group allowed, and what are its containers made from?

use crate::overrides::Reader;
use crate::place::Place;
use crate::policy::Policy;
use crate::render::{Ingredients, limits};
use crate::report::{Report, shown};
use crate::template::{TemplateValues, Templates};
use crate::wanted::Wanted;
use crate::{check, rule, warn};
use dtma_core::container::ContainerConfig;
use dtma_core::hash::config_hash;
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
    place: Place,
}

impl Configurator {
    /// Judges by these.
    #[must_use]
    pub fn new(templates: Templates, policy: Policy) -> Self {
        Self { templates, policy, place: Place { remote_engine: false, shim: false } }
    }

    /// The same for an engine that is on another machine: what needs it here is refused.
    #[must_use]
    pub fn for_remote_engine(self) -> Self {
        Self { place: Place { remote_engine: true, ..self.place }, ..self }
    }

    /// The same for a daemon that has a shim to begin servers by, or has not, as at first.
    #[must_use]
    pub fn with_shim(self, shim: bool) -> Self {
        Self { place: Place { shim, ..self.place }, ..self }
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
        let mut report = Report::default();
        check::group::size(&mut report, group, self.place);
        check::group::graph(&mut report, group);
        check::gateway::gateway(&mut report, group);
        check::text::labels(&mut report, "/labels", &group.labels);
        for (index, server) in group.servers.iter().enumerate() {
            let at = format!("/servers/{index}");
            let wanted = self.wanted(&mut report, &at, server);
            check::server(&mut report, &at, group, server, (&wanted, &self.policy, self.place));
        }
        check::ports::duplicates(&mut report, group);
        report.found
    }

    /// What is allowed and probably not meant.
    #[must_use]
    pub fn warnings(&self, group: &GroupSpec) -> Vec<Violation> {
        let mut report = Report::default();
        for (index, server) in group.servers.iter().enumerate() {
            let at = format!("/servers/{index}");
            let wanted = self.wanted(&mut Report::default(), &at, server);
            let memory = limits(self.template(server), &self.policy, &wanted.spec.resources).memory;
            warn::server(&mut report, &at, server, (&wanted, memory));
        }
        warn::graph(&mut report, group, self.place);
        report.found
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
        // Nothing is found here that validation did not find before.
        let wanted = &self.wanted(&mut Report::default(), "", server);
        let (template, policy) = (self.template(server), &self.policy);
        let config = Ingredients { group, wanted, template, policy, owner, place: self.place }.config();
        Rendered { hash: config_hash(&config), config }
    }

    /// The server with its overrides applied, and what is wrong with them.
    fn wanted(&self, report: &mut Report, at: &str, server: &ServerSpec) -> Wanted {
        if let Some(name) = server.template.as_deref().filter(|name| self.templates.get(name).is_none()) {
            let known: Vec<_> = self.templates.list().map(|template| template.name.as_str()).collect();
            let message = format!("there is no template {}", shown(name));
            let hint = format!("known are {}", known.join(", "));
            report.refuse_with(&format!("{at}/template"), rule::TEMPLATE_UNKNOWN, message, &hint);
        }
        let mut reader = Reader { report, server, template: self.template(server), policy: &self.policy };
        let patch = reader.read(&format!("{at}/overrides"));
        Wanted::new(at, server, patch)
    }

    /// The template a server names; the standard one stands in for an unknown one until that is refused.
    fn template(&self, server: &ServerSpec) -> &TemplateValues {
        let named = server.template.as_deref().and_then(|name| self.templates.get(name));
        &named.unwrap_or(self.templates.standard()).values
    }
}
