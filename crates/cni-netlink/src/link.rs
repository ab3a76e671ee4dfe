//! Links: `ip link`.

use std::os::fd::BorrowedFd;

use crate::{Result, Socket};

/// A hardware address of Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// A random address, locally administered and unicast. Given to the kernel it counts as set by the user, so that
    /// udev's MACAddressPolicy leaves it alone.
    pub fn random() -> Self {
        todo!()
    }
}

impl std::fmt::Display for MacAddr {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// `02:42:ac:11:00:02`, also with `-`.
impl std::str::FromStr for MacAddr {
    type Err = String;
    fn from_str(_s: &str) -> std::result::Result<Self, String> {
        todo!()
    }
}

/// RFC 2863 operational state, IFLA_OPERSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OperState {
    Unknown,
    NotPresent,
    Down,
    LowerLayerDown,
    Testing,
    Dormant,
    Up,
}

/// Settings of a bridge's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BridgePort {
    pub hairpin: bool,
    pub isolated: bool,
}

/// A link as the kernel describes it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, when it has one of six bytes.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// How many ask for promiscuous mode (IFLA_PROMISCUITY).
    pub promiscuity: u32,
    /// Operational state.
    pub operstate: OperState,
    /// IFLA_INFO_KIND: "veth", "bridge" ...; empty for devices without one.
    pub kind: String,
    /// The bridge or other device it is enslaved to (IFLA_MASTER).
    pub master: Option<u32>,
    /// IFLA_LINK: for a veth its peer's index, valid in the peer's namespace.
    pub peer: Option<u32>,
    /// IFLA_LINK_NETNSID: the namespace `peer` is in; `None` when it is this one.
    pub peer_netnsid: Option<i32>,
    /// IFLA_IFALIAS
    pub alias: Option<String>,
    /// When its master is a bridge.
    pub port: Option<BridgePort>,
    /// When it is a bridge: whether VLAN filtering is on.
    pub vlan_filtering: Option<bool>,
}

/// A veth pair to be made in one message.
#[derive(Debug)]
pub struct NewVeth<'a> {
    /// Name of the near end, in the socket's namespace.
    pub name: &'a str,
    /// Its address.
    pub mac: MacAddr,
    /// The bridge it is enslaved to from the start.
    pub master: Option<u32>,
    /// Name of the far end.
    pub peer_name: &'a str,
    /// Its address.
    pub peer_mac: MacAddr,
    /// The namespace the far end is made in; `None` for the same.
    pub peer_netns: Option<BorrowedFd<'a>>,
    /// MTU of both ends; `None` for the kernel's default.
    pub mtu: Option<u32>,
}

/// A bridge to be made.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct NewBridge<'a> {
    pub name: &'a str,
    /// Setting it keeps the bridge's address from following its ports' (plugins#620); `None` as the kernel does.
    pub mac: Option<MacAddr>,
    pub mtu: Option<u32>,
    pub vlan_filtering: bool,
}

/// Changes to a link, in one message: RTM_NEWLINK for an existing index, since RTM_SETLINK ignores port settings.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct LinkChange<'a> {
    pub up: Option<bool>,
    pub promisc: Option<bool>,
    pub mac: Option<MacAddr>,
    pub mtu: Option<u32>,
    pub name: Option<&'a str>,
    pub alias: Option<&'a str>,
    /// `Some(None)` frees it from its master.
    pub master: Option<Option<u32>>,
    pub port: Option<BridgePort>,
    pub vlan_filtering: Option<bool>,
}

impl Socket {
    /// Makes a veth pair, both ends down. One transmit and one receive queue each: the default of one a CPU costs
    /// tens of milliseconds on large hosts.
    pub fn link_add_veth(&mut self, veth: &NewVeth<'_>) -> Result<()> {
        let _ = veth;
        todo!()
    }
    /// Makes a bridge, down.
    pub fn link_add_bridge(&mut self, bridge: &NewBridge<'_>) -> Result<()> {
        let _ = bridge;
        todo!()
    }
    /// The link of this name (or alternative name).
    pub fn link_by_name(&mut self, name: &str) -> Result<Link> {
        let _ = name;
        todo!()
    }
    /// The link with this index.
    pub fn link_by_index(&mut self, index: u32) -> Result<Link> {
        let _ = index;
        todo!()
    }
    /// All links of one kind (filtered by the kernel), or all for `None`.
    pub fn link_dump(&mut self, kind: Option<&str>) -> Result<Vec<Link>> {
        let _ = kind;
        todo!()
    }
    /// Applies all changes in one message.
    pub fn link_change(&mut self, index: u32, change: &LinkChange<'_>) -> Result<()> {
        let _ = (index, change);
        todo!()
    }
    /// Deletes a link; a veth's peer goes with it.
    pub fn link_del(&mut self, index: u32) -> Result<()> {
        let _ = index;
        todo!()
    }
}
