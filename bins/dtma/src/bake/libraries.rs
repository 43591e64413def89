//! The shared libraries a program needs, found as the loader finds them.

use super::{process, tree};
use crate::failure::Failure;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Where libraries go that the loader would not find by itself.
pub(super) const FOREIGN: &str = "/usr/local/lib";
const REMEDY: &str = "ldd belongs to every Linux with glibc; elsewhere: dtma run IMAGE";

/// Copies what these files are linked with into `root`.
pub(super) async fn lay(linked: &[PathBuf], root: &Path) -> Result<(), Failure> {
    let mut needed = BTreeSet::new();
    for file in linked {
        // What is not an executable of this kind is linked with nothing.
        let Ok(said) = process::run(Command::new("ldd").arg(file), REMEDY).await else { continue };
        needed.extend(said.lines().filter_map(library));
    }
    for library in needed.iter().filter(|library| !library.starts_with(root)) {
        tree::copy(library, root, &place(library)).map_err(|error| super::no_room(&error))?;
    }
    Ok(())
}

/// `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)`, or the loader's own line, which has no arrow.
fn library(line: &str) -> Option<PathBuf> {
    let found = line.split_once("=>").map_or(line, |(_, found)| found).trim();
    let path = found.split(" (").next()?.trim();
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn place(library: &Path) -> String {
    let text = library.display().to_string();
    if ["/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"].iter().any(|dir| text.starts_with(dir)) {
        return text.trim_start_matches('/').to_owned();
    }
    let name = library.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}/{name}", FOREIGN.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_ldd_is_understood() {
        for (line, path) in [
            ("\tlinux-vdso.so.1 (0x00007f4d502dd000)", None),
            (
                "\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)",
                Some("/lib/x86_64-linux-gnu/libm.so.6"),
            ),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f4d)", Some("/lib64/ld-linux-x86-64.so.2")),
            ("\tlibx.so => not found", None),
            ("\tstatically linked", None),
        ] {
            assert_eq!(library(line), path.map(PathBuf::from), "{line}");
        }
        assert_eq!(place(Path::new("/lib64/ld.so")), "lib64/ld.so");
        assert_eq!(place(Path::new("/root/x/libpython.so")), "usr/local/lib/libpython.so");
    }
}
