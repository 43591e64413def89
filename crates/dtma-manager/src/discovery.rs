//! What every MCP server offers, as far as anybody ever heard: kept here so that who asks waits for nobody, with the
//! contract that was approved of it and what differs from that.
//!
//! Asking is the followers' ([`dtma_mcp::discovery`]), run by the tasks of the groups; what is heard is noted here and
//! kept in the store. A server that stands still, is being restarted or has not answered yet is told of by what it
//! offered last, marked as stale.

mod entry;

use crate::error::ManagerError;
use dtma_core::Timestamp;
use dtma_core::catalogue::Catalogue;
use dtma_core::contract::{Contract, Drift, Pinning, drift};
use dtma_core::id::{ConfigHash, Generation, GroupId, InstanceName, Member};
use dtma_core::port::StateStore;
use dtma_mcp::Door;
use entry::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names that a warning tells one by one.
const NAMED: usize = 5;

/// What is known of one MCP server. A snapshot: as long as nothing changes, the same [`Arc`] is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovered {
    /// Which server.
    pub instance: InstanceName,
    /// Its group.
    pub group: GroupId,
    /// What it offers, or offered when it was last asked; `None` until it answered for the first time.
    pub catalogue: Option<Arc<Catalogue>>,
    /// Nothing that runs now has confirmed it, or the last attempt to ask failed.
    pub stale: bool,
    /// Why it could not be asked, when the last attempt failed.
    pub problem: Option<String>,
    /// What follows when its tools differ from its contract.
    pub pinning: Pinning,
    /// What was approved; `None` until something was, and nothing is without pinning.
    pub contract: Option<Arc<Contract>>,
    /// What differs from that; nothing without pinning.
    pub drift: Vec<Drift>,
    /// Grows with every change, over all servers, within one life of the daemon.
    pub revision: u64,
}

impl Discovered {
    /// What differs from the contract, in one line.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let kept = match self.pinning {
            Pinning::Quarantine => "; what is not as approved is kept from clients",
            Pinning::Off | Pinning::Warn => "",
        };
        Some(format!("tools are not as approved: {}{kept}", named(&self.drift)?))
    }

    /// The hash of what it offers now, as [`Contract::hash`] has it: approving it is approving of exactly this.
    #[must_use]
    pub fn offered_hash(&self) -> Option<String> {
        let catalogue = self.catalogue.as_ref()?;
        Some(Contract::of(catalogue, "", catalogue.at).hash())
    }
}

/// The tools and what became of them.
fn named(drift: &[Drift]) -> Option<String> {
    let named = drift.iter().take(NAMED).map(|drift| format!("{:?} {}", drift.tool, drift.kind.as_str()));
    let more = drift.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("{more} more"));
    let all: Vec<String> = named.chain(more).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What is approved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approval {
    /// Only this tool; `None`: everything.
    pub tool: Option<String>,
    /// Only if what is offered has this hash ([`Discovered::offered_hash`]).
    pub hash: Option<String>,
}

/// Everything that is known of MCP servers.
pub(crate) struct Desk {
    store: Arc<dyn StateStore>,
    table: Mutex<Table>,
    /// One at a time: each is built on the one before.
    approving: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<InstanceName, Entry>,
    /// Of earlier lives of the daemon, until somebody claims it.
    catalogues: HashMap<InstanceName, Vec<Arc<Catalogue>>>,
    contracts: HashMap<InstanceName, Arc<Contract>>,
    revision: u64,
}

/// What a server is to be.
pub(crate) struct Wanted<'a> {
    pub(crate) group: &'a GroupId,
    pub(crate) instance: &'a InstanceName,
    pub(crate) config: &'a ConfigHash,
    pub(crate) pinning: Pinning,
    pub(crate) door: &'a Door,
}

/// What came of something that was heard.
#[derive(Default)]
pub(crate) struct Heard {
    /// To be kept in the store.
    pub(crate) catalogue: Option<Arc<Catalogue>>,
    pub(crate) contract: Option<Arc<Contract>>,
    /// What differs from the contract now, where that is another answer than before.
    pub(crate) drift: Option<Vec<Drift>>,
}

impl Heard {
    /// Keeps what is to be kept. What the store refuses is heard again after the next start.
    pub(crate) async fn keep(self, store: &dyn StateStore) {
        if let Some(contract) = self.contract
            && let Err(error) = store.put_contract(&contract).await
        {
            tracing::warn!(server = %contract.instance, %error, "the contract could not be kept");
        }
        if let Some(catalogue) = self.catalogue
            && let Err(error) = store.put_catalogue(&catalogue).await
        {
            tracing::warn!(server = %catalogue.instance, %error, "what it offers could not be kept");
        }
    }
}

