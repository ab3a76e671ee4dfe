//! The ptp plugin and the reference's: the same configuration makes the same, and each deletes what the other made.
//!
//! With the reference's plugins in /usr/lib/cni (Debian's 1.1), or in `$CNI_REFERENCE_DIR`.

use cni_testing::{Container, Snapshot};
use serde_json::{Value, json};

use crate::bridge::net::{Net, link_in, theirs};
use crate::ptp::{near, net, routes};

/// Without what each release says otherwise, or nobody can choose: names and hardware addresses of links, `mtu`.
fn comparable(mut result: Value) -> Value {
    for interface in result["interfaces"].as_array_mut().unwrap() {
        let interface = interface.as_object_mut().unwrap();
        interface.remove("mac");
        interface.remove("mtu");
        if !interface.contains_key("sandbox") {
            interface.remove("name");
        }
    }
    result
}

/// What the container has, but for its hardware address; flags of addresses are not told.
fn inside(container: &Container) -> (Snapshot, Vec<String>) {
    let index = link_in(container, "eth0").index;
    (container.snapshot(), routes(&mut container.ns().socket().unwrap(), index))
}

/// What the host has of the attachment.
fn on_host(result: &Value) -> (Vec<String>, Vec<String>) {
    let mut socket = cni_netlink::Socket::open().unwrap();
    let near = near(result);
    let addrs = socket.addr_dump(near.index).unwrap().into_iter().map(|addr| addr.address.to_string());
    (addrs.filter(|addr| !addr.starts_with("fe80")).collect(), routes(&mut socket, near.index))
}

fn configured() -> Net {
    net(json!({"cniVersion": "1.0.0", "mtu": 1400, "dns": {"nameservers": ["192.0.2.1"]}}))
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored ptp::reference`"]
fn the_same_configuration_makes_the_same() {
    let net = configured();
    let container = net.host.container("one");
    let [reference, ours] = [false, true].map(|ours| {
        let result =
            if ours { net.add(&container) } else { theirs("ptp", "ADD", &container, &net.conf).ok() };
        let made = (inside(&container), on_host(&result), comparable(result));
        net.del(&container).ok();
        // The address that comes next is one more.
        std::fs::remove_dir_all(net.host.dir().join("leases")).unwrap();
        made
    });
    ours.0.0.assert_same(&reference.0.0);
    assert_eq!(ours.0.1, reference.0.1);
    assert_eq!(ours.1, reference.1);
    assert_eq!(ours.2, reference.2);
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored ptp::reference`"]
fn what_the_reference_added_passes_our_check_and_is_deleted() {
    for gone in [false, true] {
        let net = configured();
        let mut container = net.host.container("one");
        let result = theirs("ptp", "ADD", &container, &net.conf).ok();
        net.check(&container, &result).ok();
        let name = near(&result).name;
        if gone {
            // Its own links are gone with the namespace; the lease is what is left.
            container.kill();
        }
        for _ in 0..2 {
            net.del(&container).ok();
            assert_eq!(net.leases(), [""; 0]);
        }
        if !gone {
            assert!(cni_netlink::Socket::open().unwrap().link_by_name(&name).is_err());
        }
    }
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored ptp::reference`"]
fn what_we_added_passes_the_references_check_and_is_deleted_by_it() {
    let net = configured();
    let container = net.host.container("one");
    let result = net.add(&container);
    theirs("ptp", "CHECK", &container, &net.with_prev(&result)).ok();
    theirs("ptp", "DEL", &container, &net.with_prev(&result)).ok();
    assert!(container.ns().socket().unwrap().link_by_name("eth0").is_err());
    assert_eq!(net.leases(), [""; 0]);
}
