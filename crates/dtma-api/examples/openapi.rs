//! Prints the OpenAPI document; `cargo xtask openapi` keeps it at `docs/openapi.json`.
#![allow(clippy::print_stdout, reason = "printing is all it does")]

fn main() {
    print!("{}", dtma_api::openapi_json());
}
