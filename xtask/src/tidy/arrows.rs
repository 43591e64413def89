//! Who may import whom: the table of `docs/ARCHITECTURE.md`, held against `cargo metadata`.
//!
//! A dev-dependency may point at any library of ours (tests stand outside the house), except where the table
//! forbids the sight of a crate altogether.

use super::Complaint;
use crate::process;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A package and the packages of ours it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("dtma-core", &[]),
    ("dtma-wire", &[]),
    ("dtma-sse", &[]),
    ("dtma-config", &["dtma-core"]),
    ("dtma-docker", &["dtma-core", "dtma-config"]),
    ("dtma-health", &["dtma-core", "dtma-config"]),
    ("dtma-credentials", &["dtma-core", "dtma-config"]),
    ("dtma-mcp", &["dtma-core", "dtma-config", "dtma-sse"]),
    ("dtma-egress", &["dtma-core"]),
    ("dtma-store", &["dtma-core", "dtma-config"]),
    ("dtma-manager", &["dtma-core", "dtma-config", "dtma-health", "dtma-credentials", "dtma-mcp"]),
    ("dtma-api-types", &[]),
    (
        "dtma-api",
        &[
            "dtma-manager",
            "dtma-core",
            "dtma-config",
            "dtma-api-types",
            "dtma-health",
            "dtma-credentials",
            "dtma-mcp",
        ],
    ),
    ("dtma-client", &["dtma-api-types", "dtma-sse"]),
    ("dtma-control", &["dtma-client", "dtma-api-types", "dtma-core"]),
    ("dtma-testing", &["dtma-core"]),
    ("dtma", &["dtma-client", "dtma-api-types", "dtma-core", "dtma-config"]),
    ("dtma-shim", &["dtma-wire"]),
    ("dtma-shims", &["dtma-core", "dtma-wire"]),
    ("xtask", &[]),
];

/// Packages that compose or test the others and may see all libraries.
const MAY_SEE_ALL: &[&str] = &["dtma-daemon", "dtma-tests", "dtma-bench", "dtma-fuzz", "downstream-example"];

/// Never, not even in a test: the command line must not be able to do what only the daemon may.
const NEVER: &[(&str, &str)] = &[("dtma", "dtma-manager")];

/// Nobody depends on these.
const NOT_LIBRARIES: &[&str] = &["xtask", "dtma-tests", "dtma-bench", "dtma-fuzz", "downstream-example"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    /// Only what is in this workspace has one.
    path: Option<PathBuf>,
}

pub(crate) fn check(root: &Path) -> Result<Vec<Complaint>> {
    let packages = metadata(root)?.packages;
    Ok(packages.iter().flat_map(|package| complaints(package, root)).collect())
}

fn metadata(root: &Path) -> Result<Metadata> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--format-version=1", "--no-deps"]).current_dir(root);
    let text = process::output(Duration::from_secs(120), &mut command)?;
    serde_json::from_str(&text).context("cargo metadata printed something unexpected")
}

fn complaints(package: &Package, root: &Path) -> Vec<Complaint> {
    let file = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path);
    let manifest = fs::read_to_string(&package.manifest_path).unwrap_or_default();
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    let verdicts = ours.filter_map(|dependency| {
        let text = verdict(&package.name, &dependency.name, dependency.kind.as_deref())?;
        Some(Complaint::new(file, line_of(&manifest, &dependency.name), text))
    });
    unlisted(&package.name).map(|text| Complaint::new(file, 1, text)).into_iter().chain(verdicts).collect()
}

fn unlisted(package: &str) -> Option<String> {
    let listed = MAY_SEE_ALL.contains(&package) || ARROWS.iter().any(|(name, _)| *name == package);
    (!listed).then(|| {
        format!("{package} has no row in xtask's table of arrows: add one, and one in ARCHITECTURE.md")
    })
}

/// What is wrong with this arrow, if anything.
fn verdict(from: &str, to: &str, kind: Option<&str>) -> Option<String> {
    if NEVER.contains(&(from, to)) {
        return Some(format!("{from} must never see {to}, not even in a test: ask the daemon instead"));
    }
    if NOT_LIBRARIES.contains(&to) {
        return Some(format!("{from} depends on {to}, which is nobody's library: move what is shared"));
    }
    if kind == Some("dev") || MAY_SEE_ALL.contains(&from) {
        return None;
    }
    let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == from)?;
    let list = if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") };
    (!allowed.contains(&to))
        .then(|| format!("{from} may depend on {list}, not on {to}: turn the arrow round"))
}

/// The line that names the dependency, or the first.
fn line_of(manifest: &str, dependency: &str) -> usize {
    let names =
        |line: &str| line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    manifest.lines().position(names).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_outside_the_table_is_refused_and_one_inside_is_not() {
        assert!(verdict("dtma-core", "dtma-docker", None).unwrap().contains("none of ours"));
        assert!(verdict("dtma-manager", "dtma-docker", Some("build")).is_some());
        assert_eq!(verdict("dtma-manager", "dtma-core", None), None);
    }

    #[test]
    fn tests_may_look_further_but_not_everywhere() {
        assert_eq!(verdict("dtma-core", "dtma-testing", Some("dev")), None);
        assert!(verdict("dtma", "dtma-manager", Some("dev")).is_some());
        assert!(verdict("dtma-core", "xtask", Some("dev")).is_some());
    }

    #[test]
    fn every_arrow_points_at_a_crate_of_the_table_and_none_closes_a_circle() {
        for (from, allowed) in ARROWS {
            for to in *allowed {
                let (_, back) = ARROWS.iter().find(|(name, _)| name == to).unwrap();
                assert!(!back.contains(from), "{from} and {to} see each other");
            }
        }
    }

    #[test]
    fn the_complaint_names_the_line_of_the_dependency() {
        assert_eq!(line_of("[dependencies]\ndtma-core-x = 1\ndtma-core.workspace = true\n", "dtma-core"), 3);
    }
}
