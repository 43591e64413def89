//! Clients by the dozen on one server, by every door, all with the same ids and progress tokens at the same time; each
//! checks every word that reaches it. They are cheap enough for tens of thousands of calls in a debug build: kept
//! connections, nothing decoded twice.

mod call;
mod client;
mod connection;

pub use call::{Call, Dice, Outcome, judge};
pub use client::{Client, Door};
pub use connection::Address;

use crate::groups;
use serde_json::{Value, json};

const ECHOING: &str = include_str!("../fixtures/echoing.py");

/// A server in Python that is fast, answers out of order, and remembers what it got in a volume.
#[must_use]
pub fn echoing(name: &str) -> Value {
    let mounts = json!([{"type": "volume", "name": "got", "target": "/data"}]);
    let room = json!({"cpus": 1.5, "memory": "256MiB"});
    let fields = json!({"command": ["/usr/bin/python3", "-c", ECHOING], "mounts": mounts, "resources": room});
    groups::with(groups::fixture(name), &fields)
}

/// The doors of a crowd, client by client: every door there is, and every version of the protocol.
#[must_use]
pub fn door(client: usize) -> Door {
    const DOORS: [Door; 8] = [
        Door::Http("2025-11-25"),
        Door::Socket,
        Door::Stateless,
        Door::Socket,
        Door::Http("2025-06-18"),
        Door::Socket,
        Door::Http("2025-03-26"),
        Door::Pair,
    ];
    DOORS[client % DOORS.len()]
}
