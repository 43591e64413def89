//! Doors with several members.
