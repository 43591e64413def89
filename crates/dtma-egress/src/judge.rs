//! The decision: may this server reach this host at these addresses? Pure.

use dtma_core::egress::{Authority, Ceiling, EgressRule, Host, Ranges, Special};
use std::net::{IpAddr, SocketAddr};

/// What one server may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    rules: Vec<EgressRule>,
    ceiling: Ceiling,
}

impl Rules {
    /// A server's rules below an operator's ceiling. No rules reach nothing.
    #[must_use]
    pub fn new(rules: Vec<EgressRule>, ceiling: Ceiling) -> Self {
        Self { rules, ceiling }
    }

    /// Whether a server may name this at all. Asked before anybody is asked for its addresses: a lookup alone tells the
    /// outside something.
    ///
    /// # Errors
    /// [`Refusal::NotListed`] and [`Refusal::Ceiling`].
    pub fn admit(&self, target: &Authority) -> Result<(), Refusal> {
        let mut matching = self.rules.iter().filter(|rule| rule.matches(target)).peekable();
        if matching.peek().is_none() {
            return Err(Refusal::NotListed { target: target.clone() });
        }
        let permitted = matching.any(|rule| self.ceiling.lets(rule, target));
        if permitted { Ok(()) } else { Err(Refusal::Ceiling { target: target.clone() }) }
    }
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No rule of the server names it.
    #[error("{target} is not among what this server may reach; its `egress` would have to list {target:?}", target = target.to_string())]
    NotListed {
        /// What was asked for.
        target: Authority,
    },
    /// A rule names it, and the operator's policy does not let any server reach it.
    #[error("{target} is beyond what the operator lets servers reach (`egress` of the policy file)")]
    Ceiling {
        /// What was asked for.
        target: Authority,
    },
    /// It has an address that is not reached.
    #[error(
        "{target} is at {address}, which is {special}; only an operator opens that (`egressRanges` of the policy file)"
    )]
    Range {
        /// What was asked for.
        target: Authority,
        /// One of its addresses.
        address: IpAddr,
        /// The range that is in.
        special: Special,
    },
    /// It is the daemon's own machine.
    #[error(
        "{target} is at {address}, this machine itself; only an operator opens that (`egressRanges` of the policy file)"
    )]
    Own {
        /// What was asked for.
        target: Authority,
        /// One of its addresses.
        address: IpAddr,
    },
    /// Nobody knows an address.
    #[error("{target} has no address")]
    NoAddress {
        /// What was asked for.
        target: Authority,
    },
}

/// Addresses that were judged and found good: what may be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    addresses: Vec<SocketAddr>,
}

