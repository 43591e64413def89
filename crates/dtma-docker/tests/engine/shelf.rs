//! The images' suite over the engine's own, with a registry on the loopback.

use crate::harness::{Harness, docker_host, runtime_at};
use crate::registry::Registry;
use async_trait::async_trait;
use dtma_core::id::{ContainerId, ImageRef};
use dtma_core::port::ImageShelf;
use dtma_core::port::runtime::ContainerRuntime;
use dtma_core::spec::PullPolicy;
use dtma_testing::suite::images::ShelfHarness;
use std::time::Duration;

struct Shelf {
    engine: Harness,
    registry: Registry,
}

impl Shelf {
    async fn new() -> Self {
        Self { engine: Harness::new().await, registry: Registry::with_layer_of(10, Duration::ZERO).await }
    }
}

#[async_trait]
impl ShelfHarness for Shelf {
    fn shelf(&self) -> &dyn ImageShelf {
        self.engine.engine()
    }
    fn runtime(&self) -> &dyn ContainerRuntime {
        self.engine.engine()
    }
    fn local(&self) -> ImageRef {
        self.engine.local_image()
    }
    fn fetchable(&self) -> ImageRef {
        format!("{}:1", self.registry.repository()).into()
    }
    async fn brought(&self) -> ImageRef {
        let image = self.fetchable();
        let somebody = runtime_at(docker_host(), &"somebody".into());
        let brought = somebody.ensure_image(&image, PullPolicy::Missing, None, &|_| {}).await;
        brought.expect("their pull");
        image
    }
    async fn container(&self, image: &ImageRef) -> ContainerId {
        let facts = self.runtime().ensure_image(image, PullPolicy::Never, None, &|_| {}).await;
        let mut request = self.engine.request("of-it", "true").await;
        request.image = facts.expect("it was fetched");
        self.engine.create(&request).await
    }
    async fn leave(self) {
        self.engine.leave().await;
    }
}

/// The engine wants all names but those of one repository taken off before; a digest is a name, too.
#[tokio::test]
async fn an_image_of_two_repositories_goes_with_all_its_names() {
    let harness = Shelf::new().await;
    let other = harness.registry.repository().replace("pulled", "other");
    let by_tag = harness.fetchable();
    for wanted in [&by_tag, &format!("{other}@{}", harness.registry.digest).into()] {
        harness.runtime().ensure_image(wanted, PullPolicy::Always, None, &|_| {}).await.expect("a pull");
    }
    let find = async || {
        let seen = harness.shelf().images().await.expect("images");
        seen.into_iter().find(|seen| seen.tags.contains(&by_tag))
    };
    let seen = find().await.expect("it was fetched");
    assert_eq!((seen.tags.len(), seen.digests.len(), seen.fetched_as.len()), (1, 2, 2), "{seen:?}");
    harness.shelf().remove_image(&seen).await.expect("remove_image");
    assert_eq!(find().await, None);
    harness.leave().await;
}

dtma_testing::images_suite!(Shelf::new().await);
