//! dtma-testing.
