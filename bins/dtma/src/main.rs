//! dtma.
fn main() {}
