//! Names and ids that deployments under way ask for: of two that come at the same moment one is too late.

use crate::error::ApiError;
use dtma_core::id::InstanceName;
use dtma_core::spec::GroupSpec;
use dtma_manager::ManagerError;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Claimed {
    Name(InstanceName),
    AccountId(String),
}

/// Who asks for what. Bounded by the requests under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<HashMap<Claimed, InstanceName>>>);

/// What one deployment asks for; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    held: Vec<Claimed>,
}

impl Claims {
    /// Takes all names and ids of a group, or none.
    ///
    /// # Errors
    /// `instance_taken` or `account_id_taken`.
    pub(crate) fn take(&self, spec: &GroupSpec) -> Result<Claim, ApiError> {
        let mut claim = Claim { claims: self.clone(), held: Vec::new() };
        for server in &spec.servers {
            let (name, id) = (&server.instance, super::find::account_id(server));
            let taken =
                || ManagerError::InstanceTaken { instance: name.clone(), group: spec.group_id.clone() };
            claim.add(Claimed::Name(name.clone()), name).map_err(|_| taken())?;
            if let Some(id) = id {
                let added = claim.add(Claimed::AccountId(id.to_owned()), name);
                added.map_err(|bearer| ApiError::IdTaken(id.to_owned(), bearer))?;
            }
        }
        Ok(claim)
    }
}

impl Claim {
    fn add(&mut self, what: Claimed, of: &InstanceName) -> Result<(), InstanceName> {
        match self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.clone()) {
            Entry::Occupied(taken) => return Err(taken.get().clone()),
            Entry::Vacant(free) => free.insert(of.clone()),
        };
        self.held.push(what);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.held.iter().for_each(|what| drop(claims.remove(what)));
    }
}
