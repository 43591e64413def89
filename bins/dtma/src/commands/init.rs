//! `init`: a group file to begin with, commented, and deployable as it is.

use crate::cli::{InitArgs, Starter};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::text::line;
use std::io::Write;
use std::path::Path;

/// What stands for the group's name in the files.
const NAME: &str = "GROUP";
/// The group's name when the folder has none that could be one.
const DEFAULT: &str = "demo";
/// The longest name from a folder; servers get it in front of theirs.
const LONGEST: usize = 40;

/// `dtma init`.
pub(super) fn init(output: &Output, args: &InitArgs) -> Result<(), Failure> {
    let group = args.name.clone().unwrap_or_else(|| folder().unwrap_or_else(|| DEFAULT.to_owned()));
    let file = args.file.display().to_string();
    let text = text(args.template, &group, &file);
    if args.file == Path::new("-") {
        return output.text(&text);
    }
    write(args, &text)?;
    output.remark(&format!("{} is written: dtma up -f {} deploys it", line(&file), line(&file)));
    Ok(())
}

fn text(starter: Starter, group: &str, file: &str) -> String {
    let text = match starter {
        Starter::Mcp => include_str!("init/mcp.yaml"),
        Starter::Tool => include_str!("init/tool.yaml"),
        Starter::Full => include_str!("init/full.yaml"),
    };
    text.replace(NAME, group).replace("FILE", file)
}

/// The present folder's name, as far as it can name a group.
fn folder() -> Option<String> {
    let folder = std::path::absolute(".").ok()?;
    Some(name_of(folder.file_name()?.to_str()?)).filter(|name| !name.is_empty())
}

fn name_of(folder: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = folder.to_ascii_lowercase().chars().map(kept).take(LONGEST).collect();
    name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

fn write(args: &InitArgs, text: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(&args.file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let name = args.file.display();
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return Failure::new(Exit::Conflict, format!("{name} is there already"))
                .hint("--force writes over it; dtma init OTHER.yaml writes another file");
        }
        Failure::new(Exit::Usage, format!("{name} cannot be written")).cause(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_a_name() {
        for (folder, name) in [("My Project", "my-project"), ("a__b", "a--b"), ("_x_", "x"), ("日本", "")] {
            assert_eq!(name_of(folder), name);
        }
    }

    #[test]
    fn every_starter_names_its_group_and_is_a_document() {
        for starter in [Starter::Mcp, Starter::Tool, Starter::Full] {
            let text = text(starter, "shop", "dtma.yaml");
            let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(value["groupId"], "shop");
            assert!(!text.contains(NAME) && !text.contains("FILE"), "{text}");
        }
    }
}
