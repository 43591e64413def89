//! What a server is begun with, in the words of the wire, and the tag by which its shim says later what that was.

use dtma_core::container::Launch;
use dtma_core::id::{ConfigHash, Generation};
use dtma_core::port::RuntimeError;
use dtma_wire::{Child, EnvChange, FromDaemon, MAX_FRAME, Mode, Spawn, WireError};

/// Arguments and changes of the environment.
pub(crate) fn said(launch: &Launch) -> (Vec<Vec<u8>>, Vec<EnvChange>) {
    let argv = launch.argv.iter().flatten().map(|word| word.as_bytes().to_vec()).collect();
    let change = |(name, value): (&String, &String)| EnvChange {
        name: name.as_bytes().to_vec(),
        value: Some(value.as_bytes().to_vec()),
    };
    (argv, launch.environment.iter().map(change).collect())
}

/// The generation and the hash of the configuration.
pub(crate) fn tag(launch: &Launch) -> String {
    format!("{} {}", launch.generation, launch.config_hash)
}

/// Reads a tag back; `None` for what no daemon of ours has written.
pub(crate) fn told(tag: &str) -> Option<(Generation, ConfigHash)> {
    let (generation, config) = tag.split_once(' ')?;
    Some((Generation(generation.parse().ok()?), ConfigHash::from(config)))
}

/// Refuses what a shim cannot be told.
pub(crate) fn fits(call: &'static str, launch: &Launch) -> Result<(), RuntimeError> {
    let (argv, environment) = said(launch);
    let spawn = Spawn { run: 1, mode: Mode::Log, argv, environment, linger: 0, tag: Some(tag(launch)) };
    let Err(WireError::Length(bytes)) = FromDaemon::Spawn(spawn).encode(&mut Vec::new()) else {
        return Ok(());
    };
    let problem = format!(
        "its environment and command come to {bytes} bytes, and a shim can be told {MAX_FRAME}: shorten them, or set \
         `shim: false`"
    );
    Err(RuntimeError::Refused { call, problem })
}

/// What runs is what is wanted, as far as its shim can tell.
pub(crate) fn is_begun(running: &Child, launch: &Launch) -> Result<(), RuntimeError> {
    match running.tag.as_ref().is_none_or(|told| *told == tag(launch)) {
        true => Ok(()),
        false => Err(RuntimeError::Conflict {
            call: "start container",
            problem: "a process of another configuration runs in it".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_back_and_nothing_else_is() {
        let launch = Launch { generation: Generation(7), config_hash: "abc".into(), ..Launch::default() };
        assert_eq!(told(&tag(&launch)), Some((Generation(7), "abc".into())));
        for strange in ["", "7", "x abc"] {
            assert_eq!(told(strange), None, "{strange:?}");
        }
    }

    #[test]
    fn what_no_frame_can_carry_is_known_before() {
        let with = |bytes: usize| {
            let environment = [("A".to_owned(), "x".repeat(bytes))].into();
            fits("start", &Launch { environment, ..Launch::default() })
        };
        assert_eq!(with(MAX_FRAME / 2), Ok(()));
        assert!(with(MAX_FRAME).unwrap_err().to_string().contains("shim: false"));
    }

    #[test]
    fn a_start_of_what_runs_is_fine_and_of_anything_else_is_not() {
        let launch = Launch { generation: Generation(2), config_hash: "h".into(), ..Launch::default() };
        let running = |tag: Option<&str>| Child { tag: tag.map(str::to_owned), ..Child::default() };
        assert_eq!(is_begun(&running(Some("2 h")), &launch), Ok(()));
        assert_eq!(is_begun(&running(None), &launch), Ok(()), "a shim of version 1 does not say");
        assert!(is_begun(&running(Some("1 g")), &launch).is_err_and(|error| error.is_transient()));
    }
}
