//! The directories that containers see, and the sockets in them.

use crate::error::OpenError;
use crate::key::{Key, Secret};
use dtma_core::id::OwnerId;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

const SOCKET: &str = "agent.sock";
/// Until its permissions are set, under a name that no shim dials.
const UNFINISHED: &str = "agent.new";

pub(crate) struct Places {
    containers: PathBuf,
    secret: Secret,
}

impl Places {
    /// Makes what is not there yet: a place of this owner below `c` of the runtime directory, which several daemons may
    /// share, and the secret in the state directory.
    pub(crate) fn open(runtime_dir: &Path, state_dir: &Path, owner: &OwnerId) -> Result<Self, OpenError> {
        let containers = runtime_dir.join("c").join(owner.as_str());
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Directory { path, source }
        };
        fs::create_dir_all(&containers).map_err(at(&containers))?;
        let file = state_dir.join("shim.key");
        let secret = secret(&file).map_err(at(&file))?;
        Ok(Self { containers, secret })
    }

    pub(crate) fn nonce(&self, key: &Key) -> [u8; 16] {
        self.secret.nonce(key)
    }

    /// What is mounted into the container. The path leads nowhere else, so nobody can be led to another's.
    pub(crate) fn dir(&self, key: &Key) -> PathBuf {
        self.containers.join(key.as_str())
    }

    /// Listens there, as the only one: whoever did before hears nothing more. A container that has the directory sees
    /// the new socket at once.
    pub(crate) fn listen(&self, key: &Key) -> io::Result<UnixListener> {
        let dir = self.dir(key);
        fs::create_dir_all(&dir)?;
        // Explicitly, whatever the umask: the container's user has to pass.
        fs::set_permissions(&dir, Permissions::from_mode(0o711))?;
        let handle =
            rustix::fs::open(&dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // A socket's path may have 107 bytes; this one is short wherever the directory is.
        let short = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        remove_file(&short.join(UNFINISHED))?;
        let listener = UnixListener::bind(short.join(UNFINISHED))?;
        // The shim runs as the container's user; the directory is mounted into that container only.
        fs::set_permissions(short.join(UNFINISHED), Permissions::from_mode(0o666))?;
        fs::rename(short.join(UNFINISHED), short.join(SOCKET))?;
        Ok(listener)
    }

    /// Whether a container can be given this directory still: somebody may have cleared it away, or it is after a boot.
    pub(crate) fn is_there(&self, key: &Key) -> bool {
        self.dir(key).join(SOCKET).exists()
    }

    /// Takes it away with its socket.
    pub(crate) fn remove(&self, key: &Key) -> io::Result<()> {
        match fs::remove_dir_all(self.dir(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Those that are there.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let entries = fs::read_dir(&self.containers).into_iter().flatten().flatten();
        entries.filter_map(|entry| Key::of_directory(entry.file_name().to_str()?)).collect()
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The installation's secret, made at the first start.
fn secret(file: &Path) -> io::Result<Secret> {
    let mut secret = [0; 32];
    if let Ok(mut known) = fs::File::open(file) {
        known.read_exact(&mut secret)?;
        return Ok(Secret(secret));
    }
    for half in secret.chunks_mut(16) {
        half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let unfinished = file.with_extension("new");
    remove_file(&unfinished)?;
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    new.write_all(&secret)?;
    new.sync_all()?;
    fs::rename(unfinished, file)?;
    Ok(Secret(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn whoever_listens_last_is_dialled_however_long_the_path() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120));
        let places = Places::open(&deep, root.path(), &"owner".into()).unwrap();
        let key = Key::of_directory("0123456789abcdef").unwrap();
        assert!(!places.is_there(&key));
        let old = places.listen(&key).unwrap();
        let new = places.listen(&key).unwrap();
        assert!(places.is_there(&key));
        let socket = places.dir(&key).join(SOCKET);
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
        let link = root.path().join("s");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        let dialled = tokio::join!(UnixStream::connect(&link), new.accept());
        assert!(dialled.0.is_ok() && dialled.1.is_ok());
        drop(old);
        assert_eq!(places.keys(), std::slice::from_ref(&key));
        places.remove(&key).unwrap();
        places.remove(&key).unwrap();
        assert!(places.keys().is_empty());
    }

    #[test]
    fn the_secret_survives_and_is_nobody_elses() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("shim.key");
        let first = secret(&file).unwrap().0;
        assert_eq!(secret(&file).unwrap().0, first);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
