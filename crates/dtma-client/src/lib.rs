//! dtma-client.
