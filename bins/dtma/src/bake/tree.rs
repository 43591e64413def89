//! File trees that become an image's only layer.

use std::fs::{self, File};
use std::io::{BufWriter, Result};
use std::path::{Path, PathBuf};

const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
/// Certificates of the authorities this machine trusts.
const TRUSTED: &str = "etc/ssl/certs/ca-certificates.crt";

/// What every container needs whatever runs in it.
pub(super) fn skeleton(root: &Path) -> Result<()> {
    for dir in ["app", "etc", "run", "tmp", "usr/bin"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    let trusted = Path::new("/").join(TRUSTED);
    if trusted.is_file() { copy(&trusted, root, TRUSTED) } else { Ok(()) }
}

/// Copies one file; a link becomes what it leads to.
pub(super) fn copy(from: &Path, root: &Path, to: &str) -> Result<()> {
    let to = root.join(to);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map(drop)
}

/// Copies a folder but for the entries of these names, at every depth.
pub(super) fn copy_all(from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if left_out.iter().any(|left_out| name == *left_out) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(kind) if kind.is_dir() => copy_all(&path, &to.join(name), left_out)?,
            Ok(kind) if kind.is_file() => fs::copy(&path, to.join(name)).map(drop)?,
            // Links that lead nowhere and sockets are no part of a program.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Every file whose name holds this.
pub(super) fn find(root: &Path, part: &str) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains(part) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Writes the tree as a tar file: root's, readable by everybody, without times.
pub(super) fn pack(root: &Path, to: &Path) -> Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(File::create(to)?));
    tar.mode(tar::HeaderMode::Deterministic);
    tar.follow_symlinks(false);
    tar.append_dir_all(".", root)?;
    tar.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_without_what_is_left_out_and_packed() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        for file in ["a.py", "sub/b.so.1", "test/c.py", "sub/test/d.py"] {
            fs::create_dir_all(from.join(file).parent().unwrap()).unwrap();
            fs::write(from.join(file), file).unwrap();
        }
        let to = dir.path().join("to");
        copy_all(&from, &to, &["test"]).unwrap();
        assert_eq!(find(&to, "").unwrap().len(), 2);
        assert_eq!(find(&to, ".so").unwrap(), [to.join("sub/b.so.1")]);
        pack(&to, &dir.path().join("x.tar")).unwrap();
        let mut packed = tar::Archive::new(File::open(dir.path().join("x.tar")).unwrap());
        let entries: Vec<PathBuf> =
            packed.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert!(entries.contains(&PathBuf::from("sub/b.so.1")), "{entries:?}");
    }
}
