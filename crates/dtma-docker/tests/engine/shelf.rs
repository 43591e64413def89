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
        request.image_id = facts.expect("it was fetched").id;
        self.engine.create(&request).await
    }
    async fn leave(self) {
        self.engine.leave().await;
    }
}

dtma_testing::images_suite!(Shelf::new().await);
