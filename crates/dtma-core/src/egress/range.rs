//! Which addresses are nobody's business: everything that is not a public host, unless an operator opens it.

use super::Cidr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A range that is not reached, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    range: Cidr,
    what: &'static str,
}

impl Special {
    /// The range.
    #[must_use]
    pub fn range(&self) -> Cidr {
        self.range
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.range)
    }
}

const fn v4(base: [u8; 4], bits: u8, what: &'static str) -> Special {
    Special { range: Cidr::v4(base, bits), what }
}

const fn v6(base: [u16; 3], bits: u8, what: &'static str) -> Special {
    Special { range: Cidr::v6(base, bits), what }
}

/// IANA's special-purpose addresses; the first that contains an address names it.
const SPECIAL_V4: &[Special] = &[
    v4([0, 0, 0, 0], 8, "this network"),
    v4([10, 0, 0, 0], 8, "private"),
    v4([100, 64, 0, 0], 10, "shared by a carrier's customers"),
    v4([127, 0, 0, 0], 8, "loopback"),
    // A public number that Azure's hosts answer themselves, with secrets of the machine.
    v4([168, 63, 129, 16], 32, "a cloud's own service"),
    v4([169, 254, 0, 0], 16, "link-local, where clouds keep their metadata"),
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 0, 0, 0], 24, "kept for protocols"),
    v4([192, 0, 2, 0], 24, "for documentation"),
    v4([192, 88, 99, 0], 24, "kept for 6to4 relays"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([198, 18, 0, 0], 15, "for benchmarks"),
    v4([198, 51, 100, 0], 24, "for documentation"),
    v4([203, 0, 113, 0], 24, "for documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([255, 255, 255, 255], 32, "broadcast"),
    v4([240, 0, 0, 0], 4, "reserved"),
];

/// The same for IPv6. The last rows take all that is not global unicast.
const SPECIAL_V6: &[Special] = &[
    v6([0, 0, 0], 128, "unspecified"),
    Special { range: Cidr::one(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)), what: "loopback" },
    v6([0, 0, 0], 96, "an IPv4 address in IPv6 clothes that nobody wears any more"),
    v6([0x64, 0xff9b, 1], 48, "for local translation to IPv4"),
    v6([0x100, 0, 0], 64, "discarded"),
    v6([0x2001, 0, 0], 32, "Teredo, a tunnel to an IPv4 address"),
    v6([0x2001, 2, 0], 48, "for benchmarks"),
    v6([0x2001, 0, 0], 23, "kept for protocols"),
    v6([0x2001, 0xdb8, 0], 32, "for documentation"),
    v6([0x2002, 0, 0], 16, "6to4, a tunnel to an IPv4 address"),
    v6([0x3fff, 0, 0], 20, "for documentation"),
    v6([0xfc00, 0, 0], 7, "private"),
    v6([0xfe80, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0], 10, "site-local"),
    v6([0xff00, 0, 0], 8, "multicast"),
    v6([0, 0, 0], 3, "reserved"),
    v6([0x4000, 0, 0], 2, "reserved"),
    v6([0x8000, 0, 0], 1, "reserved"),
];

/// `64:ff9b::/96`: an IPv4 address as a network without IPv4 writes it. Judged as the address it stands for.
const NAT64: Cidr = Cidr::v6([0x64, 0xff9b, 0], 96);

/// What may be reached: public addresses, and what an operator opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges {
    opened: Vec<Cidr>,
}

impl Ranges {
    /// Public addresses and these.
    #[must_use]
    pub fn new(opened: Vec<Cidr>) -> Self {
        Self { opened }
    }

    /// Whether an operator opened it. What is opened as IPv4 is not opened through translators.
    #[must_use]
    pub fn are_opened_for(&self, address: IpAddr) -> bool {
        self.opened.iter().any(|range| range.contains(address))
    }

    /// Why the address is not reached, if it is not.
    #[must_use]
    pub fn refuse(&self, address: IpAddr) -> Option<Special> {
        if self.are_opened_for(address) {
            return None;
        }
        let of = |table: &[Special], address| table.iter().find(|row| row.range.contains(address)).copied();
        match (Self::translated(address), address.to_canonical()) {
            (Some(v4), _) => of(SPECIAL_V4, v4.into()),
            (None, v4 @ IpAddr::V4(_)) => of(SPECIAL_V4, v4),
            (None, v6 @ IpAddr::V6(_)) => of(SPECIAL_V6, v6),
        }
    }

