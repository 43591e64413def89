//! Beginning a server: a child in a process group of its own, on three pipes. It has the
//! default signal dispositions: what the shim catches is not caught there, and the standard library sees to SIGPIPE.

use dtma_wire::EnvChange;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A server that has just begun, and the shim's ends of its pipes, which never block.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) pid: Pid,
    pub(crate) stdin: File,
    pub(crate) stdout: File,
    pub(crate) stderr: File,
}

/// Starts it.
///
/// # Errors
/// What the system says against it: no such program, no right to run it, no memory.
pub(crate) fn begin(argv: &[OsString], environment: &[EnvChange]) -> io::Result<Begun> {
    let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::from(Errno::EINVAL))?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).env_remove(dtma_wire::NONCE_VARIABLE);
    for EnvChange { name, value } in environment {
        match value {
            Some(value) => command.env(OsStr::from_bytes(name), OsStr::from_bytes(value)),
            None => command.env_remove(OsStr::from_bytes(name)),
        };
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let missing = || io::Error::from(Errno::EBADF);
    Ok(Begun {
        pid: Pid::from_raw(child.id().cast_signed()),
        stdin: ours(child.stdin.take().ok_or_else(missing)?.into())?,
        stdout: ours(child.stdout.take().ok_or_else(missing)?.into())?,
        stderr: ours(child.stderr.take().ok_or_else(missing)?.into())?,
    })
}

fn ours(end: OwnedFd) -> io::Result<File> {
    fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(end.into())
}

/// The error number of a start that failed; what the standard library itself refuses (a NUL) has none.
pub(crate) fn errno(error: &io::Error) -> u32 {
    error.raw_os_error().unwrap_or(Errno::EINVAL as i32).cast_unsigned()
}
