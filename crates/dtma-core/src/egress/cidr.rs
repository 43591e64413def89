//! A range of addresses.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// `10.0.0.0/8`, `fd00::/8`; a single address is a range, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// Why a text is no range, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a range of addresses: {problem}")]
pub struct CidrError {
    text: String,
    problem: String,
}

impl Cidr {
    /// An IPv4 range whose base has no bits beyond `bits`.
    pub(super) const fn v4(base: [u8; 4], bits: u8) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(base[0], base[1], base[2], base[3])), bits }
    }

    /// An IPv6 range, by the first 48 bits of its base.
    pub(super) const fn v6(base: [u16; 3], bits: u8) -> Self {
        Self { base: IpAddr::V6(Ipv6Addr::new(base[0], base[1], base[2], 0, 0, 0, 0, 0)), bits }
    }

    /// A single address.
    pub(super) const fn one(base: IpAddr) -> Self {
        Self { base, bits: if base.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether the address is in it. An IPv4 address in its IPv6 clothes is none of IPv6's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                masked(u128::from(u32::from(address)) << 96, self.bits) == u128::from(u32::from(base)) << 96
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => masked(address.into(), self.bits) == u128::from(base),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The first `bits` of a number.
fn masked(number: u128, bits: u8) -> u128 {
    number & !u128::MAX.checked_shr(bits.into()).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        cidr(text).map_err(|problem| CidrError { text: text.chars().take(80).collect(), problem })
    }
}

fn cidr(text: &str) -> Result<Cidr, String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let base: IpAddr = address.parse().map_err(|_| "it must look like 10.0.0.0/8 or fd00::/8".to_owned())?;
    if base.to_canonical() != base {
        return Err(format!("write it as the IPv4 range it is, {}", base.to_canonical()));
    }
    let most = Cidr::one(base).bits;
    let number = |text: &str| text.parse().ok().filter(|bits: &u8| *bits <= most && text == bits.to_string());
    let bits =
        bits.map_or(Some(most), number).ok_or_else(|| format!("its length must be from /0 to /{most}"))?;
    let first = first(base, bits);
    if first != base {
        return Err(format!("there are bits set beyond its length; write {first}/{bits}"));
    }
    Ok(Cidr { base, bits })
}

fn first(base: IpAddr, bits: u8) -> IpAddr {
    match base {
        IpAddr::V4(v4) => {
            let kept = masked(u128::from(u32::from(v4)) << 96, bits) >> 96;
            Ipv4Addr::from(u32::try_from(kept).unwrap_or_default()).into()
        }
        IpAddr::V6(v6) => Ipv6Addr::from(masked(v6.into(), bits)).into(),
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_contains_its_own_and_nothing_else() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::/0", "2001:db8::1", "::ffff:10.0.0.1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
        ] {
            let range: Cidr = range.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{range} {outside}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_what_to_write_instead() {
        for (text, words) in [
            ("", "10.0.0.0/8"),
            ("example.org", "10.0.0.0/8"),
            ("10.0/8", "10.0.0.0/8"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("fd00::1/8", "write fd00::/8"),
            ("10.0.0.0/33", "/0 to /32"),
            ("10.0.0.0/", "/0 to /32"),
            ("10.0.0.0/08", "/0 to /32"),
            ("::/129", "/0 to /128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_range_contains_its_base_and_survives_being_written(bits in any::<u128>(), length in 0_u8..=128) {
            let base = first(Ipv6Addr::from(bits).into(), length);
            prop_assume!(base.to_canonical() == base);
            let range = Cidr { base, bits: length };
            prop_assert!(range.contains(base));
            prop_assert_eq!(range.to_string().parse::<Cidr>().unwrap(), range);
        }
    }
}
