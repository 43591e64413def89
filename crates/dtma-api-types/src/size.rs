//! A number of bytes as people and programs write it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A number of bytes: an integer, or text with a unit (`512MiB`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ByteSize {
    /// Bytes.
    Bytes(u64),
    /// A decimal number with an optional unit: `512MiB`, `1.5GiB`, `64k`.
    Text(String),
}

impl PartialSchema for ByteSize {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::String]))
            .minimum(Some(0))
            .description(Some(
                "Bytes, or text with a unit: `B`, `k`/`KB` (1000), `Ki`/`KiB` (1024), and likewise `M`, `G`, `T`.",
            ))
            .examples([serde_json::json!("512MiB"), serde_json::json!(536_870_912_u64)])
            .into()
    }
}

impl ToSchema for ByteSize {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ByteSize")
    }
}
