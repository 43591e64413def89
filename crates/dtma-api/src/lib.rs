//! dtma-api.
