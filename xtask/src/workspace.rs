//! Where things are: the repository, the work directory, and the lock that keeps two runs apart.
//!
//! The work directory holds what is dear to make (the engine's data, Node, unpacked packages). It lies
//! outside `target`, so that `cargo clean` does not cost minutes, and its path is short, because a unix
//! socket's path ends at 107 bytes and containerd adds 38 of its own to the engine's directory.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where cargo builds: two levels above this very program (`target/debug/xtask`).
pub(crate) fn target_dir() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    this.ancestors().nth(2).map(Path::to_path_buf).context("xtask does not run from a target directory")
}

/// The cargo that runs us.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// The work directory, made when absent: `DTMA_WORK_DIR`, else `/var/tmp/dtma` (for root) or
/// `/var/tmp/dtma-<uid>`.
pub(crate) fn work_dir() -> Result<PathBuf> {
    let dir = match std::env::var_os("DTMA_WORK_DIR") {
        Some(dir) => std::path::absolute(PathBuf::from(dir))?,
        None if is_root()? => PathBuf::from("/var/tmp/dtma"),
        None => PathBuf::from(format!("/var/tmp/dtma-{}", uid()?)),
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the work directory {}", dir.display()))?;
    refuse_a_strangers(&dir)?;
    Ok(dir)
}

/// A directory of `work_dir()`, made when absent.
pub(crate) fn work_subdir(name: &str) -> Result<PathBuf> {
    let dir = work_dir()?.join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// A directory of the work directory that `make` fills, once and for all.
///
/// It is renamed into place when complete, so that an interrupted `make` is not taken for a finished one.
pub(crate) fn made_once(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = work_subdir("tools")?.join(name);
    if dir.exists() {
        return Ok(dir);
    }
    let _alone = lock(name)?;
    let partial = work_subdir("tools")?.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    // Another run may have made it while this one waited.
    if !dir.exists() {
        fs::create_dir_all(&partial)?;
        make(&partial)?;
        fs::rename(&partial, &dir)?;
    }
    Ok(dir)
}

/// Everyone may write to `/var/tmp`: a directory another user laid there could hold anything.
fn refuse_a_strangers(dir: &Path) -> Result<()> {
    if fs::metadata(dir)?.uid() != uid()? {
        bail!("{} belongs to another user; set DTMA_WORK_DIR to a directory of yours", dir.display());
    }
    Ok(())
}

/// Whether this process may install packages and start an engine.
pub(crate) fn is_root() -> Result<bool> {
    Ok(uid()? == 0)
}

fn uid() -> Result<u32> {
    Ok(fs::metadata("/proc/self").context("/proc is not mounted")?.uid())
}

/// Holds the lock named `name` until dropped; says so when it has to wait for another run.
pub(crate) fn lock(name: &str) -> Result<File> {
    let path = work_dir()?.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("    waiting for another xtask ({})", path.display());
        file.lock()?;
    }
    Ok(file)
}

/// The program's path when one of that name is on `PATH` or among the system's own directories.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}
