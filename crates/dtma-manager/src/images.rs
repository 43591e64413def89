//! Keeping the engine's disk in order: looks now and then which images nobody needs, and has those removed that the
//! policy gives up. What is there and needed is read anew before each removal; what may go is decided in
//! `dtma_core::image_gc`.

use crate::handle::ManagerHandle;
use crate::registry::Registry;
use dtma_core::id::ImageRef;
use dtma_core::image_gc::{Idle, ImageGc, ImageObservation, may_go};
use dtma_core::port::{ImageShelf, RuntimeError, StoreError};
use dtma_core::spec::GroupSpec;
use std::collections::BTreeSet;
use std::time::Duration;

/// As often as a kubelet, unless images may go sooner.
const LONGEST: Duration = Duration::from_secs(300);
const SHORTEST: Duration = Duration::from_secs(1);

/// Why it was not looked this time.
#[derive(Debug, thiserror::Error)]
enum Unsure {
    #[error(transparent)]
    Engine(#[from] RuntimeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a record of the state cannot be read, and so it is not known what groups need")]
    Damaged,
}

impl ManagerHandle {
    /// Removes images by this policy, for as long as it is polled. It may be dropped at any await.
    pub async fn keep_images(&self, images: &dyn ImageShelf, policy: ImageGc) {
        let (mut idle, mut told) = (Idle::default(), None);
        loop {
            let looked = collect(&self.registry, images, policy, &mut idle).await;
            let problem = looked.err().map(|problem| problem.to_string());
            if let Some(problem) = problem.as_ref().filter(|_| problem != told) {
                tracing::warn!(problem, "cannot tell which images nobody needs: they stay");
            }
            told = problem;
            tokio::time::sleep(policy.min_age.clamp(SHORTEST, LONGEST)).await;
        }
    }
}

async fn collect(
    registry: &Registry,
    images: &dyn ImageShelf,
    policy: ImageGc,
    idle: &mut Idle,
) -> Result<(), Unsure> {
    let seen = images.images().await?;
    let needed = needed(registry).await?;
    let now = (registry.backends.wall)();
    idle.note(&seen, &needed, now);
    let disk = images.disk().await?;
    for image in idle.overdue(&seen, policy, disk, now) {
        // While nobody is about to make a container: what he had made sure of must not go below him.
        let Ok(_alone) = registry.making.try_write() else {
            tracing::debug!("containers are being made: images are left for the next time");
            return Ok(());
        };
        if !remove(registry, images, image).await? {
            idle.put_off(&image.id, now);
        }
    }
    Ok(())
}

/// False when the engine holds on to it.
async fn remove(
    registry: &Registry,
    images: &dyn ImageShelf,
    image: &ImageObservation,
) -> Result<bool, Unsure> {
    // A name may have been given to another image since, and this one to a container.
    let seen = images.images().await?;
    let needed = needed(registry).await?;
    let Some(image) = seen.iter().find(|seen| seen.id == image.id && may_go(seen, &needed)) else {
        return Ok(true);
    };
    let names: Vec<&str> = image.tags.iter().chain(&image.digests).map(ImageRef::as_str).collect();
    // Before it is done: who is ended in the middle of it has said so.
    tracing::info!(image = %image.id, ?names, bytes = image.size, "removing an image that nobody needs");
    match images.remove_image(image).await {
        Ok(()) => Ok(true),
        Err(away @ RuntimeError::EngineAway { .. }) => Err(away.into()),
        Err(error) => {
            tracing::warn!(image = %image.id, ?names, %error, "could not remove an image");
            Ok(false)
        }
    }
}

/// What groups are made from, and what they may go back to: the present generation, the one that is being left, and every
/// one of the history.
async fn needed(registry: &Registry) -> Result<BTreeSet<ImageRef>, Unsure> {
    if registry.is_damaged() {
        return Err(Unsure::Damaged);
    }
    let mut needed = BTreeSet::new();
    let mut need = |spec: &GroupSpec| needed.extend(spec.servers.iter().map(|server| server.image.clone()));
    let mut groups = BTreeSet::new();
    registry.each_spec(|group, spec| {
        groups.insert(group.clone());
        need(spec);
    });
    for group in groups {
        let revisions = registry.backends.store.revisions(&group).await?;
        revisions.iter().for_each(|revision| need(&revision.spec));
    }
    Ok(needed)
}
