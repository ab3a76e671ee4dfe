//! Devices that the reference's host-device moved and ours gives back, and the other way round.

use serde_json::{Value, json};

use crate::bridge::net::{link, link_in, set};
use crate::host_device::net::{ALIAS, Net, OUTSIDE, records};
use crate::portmap::net::run;
use crate::reference::is_1_10_or_skip;
use crate::sbr::net::routing;

/// Without what only ours tells, and the empty object of older releases.
fn comparable(mut result: Value) -> Value {
    if result["dns"] == json!({}) {
        result.as_object_mut().unwrap().remove("dns");
    }
    if result["interfaces"].is_null() {
        return result;
    }
    let interface = result["interfaces"][0].as_object_mut().unwrap();
    interface.remove("mtu");
    interface.remove("sandbox");
    result
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored host_device::reference`"]
fn results_are_the_references() {
    for keys in [
        json!({}),
        json!({"dns": {"nameservers": ["10.0.0.1"]}}),
        json!({"ipam": null}),
        json!({"ipam": null, "dns": {"nameservers": ["10.0.0.1"]}}),
        json!({"cniVersion": "0.2.0"}),
        json!({"cniVersion": "0.3.1"}),
    ] {
        let mut net = Net::new(keys.clone());
        if keys["cniVersion"].is_null() {
            set(&mut net.conf, &json!({"cniVersion": "1.0.0"}));
        }
        if net.conf["ipam"].is_object() {
            net.conf["ipam"]["dns"] = json!({"search": ["example.org"]});
        }
        let (one, two) = (net.host.container("one"), net.host.container("two"));
        let theirs = net.theirs("ADD", &one, &net.conf).ok();
        net.theirs("DEL", &one, &net.conf).ok();
        let ours = net.add(&two);
        assert_eq!(comparable(ours), comparable(theirs), "{keys}");
    }
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored host_device::reference`"]
fn what_the_reference_moved_passes_check_and_stays_if_anybody_could_have_made_it() {
    let net = Net::new(json!({"cniVersion": "1.0.0"}));
    let container = net.host.container("one");
    let result = net.theirs("ADD", &container, &net.conf).ok();
    net.check(&container, &result).ok();
    // A veth, of which the alias is not believed; host_device_vm has cards.
    let outcome = net.del(&container);
    outcome.ok();
    assert!(outcome.stderr.contains("eth0 is left in the container"), "{outcome:?}");
    net.theirs("DEL", &container, &net.conf).ok();
    assert_eq!(link("uplink").kind, "veth");
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored host_device::reference`"]
fn what_we_moved_the_reference_checks_and_gives_back() {
    let net = Net::new(json!({"cniVersion": "1.0.0"}));
    let container = net.host.container("one");
    assert_eq!(link("uplink").alias.as_deref(), Some(ALIAS));
    let result = net.add(&container);
    net.theirs("CHECK", &container, &net.with_prev(&result)).ok();
    net.theirs("DEL", &container, &net.conf).ok();
    // Releases before 1.4 leave their mark.
    let alias = link("uplink").alias;
    assert!(alias.as_deref().is_none_or(|alias| alias == "uplink"), "{alias:?}");
    assert_eq!(records(), 1);
    // The record that is left is in nobody's way, and goes with the next GC.
    let two = net.host.container("two");
    net.add_and_check(&two);
    assert!(two.ping(OUTSIDE[0].parse().unwrap()));
    net.gc(&["two"]);
    assert_eq!((link_in(&two, "eth0").kind.as_str(), records()), ("veth", 1));
    net.del(&two).ok();
    assert_eq!((link("uplink").alias, records()), (None, 0));
}

/// What goes along by 1.10.0 and by ours, where neither of its faults is met; its attachments pass our CHECK.
#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored host_device::reference`"]
fn b_the_same_network_goes_along() {
    let keys = json!({"cniVersion": "1.0.0", "useInterfaceNetwork": true});
    let [theirs, ours] = [true, false].map(|is_theirs| {
        let net = Net::layer2(keys.clone());
        if is_theirs && !is_1_10_or_skip(&net.host, "host_device::reference::b_the_same_network_goes_along") {
            return None;
        }
        for line in [
            "link set uplink up",
            "address add 10.88.0.5/24 brd + dev uplink",
            "address add 10.88.0.6/32 dev uplink scope link",
            "route add 10.9.0.0/16 via 10.88.0.9 proto static metric 7",
            "route add 10.10.0.0/16 dev uplink scope link table 100",
            "rule add from 10.88.0.0/16 table 100 priority 500",
            "rule add from 203.0.113.1 table 100 priority 501",
        ] {
            run("ip", &line.split(' ').collect::<Vec<_>>());
        }
        let container = net.host.container("one");
        let result = match is_theirs {
            true => net.theirs("ADD", &container, &net.conf).ok(),
            false => net.add(&container),
        };
        net.check(&container, &result).ok();
        let inside = routing(&container);
        // Each by its own: ours does not take back a pair that it has not moved itself.
        match is_theirs {
            true => net.theirs("DEL", &container, &net.with_prev(&result)).ok(),
            false => net.host.plugin("host-device").del(&container, "eth0", &net.with_prev(&result)).ok(),
        };
        assert_eq!(link("uplink").alias.as_deref().unwrap_or_default(), if is_theirs { "" } else { ALIAS });
        let mut result = comparable(result);
        result["interfaces"][0]["mac"] = json!(null);
        let by_link = |line: String| line.split(" dev ").next().unwrap().to_owned();
        Some((result, inside.into_iter().map(by_link).collect::<Vec<_>>()))
    });
    if theirs.is_some() {
        assert_eq!(ours, theirs);
    }
}
