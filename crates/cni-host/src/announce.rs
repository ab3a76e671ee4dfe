//! Telling the neighbours of a new address: gratuitous ARP and unsolicited neighbour advertisement, so that a reused address
//! does not meet stale caches (cni#84).

use std::net::IpAddr;

use cni_netlink::MacAddr;

use crate::Result;

/// Sends one ARP announcement (RFC 5227) or neighbour advertisement (RFC 4861, 7.2.6) for the address. The link must be up.
/// Call inside the container's namespace.
pub fn announce(ifname: &str, index: u32, mac: MacAddr, address: IpAddr) -> Result<()> {
    let _ = (ifname, index, mac, address);
    todo!()
}
