//! Kinds of links with settings of their own: `ip link add ... type KIND`. What is read of a link has the same form as what
//! makes one, so that a plugin's CHECK compares what its ADD asked for.

use nix::libc::{IFLA_IFNAME, IFLA_INFO_DATA, IFLA_LINK, IFLA_LINK_NETNSID};

use super::build;
use crate::MacAddr;
use crate::attr::{self, Attrs};
use crate::socket::Request;
use crate::uapi::*;
use crate::write::Writer;

/// What a macvlan's siblings see of each other (MACVLAN_MODE_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Nothing.
    Private = MACVLAN_MODE_PRIVATE as isize,
    /// What a switch outside sends back.
    Vepa = MACVLAN_MODE_VEPA as isize,
    /// Whatever is for them.
    Bridge = MACVLAN_MODE_BRIDGE as isize,
    /// There is one alone, which has its parent to itself.
    Passthru = MACVLAN_MODE_PASSTHRU as isize,
}

/// At which layer an ipvlan switches (IPVLAN_MODE_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvlanMode {
    /// By addresses, with broadcast and neighbours of its own.
    L2 = IPVLAN_MODE_L2 as isize,
    /// By addresses, without broadcast; packets that leave take the parent's namespace's routes.
    L3 = IPVLAN_MODE_L3 as isize,
    /// The same, and what arrives passes the packet filter there too.
    L3s = IPVLAN_MODE_L3S as isize,
}

