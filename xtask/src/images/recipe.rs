//! What an image is made of, as data, and the hash that tells whether a baked one is still the same.

use crate::workspace;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;

/// Carries the recipe's hash on the image.
pub(crate) const LABEL: &str = "io.dtma.recipe";
/// Raised when the code that bakes changes what comes out.
const GENERATION: u32 = 1;

/// One image.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The name after `dtma/` and before `:dev`.
    pub(crate) name: &'static str,
    /// The image it stands on; none for a base.
    pub(crate) base: Option<Box<Recipe>>,
    /// What is laid into its file tree, in this order.
    pub(crate) sources: Vec<Source>,
    /// Dockerfile lines that come after the files; they begin as root.
    pub(crate) setup: &'static str,
    /// What is asked of a fresh container.
    pub(crate) proof: Proof,
}

/// Where files come from. Debian's versions are the machine's own; the others are pinned.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Packages with everything they depend on, less what the base has.
    Debian(&'static [&'static str]),
    /// The node program, at `/usr/bin/node`.
    Node,
    /// An npm package, under `/app/node_modules`.
    Npm(&'static str),
    /// A PyPI package, in `/app`, for the base's Python.
    Pip(&'static str),
    /// A text of ours: path in the image, content.
    Text(&'static str, &'static str),
    /// A file of the repository: path in the repository, path in the image.
    File(&'static str, &'static str),
    /// What another image has in `/app`, at this path.
    App(Box<Recipe>, &'static str),
}

/// What a container of the image has to do to count as good.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// Not meant to be run by itself.
    Base,
    /// Ends with 0 when given this command.
    Exits(&'static [&'static str]),
    /// An MCP server on stdio that lists this tool.
    Lists(&'static str),
    /// A different MCP server on stdio for each environment variable, which lists the tool beside it.
    ListsWith(&'static [(&'static str, &'static str)]),
}

impl Recipe {
    pub(crate) fn tag(&self) -> String {
        format!("dtma/{}:dev", self.name)
    }

    /// All Debian packages asked for by this image or the one below it.
    pub(crate) fn debian(&self) -> Vec<&'static str> {
        let own = self.sources.iter().filter_map(|source| match source {
            Source::Debian(packages) => Some(packages.iter().copied()),
            Source::Node
            | Source::Npm(_)
            | Source::Pip(_)
            | Source::Text(..)
            | Source::File(..)
            | Source::App(..) => None,
        });
        own.flatten().collect()
    }

    /// Everything that decides the image's content: this recipe, its base, its files, the machine's Debian.
    pub(crate) fn hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(format!("{GENERATION} {} {self:?}\n", std::env::consts::ARCH));
        hash.update(crate::node::VERSION);
        hash.update(release());
        for source in self.sources.iter().chain(self.base.iter().flat_map(|base| &base.sources)) {
            if let Source::File(path, _) = source {
                hash.update(
                    fs::read(workspace::root().join(path)).with_context(|| format!("cannot read {path}"))?,
                );
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The machine's distribution, which decides the Debian packages; nothing is known of one without the file.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID=")).collect()
}

#[cfg(test)]
mod tests {
    use crate::images::catalogue;

    #[test]
    fn a_changed_recipe_or_base_changes_the_hash() {
        let recipe = catalogue::all().pop().unwrap();
        let mut other = recipe.clone();
        other.setup = "ENV X=1";
        assert_ne!(recipe.hash().unwrap(), other.hash().unwrap());
        assert_eq!(recipe.hash().unwrap(), recipe.clone().hash().unwrap());
        let mut rebased = recipe.clone();
        rebased.base = None;
        assert_ne!(recipe.hash().unwrap(), rebased.hash().unwrap());
    }
}
