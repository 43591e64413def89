//! dtma-daemon.
fn main() {}
