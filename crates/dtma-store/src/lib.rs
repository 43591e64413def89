//! dtma-store.
