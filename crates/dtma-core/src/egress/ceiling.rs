//! What an operator lets servers name.

use super::{Authority, EgressRule};
use serde::{Deserialize, Serialize};

/// Up to where a server's own rules may go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Option<Vec<EgressRule>>", into = "Option<Vec<EgressRule>>")]
pub enum Ceiling {
    /// Any host it names; not every host at once (`*:443`).
    #[default]
    Named,
    /// What these cover; nothing when there are none.
    Listed(Vec<EgressRule>),
}

impl Ceiling {
    /// Whether a server may have this rule.
    #[must_use]
    pub fn permits(&self, rule: &EgressRule) -> bool {
        match self {
            Self::Named => !rule.is_every_host(),
            Self::Listed(listed) => listed.iter().any(|wide| wide.covers(rule)),
        }
    }

    /// Whether `rule`, once permitted, may still be used to reach this: a ceiling may have come down since.
    #[must_use]
    pub fn lets(&self, rule: &EgressRule, target: &Authority) -> bool {
        match self {
            Self::Named => !rule.is_every_host(),
            Self::Listed(listed) => listed.iter().any(|wide| wide.matches(target)),
        }
    }
}

impl From<Option<Vec<EgressRule>>> for Ceiling {
    fn from(listed: Option<Vec<EgressRule>>) -> Self {
        listed.map_or(Self::Named, Self::Listed)
    }
}

impl From<Ceiling> for Option<Vec<EgressRule>> {
    fn from(ceiling: Ceiling) -> Self {
        match ceiling {
            Ceiling::Named => None,
            Ceiling::Listed(listed) => Some(listed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> EgressRule {
        text.parse().unwrap()
    }

    #[test]
    fn every_host_at_once_needs_an_operators_word() {
        let everything = Ceiling::Listed(vec![rule("*:443")]);
        assert!(Ceiling::Named.permits(&rule("*.example.org:*")) && !Ceiling::Named.permits(&rule("*:443")));
        assert!(everything.permits(&rule("*:443")) && !everything.permits(&rule("*:*")));
        assert!(!Ceiling::Listed(Vec::new()).permits(&rule("example.org:443")));
    }

    #[test]
    fn a_ceiling_that_came_down_holds_for_rules_that_were_permitted_before() {
        let target = Authority::parse("a.example.org:443", None).unwrap();
        let listed = |text: &str| Ceiling::Listed(vec![rule(text)]);
        assert!(!Ceiling::Named.lets(&rule("*:443"), &target));
        assert!(listed("*.example.org:443").lets(&rule("*:443"), &target));
        assert!(!listed("example.org:443").lets(&rule("*.example.org:443"), &target));
    }

    #[test]
    fn it_is_written_as_a_list_or_not_at_all() {
        let read = |text: &str| serde_json::from_str::<Ceiling>(text).unwrap();
        assert_eq!(read("null"), Ceiling::Named);
        assert_eq!(read("[]"), Ceiling::Listed(Vec::new()));
        assert_eq!(serde_json::to_string(&read("[\"*:443\"]")).unwrap(), "[\"*:443\"]");
    }
}
