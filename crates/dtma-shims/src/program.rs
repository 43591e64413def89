//! The shim's program: embedded here, and laid where containers can be given it.

use crate::error::OpenError;
use crate::key::hex;
use rustix::fs::StatVfsMountFlags;
use sha2::{Digest, Sha256};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The static program, built by `build.rs`.
static PROGRAM: &[u8] = include_bytes!(env!("DTMA_SHIM_PROGRAM"));
/// Its hash, which names the directory that it lies in.
pub(crate) const SHA256: &str = env!("DTMA_SHIM_SHA256");

/// Where all versions are.
pub(crate) fn root(state_dir: &Path) -> PathBuf {
    state_dir.join("shim")
}

/// Lays the program below the state directory, unless the very same lies there already, and says in which directory.
/// Not in the runtime directory: `/run` is mounted noexec by some distributions, Debian among them. Containers that
/// were made with another version keep theirs, see [`Versions`](crate::versions::Versions).
pub(crate) fn install(state_dir: &Path) -> Result<PathBuf, OpenError> {
    let dir = root(state_dir).join(SHA256);
    let failed = |source| OpenError::Directory { path: dir.clone(), source };
    fs::create_dir_all(&dir).map_err(failed)?;
    // Explicitly, whatever the umask: containers of all users are given this directory, and only this.
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).map_err(failed)?;
    let vfs = rustix::fs::statvfs(&dir).map_err(|error| failed(error.into()))?;
    if vfs.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(OpenError::NoExec { path: dir });
    }
    let file = dir.join("dtma-shim");
    let sound = fs::read(&file).is_ok_and(|bytes| hex(&Sha256::digest(bytes)) == SHA256);
    if !sound {
        write(&file).map_err(failed)?;
    }
    Ok(dir)
}

/// As a whole or not at all.
fn write(file: &Path) -> io::Result<()> {
    let unfinished = file.with_extension("new");
    let _ = fs::remove_file(&unfinished);
    let mut new = File::create_new(&unfinished)?;
    new.write_all(PROGRAM)?;
    new.set_permissions(Permissions::from_mode(0o555))?;
    new.sync_all()?;
    drop(new);
    fs::rename(unfinished, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_there_whole_whatever_lay_there_before() {
        // As systemd starts the daemon.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let state = tempfile::tempdir().unwrap();
        let dir = install(state.path()).unwrap();
        let file = dir.join("dtma-shim");
        assert_eq!(fs::read(&file).unwrap(), PROGRAM);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&file)), (0o755, 0o555));
        fs::remove_file(&file).unwrap();
        fs::write(&file, b"half").unwrap();
        install(state.path()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), PROGRAM);
    }

    #[test]
    fn it_is_small() {
        assert!(PROGRAM.len() < 1_500_000, "{} bytes", PROGRAM.len());
    }
}
