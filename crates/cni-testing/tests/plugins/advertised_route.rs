//! Issue 14, part 3: the first IPv6 gateway makes the host a router, and a router believes no other: the host lost its own default
//! route that it had by advertisement.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use cni_netlink::Socket;
use cni_testing::Host;
use serde_json::json;

use crate::bridge::net::{link, link_in};
use crate::uplink::{MASTER, OUTSIDE, connect};

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn link_local(socket: &mut Socket, index: u32) -> Option<Ipv6Addr> {
    socket.addr_dump(index).unwrap().into_iter().find_map(|addr| match addr.address.addr() {
        IpAddr::V6(address) if address.is_unicast_link_local() && !addr.tentative => Some(address),
        _ => None,
    })
}

fn has_default_route(index: u32) -> bool {
    let routes = Socket::open().unwrap().route_dump(index, None).unwrap();
    routes.iter().any(|route| route.dst.to_string() == "::/0")
}

fn sysctl(key: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{key}")).unwrap().trim().to_owned()
}

#[test]
fn the_host_keeps_the_default_route_that_a_router_told_it_of() {
    for plugin in ["bridge", "ptp"] {
        let test = || {
            let host = Host::new();
            let outside = host.container("outside");
            connect(MASTER, None, &outside, &OUTSIDE);
            let (ours, theirs) = (link(MASTER).index, link_in(&outside, "eth0").index);
            assert_eq!(
                (sysctl("all/forwarding"), sysctl(&format!("{MASTER}/accept_ra"))),
                ("0".to_owned(), "1".to_owned())
            );
            let mut address = None;
            until("a link-local address", || {
                address = link_local(&mut Socket::open().unwrap(), ours);
                address.is_some() && link_local(&mut outside.ns().socket().unwrap(), theirs).is_some()
            });
            until("a default route", || {
                outside.advertise_router(address.unwrap(), theirs);
                has_default_route(ours)
            });

            let container = host.container("c1");
            let ipam = json!({"type": "static", "addresses": [{"address": "fd00:88::5/64", "gateway": "fd00:88::1"}]});
            let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": plugin, "isGateway": true, "ipam": ipam});
            host.plugin(plugin).add(&container, "eth0", &conf).ok();
            assert_eq!(sysctl("all/forwarding"), "1", "{plugin}");
            assert_eq!(sysctl(&format!("{MASTER}/accept_ra")), "2", "{plugin}");
            assert!(has_default_route(ours), "{plugin}");
            // Interfaces that nobody advertised a route to stay as they are.
            assert_eq!(sysctl("default/accept_ra"), "1", "{plugin}");
        };
        // Each host is a thread's.
        thread::scope(|scope| scope.spawn(test).join()).unwrap();
    }
}
