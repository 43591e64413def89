//! The demo's daemon: a process beside the engine, its state and its log in the work directory.
//!
//! It is a process group of its own and writes into files, so that it goes on when the demo ends with `--keep`. The
//! next demo ends it by the pid it left behind.

use crate::engine::Engine;
use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A daemon that runs.
pub(super) struct Daemon {
    child: Child,
    files: Files,
    program: PathBuf,
    token: String,
    url: String,
}

/// Its files in the work directory.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn pid(&self) -> PathBuf {
        self.dir.join("daemon.pid")
    }
    fn output(&self) -> PathBuf {
        self.dir.join("daemon.out")
    }
    fn log(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }
    fn token(&self) -> PathBuf {
        self.dir.join("token")
    }
    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }
}

impl Daemon {
    /// Starts it; one that an earlier `demo --keep` left running is ended first.
    pub(super) fn start(engine: &Engine, program: &Path) -> Result<Self> {
        let files = Files { dir: workspace::work_subdir("demo")? };
        end_an_earlier_one(&files)?;
        let token = random_token()?;
        keep_token(&files.token(), &token)?;
        let child = spawn(engine, program, &files, &token, "127.0.0.1:0")?;
        let mut daemon = Self { child, files, program: program.to_owned(), token, url: String::new() };
        daemon.await_listening()?;
        Ok(daemon)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.files.token()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.files.log()
    }

    /// Ends it as the kernel does, without warning.
    pub(super) fn kill9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it anew on the same state, at the same address.
    pub(super) fn start_again(&mut self, engine: &Engine) -> Result<()> {
        let address = self.url.trim_start_matches("http://").to_owned();
        self.child = spawn(engine, &self.program, &self.files, &self.token, &address)?;
        self.await_listening()
    }

    /// Asks it to end, and sees to it that it does.
    pub(super) fn end(&mut self) -> Result<()> {
        process::signal(self.pid(), "TERM");
        let deadline = Instant::now() + END;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.kill9()?;
                bail!("the daemon did not end after SIGTERM; its log is {}", self.files.log().display());
            }
            thread::sleep(PAUSE);
        }
        // Somebody may have cleaned the work directory meanwhile.
        let _ = fs::remove_file(self.files.pid());
        Ok(())
    }

    fn await_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let output = fs::read_to_string(self.files.output()).unwrap_or_default();
            let line = output.lines().find_map(|line| line.split("listening on ").nth(1));
            if let Some(url) = line {
                self.url = url.trim().to_owned();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}:\n{}", process::tail(&self.files.log()));
            }
            if Instant::now() > deadline {
                self.kill9()?;
                bail!("the daemon does not listen:\n{}", process::tail(&self.files.log()));
            }
            thread::sleep(PAUSE);
        }
    }
}

fn spawn(engine: &Engine, program: &Path, files: &Files, token: &str, address: &str) -> Result<Child> {
    let output = File::create(files.output())?;
    let log = File::options().create(true).append(true).open(files.log())?;
    let mut command = engine.beside(&program.to_string_lossy());
    command.args(["--listen", address, "--docker-host", &engine.docker_host]);
    command.arg("--state-dir").arg(files.state());
    command.env("DTMA_BEARER_TOKEN", token).env("DTMA_RATE_MUTATIONS", "off").process_group(0);
    command.stdin(Stdio::null()).stdout(output).stderr(log);
    let child = command.spawn().context("cannot run the daemon")?;
    fs::write(files.pid(), child.id().to_string())?;
    Ok(child)
}

/// Ends the daemon that an earlier demo left, if the pid is still one of ours.
fn end_an_earlier_one(files: &Files) -> Result<()> {
    let Ok(text) = fs::read_to_string(files.pid()) else { return Ok(()) };
    let Ok(pid) = text.trim().parse::<u32>() else { return Ok(()) };
    if !is_our_daemon(pid, &files.state()) {
        return Ok(());
    }
    eprintln!("    ending the daemon of an earlier demo (pid {pid})");
    process::signal(pid, "TERM");
    let deadline = Instant::now() + END;
    while is_our_daemon(pid, &files.state()) {
        if Instant::now() > deadline {
            bail!("the daemon of an earlier demo (pid {pid}) does not end");
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Pids are used again: only a process that was given our state directory is ours.
fn is_our_daemon(pid: u32, state: &Path) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let state = state.as_os_str().as_encoded_bytes();
    arguments.split(|byte| *byte == 0).any(|argument| argument == state)
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 24];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Readable by its owner alone from its first byte on.
fn keep_token(path: &Path, token: &str) -> Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, token.as_bytes())?;
    Ok(())
}
