//! What was found while a request was read: mistakes, warnings, and where in the caller's own document stands what the
//! canonical request has elsewhere.

use crate::error::ApiError;
use dtma_core::violation::Violation;
use dtma_manager::ManagerError;

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Fields that must be there: the shape of the request is wrong.
    missing: Vec<Violation>,
    /// Broken rules.
    broken: Vec<Violation>,
    /// What was taken and has no effect.
    pub(crate) warnings: Vec<Violation>,
    /// Canonical pointer, the caller's pointer.
    places: Vec<(String, String)>,
}

impl Notes {
    pub(crate) fn miss(&mut self, pointer: String, message: &str) {
        self.missing.push(Violation::new(pointer, "schema.required", message));
    }

    pub(crate) fn break_rule(&mut self, violation: Violation) {
        self.broken.push(violation);
    }

    pub(crate) fn warn(&mut self, pointer: String, rule: &str, message: impl Into<String>) {
        self.warnings.push(Violation::new(pointer, rule, message));
    }

    /// What stands at `canonical` (and below it) was written at `theirs`.
    pub(crate) fn place(&mut self, canonical: impl Into<String>, theirs: impl Into<String>) {
        self.places.push((canonical.into(), theirs.into()));
    }

    /// The broken rules, unless the shape is wrong already.
    ///
    /// # Errors
    /// Missing fields.
    pub(crate) fn take_broken(&mut self) -> Result<Vec<Violation>, ApiError> {
        let missing = std::mem::take(&mut self.missing);
        if missing.is_empty() { Ok(std::mem::take(&mut self.broken)) } else { Err(ApiError::Shape(missing)) }
    }

    /// The error with the caller's own pointers.
    pub(crate) fn relocate(&self, error: ApiError) -> ApiError {
        match error {
            ApiError::Shape(found) => ApiError::Shape(self.theirs(found)),
            ApiError::Rules(found) => ApiError::Rules(self.theirs(found)),
            ApiError::Manager(ManagerError::Invalid(found)) => {
                ApiError::Manager(ManagerError::Invalid(self.theirs(found)))
            }
            ApiError::Located(error, place) => ApiError::Located(error, Box::new(self.translate(*place))),
            other => other,
        }
    }

    fn theirs(&self, found: Vec<Violation>) -> Vec<Violation> {
        found.into_iter().map(|violation| self.translate(violation)).collect()
    }

    pub(crate) fn translate(&self, violation: Violation) -> Violation {
        Violation { pointer: self.pointer(&violation.pointer), ..violation }
    }

    /// The longest known beginning decides.
    fn pointer(&self, canonical: &str) -> String {
        let rest = |prefix: &str| {
            canonical.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let fits = self.places.iter().filter_map(|(ours, theirs)| Some((ours, theirs, rest(ours)?)));
        let best = fits.max_by_key(|(ours, ..)| ours.len());
        best.map_or_else(|| canonical.to_owned(), |(_, theirs, rest)| format!("{theirs}{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_where_the_caller_made_it() {
        let mut notes = Notes::default();
        notes.place("/servers/0", "");
        notes.place("/servers/0/image", "/dockerImageUrl");
        notes.place("/servers/0/overrides", "/baseConfigOverrideJson");
        for (canonical, expected) in [
            ("/servers/0/image", "/dockerImageUrl"),
            ("/servers/0/overrides/HostConfig/Binds/0", "/baseConfigOverrideJson/HostConfig/Binds/0"),
            ("/servers/0/imagery", "/imagery"),
            ("/groupId", "/groupId"),
        ] {
            assert_eq!(notes.pointer(canonical), expected, "{canonical}");
        }
    }
}
