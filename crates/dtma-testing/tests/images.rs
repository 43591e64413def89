//! The images' suite over the engine in memory.
#![expect(clippy::expect_used, reason = "a broken test should stop where it broke")]

use async_trait::async_trait;
use dtma_core::id::{ContainerId, ImageRef};
use dtma_core::port::ImageShelf;
use dtma_core::port::runtime::ContainerRuntime;
use dtma_core::spec::PullPolicy;
use dtma_testing::suite::images::ShelfHarness;
use dtma_testing::{FakeRuntime, FakeRuntimeRemote, sample};

struct InMemory {
    runtime: FakeRuntime,
    _remote: FakeRuntimeRemote,
}

fn in_memory() -> InMemory {
    let (runtime, remote) = FakeRuntime::new();
    remote.add_image("local");
    remote.add_image("registry/far:1");
    remote.only_in_registry("registry/far:1");
    remote.add_image("registry/brought:1");
    remote.also_in_registry("registry/brought:1");
    InMemory { runtime, _remote: remote }
}

#[async_trait]
impl ShelfHarness for InMemory {
    fn shelf(&self) -> &dyn ImageShelf {
        &self.runtime
    }
    fn runtime(&self) -> &dyn ContainerRuntime {
        &self.runtime
    }
    fn local(&self) -> ImageRef {
        "local".into()
    }
    fn fetchable(&self) -> ImageRef {
        "registry/far:1".into()
    }
    async fn brought(&self) -> ImageRef {
        "registry/brought:1".into()
    }
    async fn container(&self, image: &ImageRef) -> ContainerId {
        let facts =
            self.runtime.ensure_image(image, PullPolicy::Never, None, &|_| {}).await.expect("it is there");
        let config = sample::container_config(image.as_str());
        let slot = sample::slot("images", "a");
        let request = sample::create_container(&"owner".into(), &slot, config, &facts);
        self.runtime.create(&request).await.expect("create")
    }
    async fn leave(self) {}
}

dtma_testing::images_suite!(in_memory());
