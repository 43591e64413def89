//! Who has dialled: only PID 1 of a PID namespace of its own may speak for a container, and only with its nonce. The
//! server itself can dial, too, but it is not PID 1.

use std::fs;
use tokio::net::UnixStream;

/// Why somebody is not heard.
pub(crate) fn check(socket: &UnixStream) -> Result<(), String> {
    let peer = socket.peer_cred().map_err(|error| format!("who it is cannot be known: {error}"))?;
    let Some(pid) = peer.pid() else { return Err("it has no process".into()) };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|error| format!("process {pid} cannot be looked at: {error}"))?;
    match is_first_process(&status) {
        true => Ok(()),
        false => Err(format!("process {pid} (user {}) is no container's first process", peer.uid())),
    }
}

/// `NSpid: 4711 1`: process 4711 here, and 1 in the namespace that it lives in. PID 1 of our own namespace shows one
/// number only.
fn is_first_process(status: &str) -> bool {
    let Some(pids) = status.lines().find_map(|line| line.strip_prefix("NSpid:")) else { return false };
    let pids: Vec<&str> = pids.split_whitespace().collect();
    pids.len() > 1 && pids.last() == Some(&"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_of_a_container_speaks_for_it() {
        for (status, first) in [
            ("Name:\tdtma-shim\nNSpid:\t4711\t1\n", true),
            ("NSpid:\t4711\t12\t1\n", true),
            ("NSpid:\t4711\t17\n", false),
            ("NSpid:\t1\n", false),
            ("NSpid:\t4711\n", false),
            ("Name: NSpid: 4711 1\n", false),
            ("", false),
        ] {
            assert_eq!(is_first_process(status), first, "{status:?}");
        }
    }
}
