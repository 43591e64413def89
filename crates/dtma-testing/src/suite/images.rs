//! What every [`ImageShelf`] does.

use async_trait::async_trait;
use dtma_core::id::{ContainerId, ImageRef};
use dtma_core::image_gc::ImageObservation;
use dtma_core::port::ImageShelf;
use dtma_core::port::runtime::{ContainerRuntime, RuntimeError};
use dtma_core::spec::PullPolicy;

/// A shelf, and images to find on it.
#[async_trait]
pub trait ShelfHarness: Send + Sync {
    /// The shelf.
    fn shelf(&self) -> &dyn ImageShelf;
    /// The engine it belongs to.
    fn runtime(&self) -> &dyn ContainerRuntime;
    /// An image of no registry, that is there.
    fn local(&self) -> ImageRef;
    /// An image of a registry, that is not there.
    fn fetchable(&self) -> ImageRef;
    /// An image of a registry, that somebody else fetched.
    async fn brought(&self) -> ImageRef;
    /// A container made from this image, that does not run.
    async fn container(&self, image: &ImageRef) -> ContainerId;
    /// Removes what was made.
    async fn leave(self);
}

/// Lists every case of [`suite::images`](crate::suite::images) as a `#[tokio::test]`. The argument is an expression
/// that makes a [`ShelfHarness`]; it may await.
#[macro_export]
macro_rules! images_suite {
    ($harness:expr) => {
        $crate::__cases! { images, $harness, ();
            what_was_fetched_is_told_from_what_was_there
            what_somebody_else_fetched_is_not_ours_by_another_pull
            an_image_that_was_removed_can_be_fetched_again
            an_image_that_a_container_is_made_from_stays
            the_disk_is_seen
        }
    };
}

async fn fetch(harness: &impl ShelfHarness) -> ImageRef {
    let image = harness.fetchable();
    let fetched = harness.runtime().ensure_image(&image, PullPolicy::Missing, None, &|_| {}).await;
    fetched.expect("a pull");
    image
}

async fn find(harness: &impl ShelfHarness, image: &ImageRef) -> Option<ImageObservation> {
    let seen = harness.shelf().images().await.expect("images");
    seen.into_iter().find(|seen| seen.tags.contains(image))
}

/// Used or not, it has the names that it is known by.
pub async fn what_was_fetched_is_told_from_what_was_there(harness: impl ShelfHarness) {
    let local = harness.local();
    let there = harness.runtime().ensure_image(&local, PullPolicy::Missing, None, &|_| {}).await;
    let seen = find(&harness, &local).await.expect("it is there");
    assert_eq!((seen.fetched_as, Ok(seen.id)), ([].into(), there.map(|facts| facts.id)));
    let image = fetch(&harness).await;
    let seen = find(&harness, &image).await.expect("it was fetched");
    assert_eq!((&seen.fetched_as, seen.in_use), (&[image].into(), false));
    assert!(!seen.digests.is_empty() && seen.size > 0, "{seen:?}");
    harness.shelf().remove_image(&seen).await.expect("remove_image");
    harness.leave().await;
}

/// Even where the pull was a real one, that found nothing new.
pub async fn what_somebody_else_fetched_is_not_ours_by_another_pull(harness: impl ShelfHarness) {
    let image = harness.brought().await;
    let pulled = harness.runtime().ensure_image(&image, PullPolicy::Always, None, &|_| {}).await;
    pulled.expect("a pull");
    let seen = find(&harness, &image).await.expect("it is there");
    assert_eq!(seen.fetched_as, [].into());
    harness.shelf().remove_image(&seen).await.expect("remove_image");
    harness.leave().await;
}

/// And is another one's no longer than it was there.
pub async fn an_image_that_was_removed_can_be_fetched_again(harness: impl ShelfHarness) {
    for _ in 0..2 {
        let image = fetch(&harness).await;
        let seen = find(&harness, &image).await.expect("it was fetched");
        harness.shelf().remove_image(&seen).await.expect("remove_image");
        assert_eq!(find(&harness, &image).await, None);
        // Whoever is told twice does it once.
        harness.shelf().remove_image(&seen).await.expect("remove_image again");
    }
    harness.leave().await;
}

/// Also when that never ran.
pub async fn an_image_that_a_container_is_made_from_stays(harness: impl ShelfHarness) {
    let image = fetch(&harness).await;
    let container = harness.container(&image).await;
    let seen = find(&harness, &image).await.expect("it was fetched");
    assert!(seen.in_use, "{seen:?}");
    let refused = harness.shelf().remove_image(&seen).await;
    assert!(matches!(refused, Err(RuntimeError::Conflict { .. })), "{refused:?}");
    harness.runtime().remove(&container).await.expect("remove");
    harness.shelf().remove_image(&seen).await.expect("remove_image");
    harness.leave().await;
}

/// There is more of it than is free.
pub async fn the_disk_is_seen(harness: impl ShelfHarness) {
    let disk = harness.shelf().disk().await.expect("disk").expect("it is on this machine");
    assert!(disk.total > 0 && disk.free <= disk.total, "{disk:?}");
    harness.leave().await;
}
