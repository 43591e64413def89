//! Whether there is room for a pull: a disk that is full on the engine's data root fails every create and exec, so it
//! is better not to fill it.

use crate::connect::Link;
use crate::errors::Op;
use dtma_core::port::runtime::RuntimeError;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Refuses when the engine's data root has less than `least` bytes free. An engine on another machine, or one whose
/// disk cannot be seen from here, is not asked: it will say itself when it has no space.
pub(crate) async fn check(link: &Link, op: Op<'_>, least: u64) -> Result<(), RuntimeError> {
    if !link.is_local() || least == 0 {
        return Ok(());
    }
    let info = link.read(op, |docker| async move { docker.info().await }).await?;
    let Some(root) = info.docker_root_dir else { return Ok(()) };
    match free(Path::new(&root)) {
        Some(free) if free < least => Err(RuntimeError::OutOfSpace { problem: shortage(&root, free, least) }),
        Some(_) | None => Ok(()),
    }
}

fn shortage(root: &str, free: u64, least: u64) -> String {
    format!(
        "{root} has {} MiB free, and nothing is pulled below {} MiB: remove what is not needed there \
         (docker system df), or lower --pull-min-free-mb",
        free / MIB,
        least / MIB
    )
}

/// Bytes that are free there for everybody.
fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
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
        assert_eq!(free(Path::new("/nowhere/at/all")), None);
        assert!(free(Path::new("/")).is_some());
    }
}
