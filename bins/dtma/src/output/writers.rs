//! Which of a server's processes something is of: `web/1` where there are several replicas, `web/1@3` where old and
//! new stand side by side during an update (3 is the generation of the group).

use std::collections::BTreeSet;

/// The processes of one server that are known of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writers {
    replicas: BTreeSet<u32>,
    generations: BTreeSet<u64>,
}

impl Writers {
    /// There is such a replica.
    pub(crate) fn replica(&mut self, replica: u32) {
        self.replicas.insert(replica);
    }

    /// There is one of this generation.
    pub(crate) fn generation(&mut self, generation: u64) {
        self.generations.insert(generation);
    }

    /// True when the server's name alone says who it was.
    pub(crate) fn is_one(&self) -> bool {
        self.replicas.len() < 2 && self.generations.len() < 2
    }

    /// The name that says it.
    pub(crate) fn name(&self, instance: &str, replica: u32, generation: u64) -> String {
        let replica = if self.replicas.len() > 1 { format!("/{replica}") } else { String::new() };
        let generation = if self.generations.len() > 1 { format!("@{generation}") } else { String::new() };
        format!("{instance}{replica}{generation}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_said() {
        let mut writers = Writers::default();
        writers.replica(0);
        writers.generation(3);
        assert_eq!((writers.name("web", 0, 3).as_str(), writers.is_one()), ("web", true));
        writers.generation(4);
        assert_eq!((writers.name("web", 0, 4).as_str(), writers.is_one()), ("web@4", false));
        writers.replica(1);
        assert_eq!(writers.name("web", 1, 3), "web/1@3");
        let mut scaled = Writers::default();
        (0..3).for_each(|replica| scaled.replica(replica));
        assert_eq!((scaled.name("web", 2, 3).as_str(), scaled.is_one()), ("web/2", false));
    }
}
