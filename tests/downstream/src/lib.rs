//! Downstream example.
