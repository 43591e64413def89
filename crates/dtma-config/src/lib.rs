//! dtma-config.
