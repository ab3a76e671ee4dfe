//! podman, which is Go's libcni, over chains in which some plugins are the reference's and some are ours.

use serde_json::json;

use crate::podman::net::{Podman, bridge, ports_are_published};

/// All that stands in a network of podman's, with its IPAM.
const ALL: [&str; 5] = ["bridge", "portmap", "firewall", "tuning", "host-local"];

/// A network that podman makes works with these plugins of the reference and ours for the rest.
fn lives_with(theirs: &[&str]) {
    let podman = Podman::new(&json!([bridge()]));
    podman.borrow(theirs);
    let (outside, _pages) = podman.outside();
    podman.create("--ipv6 --subnet 10.98.0.0/24 --subnet fd00:98::/64 made");
    ports_are_published(&podman, &outside, "made");
}

#[test]
#[ignore = "needs the reference's plugins, root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as \
            root gets and runs it"]
fn a_network_of_podman_lives_with_our_bridge_and_the_rest_of_the_reference() {
    lives_with(&ALL[1..]);
}

#[test]
#[ignore = "needs the reference's plugins, root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as \
            root gets and runs it"]
fn a_network_of_podman_lives_with_the_references_bridge_and_the_rest_of_ours() {
    lives_with(&ALL[..1]);
}

/// All of the reference and Go's libcni at first; all of ours and our libcni at last.
#[test]
#[ignore = "needs the reference's plugins, root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as \
            root gets and runs it"]
fn what_podman_added_with_the_reference_our_libcni_deletes_with_ours() {
    let podman = Podman::new(&json!([bridge()]));
    podman.borrow(&ALL);
    podman.create("--ipv6 --subnet 10.98.0.0/24 --subnet fd00:98::/64 made");
    let before = podman.after_a_first("made", " -p 8098:8080");
    podman.start_server_in("made", "server", " -p 8098:8080");
    let (runtime, network, attachment) = podman.cached_server();
    runtime.check(&network, &attachment).unwrap();
    runtime.del(&network, &attachment).unwrap();
    podman.assert_nothing_left(&before, "made");
    podman.podman("rm -f -t 0 server");
    podman.assert_nothing_left(&before, "made");
}
