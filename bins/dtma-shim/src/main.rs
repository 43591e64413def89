//! Process 1 of a container: it starts the server when the daemon says so, looks after it and all that it leaves
//! behind, and carries what it says. `dtma-wire` has the words and the state of the streams; here are the hands.
//!
//! One thread, one `poll`, no runtime. Whatever a server does, the memory used has a bound and nothing is left of it.

mod args;
mod child;
mod clock;
mod dial;
mod link;
mod obey;
mod oom;
mod outbox;
mod round;
mod run;
mod shim;
mod signals;
mod sockets;
mod stop;
mod streams;
mod tree;

use args::Wish;
use dial::Dial;
use nix::sys::prctl;
use shim::Shim;
use signals::Signals;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tree::Tree;

/// For a command line or an environment that cannot be used.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match args::read(std::env::args_os().skip(1)) {
        Ok(Wish::Help) => print(args::HELP),
        Ok(Wish::Version) => print(concat!("dtma-shim ", env!("CARGO_PKG_VERSION"))),
        Ok(Wish::Run { socket, argv }) => run(socket, argv),
        Err(text) => refuse(&text),
    }
}

fn run(socket: PathBuf, argv: Vec<OsString>) -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "read once, in main")]
    let nonce = std::env::var(dtma_wire::NONCE_VARIABLE).ok().and_then(|text| args::nonce(&text));
    let Some(nonce) = nonce else {
        return refuse("DTMA_SHIM must be 32 hexadecimal digits: only the daemon starts this program");
    };
    match prepare() {
        Ok(signals) => Shim::new(argv, nonce, signals, Dial::new(socket, clock::now())).run().into(),
        Err(error) => refuse(&format!("cannot begin: {error}")),
    }
}

/// Nobody looks into this process: what it knows is not the server's.
fn prepare() -> io::Result<Signals> {
    prctl::set_dumpable(false)?;
    if Tree::ours() == Tree::Children {
        prctl::set_child_subreaper(true)?;
    }
    Signals::catch()
}

fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(text: &str) -> ExitCode {
    say(text);
    USAGE.into()
}

/// For whoever reads the container's own log; nobody has to.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "dtma-shim: {text}"));
}