/// The kind of a link, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// An interface with a hardware address of its own on a parent.
    Macvlan {
        /// Whom it talks to other than the parent's outside.
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

/// A link to be made, in the socket's namespace: [`NewLink::new`] with what is to be otherwise, since it may get more fields, as
/// in `NewLink { mtu: Some(1400), ..NewLink::new("dummy0", LinkKind::Dummy) }`.
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

impl<'a> NewLink<'a> {
    /// A link that stands on nothing, with the kernel's own address and MTU.
    pub fn new(name: &'a str, kind: LinkKind) -> Self {
        NewLink { name, kind, parent: None, mac: None, mtu: None }
    }
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

    /// IFLA_INFO_DATA, for kinds that have settings.
    fn write(&self, info: &mut Writer) {
        let data = |writer: &mut Writer| match *self {
            LinkKind::Macvlan { mode, bc_queue_len } => {
                if let Some(length) = bc_queue_len {
                    writer.u32(IFLA_MACVLAN_BC_QUEUE_LEN, length);
                }
                writer.u32(IFLA_MACVLAN_MODE, mode as u32);
            }
            LinkKind::Ipvlan { mode } => writer.attr(IFLA_IPVLAN_MODE, &(mode as u16).to_ne_bytes()),
            LinkKind::Vlan { id } => writer.attr(IFLA_VLAN_ID, &id.to_ne_bytes()),
            LinkKind::Vrf { table } => writer.u32(IFLA_VRF_TABLE, table),
            LinkKind::Dummy | LinkKind::Ifb => {}
        };
        if !matches!(self, LinkKind::Dummy | LinkKind::Ifb) {
            info.enclose(IFLA_INFO_DATA, data);
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
        use MacvlanMode::{Bridge, Passthru, Private, Vepa};
        [Private, Vepa, Bridge, Passthru].into_iter().find(|known| *known as u32 == mode)
    }
}

impl IpvlanMode {
    fn read(mode: u16) -> Option<Self> {
        use IpvlanMode::{L2, L3, L3s};
        [L2, L3, L3s].into_iter().find(|known| *known as u16 == mode)
    }
}

/// `ip link add link PARENT address MAC mtu MTU link-netnsid ID name NAME type KIND ...`
pub(super) fn add(new: &NewLink<'_>) -> Request {
    build::create(|writer| {
        build::mac_and_mtu(writer, new.mac, new.mtu);
        if let Some(parent) = new.parent {
            if let Some(id) = parent.netnsid {
                writer.u32(IFLA_LINK_NETNSID, id.cast_unsigned());
            }
            writer.u32(IFLA_LINK, parent.index);
        }
        writer.string(IFLA_IFNAME, new.name);
        build::info(writer, new.kind.name(), |writer| new.kind.write(writer));
    })
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::golden::{CREATE_EXCL, assert_request};

    const ELSEWHERE: Option<Parent> = Some(Parent { index: 3, netnsid: Some(5) });

    fn assert_new(new: &NewLink<'_>, expected: &str) {
        assert_request(add(new), CREATE_EXCL, expected);
    }

    /// ip link add link p0 address 02:00:00:00:00:02 mtu 1400 link-netnsid 5 name mv0 type macvlan bcqueuelen 500
    /// mode passthru
    #[test]
    fn macvlan_on_a_parent_in_another_namespace() {
        let kind = LinkKind::Macvlan { mode: MacvlanMode::Passthru, bc_queue_len: Some(500) };
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 2]));
        assert_new(
            &NewLink { parent: ELSEWHERE, mac, mtu: Some(1400), ..NewLink::new("mv0", kind) },
            "70000000 10000506 00000000 00000000
             00000000 00000000 00000000 00000000
             0a000100 02000000 00020000 08000400 78050000
             08002500 05000000 08000500 03000000 08000300 6d763000
             24001200 0c000100 6d616376 6c616e00
             14000200 08000700 f4010000 08000100 08000000",
        );
    }

    /// ip link add link p0 name mv1 type macvlan mode bridge
    #[test]
    fn macvlan_with_nothing_but_its_mode() {
        let parent = Some(Parent { index: 3, netnsid: None });
        let kind = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
        assert_new(
            &NewLink { parent, ..NewLink::new("mv1", kind) },
            "4c000000 10000506 00000000 00000000
             00000000 00000000 00000000 00000000
             08000500 03000000 08000300 6d763100
             1c001200 0c000100 6d616376 6c616e00 0c000200 08000100 04000000",
        );
    }

    /// ip link add link p0 mtu 1400 link-netnsid 5 name iv0 type ipvlan mode l3s
    ///
    /// iproute2 sends IFLA_IPVLAN_FLAGS of 0 besides, which would take from all links of the parent what has been
    /// set there (drivers/net/ipvlan/ipvlan_main.c, ipvlan_link_new).
    #[test]
    fn ipvlan() {
        let kind = LinkKind::Ipvlan { mode: IpvlanMode::L3s };
        assert_new(
            &NewLink { parent: ELSEWHERE, mtu: Some(1400), ..NewLink::new("iv0", kind) },
            "5c000000 10000506 00000000 00000000
             00000000 00000000 00000000 00000000
             08000400 78050000 08002500 05000000 08000500 03000000 08000300 69763000
             1c001200 0b000100 6970766c 616e0000 0c000200 06000100 02000000",
        );
    }

    /// ip link add link p0 mtu 1400 link-netnsid 5 name vl0 type vlan id 100
    #[test]
    fn vlan() {
        assert_new(
            &NewLink {
                parent: ELSEWHERE,
                mtu: Some(1400),
                ..NewLink::new("vl0", LinkKind::Vlan { id: 100 })
            },
            "5c000000 10000506 00000000 00000000
             00000000 00000000 00000000 00000000
             08000400 78050000 08002500 05000000 08000500 03000000 08000300 766c3000
             1c001200 09000100 766c616e 00000000 0c000200 06000100 64000000",
        );
    }

    /// ip link add name du0 type dummy
    #[test]
    fn dummy() {
        assert_new(
            &NewLink::new("du0", LinkKind::Dummy),
            "38000000 10000506 00000000 00000000
             00000000 00000000 00000000 00000000
             08000300 64753000 10001200 0a000100 64756d6d 79000000",
        );
    }

    /// ip link add name if0 type ifb
    #[test]
    fn ifb() {
        assert_new(
            &NewLink::new("if0", LinkKind::Ifb),
            "34000000 10000506 00000000 00000000
             00000000 00000000 00000000 00000000
             08000300 69663000 0c001200 08000100 69666200",
        );
    }

    /// ip link add name vr0 type vrf table 100
    #[test]
    fn vrf() {
        assert_new(
            &NewLink::new("vr0", LinkKind::Vrf { table: 100 }),
            "40000000 10000506 00000000 00000000
             00000000 00000000 00000000 00000000
             08000300 76723000 18001200 08000100 76726600 0c000200 08000100 64000000",
        );
    }

    /// What makes a link reads back from the same bytes.
    #[test]
    fn every_kind_is_read_as_it_was_made() {
        let macvlan = |mode| LinkKind::Macvlan { mode, bc_queue_len: Some(500) };
        let ipvlan = |mode| LinkKind::Ipvlan { mode };
        for kind in [
            macvlan(MacvlanMode::Private),
            macvlan(MacvlanMode::Vepa),
            macvlan(MacvlanMode::Bridge),
            macvlan(MacvlanMode::Passthru),
            LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None },
            ipvlan(IpvlanMode::L2),
            ipvlan(IpvlanMode::L3),
            ipvlan(IpvlanMode::L3s),
            LinkKind::Vlan { id: 4094 },
            LinkKind::Dummy,
            LinkKind::Ifb,
            LinkKind::Vrf { table: 70_000 },
        ] {
            let bytes = add(&NewLink::new("x", kind)).with(0);
            let link = super::super::parse::link(crate::golden::message(&bytes).payload).unwrap();
            assert_eq!((link.settings, link.kind.as_str()), (Some(kind), kind.name()));
        }
    }

    #[test]
    fn settings_without_a_word_are_none() {
        // Source mode (MACVLAN_MODE_SOURCE), which no plugin makes, and no settings at all.
        let source = crate::golden::bytes("0c000200 08000100 10000000");
        assert_eq!(LinkKind::read("macvlan", &source), None);
        assert_eq!(LinkKind::read("ipvlan", &[]), None);
        assert_eq!(LinkKind::read("veth", &source), None);
    }
}
