//! What agents may reach: every connection there is, and what follows from those of one agent. Kept in the store before
//! it holds; whoever asks waits for nobody.

use crate::error::ManagerError;
use dtma_core::Timestamp;
use dtma_core::connection::{Access, Agent, Connection, Governed, Terms, TokenDigest};
use dtma_core::id::ConnectionId;
use dtma_core::port::StateStore;
use dtma_core::port::store::DamagedRecord;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;

/// Which state of a connection a change is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seen {
    /// Any, also none.
    #[default]
    Any,
    /// One that is there.
    Some,
    /// One that is there and was changed so often.
    Revision(u64),
}

/// What became of a connection that was put.
#[derive(Debug, Clone)]
pub struct PutConnection {
    /// As it stands.
    pub connection: Arc<Connection>,
    /// There was none of its id.
    pub created: bool,
    /// It said something else before, or nothing.
    pub changed: bool,
}

/// Everything that is granted.
pub(crate) struct Connections {
    store: Arc<dyn StateStore>,
    table: watch::Sender<Table>,
    /// One at a time: each is built on the one before.
    changing: tokio::sync::Mutex<()>,
    /// A connection cannot be read, and so nobody knows whose it is: an agent without one reaches nothing.
    in_doubt: bool,
}

#[derive(Default)]
struct Table {
    by_id: BTreeMap<ConnectionId, Arc<Connection>>,
    /// Every agent that is governed, also without a connection.
    by_name: HashMap<String, Vec<Arc<Connection>>>,
    by_digest: HashMap<TokenDigest, Vec<Arc<Connection>>>,
}

/// What a store has of this when it is opened.
pub(crate) struct Kept<'a> {
    pub(crate) connections: Vec<Connection>,
    pub(crate) governed: Vec<Governed>,
    pub(crate) damaged: &'a [DamagedRecord],
}

impl Connections {
    pub(crate) fn new(store: Arc<dyn StateStore>, kept: Kept<'_>) -> Self {
        let Kept { connections, governed, damaged } = kept;
        let mut table = Table::default();
        for governed in &governed {
            table.of(&governed.agent);
        }
        connections.into_iter().for_each(|connection| table.put(Arc::new(connection)));
        let in_doubt =
            damaged.iter().any(|record| ["connections", "governed"].contains(&record.table.as_str()));
        if in_doubt {
            tracing::error!(
                "a connection cannot be read: agents without one reach nothing until it is mended"
            );
        }
        Self { store, table: watch::Sender::new(table), changing: tokio::sync::Mutex::default(), in_doubt }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.table.borrow().by_id.values().cloned().collect()
    }

    pub(crate) fn get(&self, id: &ConnectionId) -> Option<Arc<Connection>> {
        self.table.borrow().by_id.get(id).cloned()
    }

    /// Wakes whoever waits when anything changes.
    pub(crate) fn changes(&self) -> ConnectionChanges {
        ConnectionChanges(self.table.subscribe())
    }

    /// What may be reached with the token of this name and digest. Where nobody is governed nothing is looked for.
    pub(crate) fn access(&self, name: &str, digest: &TokenDigest, needed: bool, now: Timestamp) -> Access {
        let table = self.table.borrow();
        let of_name = table.by_name.get(name);
        let of_digest = table.by_digest.get(digest);
        if of_name.is_none() && of_digest.is_none() && !needed && !self.in_doubt {
            return Access::Everything;
        }
        let all = of_name.into_iter().chain(of_digest).flatten();
        Access::Granted(all.filter(|one| !one.has_expired(now)).cloned().collect())
    }

