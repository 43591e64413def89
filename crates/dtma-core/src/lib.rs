//! dtma-core.
