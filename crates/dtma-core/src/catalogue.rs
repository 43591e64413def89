//! What an MCP server said that it offers: kept as it said it, for those who ask while it does not answer.

use crate::Timestamp;
use crate::id::{ConfigHash, Generation, ImageId, InstanceName};
use serde::{Deserialize, Serialize};

/// Catalogues of one server that are kept, each of another configuration.
pub const MAX_CATALOGUES: usize = 4;

/// What one run of a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// Which server.
    pub instance: InstanceName,
    /// The configuration it was made from.
    pub config: ConfigHash,
    /// The image it was made from, by the engine's id.
    pub image: Option<ImageId>,
    /// The generation of its container.
    pub generation: Generation,
    /// When it was asked.
    pub at: Timestamp,
    /// Its lists.
    pub offers: Offers,
}

/// What a server said about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// What it answered to the handshake, raw JSON: protocol version, `serverInfo`, capabilities, instructions.
    pub greeting: String,
    /// Its tools.
    pub tools: Items,
    /// Its prompts.
    pub prompts: Items,
    /// Its resources.
    pub resources: Items,
    /// Its resource templates.
    pub templates: Items,
}

/// One list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// Each element as it was sent, raw JSON.
    pub raw: Vec<String>,
    /// Why there are more than these, in a person's words; `None`: these are all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
}

impl Catalogue {
    /// True when the same configuration of the same image says the same.
    #[must_use]
    pub fn tells_the_same(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.config.clone(), one.image.clone(), one.generation);
        of(self) == of(other) && self.offers == other.offers
    }
}
