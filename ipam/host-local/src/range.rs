//! Ranges of addresses, and sets of them: of each set an attachment gets one address.
//!
//! Arithmetic is on `u128` for both families; [`bits`] and [`address`] go between.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use cni_types::{parse_address, parse_network};
use ipnet::IpNet;

use crate::config::RangeConf;
use crate::error::Error;

/// A part of a subnet, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Where the configuration has it, as in `ipam.ranges[0][1]`.
    place: String,
    subnet: IpNet,
    start: IpAddr,
    end: IpAddr,
    pub(crate) gateway: IpAddr,
}

/// As the reference prints it.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl Range {
    /// Validates a range and fills in what is not there: the gateway is the subnet's first address, the range goes from there
    /// to the last one (for IPv4 the one before it, which is for broadcasts).
    pub(crate) fn new(place: String, conf: &RangeConf) -> Result<Self, Error> {
        let invalid = |reason: String| Error::config(place.as_str(), reason);

        let text = conf.subnet.as_deref().ok_or_else(|| invalid("subnet is missing".to_owned()))?;
        let subnet = parse_network(text).ok_or_else(|| {
            invalid(format!("subnet {text:?} is not an address with a prefix length, as in 10.1.0.0/16"))
        })?;
        if subnet.network() != subnet.addr() {
            return Err(invalid(format!(
                "subnet {subnet} has host bits set; the network is {}",
                subnet.trunc()
            )));
        }
        if subnet.prefix_len() > subnet.max_prefix_len() - 2 {
            return Err(invalid(format!("subnet {subnet} is too small to allocate from")));
        }
        if text.contains(':') && subnet.addr().to_canonical().is_ipv4() {
            return Err(invalid(format!("subnet {text} mixes IPv4 and IPv6; write it as IPv4")));
        }

        let given = |key: &str, value: &Option<String>| match value.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => parse_address(text)
                .map(Some)
                .ok_or_else(|| invalid(format!("{key} {text:?} is not an IP address"))),
        };
        let bound = |key: &str, value: &Option<String>, default: IpAddr| {
            let address = given(key, value)?.unwrap_or(default);
            if !subnet.contains(&address) {
                return Err(invalid(format!("{key} {address} is not in subnet {subnet}")));
            }
            Ok(address)
        };

        let first = offset(subnet.network(), 1);
        let broadcast = u128::from(subnet.network().is_ipv4());
        let last = address(subnet.network().is_ipv4(), bits(subnet.broadcast()) - broadcast);

        let gateway = given("gateway", &conf.gateway)?.unwrap_or(first);
        let start = bound("rangeStart", &conf.range_start, first)?;
        let end = bound("rangeEnd", &conf.range_end, last)?;
        if bits(start) > bits(end) {
            return Err(invalid(format!("rangeStart {start} is after rangeEnd {end}")));
        }
        Ok(Range { place, subnet, start, end, gateway })
    }

    /// Refuses a gateway that is not in the subnet, or of the other family. Apart from [`Range::new`], since releases of before
    /// 1.10.0 gave out addresses with one, and what runs with them must go on being checked and deleted.
    pub(crate) fn check_gateway(&self) -> Result<(), Error> {
        if self.subnet.contains(&self.gateway) {
            return Ok(());
        }
        let reason = format!("gateway {} is not in subnet {}", self.gateway, self.subnet);
        Err(Error::config(self.place.as_str(), reason))
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.start.is_ipv4()
    }

    /// Whether an address is in it. IPv4 addresses in IPv6 clothes (`::ffff:10.1.2.3`) are IPv4 ones everywhere here.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4()
            && bits(self.start) <= bits(address)
            && bits(address) <= bits(self.end)
    }

    /// An address of it with the prefix length of its subnet.
    pub(crate) fn with_prefix(&self, address: IpAddr) -> IpNet {
        // The prefix length is a subnet's of the same family, so that it cannot be too long.
        IpNet::new(address, self.subnet.prefix_len()).unwrap_or_else(|_| IpNet::from(address))
    }

    /// Refuses two ranges that share an address.
    pub(crate) fn check_overlap(&self, other: &Range) -> Result<(), Error> {
        let apart = self.is_ipv4() != other.is_ipv4()
            || bits(self.end) < bits(other.start)
            || bits(other.end) < bits(self.start);
        if apart {
            return Ok(());
        }
        Err(Error::config(other.place.as_str(), format!("{other} overlaps {self} of {}", self.place)))
    }
}

