//! Debian packages as the file tree of an image: what they depend on, unpacked and pruned.
//!
//! Maintainer scripts do not run; an image gets programs and libraries, no package manager.

use crate::{apt, process};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SECONDS: Duration = Duration::from_secs(120);

/// Depended on by name, not needed to run in a container: package management, perl for rarely used git
/// commands, git over the network.
const LEFT_OUT: &[&str] = &[
    "debconf",
    "dpkg",
    "git-man",
    "libcurl3-gnutls",
    "libcurl3t64-gnutls",
    "liberror-perl",
    "media-types",
    "mime-support",
    "perl",
    "tar",
];

/// Never read by a program in a container.
const PRUNED: &[&str] = &[
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/git-core/contrib",
    "usr/share/gitweb",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/pixmaps",
    "usr/share/applications",
    "var",
];

/// Merged `/usr`, as on any Debian of today; packages still name the old places.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Package name to the names it depends on.
type Graph = BTreeMap<String, Vec<String>>;

/// Unpacks `packages` with all they depend on, less what `below` brought already, into `root`.
pub(crate) fn unpack(packages: &[&str], below: &[&str], scratch: &Path, root: &Path) -> Result<()> {
    let there = closure(below)?;
    let wanted: Vec<String> = closure(packages)?.into_iter().filter(|name| !there.contains(name)).collect();
    let debs = scratch.join("debs");
    fs::create_dir_all(&debs)?;
    apt::download(&wanted, &debs)?;
    merge_usr(root)?;
    for deb in files(&debs)? {
        extract(&deb, root)?;
    }
    prune(root)
}

/// The version of the Python that Debian would unpack, as `3.11`.
pub(crate) fn python_version() -> Result<String> {
    let names = closure(&["python3-minimal"])?;
    versioned(&names).map(str::to_owned).context("no python3.X-minimal is known here")
}

/// Of `python3-minimal` and `python3.11-minimal` the second names the version.
fn versioned(names: &BTreeSet<String>) -> Option<&str> {
    let mut versions = names.iter().filter_map(|name| name.strip_prefix("python")?.strip_suffix("-minimal"));
    versions.find(|version| version.contains('.'))
}

/// The packages and everything they depend on, less what is left out.
fn closure(packages: &[&str]) -> Result<BTreeSet<String>> {
    if packages.is_empty() {
        return Ok(BTreeSet::new());
    }
    let text = depends(packages).or_else(|_| apt::update().and_then(|()| depends(packages)))?;
    Ok(reach(&parse(&text), packages))
}

fn depends(packages: &[&str]) -> Result<String> {
    let mut command = Command::new("apt-cache");
    command.args([
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
    ]);
    command.args(["--no-replaces", "--no-enhances"]).args(packages).env("LC_ALL", "C");
    process::output(SECONDS, &mut command)
}

/// `apt-cache depends`: a package at the margin, its dependencies below it; `|` joins one with the next as
/// alternatives, of which the first is taken.
fn parse(text: &str) -> Graph {
    let mut graph = Graph::new();
    let (mut package, mut alternative) = (String::new(), false);
    for line in text.lines() {
        let Some((head, name)) = line.split_once("Depends: ") else {
            if !line.starts_with(' ') {
                package = line.trim().to_owned();
                graph.entry(package.clone()).or_default();
            }
            continue;
        };
        if !alternative && !name.starts_with('<') {
            graph.entry(package.clone()).or_default().push(name.trim().to_owned());
        }
        alternative = head.starts_with(" |");
    }
    graph
}

fn reach(graph: &Graph, packages: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = packages.to_vec();
    while let Some(name) = open.pop() {
        if !LEFT_OUT.contains(&name) && found.insert(name.to_owned()) {
            open.extend(graph.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

fn merge_usr(root: &Path) -> Result<()> {
    for name in MERGED {
        fs::create_dir_all(root.join("usr").join(name))?;
        if !root.join(name).exists() {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
        }
    }
    Ok(())
}

/// A layer must not lay these links over the base's.
pub(crate) fn drop_merge_links(root: &Path) -> Result<()> {
    for name in MERGED {
        let path = root.join(name);
        if path.is_symlink() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Not `dpkg-deb -x`: that replaces the links of a merged `/usr` by directories.
fn extract(deb: &Path, root: &Path) -> Result<()> {
    let script = "dpkg-deb --fsys-tarfile \"$0\" | tar -x --keep-directory-symlink -C \"$1\"";
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script]).args([deb, root]);
    process::output(SECONDS, &mut command).map(drop)
}

fn prune(root: &Path) -> Result<()> {
    let gconv = files(&root.join("usr/lib"))?.into_iter().map(|dir| dir.join("gconv"));
    let pruned = PRUNED.iter().map(|path| root.join(path)).chain(gconv);
    for path in pruned.filter(|path| path.is_dir()) {
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    Ok(entries.collect::<std::io::Result<Vec<_>>>()?.into_iter().map(|entry| entry.path()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "python3\n  PreDepends: libc6\n |Depends: media-types\n  Depends: mime-support\n  \
        Depends: zlib1g\n  Depends: <virtual>\nlibc6\n  Depends: libgcc-s1\nzlib1g\n  Depends: libc6\n";

    #[test]
    fn of_alternatives_the_first_is_taken_and_virtual_packages_are_skipped() {
        assert_eq!(parse(TEXT)["python3"], ["libc6", "media-types", "zlib1g"]);
    }

    #[test]
    fn the_python_version_is_read_from_the_versioned_package() {
        let names = ["libpython3.11-minimal", "python3-minimal", "python3.11-minimal"].map(str::to_owned);
        assert_eq!(versioned(&BTreeSet::from(names)), Some("3.11"));
    }

    #[test]
    fn what_is_left_out_is_not_followed() {
        let names: Vec<String> = reach(&parse(TEXT), &["python3"]).into_iter().collect();
        assert_eq!(names, ["libc6", "libgcc-s1", "python3", "zlib1g"]);
    }
}
