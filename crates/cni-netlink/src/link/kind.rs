//! Kinds of links with settings of their own: `ip link add ... type KIND`. What is read of a link has the same form as what
//! makes one, so that a plugin's CHECK compares what its ADD asked for.

use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVlan, InfoVrf, IpVlanMode as WireIpvlanMode,
    LinkAttribute, LinkMessage, MacVlanMode as WireMacvlanMode,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use super::build::with_mac_and_mtu;
use crate::MacAddr;
use crate::attr::{self, Attrs};

const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VRF_TABLE: u16 = 1;

/// What a macvlan's siblings see of each other (MACVLAN_MODE_* of linux/if_link.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MacvlanMode {
    Private,
    Vepa,
    Bridge,
    Passthru,
}

/// At which layer an ipvlan switches (IPVLAN_MODE_* of linux/if_link.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IpvlanMode {
    L2,
    L3,
    L3s,
}

/// The kind of a link, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// An interface with a hardware address of its own on a parent.
    Macvlan {
        /// Whom it talks to beside the parent's outside.
        mode: MacvlanMode,
        /// Packets that the parent queues for broadcast; `None` for the kernel's default (1000), and on kernels before 5.11.
        bc_queue_len: Option<u32>,
    },
    /// An interface that shares its parent's hardware address.
    Ipvlan {
        /// At which layer it switches.
        mode: IpvlanMode,
    },
    /// 802.1Q on a parent.
    Vlan {
        /// 0 to 4094.
        id: u16,
    },
    /// Takes packets and drops them.
    Dummy,
    /// Intermediate functional block: packets redirected to it come back through its queueing discipline.
    Ifb,
    /// A routing domain.
    Vrf {
        /// The table of its routes.
        table: u32,
    },
}

/// The link that another one stands on.
#[derive(Clone, Copy, Debug)]
pub struct Parent {
    /// Its index, in its own namespace.
    pub index: u32,
    /// That namespace, by the ID it has in the socket's ([`crate::Socket::netnsid`]); `None` for the socket's own.
    pub netnsid: Option<i32>,
}

/// A link to be made, in the socket's namespace.
#[derive(Debug)]
pub struct NewLink<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: LinkKind,
    /// What it stands on; macvlan, ipvlan and vlan need it.
    pub parent: Option<Parent>,
    /// Its hardware address; `None` for one that the kernel picks.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes; `None` for its parent's, or the kernel's default.
    pub mtu: Option<u32>,
}

impl LinkKind {
    /// IFLA_INFO_KIND, as in [`super::Link::kind`].
    pub fn name(&self) -> &'static str {
        match self {
            LinkKind::Macvlan { .. } => "macvlan",
            LinkKind::Ipvlan { .. } => "ipvlan",
            LinkKind::Vlan { .. } => "vlan",
            LinkKind::Dummy => "dummy",
            LinkKind::Ifb => "ifb",
            LinkKind::Vrf { .. } => "vrf",
        }
    }

    fn info(&self) -> (InfoKind, Option<InfoData>) {
        match *self {
            LinkKind::Macvlan { mode, bc_queue_len } => {
                let mut data = vec![InfoMacVlan::Mode(mode.into())];
                data.extend(bc_queue_len.map(InfoMacVlan::BcQueueLen));
                (InfoKind::MacVlan, Some(InfoData::MacVlan(data)))
            }
            LinkKind::Ipvlan { mode } => {
                (InfoKind::IpVlan, Some(InfoData::IpVlan(vec![InfoIpVlan::Mode(mode.into())])))
            }
            LinkKind::Vlan { id } => (InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(id)]))),
            LinkKind::Dummy => (InfoKind::Dummy, None),
            LinkKind::Ifb => (InfoKind::Ifb, None),
            LinkKind::Vrf { table } => (InfoKind::Vrf, Some(InfoData::Vrf(vec![InfoVrf::TableId(table)]))),
        }
    }

    /// Reads IFLA_LINKINFO of a link of kind `kind`; `None` for other kinds, and for settings that this crate has no word for.
    pub(super) fn read(kind: &str, info: &[u8]) -> Option<Self> {
        let data = Attrs(info).find(IFLA_INFO_DATA).unwrap_or_default();
        let u32_of = |key| Attrs(data).find(key).and_then(attr::u32);
        let u16_of = |key| Attrs(data).find(key).and_then(|value| attr::u16_at(value, 0));
        Some(match kind {
            "macvlan" => LinkKind::Macvlan {
                mode: MacvlanMode::read(u32_of(IFLA_MACVLAN_MODE)?)?,
                bc_queue_len: u32_of(IFLA_MACVLAN_BC_QUEUE_LEN),
            },
            "ipvlan" => LinkKind::Ipvlan { mode: IpvlanMode::read(u16_of(IFLA_IPVLAN_MODE)?)? },
            "vlan" => LinkKind::Vlan { id: u16_of(IFLA_VLAN_ID)? },
            "dummy" => LinkKind::Dummy,
            "ifb" => LinkKind::Ifb,
            "vrf" => LinkKind::Vrf { table: u32_of(IFLA_VRF_TABLE)? },
            _ => return None,
        })
    }
}

impl MacvlanMode {
    fn read(mode: u32) -> Option<Self> {
        Some(match WireMacvlanMode::from(mode) {
            WireMacvlanMode::Private => MacvlanMode::Private,
            WireMacvlanMode::Vepa => MacvlanMode::Vepa,
            WireMacvlanMode::Bridge => MacvlanMode::Bridge,
            WireMacvlanMode::Passthrough => MacvlanMode::Passthru,
            _ => return None,
        })
    }
}

impl From<MacvlanMode> for WireMacvlanMode {
    fn from(mode: MacvlanMode) -> Self {
        match mode {
            MacvlanMode::Private => WireMacvlanMode::Private,
            MacvlanMode::Vepa => WireMacvlanMode::Vepa,
            MacvlanMode::Bridge => WireMacvlanMode::Bridge,
            MacvlanMode::Passthru => WireMacvlanMode::Passthrough,
        }
    }
}

impl IpvlanMode {
    fn read(mode: u16) -> Option<Self> {
        Some(match WireIpvlanMode::from(mode) {
            WireIpvlanMode::L2 => IpvlanMode::L2,
            WireIpvlanMode::L3 => IpvlanMode::L3,
            WireIpvlanMode::L3S => IpvlanMode::L3s,
            _ => return None,
        })
    }
}

impl From<IpvlanMode> for WireIpvlanMode {
    fn from(mode: IpvlanMode) -> Self {
        match mode {
            IpvlanMode::L2 => WireIpvlanMode::L2,
            IpvlanMode::L3 => WireIpvlanMode::L3,
            IpvlanMode::L3s => WireIpvlanMode::L3S,
        }
    }
}

/// `ip link add link PARENT NAME address MAC mtu MTU link-netnsid ID type KIND ...`
pub(super) fn build(new: &NewLink<'_>) -> LinkMessage {
    let (kind, data) = new.kind.info();
    let mut builder = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind);
    if let Some(data) = data {
        builder = builder.set_info_data(data);
    }
    builder = with_mac_and_mtu(builder, new.mac, new.mtu);
    if let Some(parent) = new.parent {
        builder = builder.append_extra_attribute(LinkAttribute::Link(parent.index));
        if let Some(id) = parent.netnsid {
            builder = builder.append_extra_attribute(LinkAttribute::LinkNetNsId(id));
        }
    }
    builder.name(new.name).build()
}
