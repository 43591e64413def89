//! The example that embeds the manager runs, and leaves nothing behind.

use dtma_tests::{binaries, engine, program};
use std::process::Command;
use std::time::Duration;

#[test]
fn the_example_deploys_a_tool_and_takes_it_down() {
    engine::docker(&["version"]);
    let ended = program::run(&mut Command::new(binaries::example("embed")), Duration::from_secs(120));
    let said = ended.expect_success("the example");
    assert!(said.contains("web is ready"), "{said}");
    let group = said.split_whitespace().find(|word| word.starts_with("embedded-")).unwrap_or_default();
    assert!(said.contains(&format!("{group} is gone")), "{said}");
    assert_eq!(engine::remains(group, true), Vec::<String>::new());
}
