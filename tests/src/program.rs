//! Running a program to its end with a deadline, and what it said.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote on its standard output.
    pub stdout: String,
    /// What it wrote on its standard error.
    pub stderr: String,
}

impl Ended {
    /// Its standard output; panics with everything it said when it failed.
    #[must_use]
    pub fn expect_success(self, what: &str) -> String {
        assert!(self.status.success(), "{what}: {}\n{}\n{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// Its exit code; a program killed by a signal has none and panics.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("no exit code: {self:?}"))
    }
}

/// Runs a program to its end; kills it and panics after `patience`.
#[must_use]
pub fn run(command: &mut Command, patience: Duration) -> Ended {
    let name = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("kill");
            child.wait().expect("reap");
            panic!("{name}: not done after {patience:?}\n{}\n{}", collect(stdout), collect(stderr));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ended { status, stdout: collect(stdout), stderr: collect(stderr) }
}

/// The same, off the test's own thread.
pub async fn run_aside(mut command: Command, patience: Duration) -> Ended {
    tokio::task::spawn_blocking(move || run(&mut command, patience)).await.expect("the program's thread")
}

/// Where this machine's programs are.
#[must_use]
pub fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// A command with arguments, for one line.
#[must_use]
pub fn command(program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What could be read before the pipe broke is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn collect(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}
