//! Announcements, proven by packets: a neighbour that has cached the old hardware address sends to it until told.

use std::net::IpAddr;
use std::time::Duration;

use cni_host::{NetNs, announce, sysctl_write};
use cni_netlink::{LinkChange, MacAddr};

use crate::{bridge, give_addresses, on_private_host, plug, reaches, udp};

const SOON: Duration = Duration::from_secs(5);
const IN_VAIN: Duration = Duration::from_millis(200);

/// eth0 of the namespace takes another hardware address, of which the kernel tells nobody while the settings are off.
fn change_mac(netns: &NetNs) -> u32 {
    let mut socket = netns.socket().unwrap();
    let index = socket.link_by_name("eth0").unwrap().index;
    let mac = Some(MacAddr::random());
    socket.link_change(index, &LinkChange { mac, ..LinkChange::default() }).unwrap();
    index
}

fn an_announcement_corrects_a_stale_neighbour(client: &str, server: &str, setting: &str) {
    on_private_host(|| {
        let mut host = cni_netlink::Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let (one, _) = plug(&mut host, &br0, "veth1");
        let (other, _) = plug(&mut host, &br0, "veth2");
        give_addresses(&one, &[client]);
        give_addresses(&other, &[server]);
        let ip = |address: &str| -> IpAddr { address.split('/').next().unwrap().parse().unwrap() };
        let (from, to) = (udp(&one, ip(client)), udp(&other, ip(server)));
        assert!(reaches(&from, &to, SOON), "before");

        let index = change_mac(&other);
        assert!(!reaches(&from, &to, IN_VAIN), "the neighbour should still know the old address");

        // As configure_iface leaves it.
        other.run(|| sysctl_write(setting, "1")).unwrap().unwrap();
        announce(&mut other.socket().unwrap(), index, "eth0").unwrap();
        assert!(reaches(&from, &to, SOON), "after");
    });
}

#[test]
fn an_arp_announcement_corrects_a_stale_neighbour() {
    an_announcement_corrects_a_stale_neighbour("10.1.0.2/16", "10.1.0.5/16", "net/ipv4/conf/eth0/arp_notify");
}

#[test]
fn a_neighbour_advertisement_corrects_a_stale_neighbour() {
    an_announcement_corrects_a_stale_neighbour("fd00::2/64", "fd00::5/64", "net/ipv6/conf/eth0/ndisc_notify");
}

#[test]
fn an_announcement_on_a_link_that_is_missing_is_an_error_that_names_it() {
    on_private_host(|| {
        let error =
            announce(&mut cni_netlink::Socket::open().unwrap(), 9999, "eth0").unwrap_err().to_string();
        assert!(error.starts_with("cannot announce the addresses of eth0: "), "{error}");
    });
}
