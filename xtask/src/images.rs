//! The images that tests and the demo run, baked on this machine because no image registry can be relied on.
//!
//! Each image has a recipe (`recipe.rs`), whose hash is the image's label: what is there is not baked again.
//! A freshly baked image is proved at once under the flags of a hardened container (`prove.rs`).

mod bake;
mod catalogue;
mod debian;
mod prove;
mod recipe;

use crate::engine::{self, Engine};
use crate::{process, workspace};
use anyhow::Result;
use recipe::Recipe;
use std::collections::HashSet;
use std::time::Duration;

const SECONDS: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Prove every image again, also those that were there
    #[arg(long)]
    prove: bool,
    /// Bake every image again
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let engine = engine::ensure()?;
    ensure_with(&engine, args)?;
    for recipe in catalogue::all() {
        println!("{}", recipe.tag());
    }
    Ok(())
}

/// Every image is on the engine and answers.
pub(crate) fn ensure(engine: &Engine) -> Result<()> {
    ensure_with(engine, &Args { prove: false, force: false })
}

fn ensure_with(engine: &Engine, args: &Args) -> Result<()> {
    let _alone = workspace::lock("images")?;
    let present = if args.force { HashSet::new() } else { present(engine)? };
    let recipes = catalogue::all();
    let (mut baked, mut kept) = (0, 0);
    for recipe in &recipes {
        let missing = !present.contains(&(recipe.tag(), recipe.hash()?));
        if missing {
            process::timed(&format!("bake {}", recipe.tag()), || bake::bake(engine, recipe))?;
        }
        if missing || args.prove {
            prove_one(engine, recipe)?;
        }
        *(if missing { &mut baked } else { &mut kept }) += 1;
    }
    eprintln!("    images: {baked} baked, {kept} there already");
    if baked > 0 { remove_replaced(engine) } else { Ok(()) }
}

/// An image that fails its proof must not be taken for baked the next time.
fn prove_one(engine: &Engine, recipe: &Recipe) -> Result<()> {
    let proved = prove::prove(engine, recipe);
    if proved.is_err() {
        process::succeeds(SECONDS, engine.docker()?.args(["image", "rm", "--force", &recipe.tag()]));
    }
    proved
}

/// The tags on the engine with the hash of the recipe each was made from.
fn present(engine: &Engine) -> Result<HashSet<(String, String)>> {
    let filter = format!("label={}", recipe::LABEL);
    let mut list = engine.docker()?;
    let ids =
        process::output(SECONDS, list.args(["image", "ls", "--quiet", "--no-trunc", "--filter", &filter]))?;
    if ids.trim().is_empty() {
        return Ok(HashSet::new());
    }
    let format = format!("{{{{index .Config.Labels {:?}}}}} {{{{json .RepoTags}}}}", recipe::LABEL);
    let mut inspect = engine.docker()?;
    inspect.args(["image", "inspect", "--format", &format]).args(ids.split_whitespace());
    process::output(SECONDS, &mut inspect)?.lines().map(tags_of).collect::<Result<Vec<_>>>().map(flatten)
}

/// `<hash> ["tag", ...]`
fn tags_of(line: &str) -> Result<Vec<(String, String)>> {
    let (hash, tags) = line.split_once(' ').unwrap_or((line, "[]"));
    let tags: Option<Vec<String>> = serde_json::from_str(tags)?;
    Ok(tags.unwrap_or_default().into_iter().map(|tag| (tag, hash.to_owned())).collect())
}

fn flatten(tags: Vec<Vec<(String, String)>>) -> HashSet<(String, String)> {
    tags.into_iter().flatten().collect()
}

/// A new bake leaves the old image without a name.
fn remove_replaced(engine: &Engine) -> Result<()> {
    let filter = format!("label={}", recipe::LABEL);
    process::output(SECONDS * 4, engine.docker()?.args(["image", "prune", "--force", "--filter", &filter]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_name_has_no_tags() {
        assert!(tags_of("abc []").unwrap().is_empty());
        assert!(tags_of("abc null").unwrap().is_empty());
        assert_eq!(tags_of("abc [\"a:dev\"]").unwrap(), [("a:dev".to_owned(), "abc".to_owned())]);
    }
}
