//! How a crate that builds on DTMA tests its own module without Docker: a night watch that stops, every evening, the
//! servers of a group which should not run at night.
//!
//! The module talks to [`ContainerRuntime`], the port behind which `dtma-docker` stands in production. Its tests put
//! something from `dtma-testing` there instead: a *fake* where behaviour matters (containers really run and stop), a
//! *mock* where a call must never happen.

use dtma_core::id::{ContainerId, GroupId, InstanceName, OwnerId};
use dtma_core::port::ContainerRuntime;
use dtma_core::port::runtime::{RuntimeError, Scope};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Between asking a server to end and killing it.
const GRACE: Duration = Duration::from_secs(10);

/// Stops what should not run at night.
pub struct NightWatch {
    runtime: Arc<dyn ContainerRuntime>,
    owner: OwnerId,
    awake: BTreeSet<InstanceName>,
}

/// What a round could not do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// The engine did not say what runs.
    #[error("cannot see what runs")]
    Look(#[source] RuntimeError),
    /// These servers still run; the others were seen to.
    #[error("{} servers could not be stopped", .0.len())]
    Stop(Vec<(InstanceName, RuntimeError)>),
}

impl NightWatch {
    /// Watches over the containers of `owner`; the servers in `awake` are let run.
    #[must_use]
    pub fn new(
        runtime: Arc<dyn ContainerRuntime>,
        owner: OwnerId,
        awake: impl IntoIterator<Item = InstanceName>,
    ) -> Self {
        Self { runtime, owner, awake: awake.into_iter().collect() }
    }

    /// One round: stops every running server of the group that is not to be awake. One that cannot be stopped keeps
    /// nobody else up. Returns how many were stopped.
    ///
    /// # Errors
    /// [`RoundError`].
    pub async fn round(&self, group: &GroupId) -> Result<usize, RoundError> {
        let sleepless = self.sleepless(group).await.map_err(RoundError::Look)?;
        let (mut stopped, mut failed) = (0, Vec::new());
        for (instance, container) in sleepless {
            match self.runtime.stop(&container, GRACE).await {
                // It went away by itself meanwhile: what was wanted.
                Ok(()) | Err(RuntimeError::NotFound { .. }) => stopped += 1,
                Err(error) => failed.push((instance, error)),
            }
        }
        if failed.is_empty() { Ok(stopped) } else { Err(RoundError::Stop(failed)) }
    }

    async fn sleepless(&self, group: &GroupId) -> Result<Vec<(InstanceName, ContainerId)>, RuntimeError> {
        let scope = Scope { owner: self.owner.clone(), group: Some(group.clone()) };
        let seen = self.runtime.containers(&scope).await?;
        let unwanted =
            seen.into_iter().filter(|seen| seen.is_live() && !self.awake.contains(&seen.slot.instance));
        Ok(unwanted.map(|seen| (seen.slot.instance, seen.id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtma_testing::fake_runtime::Verb;
    use dtma_testing::{FakeRuntime, FakeRuntimeRemote, MockContainerRuntime, sample};

    fn owner() -> OwnerId {
        "0a0b0c0d-0000-4000-8000-000000000001".into()
    }

    /// An engine in memory in which these servers of group `tools` run.
    async fn engine_with(servers: &[&str]) -> (Arc<FakeRuntime>, FakeRuntimeRemote) {
        let (runtime, remote) = FakeRuntime::new();
        let image = remote.add_image("tool:1");
        for server in servers {
            let slot = sample::slot("tools", server);
            let request =
                sample::create_container(&owner(), &slot, sample::container_config("tool:1"), &image);
            let id = runtime.create(&request).await.unwrap();
            runtime.start(&id, &sample::launch()).await.unwrap();
        }
        (Arc::new(runtime), remote)
    }

    fn is_running(remote: &FakeRuntimeRemote, server: &str) -> bool {
        remote.container(server).is_some_and(|seen| seen.is_live())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_to_be_awake_stays_awake() {
        let (runtime, remote) = engine_with(&["batch", "report", "alarm"]).await;
        let watch = NightWatch::new(runtime, owner(), [sample::instance("alarm")]);
        assert_eq!(watch.round(&sample::group("tools")).await, Ok(2));
        assert!(is_running(&remote, "alarm"));
        assert!(!is_running(&remote, "batch") && !is_running(&remote, "report"));
        assert_eq!(watch.round(&sample::group("tools")).await, Ok(0), "the second round finds nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_stopped_keeps_nobody_else_up() {
        let (runtime, remote) = engine_with(&["batch", "report"]).await;
        let hung = RuntimeError::Timeout { call: "stop", after: GRACE };
        remote.fail(Verb::Stop, 1, hung.clone());
        let watch = NightWatch::new(runtime, owner(), []);
        let Err(RoundError::Stop(failed)) = watch.round(&sample::group("tools")).await else {
            panic!("the failure was not reported");
        };
        let [(server, error)] = &failed[..] else { panic!("one server: {failed:?}") };
        assert_eq!(*error, hung);
        assert!(is_running(&remote, server.as_str()));
        let others = ["batch", "report"].into_iter().filter(|other| *other != server.as_str());
        assert!(others.into_iter().all(|other| !is_running(&remote, other)));
    }

    #[tokio::test]
    async fn while_the_engine_is_away_nothing_is_stopped() {
        let away = RuntimeError::EngineAway { endpoint: "unix:///x".into(), problem: "refused".into() };
        let mut runtime = MockContainerRuntime::new();
        let answer = away.clone();
        runtime.expect_containers().once().returning(move |_| Err(answer.clone()));
        runtime.expect_stop().never();
        runtime.expect_kill().never();
        let watch = NightWatch::new(Arc::new(runtime), owner(), []);
        assert_eq!(watch.round(&sample::group("tools")).await, Err(RoundError::Look(away)));
    }
}
