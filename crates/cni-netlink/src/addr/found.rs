//! Addresses just as the kernel has them, to be put back after what takes them away.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::address::AddressMessage;
use nix::libc::{RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR};

use super::{Addr, IFA_ADDRESS, IFA_F_TENTATIVE, IFA_FLAGS, IFA_LOCAL, IFADDRMSG, parse};
use crate::attr::{self, Attrs};
use crate::socket::Request;
use crate::write::{NLMSG_HDR, Writer};
use crate::{Result, Socket};

/// linux/if_addr.h
const IFA_LABEL: u16 = 3;
const IFA_CACHEINFO: u16 = 6;
const IFA_F_NODAD: u32 = 2;
const IFA_F_PERMANENT: u32 = 0x80;

/// An address as found, with all that [`Addr`] has no word for: lifetimes, label, metric of its route, peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAddr {
    /// What can be said of it.
    pub addr: Addr,
    header: [u8; IFADDRMSG],
    flags: u32,
    /// Attributes but for the flags.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Socket {
    /// The addresses of one link, both families, to be put back.
    pub fn addr_dump_found(&mut self, index: u32) -> Result<Vec<FoundAddr>> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        self.dump(
            Request::of(RTM_GETADDR, &message),
            || format!("list the addresses of the link with index {index}"),
            |payload| FoundAddr::read(payload).filter(|found| found.addr.index == index),
        )
    }

    /// Puts an address that was found back on its link, failing with EEXIST when it is there. Whether somebody else has it is
    /// not asked again where that had been found out.
    pub fn addr_put(&mut self, found: &FoundAddr) -> Result<()> {
        let Addr { index, address, .. } = found.addr;
        let op = || format!("add address {address} to the link with index {index}");
        self.connection.change(&mut found.message(), &op)
    }

    /// Removes an address that was found, and no other that is like it: with a peer there can be several.
    pub fn addr_take(&mut self, found: &FoundAddr) -> Result<()> {
        let Addr { index, address, .. } = found.addr;
        let op = || format!("remove address {address} from the link with index {index}");
        let mut writer = Writer::default();
        writer.message(RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, 0, &found.header, |writer| {
            let named = found.attributes.iter().filter(|(kind, _)| matches!(*kind, IFA_ADDRESS | IFA_LOCAL));
            named.for_each(|(kind, value)| writer.attr(*kind, value));
        });
        self.connection.change(&mut writer.into_bytes(), &op)
    }
}

impl FoundAddr {
    /// RT_SCOPE_*: 0 for an address that is valid everywhere.
    pub fn scope(&self) -> u8 {
        self.header[3]
    }

    /// Somebody gave it for good: neither an advertisement did nor is it for a time.
    pub fn is_permanent(&self) -> bool {
        self.flags & IFA_F_PERMANENT != 0
    }

    /// The same address on another link, or on the same one after its index has changed.
    #[must_use]
    pub fn on(&self, index: u32) -> Self {
        let mut moved = self.clone();
        moved.addr.index = index;
        moved.header[4..].copy_from_slice(&index.to_ne_bytes());
        moved
    }

    /// The same for good, without a label, which has the name of a link in it, and without a search for duplicates.
    #[must_use]
    pub fn for_good(&self) -> Self {
        let mut kept = self.clone();
        kept.attributes.retain(|(kind, _)| !matches!(*kind, IFA_CACHEINFO | IFA_LABEL));
        kept.flags &= !IFA_F_TENTATIVE;
        kept
    }

    /// The kernel's bytes, to be kept somewhere.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.message().split_off(NLMSG_HDR)
    }

    /// Reads what [`FoundAddr::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let addr = parse(payload)?;
        let attributes = || Attrs::after(payload, IFADDRMSG);
        let flags = attributes().find(IFA_FLAGS).and_then(attr::u32);
        Some(FoundAddr {
            addr,
            header: *payload.first_chunk()?,
            flags: flags.or(attr::u8_at(payload, 2).map(u32::from))?,
            attributes: attributes()
                .filter(|(kind, _)| *kind != IFA_FLAGS)
                .map(|(kind, value)| (kind, value.to_vec()))
                .collect(),
        })
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let mut flags = self.flags;
        if self.addr.address.addr().is_ipv6() && flags & IFA_F_TENTATIVE == 0 {
            flags |= IFA_F_NODAD;
        }
        let mut header = self.header;
        // The attribute says them all.
        header[2] = 0;
        let mut writer = Writer::default();
        let request = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        writer.message(RTM_NEWADDR, request, 0, &header, |writer| {
            for (kind, value) in &self.attributes {
                writer.attr(*kind, value);
            }
            // Those that are state and no wish the kernel passes over (net/ipv6/addrconf.c, inet6_rtm_newaddr).
            writer.attr(IFA_FLAGS, &flags.to_ne_bytes());
        });
        writer.into_bytes()
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden;

    /// What `ip address show dev br0` is answered after `ip address add 2001:db8::5/64 dev br0 valid_lft 600 preferred_lft 300`.
    fn dump(header: &str, flags: &str) -> String {
        format!(
            "48000000 14002200 01000000 46030000 0a40{header}00 02000000
             14000100 20010db8 00000000 00000000 00000005
             14000600 2c010000 58020000 cbb50300 cbb50300 08000800 {flags}"
        )
    }

    fn put(header: &str, flags: &str) -> Vec<u8> {
        let datagram = golden::bytes(&dump(header, flags));
        FoundAddr::read(golden::message(&datagram).payload).unwrap().message()
    }

    /// ip address add 2001:db8::5/64 dev br0 valid_lft 600 preferred_lft 300 nodad, but for the flags that are state (tentative
    /// 0x40, permanent 0x80), which iproute2 has no words for
    #[test]
    fn an_address_is_added_with_its_lifetimes_and_without_a_search_for_duplicates() {
        let message = |flags: &str| {
            golden::bytes(&format!(
                "48000000 14000506 00000000 00000000 0a400000 02000000
                 14000100 20010db8 00000000 00000000 00000005
                 14000600 2c010000 58020000 cbb50300 cbb50300 08000800 {flags}"
            ))
        };
        assert_eq!(put("00", "00000000"), message("02000000"));
        assert_eq!(put("80", "80020000"), message("82020000"));
        assert_eq!(put("c0", "c0000000"), message("c0000000"), "the search had not ended");
    }

    proptest! {
        #[test]
        fn no_damage_panics(changes: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
            let mut payload = golden::bytes(&dump("80", "80000000")).split_off(16);
            for (at, byte) in changes {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            payload.truncate(cut.index(payload.len()));
            let _ = FoundAddr::read(&payload);
        }
    }
}
