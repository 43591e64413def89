//! `docs/operating.md` as one script: every block in its order, with nothing substituted, for a machine that booted
//! systemd.

use crate::workspace;
use anyhow::Result;
use std::fs;

const DOCUMENT: &str = "docs/operating.md";
/// From this section on the package at hand is a newer one.
const NEWER: &str = "## Upgrade";

/// What must have been said when all was done.
pub(super) const SAID: &[&str] = &[
    "Active: active (running)",
    "Europe/Berlin",
    "the settings are sound",
    "1 to replace",
    "generation   3",
    "every record can be read",
];

/// The script. One shell runs it, so that what one block sets holds in the next, as on an operator's terminal.
pub(super) fn script() -> Result<String> {
    Ok(script_of(&fs::read_to_string(workspace::root().join(DOCUMENT))?))
}

fn script_of(document: &str) -> String {
    let mut script = format!(
        "set -eu -o pipefail\n\
         at_the_end() {{ [ $? = 0 ] || {{ journalctl -u dtma --no-pager -n 20; echo FAILED: {DOCUMENT}, line $at; }}; }}\n\
         trap 'at_the_end >&2' EXIT\n"
    );
    let mut runs = false;
    for (index, line) in document.lines().enumerate() {
        match line {
            NEWER => script.push_str("mv newer.deb dtma.deb\n"),
            "```sh run" | "```sh systemd" => {
                runs = true;
                script.push_str(&format!("at={}\n", index + 1));
            }
            "```" => runs = false,
            command if runs => script.push_str(&format!("{command}\n")),
            _ => {}
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_run_in_its_order_and_nothing_else() {
        let text =
            "# D\n\n```sh systemd\na\n```\n`no`\n```sh run\nb\n```\n## Upgrade\n```sh systemd\na\n```\n";
        let script = script_of(text);
        let commands: Vec<&str> = script.lines().skip(3).collect();
        assert_eq!(commands, ["at=3", "a", "at=7", "b", "mv newer.deb dtma.deb", "at=11", "a"]);
    }

    #[test]
    fn the_document_has_an_upgrade_and_blocks_of_both_kinds() {
        let document = fs::read_to_string(workspace::root().join(DOCUMENT)).unwrap();
        for line in [NEWER, "```sh run", "```sh systemd"] {
            assert!(document.lines().any(|found| found == line), "{line}");
        }
    }
}