impl Desk {
    pub(crate) fn new(
        store: Arc<dyn StateStore>,
        catalogues: Vec<Catalogue>,
        contracts: Vec<Contract>,
    ) -> Self {
        let mut table = Table::default();
        for catalogue in catalogues {
            table.catalogues.entry(catalogue.instance.clone()).or_default().push(Arc::new(catalogue));
        }
        let contracts = contracts.into_iter().map(|contract| (contract.instance.clone(), Arc::new(contract)));
        table.contracts = contracts.collect();
        Self { store, table: Mutex::new(table), approving: tokio::sync::Mutex::default() }
    }

    /// Every change is one assignment or can be repeated.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, instance: &InstanceName) -> Option<Arc<Discovered>> {
        Some(Arc::clone(&self.table().entries.get(instance)?.shown))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Discovered>> {
        self.table().entries.values().map(|entry| Arc::clone(&entry.shown)).collect()
    }

    /// What was not as approved when a configuration of a server was last asked; `None`: nothing, or it never was.
    pub(crate) fn foreseen(&self, instance: &InstanceName, config: &ConfigHash) -> Option<String> {
        let known = |entry: &Entry| Some((entry.kept(config)?.clone(), entry.shown.contract.clone()?));
        let (catalogue, contract) = self.table().entries.get(instance).and_then(known)?;
        named(&drift(&contract, &catalogue.offers.tools.raw))
    }

    /// A server is to be like this. Cheap where it is already.
    pub(crate) fn want(&self, wanted: &Wanted<'_>, now: Timestamp) -> Heard {
        let mut table = self.table();
        if !table.entries.contains_key(wanted.instance) {
            let kept = table.catalogues.remove(wanted.instance).unwrap_or_default();
            let contract = table.contracts.remove(wanted.instance);
            table.entries.insert(wanted.instance.clone(), Entry::new(wanted, kept, contract));
        }
        table.change(wanted.instance, |entry| entry.want(wanted), now)
    }

    /// A member was asked and answered.
    pub(crate) fn found(&self, member: &Member, catalogue: Catalogue) -> Heard {
        let now = catalogue.at;
        self.table().change(&catalogue.instance.clone(), |entry| entry.found(member, catalogue), now)
    }

    /// A member answers, and these are its tools.
    pub(crate) fn listed(
        &self,
        member: &Member,
        generation: Generation,
        tools: Vec<String>,
        now: Timestamp,
    ) -> Heard {
        let change = |entry: &mut Entry| entry.listed(member, generation, tools);
        self.table().change(&member.replica.instance, change, now)
    }

    /// A member could not be asked.
    pub(crate) fn failed(&self, member: &Member, problem: String, now: Timestamp) -> Heard {
        self.table().change(&member.replica.instance, |entry| entry.failed(member, problem), now)
    }

    /// A member does not answer any more.
    pub(crate) fn down(&self, member: &Member, now: Timestamp) -> Heard {
        self.table().change(&member.replica.instance, |entry| entry.down(member), now)
    }

    /// The server is gone for good.
    pub(crate) fn forget(&self, instance: &InstanceName) {
        let mut table = self.table();
        table.entries.remove(instance);
        table.revision += 1;
    }

    pub(crate) async fn approve(
        &self,
        instance: &InstanceName,
        approval: &Approval,
        author: &str,
        now: Timestamp,
    ) -> Result<Arc<Discovered>, ManagerError> {
        let _turn = self.approving.lock().await;
        let known = self.get(instance).ok_or_else(|| ManagerError::NoSuchServer(instance.clone()))?;
        let contract = Arc::new(approved(&known, approval, author, now)?);
        self.store.put_contract(&contract).await?;
        self.table().change(instance, |entry| entry.approve(contract), now);
        self.get(instance).ok_or_else(|| ManagerError::NoSuchServer(instance.clone()))
    }
}

/// The contract that an approval makes.
fn approved(
    known: &Discovered,
    approval: &Approval,
    author: &str,
    now: Timestamp,
) -> Result<Contract, ManagerError> {
    let instance = || known.instance.clone();
    let catalogue = known.catalogue.as_ref().ok_or_else(|| ManagerError::NotDiscovered(instance()))?;
    if approval.hash.is_some() && approval.hash != known.offered_hash() {
        return Err(ManagerError::OfferChanged(instance()));
    }
    let whole = Contract::of(catalogue, author, now);
    let Some(tool) = &approval.tool else { return Ok(whole) };
    let before = known.contract.as_deref();
    if !whole.tools.contains_key(tool) && before.is_none_or(|before| !before.tools.contains_key(tool)) {
        return Err(ManagerError::NoSuchTool { instance: instance(), tool: tool.clone() });
    }
    Ok(before.map_or(whole, |before| before.with(tool, catalogue, author, now)))
}

impl Table {
    /// Changes an entry, and says what came of it.
    fn change(
        &mut self,
        instance: &InstanceName,
        change: impl FnOnce(&mut Entry) -> bool,
        now: Timestamp,
    ) -> Heard {
        let Some(entry) = self.entries.get_mut(instance) else { return Heard::default() };
        if !change(entry) {
            return Heard::default();
        }
        let heard = entry.settle(self.revision + 1, now);
        self.revision = self.revision.max(entry.shown.revision);
        heard
    }
}
