//! One server: what its members said, what is kept of that, and what is shown.

use super::{Discovered, Heard, Wanted};
use dtma_core::Timestamp;
use dtma_core::catalogue::{Catalogue, MAX_CATALOGUES};
use dtma_core::contract::{Contract, FIRST, Pinning, drift, pinned_tools};
use dtma_core::id::{ConfigHash, Generation, InstanceName, Member};
use dtma_mcp::{Door, ToolFilter};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Entry {
    pub(super) shown: Arc<Discovered>,
    door: Door,
    config: ConfigHash,
    pinning: Pinning,
    contract: Option<Arc<Contract>>,
    /// Members that answer.
    live: BTreeMap<Member, Live>,
    /// By configuration, the newest last.
    kept: Vec<Arc<Catalogue>>,
    /// Heard and not in the store yet.
    owed: Option<Arc<Catalogue>>,
}

/// A member that answers.
#[derive(Default)]
struct Live {
    generation: Generation,
    catalogue: Option<Arc<Catalogue>>,
    problem: Option<String>,
    /// What it listed since.
    tools: Option<Vec<String>>,
}

impl Entry {
    pub(super) fn new(
        wanted: &Wanted<'_>,
        mut kept: Vec<Arc<Catalogue>>,
        contract: Option<Arc<Contract>>,
    ) -> Self {
        kept.sort_by_key(|catalogue| catalogue.at);
        let shown = Discovered {
            instance: wanted.instance.clone(),
            group: wanted.group.clone(),
            catalogue: None,
            stale: true,
            problem: None,
            // Not yet: what is wanted is taken up as a change.
            pinning: Pinning::Off,
            contract: None,
            drift: Vec::new(),
            revision: 0,
        };
        let config = ConfigHash(String::new());
        let (live, owed, door) = (BTreeMap::new(), None, wanted.door.clone());
        Self { shown: Arc::new(shown), door, config, pinning: Pinning::Off, contract, live, kept, owed }
    }

    /// What this configuration said last.
    pub(super) fn kept(&self, config: &ConfigHash) -> Option<&Arc<Catalogue>> {
        self.kept.iter().find(|catalogue| catalogue.config == *config)
    }

    pub(super) fn want(&mut self, wanted: &Wanted<'_>) -> bool {
        let same = self.config == *wanted.config && self.pinning == wanted.pinning;
        (self.config, self.pinning) = (wanted.config.clone(), wanted.pinning);
        !same
    }

    pub(super) fn found(&mut self, member: &Member, catalogue: Catalogue) -> bool {
        let catalogue = Arc::new(catalogue);
        let before = self.kept.iter().position(|kept| kept.config == catalogue.config);
        let before = before.map(|at| self.kept.remove(at));
        if !before.is_some_and(|before| before.tells_the_same(&catalogue)) {
            self.owed = Some(Arc::clone(&catalogue));
        }
        self.kept.push(Arc::clone(&catalogue));
        self.kept.drain(..self.kept.len().saturating_sub(MAX_CATALOGUES));
        let generation = catalogue.generation;
        let live = Live { generation, catalogue: Some(catalogue), problem: None, tools: None };
        self.live.insert(member.clone(), live);
        true
    }

    /// A member answers, and these are its tools: told before it is given any work.
    pub(super) fn listed(&mut self, member: &Member, generation: Generation, tools: Vec<String>) -> bool {
        let live = self.live.entry(member.clone()).or_default();
        (live.generation, live.tools) = (generation, Some(tools));
        true
    }

    pub(super) fn failed(&mut self, member: &Member, problem: String) -> bool {
        self.live.entry(member.clone()).or_default().problem = Some(problem);
        true
    }

    pub(super) fn down(&mut self, member: &Member) -> bool {
        self.live.remove(member).is_some()
    }

    pub(super) fn approve(&mut self, contract: Arc<Contract>) -> bool {
        self.contract = Some(contract);
        true
    }

    /// Whose word counts: of the newest generation that answers, else what the wanted configuration said last, else
    /// what any did.
    fn choose(&self) -> (Option<Arc<Catalogue>>, bool, Option<String>) {
        let said = self.live.values().filter_map(|live| Some((live.catalogue.clone()?, live)));
        if let Some((catalogue, live)) = said.max_by_key(|(catalogue, _)| catalogue.generation) {
            return (Some(catalogue), live.problem.is_some(), live.problem.clone());
        }
        let problem = self.live.values().find_map(|live| live.problem.clone());
        (self.kept(&self.config).or(self.kept.last()).cloned(), true, problem)
    }

    /// The tools that are held against the contract: those of the newest generation that answers.
    fn tools<'a>(&'a self, shown: Option<&'a Catalogue>) -> Option<&'a [String]> {
        let newest = self.live.values().max_by_key(|live| live.generation);
        let listed = newest.and_then(|live| live.tools.as_deref());
        listed.or_else(|| Some(&shown?.offers.tools.raw[..]))
    }

    /// Makes what is shown from what is known.
    pub(super) fn settle(&mut self, revision: u64, now: Timestamp) -> Heard {
        let (catalogue, stale, problem) = self.choose();
        let pinned = self.pinning != Pinning::Off;
        let contract = match (&self.contract, &catalogue) {
            (None, Some(catalogue)) if pinned && !stale => {
                self.contract = Some(Arc::new(Contract::of(catalogue, FIRST, now)));
                self.contract.clone()
            }
            _ => None,
        };
        let differs = match (&self.contract, self.tools(catalogue.as_deref())) {
            (Some(contract), Some(tools)) if pinned => drift(contract, tools),
            _ => Vec::new(),
        };
        self.guard();
        let before = Arc::clone(&self.shown);
        let shown = Discovered {
            instance: before.instance.clone(),
            group: before.group.clone(),
            catalogue,
            stale,
            problem,
            pinning: self.pinning,
            contract: self.contract.clone(),
            drift: differs,
            revision: before.revision,
        };
        let news = (shown.drift != before.drift).then(|| shown.drift.clone());
        if shown != *before {
            self.shown = Arc::new(Discovered { revision, ..shown });
        }
        Heard { catalogue: self.owed.take(), contract, drift: news }
    }

    /// What is not as approved is kept from clients, where that is wanted.
    fn guard(&self) {
        let contract = self.contract.clone().filter(|_| self.pinning == Pinning::Quarantine);
        let filter = contract.map(|contract| {
            let newest = self.live.values().max_by_key(|live| live.generation);
            let said = newest.and_then(|live| live.catalogue.as_ref());
            let listed = said.map(|said| pinned_tools(&said.offers.tools.raw)).unwrap_or_default();
            Arc::new(Guard { contract, listed }) as Arc<dyn ToolFilter>
        });
        self.door.set_tool_filter(filter);
    }
}

/// Lets pass what was approved.
struct Guard {
    contract: Arc<Contract>,
    /// What the newest process that answers listed when it was asked, for when the door has no list of it.
    listed: BTreeMap<String, String>,
}

impl ToolFilter for Guard {
    fn refuses(&self, name: &str, raw: Option<&str>) -> Option<String> {
        let unheard = || raw.is_none() && self.listed.get(name) != self.contract.tools.get(name);
        let why = self.contract.objection(name, raw);
        let why = why.or_else(|| unheard().then_some("its process does not list it as it was approved"))?;
        Some(remedy(&self.contract.instance, name, why))
    }
}

fn remedy(instance: &InstanceName, tool: &str, why: &str) -> String {
    format!(
        "tool {tool:?} is in quarantine: {why}; dtma mcp inspect {instance} --contract shows the difference, \
         dtma mcp approve {instance} lets it pass"
    )
}
