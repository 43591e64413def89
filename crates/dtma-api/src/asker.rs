//! Who asks for a change: handlers pass it on to the manager, so that every operation knows its author.

use crate::auth::Caller;
use crate::error::ApiError;
use axum::extract::FromRequestParts;
use dtma_core::id::OperationId;
use dtma_core::idempotency::IdempotencyKey;
use dtma_manager::{Asking, Wait};
use http::request::Parts;
use std::sync::Arc;

/// The caller of a route that changes something, with the id that its operation will bear.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) author: Arc<str>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) operation: OperationId,
}

impl Asker {
    pub(crate) fn new(author: Arc<str>, key: Option<IdempotencyKey>) -> Self {
        Self { author, key, operation: OperationId(uuid::Uuid::new_v4().to_string()) }
    }

    /// The question, when one operation answers it.
    pub(crate) fn asking(&self, wait: Wait) -> Asking {
        Asking {
            wait,
            author: self.author.to_string(),
            key: self.key.clone(),
            operation: self.operation.clone(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        if let Some(asker) = parts.extensions.get::<Self>() {
            return Ok(asker.clone());
        }
        let caller = parts.extensions.get::<Caller>();
        let name = caller.map(|caller| Arc::clone(&caller.name));
        Ok(Self::new(name.ok_or_else(|| ApiError::Internal("nobody asked who asks".into()))?, None))
    }
}