/// Ranges of one family that serve as one: never empty, no two overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeSet {
    ranges: Vec<Range>,
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            write!(f, "{}{range}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl RangeSet {
    /// `place` is where the configuration has the set, for errors about the set as a whole.
    pub(crate) fn new(place: &str, ranges: Vec<Range>) -> Result<Self, Error> {
        let Some(first) = ranges.first() else {
            return Err(Error::config(place, "the range set is empty"));
        };
        if let Some(range) = ranges.iter().find(|range| range.is_ipv4() != first.is_ipv4()) {
            return Err(Error::config(
                range.place.as_str(),
                format!("{range} and {first} of {} are of different address families", first.place),
            ));
        }
        for (i, range) in ranges.iter().enumerate() {
            ranges[..i].iter().try_for_each(|earlier| earlier.check_overlap(range))?;
        }
        Ok(RangeSet { ranges })
    }

    pub(crate) fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.ranges[0].is_ipv4()
    }

    /// The range that has this address.
    pub(crate) fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.contains(address))
    }

    /// Whether an address is the gateway of any range of the set; such a one is never handed out.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.gateway == address)
    }

    /// How many attachments the set can serve; gateways don't count.
    pub(crate) fn capacity(&self) -> u128 {
        let all = self.ranges.iter().fold(0u128, |sum, range| {
            sum.saturating_add(bits(range.end) - bits(range.start)).saturating_add(1)
        });
        let mut gateways: Vec<IpAddr> = self
            .ranges
            .iter()
            .map(|range| range.gateway)
            .filter(|&gateway| self.range_of(gateway).is_some())
            .collect();
        gateways.sort_unstable();
        gateways.dedup();
        all - gateways.len() as u128
    }

    /// Every address that can be handed out, once, from the one after `last` round to `last` itself, or from the first on.
    pub(crate) fn round_robin(&self, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> + '_ {
        self.round_robin_of(last, |span| span)
    }

    /// The same, but of each span of addresses only those numbers that `pick` picks.
    pub(crate) fn round_robin_of<I: Iterator<Item = u128>>(
        &self,
        last: Option<IpAddr>,
        pick: impl Fn(RangeInclusive<u128>) -> I,
    ) -> impl Iterator<Item = IpAddr> {
        let ipv4 = self.is_ipv4();
        let numbers = self.spans(last).into_iter().flat_map(pick);
        numbers.map(move |bits| address(ipv4, bits)).filter(|&address| !self.is_gateway(address))
    }

    /// The ranges, or parts of them, in the order of the round robin.
    fn spans(&self, last: Option<IpAddr>) -> Vec<RangeInclusive<u128>> {
        let whole = |range: &Range| bits(range.start)..=bits(range.end);
        let at = last
            .and_then(|last| Some((self.ranges.iter().position(|range| range.contains(last))?, bits(last))));

        let mut spans = Vec::with_capacity(self.ranges.len() + 1);
        match at {
            None => spans.extend(self.ranges.iter().map(whole)),
            Some((index, last)) => {
                let (start, end) = whole(&self.ranges[index]).into_inner();
                if last < end {
                    spans.push(last + 1..=end);
                }
                spans.extend(self.ranges[index + 1..].iter().map(whole));
                spans.extend(self.ranges[..index].iter().map(whole));
                spans.push(start..=last);
            }
        }
        spans
    }
}

/// An address as a number; only numbers of one family compare.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

pub(crate) fn address(ipv4: bool, bits: u128) -> IpAddr {
    if ipv4 {
        // Every number here lies between two addresses of the family, so that nothing is cut off.
        IpAddr::V4(Ipv4Addr::from(bits as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from(bits))
    }
}

fn offset(from: IpAddr, by: u128) -> IpAddr {
    address(from.is_ipv4(), bits(from) + by)
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
