//! Links: `ip link`.

mod add;
mod build;
mod kind;
pub(crate) mod parse;
mod tun;

pub(crate) use build::Header;
pub use kind::{IpvlanMode, LinkKind, MacvlanMode, NewLink, Parent};
pub(crate) use parse::{IFINFOMSG, index as message_index};
pub use tun::Tun;

use std::os::fd::BorrowedFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use crate::uapi::ALTIFNAMSIZ;
use crate::{Error, MacAddr, Result, Socket, mac};

/// The longest alternative name, without the terminating zero.
const MAX_ALTERNATIVE_NAME: usize = ALTIFNAMSIZ - 1;

/// RFC 2863 operational state, IFLA_OPERSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperState {
    /// The driver does not tell.
    Unknown,
    /// A part of it is missing.
    NotPresent,
    /// It cannot carry packets.
    Down,
    /// What it stands on is down.
    LowerLayerDown,
    /// It is being tested.
    Testing,
    /// It waits for something, authentication for one.
    Dormant,
    /// It carries packets.
    Up,
}

/// Settings of a bridge's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// Frames may leave by the port that they came by.
    pub hairpin: bool,
    /// It takes no frames from other isolated ports.
    pub isolated: bool,
}

/// A link as the kernel describes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, when it has one of six bytes.
    pub mac: Option<MacAddr>,
    /// Its hardware address whatever the length: 20 bytes for IP over InfiniBand; empty when it has none.
    pub address: Vec<u8>,
    /// The one that it was made with, which cannot be changed (IFLA_PERM_ADDRESS, since Linux 5.6); empty when it has none.
    pub permanent_address: Vec<u8>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Length of its transmit queue in packets (IFLA_TXQLEN).
    pub txqlen: u32,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// Set to promiscuous mode by an administrator (IFF_PROMISC); what others ask for shows in `promiscuity` only.
    pub promisc: bool,
    /// Set to receive every multicast group by an administrator (IFF_ALLMULTI).
    pub allmulti: bool,
    /// How many ask for promiscuous mode (IFLA_PROMISCUITY).
    pub promiscuity: u32,
    /// Operational state.
    pub operstate: OperState,
    /// IFLA_INFO_KIND: "veth", "bridge" ...; empty for devices without one.
    pub kind: String,
    /// The settings of a kind that has some.
    pub settings: Option<LinkKind>,
    /// The bridge or other device it is enslaved to (IFLA_MASTER).
    pub master: Option<u32>,
    /// IFLA_LINK: for a veth its peer's index, for a link that stands on another that one's; valid in that one's namespace.
    pub peer: Option<u32>,
    /// IFLA_LINK_NETNSID: the namespace `peer` is in; `None` when it is this one.
    pub peer_netnsid: Option<i32>,
    /// IFLA_IFALIAS
    pub alias: Option<String>,
    /// When its master is a bridge.
    pub port: Option<BridgePort>,
    /// When it is a bridge: whether VLAN filtering is on.
    pub vlan_filtering: Option<bool>,
    /// When it is a tun or tap device.
    pub tun: Option<Tun>,
}

/// A veth pair to be made in one message: [`NewVeth::new`] with what is to be otherwise.
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

/// A bridge to be made: [`NewBridge::new`] with what is to be otherwise.
#[derive(Debug)]
pub struct NewBridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Setting it keeps the bridge's address from following its ports' (plugins#620); `None` as the kernel does.
    pub mac: Option<MacAddr>,
    /// MTU in bytes; `None` for the kernel's default.
    pub mtu: Option<u32>,
    /// Ports see only frames of their VLANs.
    pub vlan_filtering: bool,
}

/// Changes to a link, in one message: RTM_NEWLINK for an existing index, since RTM_SETLINK ignores port settings. Those of the
/// default are none, as in `LinkChange { up: Some(true), ..LinkChange::default() }`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// Administratively up or down (IFF_UP).
    pub up: Option<bool>,
    /// Receives every frame (IFF_PROMISC).
    pub promisc: Option<bool>,
    /// Receives every multicast group (IFF_ALLMULTI).
    pub allmulti: Option<bool>,
    /// Hardware address.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Length of the transmit queue in packets.
    pub txqlen: Option<u32>,
    /// A new name, at most 15 bytes.
    pub name: Option<&'a str>,
    /// Alias; empty for none.
    pub alias: Option<&'a str>,
    /// The bridge or other device to enslave it to, by index; `Some(None)` frees it from its master.
    pub master: Option<Option<u32>>,
    /// Settings of a bridge's port.
    pub port: Option<BridgePort>,
    /// Of a bridge: ports see only frames of their VLANs.
    pub vlan_filtering: Option<bool>,
    /// The namespace that it is moved to, down and without its addresses; then `index` is no longer good for it.
    pub netns: Option<BorrowedFd<'a>>,
}

impl<'a> NewVeth<'a> {
    /// A pair in one namespace with random addresses ([`MacAddr::random`]) and the kernel's MTU.
    pub fn new(name: &'a str, peer_name: &'a str) -> Self {
        let (mac, peer_mac) = (MacAddr::random(), MacAddr::random());
        NewVeth { name, mac, master: None, peer_name, peer_mac, peer_netns: None, mtu: None }
    }
}

impl<'a> NewBridge<'a> {
    /// A bridge as the kernel makes it.
    pub fn new(name: &'a str) -> Self {
        NewBridge { name, mac: None, mtu: None, vlan_filtering: false }
    }
}

