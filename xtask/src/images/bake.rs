//! From a recipe to an image: a file tree is assembled, then built onto its base by the engine.
//!
//! The engine's classic builder is enough (`FROM scratch`, `COPY`, `RUN` without a network), and it needs
//! neither a registry nor root on this side.

use super::debian;
use super::recipe::{LABEL, Recipe, Source};
use crate::engine::Engine;
use crate::{node, pip, process, workspace};
use anyhow::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(15 * 60);

const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Where an image is put together.
struct Bench {
    dir: PathBuf,
}

pub(crate) fn bake(engine: &Engine, recipe: &Recipe) -> Result<()> {
    let bench = Bench::cleared(recipe)?;
    if recipe.base.is_none() {
        bench.skeleton()?;
    }
    for source in &recipe.sources {
        bench.lay(recipe, source)?;
    }
    if recipe.base.is_some() {
        debian::drop_merge_links(&bench.root())?;
    }
    fs::write(bench.dir.join("context/Dockerfile"), dockerfile(recipe))?;
    build(engine, recipe, &bench)?;
    fs::remove_dir_all(&bench.dir).context("cannot clear up after baking")
}

fn build(engine: &Engine, recipe: &Recipe, bench: &Bench) -> Result<()> {
    let mut command = engine.docker()?;
    command.args(["build", "--network", "none", "--force-rm", "--tag", &recipe.tag()]);
    command.arg("--label").arg(format!("{LABEL}={}", recipe.hash()?)).arg(bench.dir.join("context"));
    process::quiet(&format!("build {}", recipe.tag()), MINUTES, &mut command)
}

/// `/data` belongs to the server's user: an empty volume mounted there takes that over.
fn dockerfile(recipe: &Recipe) -> String {
    let (from, data) = match &recipe.base {
        None => ("scratch".to_owned(), "COPY --chown=65532:65532 data/ /data/"),
        Some(base) => (base.tag(), ""),
    };
    let (apps, setup) = (recipe.sources.iter().filter_map(app).collect::<String>(), recipe.setup);
    format!("FROM {from}\nUSER 0:0\nCOPY root/ /\n{data}\n{apps}{setup}\nUSER 65532:65532\n")
}

fn app(source: &Source) -> Option<String> {
    let Source::App(recipe, to) = source else { return None };
    Some(format!("COPY --from={} /app {to}\n", recipe.tag()))
}

impl Bench {
    fn cleared(recipe: &Recipe) -> Result<Self> {
        let dir = workspace::work_subdir("images")?.join(recipe.name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        let bench = Self { dir };
        fs::create_dir_all(bench.root())?;
        fs::create_dir_all(bench.dir.join("context/data"))?;
        Ok(bench)
    }

    fn root(&self) -> PathBuf {
        self.dir.join("context/root")
    }

    /// What every container needs whatever runs in it.
    fn skeleton(&self) -> Result<()> {
        for dir in ["etc", "run", "tmp"] {
            fs::create_dir_all(self.root().join(dir))?;
        }
        fs::set_permissions(self.root().join("tmp"), Permissions::from_mode(0o1777))?;
        fs::write(self.root().join("etc/passwd"), PASSWD)?;
        Ok(fs::write(self.root().join("etc/group"), GROUP)?)
    }

    fn lay(&self, recipe: &Recipe, source: &Source) -> Result<()> {
        match source {
            Source::Debian(packages) => {
                let below = recipe.base.as_ref().map(|base| base.debian()).unwrap_or_default();
                debian::unpack(packages, &below, &self.dir, &self.root())
            }
            Source::Node => self.put(&node::node22()?, "usr/bin/node"),
            Source::Npm(package) => node::npm_install(&self.root().join("app"), &[package]),
            Source::Pip(package) => {
                pip::install_for(&debian::python_version()?, package, &self.root().join("app"))
            }
            Source::Text(path, text) => Ok(fs::write(self.target(path)?, text)?),
            Source::File(from, to) => self.put(&workspace::root().join(from), to),
            // Copied by the engine, from image to image.
            Source::App(..) => Ok(()),
        }
    }

    fn put(&self, from: &Path, to: &str) -> Result<()> {
        fs::copy(from, self.target(to)?).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    fn target(&self, path: &str) -> Result<PathBuf> {
        let target = self.root().join(path);
        fs::create_dir_all(target.parent().unwrap_or(&target))?;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::catalogue;

    #[test]
    fn every_image_ends_as_the_unprivileged_user() {
        for recipe in catalogue::all() {
            assert!(dockerfile(&recipe).ends_with("\nUSER 65532:65532\n"), "{}", recipe.name);
        }
    }
}