    pub(crate) async fn put(
        &self,
        id: &ConnectionId,
        terms: Terms,
        seen: Seen,
        author: &str,
        now: Timestamp,
    ) -> Result<PutConnection, ManagerError> {
        let _turn = self.changing.lock().await;
        let before = self.get(id);
        check(id, before.as_deref(), seen)?;
        if let Some(connection) = before.clone().filter(|before| before.terms == terms) {
            return Ok(PutConnection { connection, created: false, changed: false });
        }
        let connection = Arc::new(Connection {
            id: id.clone(),
            terms,
            revision: before.as_ref().map_or(1, |before| before.revision + 1),
            author: author.to_owned(),
            created_at: before.as_ref().map_or(now, |before| before.created_at),
            updated_at: now,
        });
        self.store.put_connection(&connection).await?;
        self.table.send_modify(|table| {
            table.remove(id);
            table.put(Arc::clone(&connection));
        });
        Ok(PutConnection { connection, created: before.is_none(), changed: true })
    }

    pub(crate) async fn remove(
        &self,
        id: &ConnectionId,
        seen: Seen,
    ) -> Result<Arc<Connection>, ManagerError> {
        let _turn = self.changing.lock().await;
        let before = self.get(id).ok_or_else(|| ManagerError::NoSuchConnection(id.clone()))?;
        check(id, Some(&before), seen)?;
        self.store.remove_connection(id).await?;
        self.table.send_modify(|table| table.remove(id));
        Ok(before)
    }
}

fn check(id: &ConnectionId, before: Option<&Connection>, seen: Seen) -> Result<(), ManagerError> {
    let present = before.map(|before| before.revision);
    let holds = match seen {
        Seen::Any => true,
        Seen::Some => present.is_some(),
        Seen::Revision(revision) => present == Some(revision),
    };
    let changed = || ManagerError::ConnectionChanged { id: id.clone(), present };
    if holds { Ok(()) } else { Err(changed()) }
}

impl Table {
    /// The connections of an agent, who is governed from now on.
    fn of(&mut self, agent: &Agent) -> &mut Vec<Arc<Connection>> {
        match agent {
            Agent::Named(name) => self.by_name.entry(name.clone()).or_default(),
            Agent::Digest(digest) => self.by_digest.entry(*digest).or_default(),
        }
    }

    fn put(&mut self, connection: Arc<Connection>) {
        self.of(&connection.terms.agent).push(Arc::clone(&connection));
        self.by_id.insert(connection.id.clone(), connection);
    }

    fn remove(&mut self, id: &ConnectionId) {
        if let Some(gone) = self.by_id.remove(id) {
            self.of(&gone.terms.agent).retain(|one| one.id != gone.id);
        }
    }
}

/// Tells that connections changed.
#[derive(Debug)]
pub struct ConnectionChanges(watch::Receiver<Table>);

impl ConnectionChanges {
    /// Waits for the next change since this was made, or since this returned. May be dropped and called again.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("connections", &self.by_id.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::MemoryStore;
    use dtma_testing::sample;

    const NOBODY: TokenDigest = TokenDigest([0; 32]);

    fn open(remote: &dtma_testing::MemoryStoreRemote) -> Connections {
        let state = remote.state();
        let kept = Kept {
            connections: state.connections,
            governed: state.governed,
            damaged: &remote.state().damaged,
        };
        Connections::new(Arc::new(remote.reopen()), kept)
    }

    fn id(text: &str) -> ConnectionId {
        text.parse().unwrap()
    }

    fn of(agent: &str) -> Terms {
        sample::connection("c", agent, 1).terms
    }

    async fn put(desk: &Connections, name: &str, terms: Terms, seen: Seen) -> Result<(bool, bool), String> {
        let put = desk.put(&id(name), terms, seen, "ops", sample::at(7)).await;
        put.map(|put| (put.created, put.changed)).map_err(|error| error.to_string())
    }

    fn granted(desk: &Connections, agent: &str) -> Option<usize> {
        match desk.access(agent, &NOBODY, false, sample::at(9)) {
            Access::Everything => None,
            Access::Granted(connections) => Some(connections.len()),
        }
    }

