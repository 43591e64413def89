//! The command line, as data.

use std::ffi::OsString;
use std::path::PathBuf;

/// What is printed when somebody asks.
pub(crate) const HELP: &str = "usage: dtma-shim [--socket PATH] [--] [PROGRAM [ARGUMENT...]]
Process 1 of a container of DTMA: starts PROGRAM when the daemon behind PATH says so, and looks after it.";

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run { socket: PathBuf, argv: Vec<OsString> },
    Version,
    Help,
}

/// Reads the arguments after the shim's own name.
pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Wish, String> {
    let mut args = args.into_iter().peekable();
    let mut socket = PathBuf::from(dtma_wire::SOCKET);
    while let Some(option) = args.next_if(|arg| arg.as_encoded_bytes().starts_with(b"-")) {
        match option.to_str() {
            Some("--") => break,
            Some("--version" | "-V") => return Ok(Wish::Version),
            Some("--help" | "-h") => return Ok(Wish::Help),
            Some("--socket") => socket = args.next().ok_or("--socket needs a path after it")?.into(),
            _ => return Err(format!("there is no option {}: see --help", option.display())),
        }
    }
    Ok(Wish::Run { socket, argv: args.collect() })
}

/// Reads the number by which the daemon knows this container: 32 hexadecimal digits.
pub(crate) fn nonce(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(words: &[&str]) -> Result<Wish, String> {
        read(words.iter().map(OsString::from))
    }

    #[test]
    fn options_end_where_the_program_begins() {
        let run = |socket: &str, argv: &[&str]| {
            Ok(Wish::Run { socket: socket.into(), argv: argv.iter().map(OsString::from).collect() })
        };
        assert_eq!(wish(&["--", "--version"]), run(dtma_wire::SOCKET, &["--version"]));
        assert_eq!(wish(&["cat", "--help"]), run(dtma_wire::SOCKET, &["cat", "--help"]));
        assert_eq!(wish(&["--socket", "/s", "--", "cat", "-n"]), run("/s", &["cat", "-n"]));
        assert_eq!(wish(&[]), run(dtma_wire::SOCKET, &[]));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(wish(&["--sock", "/s"]).unwrap_err().contains("--sock"));
        assert!(wish(&["--socket"]).unwrap_err().contains("needs a path"));
    }

    #[test]
    fn a_nonce_is_thirty_two_digits_and_nothing_else() {
        assert_eq!(nonce("000102030405060708090a0b0c0d0e0F").map(|bytes| bytes[15]), Some(15));
        for wrong in ["", "+00102030405060708090a0b0c0d0e0f", "00", "000102030405060708090a0b0c0d0e0f00"] {
            assert_eq!(nonce(wrong), None, "{wrong}");
        }
    }
}