    /// The IPv4 address that a network's translator makes of this IPv6 address.
    #[must_use]
    pub fn translated(address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V6(v6) if NAT64.contains(address) => {
                let [.., a, b, c, d] = v6.octets();
                Some(Ipv4Addr::new(a, b, c, d))
            }
            IpAddr::V6(_) | IpAddr::V4(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The word of the range, or `public`.
    fn word(text: &str) -> String {
        Ranges::default().refuse(address(text)).map_or("public".to_owned(), |special| special.to_string())
    }

    #[test]
    fn the_first_and_the_last_address_of_every_ipv4_range_are_in_it_and_their_neighbours_are_not() {
        let cases = [
            ("0.0.0.0", "0.255.255.255", "this network", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", "private", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", "carrier", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", "loopback", Some("126.255.255.255"), Some("128.0.0.0")),
            ("168.63.129.16", "168.63.129.16", "cloud", Some("168.63.129.15"), Some("168.63.129.17")),
            ("169.254.0.0", "169.254.255.255", "metadata", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", "private", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", "protocols", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.0.2.0", "192.0.2.255", "documentation", Some("192.0.1.255"), Some("192.0.3.0")),
            ("192.88.99.0", "192.88.99.255", "6to4", Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.168.0.0", "192.168.255.255", "private", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", "benchmarks", Some("198.17.255.255"), Some("198.20.0.0")),
            ("198.51.100.0", "198.51.100.255", "documentation", Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", "documentation", Some("203.0.112.255"), Some("203.0.114.0")),
            ("224.0.0.0", "239.255.255.255", "multicast", Some("223.255.255.255"), None),
            ("240.0.0.0", "255.255.255.254", "reserved", None, None),
            ("255.255.255.255", "255.255.255.255", "broadcast", None, None),
        ];
        for (first, last, what, before, after) in cases {
            assert!(word(first).contains(what), "{first}: {}", word(first));
            assert!(word(last).contains(what), "{last}: {}", word(last));
            for public in [before, after].into_iter().flatten() {
                assert_eq!(word(public), "public", "{public}");
            }
        }
    }

    #[test]
    fn only_global_unicast_is_public_in_ipv6() {
        for (text, what) in [
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "clothes"),
            ("::7f00:1", "clothes"),
            ("::8.8.8.8", "clothes"),
            ("::1:0:0:0", "reserved"),
            ("64:ff9b:1::a00:1", "local translation"),
            ("64:ff9c::", "reserved"),
            ("100::1", "discarded"),
            ("2001::1", "Teredo"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
            ("2001:2::1", "benchmarks"),
            ("2001:10::1", "protocols"),
            ("2001:1ff:ffff::", "protocols"),
            ("2001:db8::1", "documentation"),
            ("2002::", "6to4"),
            ("2002:7f00:1::", "6to4"),
            ("2002:808:808::1", "6to4"),
            ("3fff:fff::1", "documentation"),
            ("4000::", "reserved"),
            ("5f00::1", "reserved"),
            ("7fff::", "reserved"),
            ("8000::", "reserved"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe00::", "reserved"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            assert!(word(text).contains(what), "{text}: {}", word(text));
        }
        for text in
            ["2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "3ffe::1", "2000::1"]
        {
            assert_eq!(word(text), "public", "{text}");
        }
    }

    #[test]
    fn an_ipv4_address_is_judged_alike_in_its_clothes() {
        for (v4, what) in [
            ("127.0.0.1", "loopback"),
            ("10.1.2.3", "private"),
            ("169.254.169.254", "metadata"),
            ("0.0.0.0", "this network"),
            ("255.255.255.255", "broadcast"),
        ] {
            for dressed in [format!("::ffff:{v4}"), format!("64:ff9b::{v4}")] {
                assert!(word(&dressed).contains(what), "{dressed}: {}", word(&dressed));
            }
        }
        assert_eq!((word("::ffff:8.8.8.8"), word("64:ff9b::8.8.8.8")), ("public".into(), "public".into()));
    }

    #[test]
    fn an_operator_opens_what_he_names_and_no_more() {
        let ranges = Ranges::new(vec!["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for open in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
            assert_eq!(ranges.refuse(address(open)), None, "{open}");
        }
        for shut in ["10.2.0.1", "64:ff9b::10.1.2.3", "::10.1.2.3", "2002:a01:203::", "fc00::1", "127.0.0.1"]
        {
            assert!(ranges.refuse(address(shut)).is_some(), "{shut}");
        }
    }

    proptest! {
        #[test]
        fn what_the_standard_library_calls_special_is_refused(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            for dressed in [IpAddr::V4(v4), v4.to_ipv6_mapped().into(), nat64(v4)] {
                prop_assert!(!special || Ranges::default().refuse(dressed).is_some(), "{}", dressed);
            }
        }

        #[test]
        fn an_ipv4_address_in_old_clothes_is_always_refused(bits in any::<u32>(), rest in any::<u64>()) {
            let [a, b, c, d] = Ipv4Addr::from(bits).octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let tail = u128::from(rest);
            let compatible = Ipv6Addr::from(u128::from(bits));
            let sixtofour = Ipv6Addr::from(u128::from(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 0)) | tail);
            let teredo = Ipv6Addr::from(u128::from(Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0, 0)) | tail);
            for dressed in [compatible, sixtofour, teredo] {
                prop_assert!(Ranges::default().refuse(dressed.into()).is_some(), "{}", dressed);
            }
        }

        #[test]
        fn nothing_outside_global_unicast_is_reached(bits in any::<u128>()) {
            let v6 = Ipv6Addr::from(bits);
            let refused = Ranges::default().refuse(v6.into()).is_some();
            prop_assert!(refused || v6.segments()[0] & 0xe000 == 0x2000 || v6.to_ipv4_mapped().is_some());
        }
    }

    fn nat64(v4: Ipv4Addr) -> IpAddr {
        Ipv6Addr::from((0x0064_ff9b_u128 << 96) | u128::from(u32::from(v4))).into()
    }
}
