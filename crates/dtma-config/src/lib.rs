//! From what a person asks for to what an engine is told, through templates and an operator's policy. Pure.
//!
//! [`Configurator::validate`] lists every mistake of a request, [`Configurator::render`] makes the configuration of
//! each server. A request can tighten the template's hardening or move inside the policy's ceilings; it cannot
//! loosen anything, because what it asks for in the engine's own words (`overrides`) is read into a few known
//! fields and never passed on.
//!
//! What wins over what: the policy's ceilings and the template's hardening hold always; below them `overrides` win
//! over the spec's own fields, those over the template's sizes, a server's labels over its group's. The variables
//! the daemon tells an MCP server about itself cannot be changed, only repeated: others rely on them.
//!
//! Left to others: reading files, the image's own wishes ([`ContainerConfig::finished_for`]), and what an engine
//! needs beyond a configuration (names, networks, reserved labels).
//!
//! [`ContainerConfig::finished_for`]: dtma_core::container::ContainerConfig::finished_for

mod check;
mod configurator;
mod exposure;
mod operator;
mod overrides;
mod place;
mod policy;
mod render;
mod report;
pub mod rule;
mod template;
mod told;
mod wanted;
mod warn;

pub use configurator::{Configurator, Rendered};
pub use dtma_core::hash::config_hash;
pub use exposure::exposure;
pub use operator::TemplateFile;
pub use policy::Policy;
pub use template::{STANDARD, Template, TemplateTmpfs, TemplateValues, Templates};
