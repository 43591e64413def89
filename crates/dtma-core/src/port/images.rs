//! The images that the engine has, for whoever keeps its disk in order.

use super::runtime::RuntimeError;
use crate::image_gc::{DiskUsage, ImageObservation};
use async_trait::async_trait;

/// The engine's images.
#[async_trait]
pub trait ImageShelf: Send + Sync {
    /// Every image with a name or without, whoever made or fetched it. Which of them this installation fetched is
    /// remembered over restarts; where that is lost, it fetched none.
    async fn images(&self) -> Result<Vec<ImageObservation>, RuntimeError>;
    /// How full the disk is that they lie on; `None` when it cannot be seen from here.
    async fn disk(&self) -> Result<Option<DiskUsage>, RuntimeError>;
    /// Takes from an image the names it was seen with, and removes it. [`RuntimeError::Conflict`] when a container is
    /// made from it, or somebody gave it another name since.
    async fn remove_image(&self, image: &ImageObservation) -> Result<(), RuntimeError>;
}
