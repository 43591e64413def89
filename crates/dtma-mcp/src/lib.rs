//! dtma-mcp.
