//! Waiting for events.

use std::thread;
use std::time::{Duration, Instant};

use cni_netlink::{AddrFlags, LinkChange, LinkMonitor, OperState, RouteMonitor, Socket};

use crate::support::{Container, bridge, in_netns, veth};

const LONG: Duration = Duration::from_secs(20);
const UP: LinkChange<'static> = LinkChange {
    up: Some(true),
    promisc: None,
    allmulti: None,
    mac: None,
    mtu: None,
    txqlen: None,
    name: None,
    alias: None,
    master: None,
    port: None,
    vlan_filtering: None,
    netns: None,
};

/// A change that the kernel announces for links that are down too.
fn mtu(mtu: u32) -> LinkChange<'static> {
    LinkChange { mtu: Some(mtu), ..Default::default() }
}

/// Runs `act` with a socket of this namespace after a while, from another thread.
fn soon(act: impl FnOnce(&mut Socket) + Send + 'static) -> thread::JoinHandle<()> {
    let mut socket = Socket::open().unwrap();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        act(&mut socket);
    })
}

#[test]
fn port_is_up_when_its_event_says_so() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let br0 = bridge(&mut host);
        let near = veth(&mut host, &container, Some(br0.index));
        let mut monitor = LinkMonitor::open().unwrap();
        host.link_change(near.index, &UP).unwrap();
        let actor = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            container.socket.link_change(near.peer.unwrap(), &UP).unwrap();
            container
        });
        let up = |link: &cni_netlink::Link| link.operstate == OperState::Up;
        let link = monitor.wait_link(&mut host, near.index, LONG, up).unwrap();
        assert_eq!(link.index, near.index);
        drop(actor.join());
    });
}

#[test]
fn what_already_holds_needs_no_event() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let mut monitor = LinkMonitor::open().unwrap();
        let link = monitor.wait_link(&mut host, br0.index, Duration::ZERO, |link| !link.up).unwrap();
        assert_eq!(link.name, "br0");
    });
}

#[test]
fn waiting_ends_in_time_whatever_happens_to_other_links() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let container = Container::new();
        let other = veth(&mut host, &container, None).index;
        let mut monitor = LinkMonitor::open().unwrap();
        let actor = soon(move |socket| {
            for number in 0..50 {
                socket.link_change(other, &mtu(1000 + number)).unwrap();
            }
        });
        let started = Instant::now();
        let timeout = Duration::from_millis(300);
        let error = monitor.wait_link(&mut host, br0.index, timeout, |link| link.up).unwrap_err();
        let expected = format!("cannot wait for link with index {}: not within 300 ms", br0.index);
        assert_eq!(error.to_string(), expected);
        let elapsed = started.elapsed();
        assert!(elapsed >= timeout && elapsed < LONG / 2, "{elapsed:?}");
        actor.join().unwrap();
    });
}

#[test]
fn link_that_disappears_is_an_error_at_once() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        for wait_for_addrs in [false, true] {
            let index = bridge(&mut host).index;
            let mut monitor = LinkMonitor::open().unwrap();
            let actor = soon(move |socket| socket.link_del(index).unwrap());
            let started = Instant::now();
            let error = if wait_for_addrs {
                monitor.wait_addrs(&mut host, index, LONG, |addrs| !addrs.is_empty()).unwrap_err()
            } else {
                monitor.wait_link(&mut host, index, LONG, |link| link.up).unwrap_err()
            };
            assert!(error.is_not_found(), "{error}");
            assert!(started.elapsed() < LONG / 2);
            actor.join().unwrap();
        }
    });
}

#[test]
fn more_events_than_the_socket_holds_do_not_hide_the_last() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let container = Container::new();
        let other = veth(&mut host, &container, None).index;
        let mut monitor = LinkMonitor::open().unwrap();
        for number in 0..2000 {
            host.link_change(other, &mtu(1000 + number % 2)).unwrap();
        }
        // This event is lost: the queue is full. Nothing that the kernel does later brings another.
        host.link_change(br0.index, &mtu(1111)).unwrap();
        // The condition does not hold at the first look.
        let looks = std::cell::Cell::new(0);
        let second_look = |link: &cni_netlink::Link| {
            looks.set(looks.get() + 1);
            link.mtu == 1111 && looks.get() == 2
        };
        monitor.wait_link(&mut host, br0.index, LONG, second_look).unwrap();
    });
}

#[test]
fn ipv6_address_settles_by_event() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let near = veth(&mut host, &container, None);
        container.socket.link_change(near.peer.unwrap(), &UP).unwrap();
        host.link_change(near.index, &UP).unwrap();
        let mut monitor = LinkMonitor::open().unwrap();
        let address = "2001:db8::1/64".parse().unwrap();
        host.addr_add(near.index, address, AddrFlags::default()).unwrap();
        let settled =
            |addrs: &[cni_netlink::Addr]| addrs.iter().any(|addr| addr.address == address && !addr.tentative);
        assert!(!settled(&host.addr_dump(near.index).unwrap()));
        let addrs = monitor.wait_addrs(&mut host, near.index, LONG, settled).unwrap();
        assert!(addrs.iter().all(|addr| addr.index == near.index && !addr.dadfailed));
    });
}

#[test]
fn duplicate_ipv6_address_is_reported_as_failed() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let near = veth(&mut host, &container, None);
        let far = near.peer.unwrap();
        let address = "2001:db8::1/64".parse().unwrap();
        container.socket.addr_add(far, address, AddrFlags { nodad: true }).unwrap();
        container.socket.link_change(far, &UP).unwrap();
        host.link_change(near.index, &UP).unwrap();
        let mut monitor = LinkMonitor::open().unwrap();
        host.addr_add(near.index, address, AddrFlags::default()).unwrap();
        let failed =
            |addrs: &[cni_netlink::Addr]| addrs.iter().any(|addr| addr.address == address && addr.dadfailed);
        monitor.wait_addrs(&mut host, near.index, LONG, failed).unwrap();
    });
}

#[test]
fn packets_to_an_ipv6_address_are_received_when_the_event_says_so() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let index = bridge(&mut host).index;
        let address = "2001:db8::1".parse().unwrap();
        let mut monitor = RouteMonitor::open().unwrap();
        let actor = soon(move |socket| {
            let flags = AddrFlags { nodad: true };
            socket.addr_add(index, "2001:db8::1/64".parse().unwrap(), flags).unwrap();
        });
        let started = Instant::now();
        monitor.wait_local(&mut host, address, LONG).unwrap();
        assert!(started.elapsed() < LONG / 2);
        assert!(host.route_get(address.into()).unwrap().unwrap().local);
        actor.join().unwrap();

        // Where a packet leaves by is not where it is received.
        let neighbour = "2001:db8::2".parse().unwrap();
        let error = monitor.wait_local(&mut host, neighbour, Duration::from_millis(50)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot wait until packets to 2001:db8::2 are received: not within 50 ms"
        );
    });
}
