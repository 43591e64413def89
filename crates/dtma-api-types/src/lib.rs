//! dtma-api-types.
