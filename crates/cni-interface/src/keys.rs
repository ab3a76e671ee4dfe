//! Configuration keys that several plugins have.

use std::num::NonZeroU32;

use cni_netlink::{InvalidMac, MacAddr};
use cni_plugin::{Call, Error, Result};
use cni_types::Dns;
use cni_types::json::{RawObject, Unread};

/// An MTU in bytes; zero is unset.
pub fn mtu(mtu: i64) -> Result<Option<NonZeroU32>> {
    u32::try_from(mtu).map(NonZeroU32::new).map_err(|_| Error::config(format!("mtu: {mtu} is not an MTU")))
}

/// The hardware address of the first source that is set; each source is a key, for errors, and its value. Empty is unset.
pub fn mac(sources: &[(&str, Option<&str>)]) -> Result<Option<MacAddr>> {
    let given = sources.iter().find_map(|(key, mac)| Some((key, mac.filter(|mac| !mac.is_empty())?)));
    let Some((key, mac)) = given else { return Ok(None) };
    let mac: MacAddr = mac.parse().map_err(|reason: InvalidMac| Error::config(format!("{key}: {reason}")))?;
    // What eth_validate_addr and eth_prepare_mac_addr_change refuse (is_valid_ether_addr, linux/etherdevice.h).
    if mac.0[0] & 1 != 0 || mac.0 == [0; 6] {
        return Err(Error::config(format!("{key}: {mac} is not the address of a single interface")));
    }
    Ok(Some(mac))
}

/// `dns`, set as the reference understands it: an empty list counts, an empty domain or object does not. Where it is set, it
/// replaces IPAM's whole.
pub fn dns(call: &Call) -> Option<Dns> {
    let dns = call.conf.raw.get::<Unread<'_>>("dns").ok()??;
    let dns = RawObject::from_slice(dns.text().as_bytes()).ok()?;
    let domain = dns.get::<String>("domain").ok().flatten().is_some_and(|domain| !domain.is_empty());
    let list = |key: &&str| matches!(dns.get::<Unread<'_>>(key), Ok(Some(_)));
    let set = domain || ["nameservers", "search", "options"].iter().any(list);
    set.then(|| call.conf.dns.clone())
}
