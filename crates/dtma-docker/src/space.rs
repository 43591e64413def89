//! Whether there is room for a pull: a disk that is full on the engine's data root fails every create and exec, so it
//! is better not to fill it.

use crate::connect::Link;
use crate::errors::Op;
use dtma_core::image_gc::DiskUsage;
use dtma_core::port::runtime::RuntimeError;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Refuses when the engine's data root has less than `least` bytes free. An engine on another machine, or one whose
/// disk cannot be seen from here, is not asked: it will say itself when it has no space.
pub(crate) async fn check(link: &Link, op: Op<'_>, least: u64) -> Result<(), RuntimeError> {
    if least == 0 {
        return Ok(());
    }
    match usage(link, op).await? {
        Some((root, DiskUsage { free, .. })) if free < least => {
            Err(RuntimeError::OutOfSpace { problem: shortage(&root, free, least) })
        }
        Some(_) | None => Ok(()),
    }
}

/// The engine's data root and its disk, where it can be seen from here.
pub(crate) async fn usage(link: &Link, op: Op<'_>) -> Result<Option<(String, DiskUsage)>, RuntimeError> {
    if !link.is_local() {
        return Ok(None);
    }
    let info = link.read(op, |docker| async move { docker.info().await }).await?;
    let Some(root) = info.docker_root_dir else { return Ok(None) };
    Ok(disk(Path::new(&root)).map(|disk| (root, disk)))
}

fn shortage(root: &str, free: u64, least: u64) -> String {
    format!(
        "{root} has {} MiB free, and nothing is pulled below {} MiB: remove what is not needed there \
         (docker system df), or lower --pull-min-free-mb",
        free / MIB,
        least / MIB
    )
}

fn disk(path: &Path) -> Option<DiskUsage> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    // What is kept for root alone is neither free nor to be filled.
    let kept = disk.f_bfree.saturating_sub(disk.f_bavail);
    Some(DiskUsage { total: bytes(disk.f_blocks.saturating_sub(kept)), free: bytes(disk.f_bavail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_with_figures_and_a_disk_that_cannot_be_seen_is_none() {
        let text = shortage("/var/lib/docker", 100 * MIB + 1, 512 * MIB);
        assert!(
            text.starts_with("/var/lib/docker has 100 MiB free, and nothing is pulled below 512 MiB"),
            "{text}"
        );
        assert_eq!(disk(Path::new("/nowhere/at/all")), None);
        assert!(disk(Path::new("/")).is_some_and(|disk| disk.free < disk.total));
    }
}
