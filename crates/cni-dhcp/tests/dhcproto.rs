//! Messages beside another implementation's: what ours writes dhcproto reads, and the other way round.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::Ipv4Addr;

use cni_dhcp::packet::{Lease, LeaseRoute, Message, MessageType, Op, code};
use dhcproto::v4::{self, DhcpOption, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Name};
use ipnet::Ipv4Net;
use proptest::prelude::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 9, 2];

fn theirs(bytes: &[u8]) -> v4::Message {
    v4::Message::decode(&mut Decoder::new(bytes)).unwrap()
}

fn addresses(least: usize) -> impl Strategy<Value = Vec<Ipv4Addr>> {
    prop::collection::vec(host(), least..80)
}

/// An address that a host can have.
fn host() -> impl Strategy<Value = Ipv4Addr> {
    (11..127_u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| [a, b, c, d].into())
}

fn routes() -> impl Strategy<Value = Vec<(Ipv4Net, Ipv4Addr)>> {
    let route = (any::<u32>(), 0..=32_u8, any::<u32>());
    let route = route.prop_map(|(destination, prefix, router)| {
        (Ipv4Net::new(destination.into(), prefix).unwrap().trunc(), router.into())
    });
    prop::collection::vec(route, 1..60)
}

proptest! {
    #[test]
    fn what_ours_writes_theirs_reads(
        xid: u32, secs: u16, broadcast: bool, addresses in [any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()],
        kind in prop::sample::select(vec![MessageType::Discover, MessageType::Request, MessageType::Release, MessageType::Decline]),
        long in prop::collection::vec(any::<u8>(), 1..700), asked: Ipv4Addr, list in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let [ciaddr, yiaddr, siaddr, giaddr] = addresses.map(Ipv4Addr::from);
        let mut ours = Message { secs, broadcast, ciaddr, yiaddr, siaddr, giaddr, ..Message::new(kind, xid, MAC) };
        ours.options.set(code::REQUESTED_ADDRESS, asked.octets()).set(code::PARAMETER_LIST, list.clone());
        ours.options.set(code::CLIENT_ID, long.clone());
        let theirs = theirs(&ours.encode());
        prop_assert_eq!((theirs.opcode(), theirs.xid(), theirs.secs()), (Opcode::BootRequest, xid, secs));
        prop_assert_eq!(
            (theirs.ciaddr(), theirs.yiaddr(), theirs.siaddr(), theirs.giaddr()), (ciaddr, yiaddr, siaddr, giaddr)
        );
        prop_assert_eq!((theirs.chaddr(), theirs.flags().broadcast()), (&MAC[..], broadcast));
        prop_assert_eq!(u8::from(theirs.opts().msg_type().unwrap()), kind.number());
        let option = |code| theirs.opts().get(code).cloned();
        prop_assert_eq!(option(OptionCode::ClientIdentifier), Some(DhcpOption::ClientIdentifier(long)));
        prop_assert_eq!(option(OptionCode::RequestedIpAddress), Some(DhcpOption::RequestedIpAddress(asked)));
        let list = list.into_iter().map(OptionCode::from).collect();
        prop_assert_eq!(option(OptionCode::ParameterRequestList), Some(DhcpOption::ParameterRequestList(list)));
        // What they make of it is the same again.
        prop_assert_eq!(Message::decode(&theirs.to_vec().unwrap()), Ok(ours));
    }

    #[test]
    fn what_theirs_writes_ours_reads(
        xid: u32, address in host(), prefix in 0..=32_u8, routers in addresses(1), servers in addresses(1),
        routes in routes(), lease_time in 8..u32::MAX, mtu in 68_u16.., names in prop::collection::vec("[a-z]{1,9}(\\.[a-z]{1,9}){0,3}", 1..20),
    ) {
        let mut theirs = v4::Message::new_with_id(xid, Ipv4Addr::UNSPECIFIED, address, routers[0], Ipv4Addr::UNSPECIFIED, &MAC);
        theirs.set_opcode(Opcode::BootReply);
        let options = theirs.opts_mut();
        let search = names.iter().map(|name| Name::from_ascii(name).unwrap()).collect();
        for option in [
            DhcpOption::MessageType(v4::MessageType::Ack),
            DhcpOption::SubnetMask(Ipv4Net::new(address, prefix).unwrap().netmask()),
            DhcpOption::ServerIdentifier(routers[0]),
            DhcpOption::Router(routers.clone()),
            DhcpOption::DomainNameServer(servers.clone()),
            DhcpOption::DomainName(names[0].clone()),
            DhcpOption::DomainSearch(search),
            DhcpOption::InterfaceMtu(mtu),
            DhcpOption::AddressLeaseTime(lease_time),
            DhcpOption::Renewal(lease_time / 4),
            DhcpOption::Rebinding(lease_time / 2),
            DhcpOption::ClasslessStaticRoute(routes.clone()),
        ] {
            options.insert(option);
        }
        let ours = Message::decode(&theirs.to_vec().unwrap()).unwrap();
        prop_assert_eq!((ours.op, ours.kind, ours.xid, ours.yiaddr, ours.chaddr), (Op::Reply, MessageType::Ack, xid, address, MAC));
        let expected = Lease {
            address: Ipv4Net::new(address, prefix).unwrap(),
            server: routers[0],
            gateway: Some(routers[0]),
            routes: routes.into_iter().map(|(dst, gateway)| LeaseRoute { dst, gateway }).collect(),
            dns_servers: servers,
            domain: Some(names[0].clone()),
            search: names,
            mtu: Some(mtu),
            lease_time,
            renewal_time: lease_time / 4,
            rebinding_time: lease_time / 2,
        };
        prop_assert_eq!(Lease::from_ack(&ours, None), Ok((expected, vec![])));
    }
}