impl Socket {
    /// Makes a veth pair, both ends down. One transmit and one receive queue each: the default of one per CPU costs
    /// tens of milliseconds on large hosts.
    pub fn link_add_veth(&mut self, veth: &NewVeth<'_>) -> Result<()> {
        let request = build::veth(veth);
        self.change(request, NLM_F_CREATE | NLM_F_EXCL, || {
            format!("add veth pair {} to {}", veth.name, veth.peer_name)
        })
    }

    /// Makes a bridge, down.
    pub fn link_add_bridge(&mut self, bridge: &NewBridge<'_>) -> Result<()> {
        let request = build::bridge(bridge);
        self.change(request, NLM_F_CREATE | NLM_F_EXCL, || format!("add bridge {}", bridge.name))
    }

    /// The link of this name (or alternative name, where the kernel has them: since 5.5).
    pub fn link_by_name(&mut self, name: &str) -> Result<Link> {
        // No link can have such a name, and no message could ask for the longest.
        if name.len() > MAX_ALTERNATIVE_NAME || name.contains('\0') {
            let shown: String = name.chars().take(MAX_ALTERNATIVE_NAME).collect();
            return Err(Error::not_found(format!("find link {shown}... ({} bytes)", name.len())));
        }
        let request = build::get_by_name(name);
        self.get(request, || format!("find link {name}"), parse::link)
    }

    /// The link with this index.
    pub fn link_by_index(&mut self, index: u32) -> Result<Link> {
        let request = build::get_by_index(index);
        self.get(request, || format!("find the link with index {index}"), parse::link)
    }

    /// All links of one kind (filtered by the kernel), or all for `None`.
    pub fn link_dump(&mut self, kind: Option<&str>) -> Result<Vec<Link>> {
        let op = || match kind {
            Some(kind) => format!("list {kind} links"),
            None => "list links".to_string(),
        };
        // A kernel that does not know the kind, or no filters at all, answers with every link.
        let wanted = |link: &Link| kind.is_none_or(|kind| link.kind == kind);
        let request = build::dump(kind);
        self.dump(request, op, |payload| parse::link(payload).filter(wanted))
    }

    /// Applies all changes in one message; in two when it enslaves to a bridge and sets the port, since the kernel
    /// looks up whose port it is before it changes the master (net/core/rtnetlink.c, rtnl_changelink).
    ///
    /// Renaming an interface that is up fails with EBUSY before Linux 6.2, also together with `up: Some(false)`.
    /// An alias has at most 255 bytes; an empty one removes it.
    ///
    /// With `netns` the kernel moves it first and makes all other changes in the new namespace (net/core/rtnetlink.c,
    /// do_setlink). One that fails then leaves it there, what comes after it not done: a `name` that is taken leaves it under
    /// its old name, without the alias. Where the old name is taken too nothing is moved.
    pub fn link_change(&mut self, index: u32, change: &LinkChange<'_>) -> Result<()> {
        let mut change = *change;
        if let (Some(Some(_)), Some(_)) = (change.master, change.port) {
            self.link_change_at_once(
                index,
                &LinkChange { master: change.master.take(), ..Default::default() },
            )?;
        }
        self.link_change_at_once(index, &change)
    }

    fn link_change_at_once(&mut self, index: u32, change: &LinkChange<'_>) -> Result<()> {
        let request = build::change(index, change);
        self.change(request, 0, || format!("change the link with index {index}: {}", change.summary()))
    }

    /// Takes an alternative name from a link: nothing can be renamed to what is one, not even the link that has it.
    pub fn link_altname_del(&mut self, index: u32, altname: &str) -> Result<()> {
        let request = build::altname_del(index, altname);
        self.change(request, 0, || {
            format!("take the alternative name {altname} from the link with index {index}")
        })
    }

    /// Deletes a link; a veth's peer goes with it.
    pub fn link_del(&mut self, index: u32) -> Result<()> {
        let request = build::delete(index);
        self.change(request, 0, || format!("delete the link with index {index}"))
    }
}

impl Link {
    /// [`Link::address`] as text, `02:42:ac:11:00:02`; `None` when it has none.
    pub fn address_text(&self) -> Option<String> {
        (!self.address.is_empty()).then(|| mac::text(&self.address))
    }
}

impl LinkChange<'_> {
    /// What is changed, in iproute2's words, for errors.
    fn summary(&self) -> String {
        let on = |on: bool| if on { "on" } else { "off" };
        let words = [
            self.netns.map(|_| "netns".into()),
            self.name.map(|name| format!("name {name}")),
            self.mac.map(|mac| format!("address {mac}")),
            self.mtu.map(|mtu| format!("mtu {mtu}")),
            self.txqlen.map(|length| format!("txqueuelen {length}")),
            self.alias.map(|alias| format!("alias {alias:?}")),
            self.master.map(|master| master.map_or("nomaster".into(), |index| format!("master {index}"))),
            self.port.map(|port| format!("hairpin {} isolated {}", on(port.hairpin), on(port.isolated))),
            self.vlan_filtering.map(|filtering| format!("vlan_filtering {}", on(filtering))),
            self.promisc.map(|promisc| format!("promisc {}", on(promisc))),
            self.allmulti.map(|allmulti| format!("allmulticast {}", on(allmulti))),
            self.up.map(|up| if up { "up".into() } else { "down".into() }),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}
