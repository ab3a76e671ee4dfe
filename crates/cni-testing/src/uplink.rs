//! A machine next to the private host, reached over a link and not over anything that a plugin made.

use std::net::IpAddr;
use std::os::fd::AsFd;

use cni_host::{IfaceConfig, configure_iface};
use cni_netlink::{AddrFlags, LinkChange, MacAddr, NewVeth, NextHop, RouteSpec, Socket};

use crate::Container;

/// A veth pair `name` on the calling thread's host and eth0 in the machine, of which the host is the router. Addresses are
/// an IPv4 one (/24) and an IPv6 one (/64).
pub(crate) fn connect(machine: &Container, name: &str, host: [&str; 2], addresses: [&str; 2]) {
    let mut socket = Socket::open().expect("cannot open a netlink socket");
    let veth = NewVeth {
        name,
        mac: MacAddr::random(),
        master: None,
        peer_name: "eth0",
        peer_mac: MacAddr::random(),
        peer_netns: Some(machine.ns().as_fd()),
        mtu: None,
    };
    socket.link_add_veth(&veth).expect("cannot make a veth pair");
    let index = index(&mut socket, name);
    let routers = host.map(address);
    for router in routers {
        let added = socket.addr_add(index, prefixed(router), AddrFlags { nodad: true });
        added.unwrap_or_else(|error| panic!("cannot give {name} the address {router}: {error}"));
    }
    // The host solicits the machine from its link-local address for what it forwards, and would lose packets for seconds
    // while that is tentative (net/ipv6/ndisc.c, ndisc_send_ns). Without IPv6 there is no such setting.
    let _ = cni_host::sysctl_write(&format!("net/ipv6/conf/{name}/accept_dad"), "0");
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    socket.link_change(index, &up).unwrap_or_else(|error| panic!("cannot set {name} up: {error}"));

    let mut inside = machine.ns().socket().expect("cannot open a netlink socket in the machine");
    let index = self::index(&mut inside, "eth0");
    let addresses = addresses.map(address).into_iter().zip(routers);
    let config = IfaceConfig {
        addresses: addresses.map(|(address, router)| (prefixed(address), Some(router))).collect(),
        routes: ["0.0.0.0/0", "::/0"].map(default_route).into(),
        ..IfaceConfig::default()
    };
    let configured = machine.ns().run(|| configure_iface(&mut inside, index, "eth0", &config));
    configured.expect("cannot enter the machine").expect("cannot configure the machine's eth0");
}

fn index(socket: &mut Socket, name: &str) -> u32 {
    let link = socket.link_by_name(name);
    link.unwrap_or_else(|error| panic!("cannot find {name}, just made: {error}")).index
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text:?} is no address: {error}"))
}

fn prefixed(address: IpAddr) -> ipnet::IpNet {
    let length = if address.is_ipv4() { 24 } else { 64 };
    ipnet::IpNet::new(address, length).expect("the length fits the family")
}

fn default_route(dst: &str) -> RouteSpec {
    RouteSpec {
        dst: dst.parse().expect("a default route's destination"),
        next_hops: vec![NextHop { index: 0, gateway: None }],
        metric: None,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    }
}
