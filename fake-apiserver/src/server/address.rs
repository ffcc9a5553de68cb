//! IP addresses and networks in objects, in the words of `k8s.io/apimachinery/pkg/util/validation`.

use std::net::{IpAddr, Ipv4Addr};

const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_NETWORK: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address as Go's old parser reads it: octets may begin with zeros.
pub(super) fn sloppy(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let octets: Vec<&str> = text.split('.').collect();
    let octet = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten().and_then(|number| u8::try_from(number).ok())
    };
    let [a, b, c, d] = octets[..] else { return None };
    Some(IpAddr::V4(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?)))
}

/// A network as Go's old parser reads it: its address and the length of its prefix.
pub(super) fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address = sloppy(address)?;
    let length: u32 = length.bytes().all(|b| b.is_ascii_digit()).then(|| length.parse().ok())??;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

/// Whether an address is of the fourth version, also if it is written in the sixth.
pub(super) fn is_v4(text: &str) -> bool {
    sloppy(text).is_some_and(|address| mapped(address).is_some() || address.is_ipv4())
}

fn mapped(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    }
}

/// Faults of an address that must not be ambiguous.
pub(super) fn strict(text: &str) -> Vec<String> {
    match sloppy(text) {
        None => vec![NO_ADDRESS.into()],
        Some(_) if text.parse::<IpAddr>().is_err() => vec!["must not have leading 0s".into()],
        Some(address) if mapped(address).is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".into()]
        }
        Some(_) => Vec::new(),
    }
}

/// Faults of an address that must be written as Go writes it.
pub(super) fn canonical(text: &str) -> Vec<String> {
    let faults = strict(text);
    match sloppy(text) {
        Some(address) if faults.is_empty() && address.to_string() != text => {
            vec![format!("must be in canonical form (\"{address}\")")]
        }
        _ => faults,
    }
}

/// Faults of an address that is no address of an endpoint.
pub(super) fn endpoint(text: &str) -> Vec<String> {
    let Some(address) = sloppy(text) else { return vec!["must be a valid IP address".into()] };
    let (link_local, group) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let mut faults = Vec::new();
    if address.is_unspecified() {
        faults.push(format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        faults.push("may not be in the loopback range (127.0.0.0/8, ::1/128)".into());
    }
    if link_local {
        faults.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)".into());
    }
    if group {
        faults.push("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".into());
    }
    faults
}

/// Faults of a network that must not be ambiguous.
pub(super) fn strict_network(text: &str) -> Vec<String> {
    let Some((address, length)) = network(text) else { return vec![NO_NETWORK.into()] };
    let (written, prefix) = text.split_once('/').unwrap_or_default();
    if written.parse::<IpAddr>().is_err() || (prefix.len() > 1 && prefix.starts_with('0')) {
        return vec!["must not have leading 0s in IP or prefix length".into()];
    }
    if mapped(address).is_some() {
        return vec!["must not have an IPv4-mapped IPv6 address".into()];
    }
    if bits(address) & !mask(length) != 0 {
        return vec!["must not have bits set beyond the prefix length".into()];
    }
    Vec::new()
}

/// Whether a network is a part of another and not the whole.
pub(super) fn is_strictly_within(part: (IpAddr, u32), whole: (IpAddr, u32)) -> bool {
    let mask = mask(whole.1);
    part.0.is_ipv4() == whole.0.is_ipv4() && bits(part.0) & mask == bits(whole.0) & mask && part.1 > whole.1
}

/// The bits of an address, those of the fourth version first.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    }
}

fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_two_parsers_read_differently_are_refused() {
        for good in ["10.0.0.1", "2001:db8::1", "::1"] {
            assert!(strict(good).is_empty(), "{good}");
        }
        for (bad, why) in [("010.0.0.1", "must not have leading 0s"), ("x", NO_ADDRESS), ("", NO_ADDRESS)] {
            assert_eq!(strict(bad), [why], "{bad}");
        }
        assert_eq!(canonical("2001:DB8::1"), ["must be in canonical form (\"2001:db8::1\")"]);
    }

    #[test]
    fn networks_are_compared_by_their_bits() {
        assert!(strict_network("10.0.0.0/8").is_empty() && strict_network("2001:db8::/32").is_empty());
        assert!(strict_network("0.0.0.0/0").is_empty() && !strict_network("10.0.0.0/33").is_empty());
        assert_eq!(strict_network("10.0.0.1/8"), ["must not have bits set beyond the prefix length"]);
        let within = |part, whole| is_strictly_within(network(part).unwrap(), network(whole).unwrap());
        assert!(within("10.1.0.0/16", "10.0.0.0/8") && within("10.0.0.0/8", "0.0.0.0/0"));
        assert!(!within("10.0.0.0/8", "10.0.0.0/8") && !within("11.0.0.0/16", "10.0.0.0/8"));
    }
}
