//! Containers of the real podman on a network that its owner wrote, over our plugins alone.

pub(crate) mod net;
mod networks;
mod reference;

use std::fs;

use serde_json::json;

use crate::podman::net::{Podman, bridge, ports_are_published};

#[test]
#[ignore = "needs root, podman, runc, conmon and busybox-static: `cargo xtask test` as root installs and runs it"]
fn containers_of_podman_reach_each_other_and_leave_nothing() {
    let podman = Podman::new(&json!([bridge()]));
    let before = podman.after_a_first("net", "");
    podman.start_server("server", "");
    podman.start_server("client", "");

    // host-local gives out each address of the range once before it begins anew.
    let network = podman.inspect("server", "net");
    assert_eq!((&network["IPAddress"], &network["IPPrefixLen"]), (&json!("10.99.0.3"), &json!(24)));
    assert_eq!(
        (&network["GlobalIPv6Address"], &network["Gateway"]),
        (&json!("fd00:99::3"), &json!("10.99.0.1"))
    );
    assert_eq!(podman.files("networks/net").len(), 4, "one lease a family and container");

    for (from, address, to) in [
        ("client", "10.99.0.3", "server"),
        ("client", "[fd00:99::3]", "server"),
        ("server", "10.99.0.4", "client"),
        ("server", "[fd00:99::4]", "client"),
    ] {
        assert_eq!(podman.fetch(from, &format!("{address}:8080")).trim_end(), to, "{from} to {address}");
    }
    assert!(podman.host.ping("fd00:99::3".parse().unwrap()));
    // The DEL of one that ends by itself comes from another process, conmon's.
    let page =
        podman.podman("run --rm --pull never --network net busybox wget -q -O - http://10.99.0.3:8080/page");
    assert_eq!(page.trim_end(), "server");
    assert_eq!(podman.files("networks/net").len(), 4, "only those of server and client");

    podman.podman("rm -f -t 0 client");
    assert_eq!(podman.files("networks/net").len(), 2, "the server keeps its leases");
    podman.podman("rm -f -t 0 server");
    podman.assert_nothing_left(&before, "net");
}

#[test]
#[ignore = "needs root, podman, runc, conmon and busybox-static: `cargo xtask test` as root installs and runs it"]
fn a_container_of_podman_restarts_and_takes_the_address_it_asks_for() {
    let podman = Podman::new(&json!([bridge()]));
    let before = podman.after_a_first("net", "");
    podman.start_server("server", " --ip 10.99.0.50 --mac-address 02:99:00:00:00:50");
    let network = podman.inspect("server", "net");
    assert_eq!(network["IPAddress"], "10.99.0.50");
    assert_eq!(network["MacAddress"], "02:99:00:00:00:50");
    podman.podman("restart -t 0 server");
    assert_eq!(podman.inspect("server", "net")["IPAddress"], "10.99.0.50");
    podman.start_server("client", "");
    assert_eq!(podman.fetch("client", "10.99.0.50:8080").trim_end(), "server");
    podman.podman("rm -f -t 0 server client");
    podman.assert_nothing_left(&before, "net");
}

#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn ports_of_podman_are_published_by_our_plugins_alone() {
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    let podman = Podman::new(&json!([bridge(), portmap, { "type": "firewall" }]));
    assert_eq!(fs::read_dir(podman.dir("others")).unwrap().count(), 0);
    let (outside, _pages) = podman.outside();
    ports_are_published(&podman, &outside, "net");
}

/// podman's cache is that of Go's libcni. What is deleted from it podman deletes once more, and finds nothing amiss.
#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn what_podman_added_our_libcni_checks_and_deletes() {
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    let podman = Podman::new(&json!([bridge(), portmap, { "type": "firewall" }]));
    let before = podman.after_a_first("net", " -p 8098:8080");
    podman.start_server("server", " -p 8098:8080");
    let (runtime, network, mut attachment) = podman.cached_server();
    runtime.check(&network, &attachment).unwrap();
    // All that one who has only the cache can tell.
    attachment.netns = None;
    runtime.del(&network, &attachment).unwrap();
    podman.assert_nothing_left(&before, "net");
    podman.podman("rm -f -t 0 server");
    podman.assert_nothing_left(&before, "net");
}
