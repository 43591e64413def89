//! [`ImageShelf`] over the engine: what is there, who uses it, and taking it away without force.

use crate::DockerRuntime;
use crate::connect::Link;
use crate::errors::{Op, path_segment};
use crate::ledger::Ledger;
use crate::raw::unless_stumbled;
use crate::space;
use async_trait::async_trait;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use dtma_core::id::{ImageId, ImageRef};
use dtma_core::image_gc::{DiskUsage, ImageObservation};
use dtma_core::port::ImageShelf;
use dtma_core::port::runtime::RuntimeError;
use std::collections::BTreeSet;

#[async_trait]
impl ImageShelf for DockerRuntime {
    async fn images(&self) -> Result<Vec<ImageObservation>, RuntimeError> {
        let known = self.ledger.ids();
        // Who uses them is asked last: a container that is made in between is seen.
        let (found, used) = (images(&self.link).await?, used(&self.link).await?);
        self.ledger.forget(known.difference(&ids_of(&found))).await;
        Ok(found.into_iter().map(|image| observation(image, &used, &self.ledger)).collect())
    }

    async fn disk(&self) -> Result<Option<DiskUsage>, RuntimeError> {
        let op = Op::new("look at the disk", "engine", self.link.endpoint());
        Ok(space::usage(&self.link, op).await?.map(|(_, usage)| usage))
    }

    async fn remove_image(&self, image: &ImageObservation) -> Result<(), RuntimeError> {
        // Of several names the engine wants all but one taken off first.
        for tag in image.tags.iter().skip(1) {
            remove(&self.link, tag.as_str()).await?;
        }
        // By its hash, so that another image that got the last name in between stays.
        remove(&self.link, image.id.as_str()).await
    }
}

/// The images that are there.
pub(crate) async fn ids(link: &Link) -> Result<BTreeSet<ImageId>, RuntimeError> {
    Ok(ids_of(&images(link).await?))
}

fn ids_of(images: &[ImageSummary]) -> BTreeSet<ImageId> {
    images.iter().map(|image| ImageId::from(image.id.as_str())).collect()
}

async fn images(link: &Link) -> Result<Vec<ImageSummary>, RuntimeError> {
    let op = Op::new("list images", "engine", link.endpoint());
    let options = ListImagesOptionsBuilder::default().digests(true).build();
    link.read(op, |docker| async move { docker.list_images(Some(options)).await }).await
}

/// Images that containers are made from, whoever's they are.
async fn used(link: &Link) -> Result<BTreeSet<String>, RuntimeError> {
    let op = Op::new("list containers", "engine", link.endpoint());
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let ask = |docker: bollard::Docker| async move { docker.list_containers(Some(options)).await };
    let listed = unless_stumbled(link, op, "/containers/json?all=true", link.read(op, ask).await).await?;
    Ok(listed.into_iter().filter_map(|container| Some(bare(&container.image_id?).to_owned())).collect())
}

/// Podman leaves the kind of hash out in some places.
fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

fn observation(image: ImageSummary, used: &BTreeSet<String>, ledger: &Ledger) -> ImageObservation {
    let named = |names: Vec<String>| {
        let real = names.into_iter().filter(|name| !name.contains("<none>"));
        real.map(ImageRef::from).collect::<Vec<_>>()
    };
    let id = ImageId::from(image.id.as_str());
    ImageObservation {
        in_use: used.contains(bare(id.as_str())),
        fetched_as: ledger.fetched_as(&id),
        tags: named(image.repo_tags),
        digests: named(image.repo_digests),
        size: u64::try_from(image.size).unwrap_or(0),
        id,
    }
}

/// Without force: the engine refuses what a container is made from.
async fn remove(link: &Link, name: &str) -> Result<(), RuntimeError> {
    let op = Op::new("remove image", "image", name);
    let name = path_segment(op)?;
    let options = RemoveImageOptionsBuilder::default().build();
    let ask = |docker: bollard::Docker| async move { docker.remove_image(name, Some(options), None).await };
    match link.mutate(op, ask).await {
        Err(RuntimeError::NotFound { .. } | RuntimeError::ImageMissing { .. }) => Ok(()),
        removed => removed.map(drop),
    }
}
