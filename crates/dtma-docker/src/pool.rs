//! Address ranges for the groups' networks: pure arithmetic over what is taken.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Each group's network gets a /27: 29 containers besides the bridge.
const NETWORK_BITS: u8 = 27;

/// Why a text is no pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not an address range for networks: {problem}")]
pub struct NetworkPoolError {
    /// The text.
    value: String,
    /// What is wrong with it.
    problem: &'static str,
}

/// The range from which networks are cut, `10.249.0.0/16` by default: outside the ranges that engines themselves and
/// home routers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkPool(Subnet);

impl Default for NetworkPool {
    fn default() -> Self {
        Self(Subnet::new(Ipv4Addr::new(10, 249, 0, 0), 16))
    }
}

impl fmt::Display for NetworkPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NetworkPool {
    type Err = NetworkPoolError;

    fn from_str(value: &str) -> Result<Self, NetworkPoolError> {
        let refuse = |problem| NetworkPoolError { value: value.chars().take(80).collect(), problem };
        let subnet = Subnet::parse(value).ok_or_else(|| refuse("it must look like 10.249.0.0/16"))?;
        if !(8..=NETWORK_BITS).contains(&subnet.bits) {
            return Err(refuse("its length must be from /8 to /27"));
        }
        if !subnet.base().is_private() {
            return Err(refuse("it must be private: in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"));
        }
        Ok(Self(subnet))
    }
}

impl NetworkPool {
    /// A range for the network of this name that touches none of `taken`: the first from a place that the name
    /// decides, round the pool. The same name in the same surroundings gets the same range.
    pub(crate) fn free_for(&self, name: &str, taken: &[Subnet]) -> Option<Subnet> {
        let (size, count) = (1_u32 << (32 - NETWORK_BITS), 1_u32 << (NETWORK_BITS - self.0.bits));
        let first = place(name) % count;
        let network = |number: u32| Subnet {
            start: self.0.start + (first + number) % count * size,
            bits: NETWORK_BITS,
        };
        (0..count).map(network).find(|candidate| !candidate.overlaps_any(taken))
    }
}

/// A number that follows from a name (FNV-1a), today and after an upgrade.
fn place(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// An IPv4 range, its host bits cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    start: u32,
    bits: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.bits)
    }
}

impl Subnet {
    pub(crate) fn new(address: Ipv4Addr, bits: u8) -> Self {
        Self { start: address.to_bits() & mask(bits), bits }
    }

    /// `10.249.0.0/16`; a single address is a /32.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
        Some(Self::new(address.parse().ok()?, bits))
    }

    fn base(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.start)
    }

    pub(crate) fn overlaps_any(&self, others: &[Self]) -> bool {
        others.iter().any(|other| other.overlaps(self))
    }

    fn overlaps(&self, other: &Self) -> bool {
        let shared = mask(self.bits.min(other.bits));
        self.start & shared == other.start & shared
    }
}

fn mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(u32::from(32 - bits.min(32))).unwrap_or(0)
}

/// The ranges that the host routes somewhere, from the text of `/proc/net/route`. The default route is left out: it
/// covers everything and forbids nothing.
pub(crate) fn routed(table: &str) -> Vec<Subnet> {
    table.lines().skip(1).filter_map(route).filter(|subnet| subnet.bits > 0).collect()
}

/// The table shows the four bytes as one number of the machine's own kind.
fn route(line: &str) -> Option<Subnet> {
    let mut fields = line.split_whitespace();
    let mut number = |skipped| u32::from_str_radix(fields.nth(skipped)?, 16).ok();
    let (address, mask) = (number(1)?, number(5)?);
    Some(Subnet::new(Ipv4Addr::from(address.to_ne_bytes()), u8::try_from(mask.count_ones()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|text| Subnet::parse(text).unwrap()).collect()
    }

    /// The place of `a` is the 301st network of a /16.
    #[track_caller]
    fn check(pool: &str, taken: &[&str], expected: Option<&str>) {
        let pool: NetworkPool = pool.parse().unwrap();
        let found = pool.free_for("a", &subnets(taken)).map(|subnet| subnet.to_string());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn the_first_free_range_from_the_names_place_on_is_taken() {
        check("10.249.0.0/16", &[], Some("10.249.37.128/27"));
        check("10.249.0.0/16", &["10.249.37.128/27", "172.17.0.0/16"], Some("10.249.37.160/27"));
        check("10.249.0.0/16", &["10.249.37.0/24"], Some("10.249.38.0/27"));
        check("10.249.0.0/16", &["10.249.37.130"], Some("10.249.37.160/27"));
        check("10.249.0.0/16", &["10.0.0.0/8"], None);
        check("10.249.0.0/26", &["10.249.0.0/27", "10.249.0.32/27"], None);
    }

    #[test]
    fn a_pool_is_used_to_its_end_and_no_range_twice() {
        let (pool, mut taken): (NetworkPool, _) = ("10.249.252.0/22".parse().unwrap(), Vec::new());
        while let Some(free) = pool.free_for("a", &taken) {
            taken.push(free);
        }
        let mut starts: Vec<u32> = taken.iter().map(|subnet| subnet.start).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!((taken.len(), starts.len()), (32, 32));
        assert!(starts[31] == Ipv4Addr::new(10, 249, 255, 224).to_bits() && place("b") != place("a"));
    }

    #[test]
    fn only_private_ranges_of_a_sensible_size_are_pools() {
        for bad in
            ["8.8.0.0/16", "10.0.0.0/28", "10.0.0.0/7", "10.0.0.0", "10.0.0.0/x", "::/64", "", "10.1/16"]
        {
            assert!(bad.parse::<NetworkPool>().is_err(), "{bad}");
        }
        assert_eq!("10.9.8.7/16".parse::<NetworkPool>().unwrap().to_string(), "10.9.0.0/16");
    }

    #[test]
    fn the_hosts_routes_are_read() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     tun0\t0000F90A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let read: Vec<String> = routed(table).iter().map(ToString::to_string).collect();
        assert_eq!(read, ["192.168.1.0/24", "10.249.0.0/16"]);
    }
}
