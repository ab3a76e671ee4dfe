//! Telling the neighbours of an address: gratuitous ARP and unsolicited neighbour advertisement, so that a reused address
//! does not meet stale caches (cni#84).
//!
//! The kernel sends them, not we: a packet socket would do, but closing one waits for a grace period of RCU
//! (net/packet/af_packet.c, packet_release), which takes longer than all the rest of an ADD.

use cni_netlink::{LinkChange, Socket};

use crate::{Error, Result};

/// Makes the kernel announce every address of an interface that [`crate::configure_iface`] has set up, by giving it the
/// hardware address that it has: with arp_notify and ndisc_notify set, that is announced although nothing changes
/// (net/ipv4/devinet.c, inetdev_event; net/ipv6/ndisc.c, ndisc_netdev_event). It has been sent on return.
///
/// Call it when what the interface sends gets through: behind a bridge, when the port forwards. `inside` is a socket of
/// the container's namespace. An error is one to log, and no reason to fail an ADD, since neighbours find out anyway: the
/// link may be gone, or its driver may take no hardware address. A link that has none, as a tunnel, announces nothing.
pub fn announce(inside: &mut Socket, index: u32, ifname: &str) -> Result<()> {
    let failed = |source| Error::Iface { op: "announce the addresses of", ifname: ifname.to_owned(), source };
    // Asked for, not taken from the caller: a wrong one would be set.
    let Some(mac) = inside.link_by_index(index).map_err(failed)?.mac else { return Ok(()) };
    inside.link_change(index, &LinkChange { mac: Some(mac), ..LinkChange::default() }).map_err(failed)
}
