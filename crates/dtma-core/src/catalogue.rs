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
    /// How the server cut and wrapped them, so that its answers can be given in its place; none where that is not known of
    /// all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<Page>,
}

/// One answer with a part of a list, without its elements.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The cursor with which it was asked for; `None`: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many elements it has.
    pub count: usize,
    /// What stands before the first of them.
    pub head: String,
    /// What stands between two of them.
    pub between: String,
    /// What stands after the last of them.
    pub tail: String,
}

impl Items {
    /// The answer to who asks for the part at this cursor, byte for byte as the server gave it; `None`: that is not known.
    #[must_use]
    pub fn answer(&self, cursor: Option<&str>) -> Option<String> {
        let at = self.pages.iter().position(|page| page.cursor.as_deref() == cursor)?;
        let (before, page) = (&self.pages[..at], &self.pages[at]);
        let from: usize = before.iter().map(|page| page.count).sum();
        let elements = self.raw.get(from..from.checked_add(page.count)?)?;
        Some([&page.head, &elements.join(&page.between), &page.tail].map(String::as_str).concat())
    }
}

impl Catalogue {
    /// True when the same configuration of the same image says the same.
    #[must_use]
    pub fn tells_the_same(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.config.clone(), one.image.clone(), one.generation);
        of(self) == of(other) && self.offers == other.offers
    }
}