    #[tokio::test]
    async fn putting_the_same_again_changes_nothing() {
        let (_, remote) = MemoryStore::new();
        let desk = open(&remote);
        assert_eq!(put(&desk, "c", of("bob"), Seen::Any).await, Ok((true, true)));
        let calls = remote.calls().len();
        assert_eq!(put(&desk, "c", of("bob"), Seen::Some).await, Ok((false, false)));
        assert_eq!(remote.calls().len(), calls, "nothing was written");
        assert_eq!(put(&desk, "c", of("eve"), Seen::Revision(1)).await, Ok((false, true)));
        let refused = put(&desk, "c", of("bob"), Seen::Revision(1)).await.unwrap_err();
        assert_eq!(refused, "connection c is at revision 2; look at it and ask again");
        let refused = put(&desk, "d", of("bob"), Seen::Some).await.unwrap_err();
        assert_eq!(refused, "there is no connection d to change");
    }

    #[tokio::test]
    async fn who_had_a_connection_once_reaches_nothing_without_one() {
        let (_, remote) = MemoryStore::new();
        let desk = open(&remote);
        assert_eq!(granted(&desk, "bob"), None);
        put(&desk, "c", of("bob"), Seen::Any).await.unwrap();
        assert_eq!((granted(&desk, "bob"), granted(&desk, "eve")), (Some(1), None));
        put(&desk, "c", of("eve"), Seen::Any).await.unwrap();
        assert_eq!((granted(&desk, "bob"), granted(&desk, "eve")), (Some(0), Some(1)));
        desk.remove(&id("c"), Seen::Any).await.unwrap();
        for desk in [&desk, &open(&remote)] {
            assert_eq!(
                (granted(desk, "bob"), granted(desk, "eve"), granted(desk, "ann")),
                (Some(0), Some(0), None)
            );
        }
        assert!(matches!(desk.remove(&id("c"), Seen::Any).await, Err(ManagerError::NoSuchConnection(_))));
    }

    #[tokio::test]
    async fn connections_of_name_and_digest_count_together_until_they_end() {
        let (_, remote) = MemoryStore::new();
        let desk = open(&remote);
        let digest = TokenDigest([7; 32]);
        put(&desk, "a", of("bob"), Seen::Any).await.unwrap();
        let terms = Terms { agent: Agent::Digest(digest), expires_at: Some(sample::at(20)), ..of("x") };
        put(&desk, "b", terms, Seen::Any).await.unwrap();
        let count = |name: &str, second| match desk.access(name, &digest, false, sample::at(second)) {
            Access::Everything => None,
            Access::Granted(connections) => Some(connections.len()),
        };
        assert_eq!((count("bob", 9), count("eve", 9)), (Some(2), Some(1)));
        assert_eq!((count("bob", 20), count("eve", 20)), (Some(1), Some(0)), "what is over governs on");
    }

    #[tokio::test]
    async fn where_connections_are_needed_or_in_doubt_nobody_is_let_through_without() {
        let (_, remote) = MemoryStore::new();
        assert!(open(&remote).access("bob", &NOBODY, true, sample::at(9)).is_nothing());
        let (table, key, problem) = ("connections".to_owned(), "c".to_owned(), "cut off".to_owned());
        remote.damage(DamagedRecord { table, key, problem });
        assert_eq!(granted(&open(&remote), "bob"), Some(0));
    }

    #[tokio::test]
    async fn what_could_not_be_kept_does_not_hold() {
        let (_, remote) = MemoryStore::new();
        let desk = open(&remote);
        remote.fail_once();
        put(&desk, "c", of("bob"), Seen::Any).await.unwrap_err();
        assert_eq!((granted(&desk, "bob"), desk.all().len()), (None, 0));
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_a_change() {
        let (_, remote) = MemoryStore::new();
        let desk = open(&remote);
        let mut changes = desk.changes();
        put(&desk, "c", of("bob"), Seen::Any).await.unwrap();
        changes.next().await;
        assert!(futures_util::FutureExt::now_or_never(changes.next()).is_none());
    }
}
