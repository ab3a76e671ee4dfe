//! Addresses: `ip address`.

use ipnet::IpNet;

use crate::{Result, Socket};

/// Flags of an address to be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddrFlags {
    /// IFA_F_NODAD: no duplicate address detection, usable at once. IPv6 only, ignored for IPv4.
    pub nodad: bool,
}

/// An address that a link has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Addr {
    pub index: u32,
    pub address: IpNet,
    /// Duplicate address detection has not ended.
    pub tentative: bool,
    /// Somebody else has it.
    pub dadfailed: bool,
}

impl Socket {
    /// Adds an address; IPv4 gets the broadcast address that iproute2's `brd +` gives, as the reference does.
    pub fn addr_add(&mut self, index: u32, address: IpNet, flags: AddrFlags) -> Result<()> {
        let _ = (index, address, flags);
        todo!()
    }
    /// Removes an address.
    pub fn addr_del(&mut self, index: u32, address: IpNet) -> Result<()> {
        let _ = (index, address);
        todo!()
    }
    /// The addresses of one link, both families.
    pub fn addr_dump(&mut self, index: u32) -> Result<Vec<Addr>> {
        let _ = index;
        todo!()
    }
}
