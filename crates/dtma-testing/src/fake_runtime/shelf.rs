//! The images of the engine in memory: what a pull brings, and the shelf they lie on.

use super::FakeRuntime;
use super::program::Program;
use super::script::Verb;
use super::world::{IMAGE_BYTES, World};
use async_trait::async_trait;
use dtma_core::container::ImageFacts;
use dtma_core::id::{ImageId, ImageRef};
use dtma_core::image_gc::{DiskUsage, ImageObservation};
use dtma_core::platform::Platform;
use dtma_core::port::ImageShelf;
use dtma_core::port::runtime::RuntimeError;
use dtma_core::spec::PullPolicy;
use std::sync::Arc;

pub(super) struct Image {
    pub(super) facts: ImageFacts,
    pub(super) program: Arc<dyn Program>,
    /// In the engine, or only in a registry.
    pub(super) local: bool,
    pub(super) in_registry: bool,
    /// It came from there.
    fetched: bool,
}

impl World {
    pub(super) fn add_image(&mut self, image: &ImageRef, facts: ImageFacts, program: Arc<dyn Program>) {
        let image_now = Image { facts, program, local: true, in_registry: false, fetched: false };
        self.images.insert(image.clone(), image_now);
    }

    /// The image's facts and whether it was pulled for them.
    pub(super) fn ensure_image(
        &mut self,
        image: &ImageRef,
        policy: PullPolicy,
        platform: Option<&Platform>,
    ) -> Result<(ImageFacts, bool), RuntimeError> {
        let absent =
            |problem: &str| RuntimeError::ImageMissing { image: image.clone(), problem: problem.to_owned() };
        if platform.is_some_and(|wanted| !wanted.takes("linux", "amd64", "")) {
            return Err(absent("it is for linux/amd64"));
        }
        let absent = absent("no such image");
        let Some(found) = self.images.get_mut(image) else { return Err(absent) };
        let pull = match policy {
            PullPolicy::Always => true,
            PullPolicy::Missing => !found.local,
            PullPolicy::Never => false,
        };
        let pulled = pull && found.in_registry;
        found.fetched |= pulled && !found.local;
        found.local |= pulled;
        let there = found.local && (!pull || found.in_registry);
        if there { Ok((found.facts.clone(), pull)) } else { Err(absent) }
    }
}

#[async_trait]
impl ImageShelf for FakeRuntime {
    async fn images(&self) -> Result<Vec<ImageObservation>, RuntimeError> {
        self.engine.call(Verb::Images, "", |world| Ok(shelf(world))).await
    }

    async fn disk(&self) -> Result<Option<DiskUsage>, RuntimeError> {
        self.engine.call(Verb::Disk, "", |world| Ok(world.disk)).await
    }

    async fn remove_image(&self, image: &ImageObservation) -> Result<(), RuntimeError> {
        self.engine.call(Verb::RemoveImage, image.id.as_str(), |world| remove(world, image)).await
    }
}

fn shelf(world: &World) -> Vec<ImageObservation> {
    let there = world.images.iter().filter(|(_, image)| image.local);
    there.map(|(name, image)| observation(world, name, image)).collect()
}

fn observation(world: &World, name: &ImageRef, image: &Image) -> ImageObservation {
    let id = image.facts.id.clone();
    let digest = image.in_registry.then(|| ImageRef::from(format!("{name}@{id}")));
    ImageObservation {
        in_use: in_use(world, &id),
        tags: vec![name.clone()],
        digests: digest.into_iter().collect(),
        size: IMAGE_BYTES,
        fetched_as: image.fetched.then(|| name.clone()).into_iter().collect(),
        id,
    }
}

fn in_use(world: &World, id: &ImageId) -> bool {
    world.containers.values().any(|container| container.request.image.id == *id)
}

/// What no registry has is gone for good.
fn remove(world: &mut World, image: &ImageObservation) -> Result<(), RuntimeError> {
    if in_use(world, &image.id) {
        let problem = "a container is made from it".to_owned();
        return Err(RuntimeError::Conflict { call: "remove image", problem });
    }
    for tag in &image.tags {
        if let Some(found) = world.images.get_mut(tag) {
            (found.local, found.fetched) = (false, false);
        }
    }
    world.images.retain(|_, image| image.local || image.in_registry);
    Ok(())
}