impl Cleared {
    /// Where to connect, best first; never empty.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// Judges a host with its addresses: one that may not be reached refuses them all. Of a host that is an address,
/// only that address counts, whatever `addresses` says.
///
/// # Errors
/// [`Refusal`].
pub fn judge(
    rules: &Rules,
    ranges: &Ranges,
    target: &Authority,
    addresses: &[IpAddr],
    is_own: impl Fn(IpAddr) -> bool,
) -> Result<Cleared, Refusal> {
    rules.admit(target)?;
    let addresses = match &target.host {
        Host::Address(address) => std::slice::from_ref(address),
        Host::Name(_) => addresses,
    };
    if addresses.is_empty() {
        return Err(Refusal::NoAddress { target: target.clone() });
    }
    addresses.iter().try_for_each(|address| reachable(ranges, target, *address, &is_own))?;
    let pinned = |address: &IpAddr| SocketAddr::new(address.to_canonical(), target.port);
    Ok(Cleared { addresses: addresses.iter().map(pinned).collect() })
}

fn reachable(
    ranges: &Ranges,
    target: &Authority,
    address: IpAddr,
    is_own: impl Fn(IpAddr) -> bool,
) -> Result<(), Refusal> {
    let (target, address) = (target.clone(), address.to_canonical());
    if let Some(special) = ranges.refuse(address) {
        return Err(Refusal::Range { target, address, special });
    }
    let translated = Ranges::translated(address).map(IpAddr::V4);
    let own = is_own(address) || translated.is_some_and(is_own);
    if own && !ranges.are_opened_for(address) {
        return Err(Refusal::Own { target, address });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(texts: &[&str]) -> Rules {
        Rules::new(texts.iter().map(|text| text.parse().unwrap()).collect(), Ceiling::Named)
    }

    fn target(text: &str) -> Authority {
        Authority::parse(text, None).unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn said(rules: &Rules, name: &str, at: &[&str]) -> String {
        let own = |address: IpAddr| address == IpAddr::from([198, 41, 0, 4]);
        match judge(rules, &Ranges::default(), &target(name), &addresses(at), own) {
            Ok(cleared) => format!("{:?}", cleared.addresses()),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn a_refusal_names_what_was_refused_and_what_would_allow_it() {
        let rules =
            rules(&["api.example.org:443", "192.0.43.8:443", "10.0.0.1:443", "[2606:4700::1111]:443"]);
        for (name, at, words) in [
            (
                "api.example.org:443",
                &["8.8.8.8", "2606:4700::1111"][..],
                "[8.8.8.8:443, [2606:4700::1111]:443]",
            ),
            ("api.example.org:443", &["::ffff:8.8.8.8"], "[8.8.8.8:443]"),
            ("api.example.org:443", &[], "api.example.org:443 has no address"),
            ("api.example.org:80", &["8.8.8.8"], "`egress` would have to list \"api.example.org:80\""),
            ("example.org:443", &["8.8.8.8"], "example.org:443 is not among what this server may reach"),
            (
                "api.example.org:443",
                &["8.8.8.8", "10.0.0.1"],
                "at 10.0.0.1, which is private (10.0.0.0/8); only an",
            ),
            (
                "api.example.org:443",
                &["8.8.8.8", "::ffff:169.254.169.254"],
                "at 169.254.169.254, which is link-local",
            ),
            ("api.example.org:443", &["64:ff9b::127.0.0.1"], "loopback"),
            ("api.example.org:443", &["198.41.0.4"], "this machine itself"),
            ("api.example.org:443", &["64:ff9b::198.41.0.4"], "this machine itself"),
            ("192.0.43.8:443", &[], "[192.0.43.8:443]"),
            ("192.0.43.8:443", &["10.0.0.1"], "[192.0.43.8:443]"),
            ("[2606:4700::1111]:443", &[], "[[2606:4700::1111]:443]"),
            ("10.0.0.1:443", &["8.8.8.8"], "10.0.0.1:443 is at 10.0.0.1, which is private"),
        ] {
            assert!(said(&rules, name, at).contains(words), "{name} {at:?}: {}", said(&rules, name, at));
        }
    }

    #[test]
    fn an_operators_ceiling_holds_below_the_servers_rules() {
        let listed = |text: &str| Ceiling::Listed(vec![text.parse().unwrap()]);
        let rule = || vec!["*:443".parse().unwrap()];
        let said = |ceiling| said(&Rules::new(rule(), ceiling), "a.example.org:443", &["8.8.8.8"]);
        assert!(said(Ceiling::Named).contains("beyond what the operator"), "{}", said(Ceiling::Named));
        assert_eq!(said(listed("*.example.org:*")), "[8.8.8.8:443]");
        assert!(said(listed("b.example.org:443")).contains("`egress` of the policy file"));
    }

    #[test]
    fn an_operator_may_open_a_range_and_the_machine_itself() {
        let ranges = Ranges::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let judged = |at: &str| {
            judge(&rules(&["a.b:1"]), &ranges, &target("a.b:1"), &addresses(&[at]), |_| true).is_ok()
        };
        assert!(judged("10.1.2.3") && judged("::ffff:10.1.2.3"));
        assert!(!judged("8.8.8.8") && !judged("64:ff9b::10.1.2.3"));
    }

    #[test]
    fn without_rules_nothing_is_reached() {
        assert!(said(&Rules::default(), "a.b:443", &["8.8.8.8"]).contains("not among"));
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            any::<u32>().prop_map(|bits| IpAddr::V6(std::net::Ipv4Addr::from(bits).to_ipv6_mapped())),
            any::<u32>().prop_map(|bits| IpAddr::V6(((0x0064_ff9b_u128 << 96) | u128::from(bits)).into())),
        ]
    }

    proptest! {
        #[test]
        fn nothing_outside_the_rules_is_cleared(
            texts in prop::collection::vec("(\\*\\.)?(a|b)(\\.(a|b)){0,2}:(1|2|\\*)", 0..4),
            name in "(a|b)(\\.(a|b)){0,3}", port in 1_u16..3,
        ) {
            let rules: Vec<EgressRule> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let target = Authority { host: Host::parse(&name).unwrap(), port };
            let listed = rules.iter().any(|rule| rule.matches(&target));
            let rules = Rules::new(rules, Ceiling::Named);
            let judged = judge(&rules, &Ranges::default(), &target, &addresses(&["8.8.8.8"]), |_| false);
            prop_assert_eq!(judged.is_ok(), listed);
        }

        #[test]
        fn whatever_a_resolver_says_no_address_that_may_not_be_reached_is_cleared(
            answer in prop::collection::vec(any_address(), 0..5), own in any_address(),
        ) {
            let ranges = Ranges::default();
            let judged = judge(&rules(&["a.b:1"]), &ranges, &target("a.b:1"), &answer, |address| address == own);
            if let Ok(cleared) = judged {
                for address in cleared.addresses() {
                    prop_assert!(ranges.refuse(address.ip()).is_none() && address.ip() != own);
                    prop_assert!(answer.iter().any(|said| said.to_canonical() == address.ip()));
                    prop_assert_eq!(address.port(), 1);
                }
                prop_assert!(answer.iter().all(|said| ranges.refuse(*said).is_none()));
            }
        }
    }
}
