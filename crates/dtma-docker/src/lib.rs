//! dtma-docker.
