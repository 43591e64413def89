//! Running other programs: each with a label, a deadline, a duration printed, and never a hang.
//!
//! Nothing reads the terminal: standard input is closed, so that a program that would ask fails instead
//! of waiting for an answer nobody gives.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a quiet step says that it is still alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How many lines of a failed step's output are shown.
const TAIL: usize = 40;

/// Runs `work` between a line that names it and a line that says how long it took.
pub(crate) fn timed<T>(label: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {label}");
    let began = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    eprintln!("    {verdict}: {label} ({:.1} s)", began.elapsed().as_secs_f64());
    result
}

/// Runs a program with its output in a log file; the end of it is shown when the program fails.
pub(crate) fn quiet(label: &str, deadline: Duration, command: &mut Command) -> Result<()> {
    kept(label, deadline, command).map(drop)
}

/// Like [`quiet`], and returns the output, errors included.
pub(crate) fn kept(label: &str, deadline: Duration, command: &mut Command) -> Result<String> {
    timed(label, || {
        let log = workspace::work_subdir("logs")?.join(format!("{}.log", slug(label)));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        let status = wait(spawn(command)?, label, deadline, true)?;
        report(status, label, &log)?;
        Ok(String::from_utf8_lossy(&fs::read(&log)?).into_owned())
    })
}

/// Runs a program whose output goes straight to the caller's terminal.
pub(crate) fn shown(label: &str, deadline: Duration, command: &mut Command) -> Result<()> {
    timed(label, || {
        let status = wait(spawn(command)?, label, deadline, false)?;
        if !status.success() {
            bail!("{label}: {status}");
        }
        Ok(())
    })
}

/// Like [`shown`], and returns the standard output as well. No deadline for a reader: the end of the program,
/// or its being killed, closes the pipe.
pub(crate) fn shown_and_kept(label: &str, deadline: Duration, command: &mut Command) -> Result<String> {
    timed(label, || {
        let mut child = spawn(command.stdout(Stdio::piped()))?;
        let echo = child.stdout.take().map(|pipe| thread::spawn(move || echo(pipe)));
        let status = wait(child, label, deadline, false)?;
        if !status.success() {
            bail!("{label}: {status}");
        }
        Ok(echo.and_then(|echo| echo.join().ok()).unwrap_or_default())
    })
}

/// Prints line by line what comes, and keeps it.
fn echo(pipe: impl Read) -> String {
    let mut kept = String::new();
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        println!("{line}");
        kept.push_str(&line);
        kept.push('\n');
    }
    kept
}

/// Runs a program without a word and returns its standard output; its standard error is the failure's text.
pub(crate) fn output(deadline: Duration, command: &mut Command) -> Result<String> {
    let label = format!("{} {}", command.get_program().display(), first_words(command));
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(child, &label, deadline, false)?;
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    if !status.success() {
        bail!("{label}: {status}: {}", stderr.trim());
    }
    Ok(stdout)
}

/// Whether the program ran and ended with 0. What it printed is of no interest.
pub(crate) fn succeeds(deadline: Duration, command: &mut Command) -> bool {
    output(deadline, command).is_ok()
}

/// Gives a started program this long to end by itself, then kills it; returns what it said on stderr.
pub(crate) fn end_within(mut child: Child, grace: Duration) -> Result<String> {
    let stderr = drain(child.stderr.take());
    // Being killed is no failure here: the caller has what it wanted.
    let _ = wait(child, "the program", grace, false);
    Ok(collect(stderr))
}

/// Sends a signal by name (`TERM`, `KILL`) through the shell's builtin: a bare machine has no `kill`.
pub(crate) fn signal(pid: u32, name: &str) -> bool {
    let script = format!("kill -{name} {pid}");
    succeeds(Duration::from_secs(5), Command::new("sh").args(["-c", &script]))
}

/// What cargo tells the program that it runs. A cargo below it must not hear it: some build scripts (ring's) would run
/// again with everything that stands on them, because it was another word the last time.
const OF_CARGO: [&str; 7] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

fn spawn(command: &mut Command) -> Result<Child> {
    for name in OF_CARGO {
        command.env_remove(name);
    }
    let program = command.get_program().display().to_string();
    command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot run {program}"))
}

/// Waits for the end by polling: simple, and a deadline costs nothing extra.
fn wait(mut child: Child, label: &str, deadline: Duration, heartbeat: bool) -> Result<ExitStatus> {
    let began = Instant::now();
    let mut next_beat = HEARTBEAT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let elapsed = began.elapsed();
        if elapsed > deadline {
            // A failed kill means that it ended this instant; either way it is reaped here.
            let _ = child.kill();
            child.wait()?;
            bail!("{label}: still not done after {} s, killed", deadline.as_secs());
        }
        if heartbeat && elapsed > next_beat {
            eprintln!("    ... {label}, {} s", elapsed.as_secs());
            next_beat += HEARTBEAT;
        }
        thread::sleep(pause(elapsed));
    }
}

/// Short programs are noticed at once, long ones cost no wake-ups.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / 20).clamp(Duration::from_millis(1), Duration::from_millis(100))
}

fn report(status: ExitStatus, label: &str, log: &Path) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    eprintln!("{}", tail(log));
    bail!("{label}: {status}; the whole output is in {}", log.display())
}

/// The last lines of a file that may not be there.
pub(crate) fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What could be read before a broken pipe is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn collect(reader: thread::JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}

fn first_words(command: &Command) -> String {
    command.get_args().take(3).map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A label as a file name.
fn slug(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_past_its_deadline_is_killed_and_named() {
        let error = output(Duration::from_millis(50), Command::new("sleep").arg("30")).unwrap_err();
        assert!(error.to_string().contains("sleep 30: still not done"), "{error}");
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = output(Duration::from_secs(5), Command::new("sh").args(["-c", "echo why >&2; exit 3"]));
        assert!(error.unwrap_err().to_string().ends_with("why"));
    }

    #[test]
    fn a_program_that_asks_gets_no_answer_instead_of_waiting() {
        let text = output(Duration::from_secs(5), Command::new("cat").arg("-")).unwrap();
        assert_eq!(text, "");
    }
}
