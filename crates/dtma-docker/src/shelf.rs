//! [`ImageShelf`] over the engine: what is there, who uses it, and taking it away without force.

use crate::DockerRuntime;
use crate::connect::Link;
use crate::errors::{Op, path_segment};
use crate::images::repository;
use crate::ledger::Ledger;
use crate::{raw, space};
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
use std::time::Duration;

/// How often a list is asked for that images vanish from, and the pause before the next time.
const MOST_LISTS: u32 = 10;
const BETWEEN_LISTS: Duration = Duration::from_millis(50);

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
        for name in in_the_way(image) {
            remove(&self.link, name.as_str()).await?;
        }
        // By its hash, so that another image that got the last name in between stays.
        remove(&self.link, image.id.as_str()).await
    }
}

/// Of several tags, and of several repositories, the engine wants all but one taken off first.
fn in_the_way(image: &ImageObservation) -> impl Iterator<Item = &ImageRef> {
    let left = image.tags.first().or(image.digests.first()).map(|name| repository(name.as_str()));
    let elsewhere = move |name: &&ImageRef| Some(repository(name.as_str())) != left;
    image.tags.iter().skip(1).chain(image.digests.iter().filter(elsewhere))
}

/// The images that are there.
pub(crate) async fn ids(link: &Link) -> Result<BTreeSet<ImageId>, RuntimeError> {
    Ok(ids_of(&images(link).await?))
}

fn ids_of(images: &[ImageSummary]) -> BTreeSet<ImageId> {
    images.iter().map(|image| ImageId::from(image.id.as_str())).collect()
}

/// Digests come unasked, and Podman (4.3, measured) says nothing at all where they are asked for. It reads an image after
/// the other, and refuses the whole list where one of them goes meanwhile: it is asked again then.
async fn images(link: &Link) -> Result<Vec<ImageSummary>, RuntimeError> {
    for _ in 1..MOST_LISTS {
        match list(link).await {
            Err(RuntimeError::Broken { problem, .. }) if problem.contains("image not known") => {
                tokio::time::sleep(BETWEEN_LISTS).await;
            }
            listed => return listed,
        }
    }
    list(link).await
}

async fn list(link: &Link) -> Result<Vec<ImageSummary>, RuntimeError> {
    let op = Op::new("list images", "engine", link.endpoint());
    let options = ListImagesOptionsBuilder::default().build();
    link.read(op, |docker| async move { docker.list_images(Some(options)).await }).await
}

/// Images that containers are made from, whoever's they are.
async fn used(link: &Link) -> Result<BTreeSet<String>, RuntimeError> {
    let op = Op::new("list containers", "engine", link.endpoint());
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let ask = |docker: bollard::Docker| async move { docker.list_containers(Some(options)).await };
    let listed = raw::read(link, op, "/containers/json?all=true", ask).await?;
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

/// Without force: the engine refuses what a container is made from. And nothing but this: what it was built from stays.
async fn remove(link: &Link, name: &str) -> Result<(), RuntimeError> {
    let op = Op::new("remove image", "image", name);
    let name = path_segment(op)?;
    let options = RemoveImageOptionsBuilder::default().noprune(true).build();
    let ask = |docker: bollard::Docker| async move { docker.remove_image(name, Some(options), None).await };
    match link.mutate(op, ask).await {
        Err(RuntimeError::NotFound { .. } | RuntimeError::ImageMissing { .. }) => Ok(()),
        removed => removed.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tags: &[&str], digests: &[&str], expected: &[&str]) {
        let names = |names: &[&str]| names.iter().map(|name| ImageRef::from(*name)).collect();
        let image = ImageObservation {
            id: "sha256:a".into(),
            tags: names(tags),
            digests: names(digests),
            size: 1,
            in_use: false,
            fetched_as: BTreeSet::new(),
        };
        assert_eq!(in_the_way(&image).map(ImageRef::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn names_are_taken_off_until_one_repository_with_one_tag_is_left() {
        check(&["a:1"], &["a@sha256:0"], &[]);
        check(&["a:1", "a:2"], &["a@sha256:0"], &["a:2"]);
        check(
            &["a:1", "r:5000/b:1"],
            &["a@sha256:0", "r:5000/b@sha256:0"],
            &["r:5000/b:1", "r:5000/b@sha256:0"],
        );
        check(&[], &["a@sha256:0", "b@sha256:0"], &["b@sha256:0"]);
    }
}
