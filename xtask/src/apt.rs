//! Debian's packages: installed on the machine, or unpacked into a directory that becomes an image.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(15 * 60);

/// Installs packages with nothing that is merely recommended.
///
/// The package lists of a fresh machine are absent or stale: the first failure refreshes them.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !workspace::is_root()? {
        bail!("{} must be installed, and only root can: install it or run this as root", packages.join(", "));
    }
    let args = [&["install", "-y", "--no-install-recommends"], packages].concat();
    with_fresh_lists(&format!("install {}", packages.join(" ")), || apt_get(&args))
}

/// Downloads packages into `dir`.
pub(crate) fn download(packages: &[String], dir: &Path) -> Result<()> {
    with_fresh_lists(&format!("download {} Debian packages", packages.len()), || {
        let mut command = apt_get(&["download"]);
        command.args(packages).current_dir(dir);
        command
    })
}

/// Whether the package lists know a package of that name.
pub(crate) fn known(package: &str) -> bool {
    let mut command = Command::new("apt-cache");
    process::output(MINUTES, command.args(["show", "--no-all-versions", package]))
        .is_ok_and(|text| text.contains("Package: "))
}

/// Refreshes the package lists.
pub(crate) fn update() -> Result<()> {
    process::quiet("refresh the package lists", MINUTES, &mut apt_get(&["update"]))
}

/// Where this machine's Debian comes from: the address, and the release's name.
pub(crate) fn origin() -> Result<(String, String)> {
    let release = std::fs::read_to_string("/etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.context("/etc/os-release has no VERSION_CODENAME: this is no released Debian")?;
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Identifier: Packages"]);
    let listed = process::output(MINUTES, &mut targets)?;
    let wanted = format!(" {codename} main");
    let site = listed.lines().find_map(|line| line.strip_suffix(wanted.as_str()));
    let site = site.with_context(|| format!("apt has no source of {codename} main"))?;
    Ok((site.to_owned(), codename.to_owned()))
}

fn with_fresh_lists(label: &str, command: impl Fn() -> Command) -> Result<()> {
    if process::quiet(label, MINUTES, &mut command()).is_ok() {
        return Ok(());
    }
    eprintln!("    the package lists may be stale: refreshing them and trying once more");
    update()?;
    process::quiet(label, MINUTES, &mut command())
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work on a machine that has just booted.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]).args(args);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
