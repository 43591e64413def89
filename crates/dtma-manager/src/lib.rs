//! dtma-manager.
