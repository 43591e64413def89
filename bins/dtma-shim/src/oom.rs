//! How many processes of this container were killed for want of memory, as its memory cgroup counts them.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// Version 2 tells whoever polls its file of each change; version 1 has to be asked.
const FILES: [(&str, bool); 2] =
    [("/sys/fs/cgroup/memory.events", true), ("/sys/fs/cgroup/memory/memory.oom_control", false)];

/// The counter of the cgroup that this container is; without one nothing is ever counted.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    file: Option<File>,
    tells: bool,
}

impl Counter {
    pub(crate) fn open() -> Self {
        let found = FILES.iter().find_map(|(path, tells)| Some((File::open(path).ok()?, *tells)));
        let (file, tells) = found.unzip();
        Self { file, tells: tells.unwrap_or_default() }
    }

    /// How many there were since the container was made.
    pub(crate) fn read(&mut self) -> u64 {
        let mut text = [0; 512];
        let Some(Ok(length)) = self.file.as_ref().map(|file| file.read_at(&mut text, 0)) else {
            // What cannot be read would be told by `poll` again and again.
            self.file = None;
            return 0;
        };
        kills(&String::from_utf8_lossy(&text[..length])).unwrap_or_default()
    }

    /// What becomes ready (POLLPRI) when there is something new.
    pub(crate) fn tells(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().filter(|_| self.tells).map(AsFd::as_fd)
    }

    /// True when it has to be asked again and again.
    pub(crate) fn must_be_asked(&self) -> bool {
        self.file.is_some() && !self.tells
    }
}

/// The number in the line `oom_kill N`.
fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_have_the_same_line() {
        let events = "low 0\nhigh 0\nmax 17\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(kills(events), Some(3));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
