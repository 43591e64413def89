//! Who waits for whom inside a group. Built once per decision; a cycle is refused and can be printed.

use crate::id::InstanceName;
use crate::spec::{Condition, Dependency, ServerSpec};
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with a group's dependencies. Indices point into `servers` and `depends_on` as given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two servers of one name.
    #[error("the name {name} is used twice")]
    Duplicate {
        /// The later one.
        server: usize,
        /// The name.
        name: InstanceName,
    },
    /// A dependency on nobody.
    #[error("{name} depends on {target}, which is not in the group")]
    Unknown {
        /// Who asks.
        server: usize,
        /// Which of its dependencies.
        dependency: usize,
        /// Its name.
        name: InstanceName,
        /// Whom it names.
        target: InstanceName,
    },
    /// Servers that wait for each other for ever.
    #[error("the dependencies form a cycle: {}", path.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle {
        /// The server at which the cycle was found.
        server: usize,
        /// The cycle, its first name repeated at the end.
        path: Vec<InstanceName>,
    },
}

/// A group's dependencies, free of cycles and of unknown names.
#[derive(Debug, Clone)]
pub struct Graph<'a> {
    wants: BTreeMap<&'a InstanceName, &'a [Dependency]>,
    wanted_by: BTreeMap<&'a InstanceName, Vec<&'a InstanceName>>,
    once: BTreeSet<&'a InstanceName>,
}

impl<'a> Graph<'a> {
    /// Reads the dependencies of `servers`.
    ///
    /// # Errors
    /// Every [`GraphError`] that is there; cycles are looked for only among names that are sound.
    pub fn new(servers: &'a [ServerSpec]) -> Result<Self, Vec<GraphError>> {
        let graph = Self::unchecked(servers);
        let mut errors = graph.name_errors(servers);
        errors.extend(graph.cycles(servers));
        if errors.is_empty() { Ok(graph) } else { Err(errors) }
    }

    /// The same for servers that were checked when they were accepted (a record read back from the store).
    #[must_use]
    pub fn unchecked(servers: &'a [ServerSpec]) -> Self {
        let wants: BTreeMap<_, _> = servers.iter().map(|s| (&s.instance, s.depends_on.as_slice())).collect();
        let mut wanted_by: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut once = BTreeSet::new();
        for server in servers {
            for dependency in &server.depends_on {
                wanted_by.entry(&dependency.instance).or_default().push(&server.instance);
                if dependency.condition == Condition::Completed {
                    once.insert(&dependency.instance);
                }
            }
        }
        Self { wants, wanted_by, once }
    }

    /// What this server waits for.
    #[must_use]
    pub fn dependencies(&self, of: &InstanceName) -> &'a [Dependency] {
        self.wants.get(of).copied().unwrap_or_default()
    }

    /// Who waits for this server.
    pub fn dependents(&self, of: &InstanceName) -> impl Iterator<Item = &'a InstanceName> + '_ {
        self.wanted_by.get(of).into_iter().flatten().copied()
    }

    /// True when somebody awaits it as `completed`: it runs once, and exit 0 is its goal.
    #[must_use]
    pub fn runs_once(&self, instance: &InstanceName) -> bool {
        self.once.contains(instance)
    }

    fn name_errors(&self, servers: &[ServerSpec]) -> Vec<GraphError> {
        let mut seen = BTreeSet::new();
        let mut errors = Vec::new();
        for (server, spec) in servers.iter().enumerate() {
            if !seen.insert(&spec.instance) {
                errors.push(GraphError::Duplicate { server, name: spec.instance.clone() });
            }
            for (dependency, wanted) in spec.depends_on.iter().enumerate() {
                if !self.wants.contains_key(&wanted.instance) {
                    let (name, target) = (spec.instance.clone(), wanted.instance.clone());
                    errors.push(GraphError::Unknown { server, dependency, name, target });
                }
            }
        }
        errors
    }

    fn cycles(&self, servers: &[ServerSpec]) -> Vec<GraphError> {
        let mut done = BTreeSet::new();
        let mut errors = Vec::new();
        for (server, spec) in servers.iter().enumerate() {
            if let Some(path) = self.walk(&spec.instance, &mut Vec::new(), &mut done) {
                errors.push(GraphError::Cycle { server, path });
            }
        }
        errors
    }

    /// Depth first; returns the first cycle reachable from `at` that was not reported before.
    fn walk(
        &self,
        at: &'a InstanceName,
        path: &mut Vec<&'a InstanceName>,
        done: &mut BTreeSet<&'a InstanceName>,
    ) -> Option<Vec<InstanceName>> {
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            return Some(path[start..].iter().copied().chain([at]).cloned().collect());
        }
        if !done.insert(at) {
            return None;
        }
        path.push(at);
        let found = self.dependencies(at).iter().find_map(|wanted| {
            let (known, _) = self.wants.get_key_value(&wanted.instance)?;
            self.walk(known, path, done)
        });
        path.pop();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ServerKind;

    fn servers(edges: &[(&str, &[&str])]) -> Vec<ServerSpec> {
        let name = |text: &str| InstanceName::new(text).unwrap();
        let server = |(from, to): &(&str, &[&str])| {
            let mut spec = ServerSpec::new(name(from), ServerKind::Tool, "i".into());
            spec.depends_on = to
                .iter()
                .map(|to| Dependency { instance: name(to), condition: Condition::Started, connect: None })
                .collect();
            spec
        };
        edges.iter().map(server).collect()
    }

    #[track_caller]
    fn check(edges: &[(&str, &[&str])], expected: &[&str]) {
        let found = Graph::new(&servers(edges)).err().unwrap_or_default();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_sound_graph_is_accepted() {
        check(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])], &[]);
    }

    #[test]
    fn a_cycle_is_printed_once() {
        check(
            &[("x", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])],
            &["the dependencies form a cycle: a -> b -> c -> a"],
        );
        check(&[("a", &["a"])], &["the dependencies form a cycle: a -> a"]);
    }

    #[test]
    fn every_mistake_is_listed() {
        check(
            &[("a", &["nobody"]), ("a", &[]), ("b", &["c"]), ("c", &["b"])],
            &[
                "a depends on nobody, which is not in the group",
                "the name a is used twice",
                "the dependencies form a cycle: b -> c -> b",
            ],
        );
    }
}
