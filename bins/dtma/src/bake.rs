//! Images of packages: an npm or PyPI package, with the Node or Python of this machine, becomes an image that needs
//! neither a registry nor a network when it runs.
//!
//! The package is installed here (`npm`, `pip`), laid into a file tree with its interpreter and the libraries both
//! need, and given to the engine as one layer. A package with a version is baked once.

mod engine;
mod libraries;
mod npm;
mod process;
mod pypi;
mod tree;

pub(crate) use engine::Engine;

use crate::exit::Exit;
use crate::failure::Failure;
use std::path::Path;

/// From where a package comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registry {
    /// npm, as `npx` runs it.
    Npm,
    /// PyPI, as `uvx` runs it.
    PyPi,
}

/// `npx:PACKAGE[@VERSION]` or `uvx:PACKAGE[@VERSION]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) registry: Registry,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

/// What an image starts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    /// The version that was installed.
    version: String,
    entrypoint: Vec<String>,
    environment: Vec<String>,
}

impl Package {
    /// Reads one; nothing when the text names an image instead.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, Failure> {
        let (registry, rest) = match text.split_once(':') {
            Some(("npx" | "npm", rest)) => (Registry::Npm, rest),
            Some(("uvx" | "pip" | "pypi", rest)) => (Registry::PyPi, rest),
            Some(_) | None => return Ok(None),
        };
        // The first `@` of a scoped npm package belongs to its name.
        let at = rest.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(at, _)| at);
        let (name, version) = at.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
        let (name, version) = match rest.split_once("==") {
            Some((name, version)) if registry == Registry::PyPi => (name, Some(version)),
            Some(_) | None => (name, version),
        };
        let version = version.filter(|version| *version != "latest");
        if !is_name(name) || !version.is_none_or(is_version) {
            let failure = Failure::new(Exit::Usage, format!("{text} names no package"));
            return Err(
                failure.hint("npx:PACKAGE[@VERSION] or uvx:PACKAGE[@VERSION], such as uvx:mcp-server-time")
            );
        }
        Ok(Some(Self { registry, name: name.to_owned(), version: version.map(str::to_owned) }))
    }

    /// What its image is called: `dtma/npx-PACKAGE:VERSION`.
    pub(crate) fn image(&self, version: &str) -> String {
        let runner = match self.registry {
            Registry::Npm => "npx",
            Registry::PyPi => "uvx",
        };
        let tag: String = version.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        format!("dtma/{runner}-{}:{tag}", plain(&self.name))
    }

    /// What a server of it is called when nobody says: the last part of its name.
    pub(crate) fn server_name(&self) -> String {
        plain(self.name.rsplit('/').next().unwrap_or(&self.name)).replace("__", "-")
    }
}

/// Small letters, digits and single signs, as an image's name has them.
fn plain(name: &str) -> String {
    let name = name.trim_start_matches('@').to_ascii_lowercase();
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// What a registry takes for a name. No option and no path: it becomes an argument of `npm` and `pip`.
fn is_name(name: &str) -> bool {
    let scoped = name.strip_prefix('@').unwrap_or(name);
    let parts: Vec<&str> = scoped.split('/').collect();
    let begins = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric());
    let wanted = if name.starts_with('@') { 2 } else { 1 };
    parts.len() == wanted && parts.iter().all(|part| begins(part) && part.chars().all(is_plain))
}

fn is_version(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.chars().all(|c| is_plain(c) || c == '+')
}

/// The image of a package, baked when the engine does not have it yet. `tell` hears of each step.
pub(crate) async fn image(
    engine: &Engine,
    package: &Package,
    tell: &impl Fn(&str),
) -> Result<String, Failure> {
    if let Some(version) = &package.version {
        let image = package.image(version);
        if engine.has(&image).await? {
            tell(&format!("{image} is there already"));
            return Ok(image);
        }
    }
    let bench = tempfile::Builder::new().prefix("dtma-bake-").tempdir().map_err(|error| no_room(&error))?;
    let root = bench.path().join("root");
    tell(&format!("installing {}", package.name));
    let program = install(package, &root).await?;
    let image = package.image(&program.version);
    if engine.has(&image).await? {
        tell(&format!("{image} is there already"));
        return Ok(image);
    }
    tell(&format!("baking {image}"));
    let layer = bench.path().join("layer.tar");
    tree::pack(&root, &layer).map_err(|error| no_room(&error))?;
    engine.import(&layer, &image, &changes(package, &program)).await?;
    Ok(image)
}

async fn install(package: &Package, root: &Path) -> Result<Program, Failure> {
    tree::skeleton(root).map_err(|error| no_room(&error))?;
    match package.registry {
        Registry::Npm => npm::install(package, root).await,
        Registry::PyPi => pypi::install(package, root).await,
    }
}

fn changes(package: &Package, program: &Program) -> Vec<String> {
    let entrypoint = serde_json::json!(program.entrypoint);
    let mut changes = vec![
        format!("ENTRYPOINT {entrypoint}"),
        "USER 65532:65532".into(),
        "WORKDIR /app".into(),
        format!(
            "LABEL org.opencontainers.image.title={} org.opencontainers.image.version={}",
            package.name, program.version
        ),
        "ENV HOME=/tmp".into(),
        "ENV PATH=/usr/local/bin:/usr/bin".into(),
        format!("ENV LD_LIBRARY_PATH={}", libraries::FOREIGN),
    ];
    changes.extend(program.environment.iter().map(|variable| format!("ENV {variable}")));
    changes
}

fn no_room(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "the image cannot be put together")
        .cause(error.to_string())
        .hint("TMPDIR names another place for it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Package> {
        Package::read(text).unwrap_or_else(|failure| panic!("{text}: {failure:?}"))
    }

    #[test]
    fn packages_and_images_are_told_apart() {
        for (text, name, version, image) in [
            ("npx:cowsay", "cowsay", None, "dtma/npx-cowsay:9"),
            ("npx:cowsay@1.2.3", "cowsay", Some("1.2.3"), "dtma/npx-cowsay:9"),
            ("npx:@org/server-x", "@org/server-x", None, "dtma/npx-org-server-x:9"),
            ("npx:@org/server-x@2.0.0-rc.1", "@org/server-x", Some("2.0.0-rc.1"), "dtma/npx-org-server-x:9"),
            ("uvx:mcp-server-time@latest", "mcp-server-time", None, "dtma/uvx-mcp-server-time:9"),
            ("uvx:Mcp_Server==1.0", "Mcp_Server", Some("1.0"), "dtma/uvx-mcp_server:9"),
        ] {
            let package = read(text).unwrap();
            assert_eq!((package.name.as_str(), package.version.as_deref()), (name, version), "{text}");
            assert_eq!(package.image("9"), image);
        }
        assert_eq!(read("npx:@org/server-x").unwrap().server_name(), "server-x");
        assert_eq!(read("dtma/busybox:dev"), None);
        assert_eq!(read("localhost:5000/x"), None);
    }

    #[test]
    fn nothing_but_a_name_reaches_the_package_managers() {
        for bad in [
            "npx:",
            "npx:--registry=x",
            "npx:../x",
            "npx:a/b",
            "npx:@a",
            "uvx:a b",
            "uvx:x@;y",
            "npx:git+ssh://x",
        ] {
            assert!(Package::read(bad).is_err(), "{bad}");
        }
    }
}
