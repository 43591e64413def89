//! The log of a server: a stdio server's from its door, another's from the engine, container by container.

use super::Registry;
use crate::error::ManagerError;
use crate::handle::LogStream;
use crate::status::{ContainerStatus, GroupStatus};
use dtma_core::Timestamp;
use dtma_core::id::{ContainerId, InstanceName};
use dtma_core::log::{Merged, OriginLine, tails};
use dtma_core::port::runtime::LogQuery;
use dtma_core::port::{ContainerRuntime, RuntimeError};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

impl Registry {
    pub(crate) async fn logs(
        &self,
        instance: &InstanceName,
        query: &LogQuery,
        replica: Option<u32>,
    ) -> Result<LogStream, ManagerError> {
        let unknown = || ManagerError::NoSuchServer(instance.clone());
        let live = self.group_of(instance).and_then(|group| self.live(&group)).ok_or_else(unknown)?;
        let on_streams = live.desired.spec.server(instance).is_none_or(|server| server.kind.is_stdio());
        if let Some(door) = live.desired.doors.get(instance).filter(|_| on_streams) {
            return Ok(door.logs(query, replica).map(Ok).boxed());
        }
        let runtime = Arc::clone(&self.backends.runtime);
        let reader = Reader { runtime, instance: instance.clone(), replica };
        Ok(reader.read(live.status.clone(), query).await?)
    }
}

/// Who reads which logs of the engine.
#[derive(Clone)]
struct Reader {
    runtime: Arc<dyn ContainerRuntime>,
    instance: InstanceName,
    replica: Option<u32>,
}

/// A run by which it is known that its log is being read.
type Run = (ContainerId, Timestamp);

impl Reader {
    async fn read(
        self,
        status: watch::Receiver<Arc<GroupStatus>>,
        query: &LogQuery,
    ) -> Result<LogStream, RuntimeError> {
        let containers = self.containers(&status.borrow());
        let tails = self.tails(&containers, query).await?;
        let mut logs = Vec::new();
        for (container, tail) in containers.iter().zip(tails) {
            logs.push(self.open(container, &LogQuery { tail, ..query.clone() }).await?);
        }
        let merged = Merged::new(logs, written_at);
        if !query.follow || query.until.is_some() {
            return Ok(merged.boxed());
        }
        let known = containers.iter().filter_map(run).collect();
        Ok(merged.welcoming(self.newcomers(status, known, query.since)).boxed())
    }

    fn containers(&self, status: &GroupStatus) -> Vec<ContainerStatus> {
        let server = status.server(&self.instance);
        let all = server.into_iter().flat_map(|server| &server.containers);
        let wanted =
            |one: &&ContainerStatus| self.replica.is_none_or(|replica| one.origin.replica == replica);
        all.filter(wanted).cloned().collect()
    }

    /// How many of the last lines are each container's; a single one's are counted by the engine.
    async fn tails(
        &self,
        containers: &[ContainerStatus],
        query: &LogQuery,
    ) -> Result<Vec<Option<usize>>, RuntimeError> {
        if query.tail.is_none() || containers.len() < 2 {
            return Ok(vec![query.tail; containers.len()]);
        }
        let once = LogQuery { follow: false, ..query.clone() };
        let mut times = Vec::new();
        for container in containers {
            let lines = self.open(container, &once).await?;
            times.push(lines.filter_map(|line| std::future::ready(written_at(&line))).collect().await);
        }
        Ok(tails(&times, query.tail))
    }

    /// A container's lines; none of one that has just gone.
    async fn open(&self, container: &ContainerStatus, query: &LogQuery) -> Result<LogStream, RuntimeError> {
        let origin = container.origin;
        match self.runtime.logs(&container.id, query).await {
            Ok(lines) => Ok(lines.map(move |line| Ok(OriginLine { origin, line: line? })).boxed()),
            Err(RuntimeError::NotFound { .. }) => Ok(stream::empty().boxed()),
            Err(error) => Err(error),
        }
    }

    /// The logs of runs that begin while others are followed.
    fn newcomers(
        self,
        status: watch::Receiver<Arc<GroupStatus>>,
        known: BTreeSet<Run>,
        since: Option<Timestamp>,
    ) -> BoxStream<'static, LogStream> {
        let next = |(reader, mut status, mut known): (
            Self,
            watch::Receiver<Arc<GroupStatus>>,
            BTreeSet<Run>,
        )| async move {
            status.changed().await.ok()?;
            let containers = reader.containers(&status.borrow_and_update());
            let new: Vec<_> =
                containers.into_iter().filter(|one| run(one).is_some_and(|run| known.insert(run))).collect();
            Some((stream::iter(new), (reader, status, known)))
        };
        let reader = self.clone();
        let opened = stream::unfold((self, status, known), next).flatten().then(move |container| {
            let reader = reader.clone();
            async move {
                let since = container.running_since.max(since);
                let query = LogQuery { since, follow: true, ..LogQuery::default() };
                let opened = reader.open(&container, &query).await;
                opened.unwrap_or_else(|error| stream::iter([Err(error)]).boxed())
            }
        });
        opened.boxed()
    }
}

fn run(container: &ContainerStatus) -> Option<Run> {
    Some((container.id.clone(), container.running_since?))
}

/// An error has no time: it is told at once.
fn written_at(line: &Result<OriginLine, RuntimeError>) -> Option<Timestamp> {
    line.as_ref().ok().map(|told| told.line.at)
}
