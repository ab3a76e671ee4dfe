//! `useInterfaceNetwork` of host-device: addresses, routes and rules go along with the device, whole, and come back. Row B of the
//! comparison with the reference's 1.10.0, whose nine faults have a test each.

use cni_host::sysctl_write;
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::net::{link, link_in, set};
use crate::host_device::net::{Net, records};
use crate::portmap::net::run;

/// `ip` on the host.
fn ip(line: &str) -> String {
    run("ip", &line.split(' ').collect::<Vec<_>>())
}

fn ip_in(container: &Container, line: &str) -> String {
    container.ns().run(|| ip(line)).unwrap()
}

/// The device is up, and its other end.
fn net(keys: Value) -> Net {
    let mut all = json!({"useInterfaceNetwork": true});
    all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let net = Net::layer2(all);
    ip("link set uplink up");
    net
}

/// What `ip` lists of a link, without what passes: lifetimes that tick, states.
fn listed(ifname: &str) -> Vec<String> {
    let addresses = ip(&format!("-o address show dev {ifname} scope global"));
    let mut lines: Vec<String> = addresses
        .lines()
        .map(|line| {
            let text = line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
            text.replace(&format!(" {ifname}\\"), " \\")
        })
        .collect();
    for family in ["-4", "-6"] {
        let routes = ip(&format!("{family} route show table all dev {ifname}"));
        let wanted = |line: &&str| {
            !line.starts_with("fe80::")
                && !line.starts_with("local fe80::")
                && !line.starts_with("multicast")
                && !line.starts_with("ff00")
        };
        lines.extend(routes.lines().filter(wanted).map(|line| line.trim().replace(" linkdown", "")));
    }
    lines.sort();
    lines
}

fn rules() -> Vec<String> {
    let lines = [ip("-4 rule"), ip("-6 rule")].concat();
    lines.lines().map(|line| line.replace('\t', " ").replace(" [detached]", "")).collect()
}

fn listed_in(container: &Container) -> Vec<String> {
    container.ns().run(|| listed("eth0")).unwrap()
}

fn rules_in(container: &Container) -> Vec<String> {
    container.ns().run(rules).unwrap()
}

/// A network with something of each kind that goes along.
fn furnish() {
    for line in [
        "address add 10.88.0.5/24 brd + dev uplink metric 50",
        "address add 10.99.0.5/24 dev uplink noprefixroute label uplink:1",
        "address add 10.77.0.1 peer 10.77.0.2/32 dev uplink",
        "address add fd00:88::5/64 dev uplink nodad",
        "address add fd00:99::5/64 dev uplink nodad noprefixroute",
        "route add 10.1.0.0/16 via 10.88.0.9 proto static metric 7 mtu 1300 advmss 1200",
        "route add 10.2.0.0/16 via 10.77.0.2 src 10.77.0.1",
        "route add 10.3.0.0/16 via 192.0.2.77 dev uplink onlink",
        "route add 10.4.0.0/16 dev uplink proto dhcp scope link",
        "route add 10.88.0.0/24 dev uplink table 100 scope link",
        "route add default via 10.88.0.9 table 100",
        "-6 route add fd01::/64 via fd00:88::9 src fd00:88::5 metric 300",
        "-6 route add default via fd00:88::9 table 1000",
        "-6 route add fd02::/64 dev uplink",
        "rule add from 10.88.0.5 table 100 priority 500",
        "rule add not from 10.99.0.0/24 fwmark 7/0xff iif uplink table 100 priority 501",
        "-6 rule add from fd00:88::/64 table 1000 priority 502",
        // None of these is of the device's.
        "rule add from all table 100 priority 600",
        "rule add from 10.88.0.5 table 200 priority 601",
        "rule add from 203.0.113.1 table 100 priority 602",
    ] {
        ip(line);
    }
}

/// Of the host's rules those that go along, as they are called inside.
fn own_rules(all: &[String]) -> Vec<String> {
    let own = |line: &&String| ["500:", "501:", "502:"].iter().any(|number| line.starts_with(number));
    all.iter().filter(own).map(|line| line.replace("uplink", "eth0")).collect()
}

/// On the host, but for labels.
fn as_inside(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| line.replace(" uplink:1\\", " \\").replace("dev uplink", "dev eth0")).collect()
}

#[test]
fn b_all_goes_along_and_comes_back() {
    let net = net(json!({}));
    furnish();
    let before = (listed("uplink"), rules());
    assert_eq!(own_rules(&before.1).len(), 3);
    let container = net.host.container("one");
    let untouched = rules_in(&container);
    let result = net.add_and_check(&container);
    assert_eq!(listed_in(&container), as_inside(&before.0));
    assert_eq!(own_rules(&rules_in(&container)), own_rules(&before.1));
    assert_eq!(rules(), before.1, "the host's rules stay");
    assert_eq!(rules_in(&container).len(), untouched.len() + 3);
    assert!(link_in(&container, "eth0").up);
    assert!(container.ping("10.88.0.9".parse().unwrap()) && container.ping("fd00:88::9".parse().unwrap()));

    let addresses: Vec<&str> =
        result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), 5);
    assert!(addresses[..3].iter().all(|address| address.starts_with("10.")), "{addresses:?}");
    for route in [
        json!({"dst": "10.1.0.0/16", "gw": "10.88.0.9", "priority": 7, "table": 254}),
        json!({"dst": "10.88.0.0/24", "table": 100, "scope": 253}),
        json!({"dst": "0.0.0.0/0", "gw": "10.88.0.9", "table": 100}),
        json!({"dst": "::/0", "gw": "fd00:88::9", "priority": 1024, "table": 1000}),
    ] {
        assert!(result["routes"].as_array().unwrap().contains(&route), "{route}: {}", result["routes"]);
    }

    for _ in 0..2 {
        net.del(&container).ok();
        assert_eq!(rules_in(&container), untouched);
        assert_eq!((listed("uplink"), rules()), before);
        assert!(link("uplink").up);
        assert_eq!(records(), 0);
    }
}

#[test]
fn b_without_the_key_nothing_goes_along() {
    for key in [Value::Null, json!(false)] {
        let mut net = net(json!({}));
        furnish();
        set(&mut net.conf, &json!({"useInterfaceNetwork": key}));
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        assert_eq!((result.get("ips"), listed_in(&container)), (None, vec![]));
        net.del(&container).ok();
        assert_eq!(listed("uplink"), [""; 0]);
    }
}

/// What DHCP and advertisements gave: IPv4 goes along for good, IPv6 does not; and a gateway in an advertised subnet is reached all
/// the same (fault 5).
#[test]
fn b5_what_is_for_a_time_and_a_gateway_in_such_a_subnet() {
    let net = net(json!({}));
    for line in [
        "address add 10.88.0.5/24 brd + dev uplink valid_lft 300 preferred_lft 200",
        "address add 10.99.0.5/24 dev uplink scope link",
        "address add fd00:88::5/64 dev uplink nodad valid_lft 300 preferred_lft 200",
        "address add fd00:99::5/64 dev uplink nodad",
        "-6 route add fd01::/64 via fd00:88::9",
        "-6 route add fd03::/64 via fd00:88::9 proto ra",
        "route add 10.1.0.0/16 via 10.99.0.9",
    ] {
        ip(line);
    }
    let container = net.host.container("one");
    net.add_and_check(&container);
    let all = listed_in(&container);
    let has = |text: &str| all.iter().any(|line| line.contains(text));
    assert!(has("10.88.0.5/24") && has("fd00:99::5/64"), "{all:#?}");
    assert!(!has("10.99.0.5/24") && !has("fd00:88::5/64") && !has("fd03::"), "{all:#?}");
    assert!(
        all.iter().all(|line| !line.contains("valid_lft") || line.contains("valid_lft forever")),
        "{all:#?}"
    );
    assert!(has("fd01::/64 via fd00:88::9") && has("10.1.0.0/16 via 10.99.0.9"), "{all:#?}");
    net.del(&container).ok();
    let back = listed("uplink");
    assert!(back.iter().any(|line| line.starts_with("fd01::/64 via fd00:88::9")), "{back:#?}");
    // Its lifetime is the host's again.
    assert!(back.iter().any(|line| line.contains("10.88.0.5/24") && !line.contains("valid_lft forever")));
}

/// Fault 2.
#[test]
fn b2_a_device_without_a_carrier_takes_its_routes_along() {
    let net = net(json!({}));
    furnish();
    ip_in(&net.outside, "link set wire down");
    let before = listed("uplink");
    let container = net.host.container("one");
    net.add_and_check(&container);
    assert_eq!(listed_in(&container), as_inside(&before));
    net.del(&container).ok();
    assert_eq!(listed("uplink"), before);
}

/// Faults 1 and 3: whatever fails, the device is what it was.
#[test]
fn b1_a_failed_add_gives_the_device_back_as_it_was() {
    let net = net(json!({}));
    furnish();
    ip("address add fd00:77::5/64 dev uplink nodad valid_lft 300 preferred_lft 200");
    let container = net.host.container("one");
    // IPAM's route cannot be made.
    let mut conf = net.conf.clone();
    conf["ipam"] = json!({
        "type": "static", "addresses": [{"address": "10.66.0.5/24"}],
        "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}],
    });
    let state = || {
        let ticking = |line: String| line.split(" valid_lft").next().unwrap().to_owned();
        (listed("uplink").into_iter().map(ticking).collect::<Vec<_>>(), rules(), rules_in(&container))
    };
    let before = state();
    let failed = net.host.plugin("host-device").add(&container, "eth0", &conf);
    assert!(failed.err().1.contains("10.9.0.0/16"));
    assert_eq!(failed.stderr, "");
    assert_eq!(state(), before);
    assert_eq!((records(), link("uplink").up), (0, true));

    // What cannot go along whole is refused before the device is moved.
    ip("-6 route add fd05::/64 via fd00:88::9 src fd00:77::5");
    let before = state();
    let (_, msg) = net.try_add(&container).err();
    assert!(msg.contains("fd05::/64") && msg.contains("fd00:77::5, which does not go along"), "{msg}");
    assert_eq!(state(), before);
    assert_eq!(records(), 0);
}

/// Fault 7: two default routes are there, and the container's own comes first; with IPv6 they would become one.
#[test]
fn b7_a_default_route_that_the_container_has_already() {
    let net = net(json!({}));
    ip("address add 10.88.0.5/24 dev uplink");
    ip("route add default via 10.88.0.9");
    let container = net.host.container("one");
    for line in [
        "link add first type veth peer name far",
        "link set first up",
        "address add 10.55.0.2/24 dev first",
        "address add fd00:55::2/64 dev first nodad",
        "route add default via 10.55.0.1",
        "-6 route add default via fd00:55::1",
    ] {
        ip_in(&container, line);
    }
    net.add_and_check(&container);
    let defaults = ip_in(&container, "route show default");
    let vias: Vec<&str> = defaults.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(vias, ["10.55.0.1", "10.88.0.9"], "{defaults}");
    net.del(&container).ok();

    ip("address add fd00:88::5/64 dev uplink nodad");
    ip("-6 route add default via fd00:88::9");
    let before = (listed("uplink"), ip_in(&container, "-6 route show"));
    let (_, msg) = net.try_add(&container).err();
    assert!(msg.contains("::/0") && msg.contains("File exists"), "{msg}");
    assert_eq!((listed("uplink"), ip_in(&container, "-6 route show")), before);
}

/// Faults 6 and 8: IPAM gives an address that goes along, and routes without addresses; its default route comes first.
#[test]
fn b8_ipam_beside_what_goes_along() {
    let mut net = net(json!({}));
    ip("address add 10.88.0.5/24 brd + dev uplink");
    ip("route add default via 10.88.0.9");
    for (addresses, count) in
        [(json!([{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]), 1), (json!([]), 1)]
    {
        net.conf["ipam"] = json!({
            "type": "static", "addresses": addresses, "routes": [{"dst": "0.0.0.0/0", "gw": "10.88.0.77"}],
        });
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        assert_eq!(result["ips"].as_array().unwrap().len(), count, "{result}");
        let defaults = ip_in(&container, "route show default");
        assert!(defaults.starts_with("default via 10.88.0.77"), "{defaults}");
        assert!(defaults.contains("10.88.0.9"), "{defaults}");
        net.del(&container).ok();
        assert!(ip("route show default").starts_with("default via 10.88.0.9"));
    }
}

/// DEL gives all or nothing: what has come to the host meanwhile is somebody's wish.
#[test]
fn b_a_host_that_has_changed_meanwhile_gets_the_device_alone() {
    for change in [
        &["link add new type bridge", "address add 10.88.0.5/24 dev new", "link set new up"][..],
        &["link add new type bridge", "link set new up", "route add 10.1.0.0/16 dev new metric 7"],
    ] {
        let net = net(json!({}));
        furnish();
        let container = net.host.container("one");
        net.add(&container);
        change.iter().for_each(|line| drop(ip(line)));
        let outcome = net.del(&container);
        outcome.ok();
        assert!(
            outcome.stderr.contains("uplink does not get its addresses and routes back"),
            "{}",
            outcome.stderr
        );
        assert_eq!(listed("uplink"), [""; 0]);
        assert!(!link("uplink").up && records() == 0);
        assert_eq!(own_rules(&rules_in(&container)), [""; 0]);
    }
}

/// By GC too, and rules that the container had are not taken from it.
#[test]
fn b_gc_gives_back_and_leaves_the_containers_own_rules() {
    let net = net(json!({}));
    furnish();
    let before = listed("uplink");
    let container = net.host.container("one");
    ip_in(&container, "rule add from 10.88.0.5 table 100 priority 500");
    let rules = rules_in(&container);
    net.add(&container);
    assert_eq!(rules_in(&container).len(), rules.len() + 2);
    net.gc(&["one"]);
    assert_eq!(records(), 2, "the device and its network are on record");
    net.gc(&[]);
    assert_eq!((listed("uplink"), rules_in(&container), records()), (before, rules, 0));
}

#[test]
fn b_an_interface_is_needed_and_a_boolean() {
    let net = net(json!({}));
    sysctl_write("net/ipv6/conf/uplink/disable_ipv6", "1").unwrap();
    ip("address add 10.88.0.5/24 dev uplink");
    let container = net.host.container("one");
    let mut conf = net.conf.clone();
    conf["useInterfaceNetwork"] = json!("yes");
    let (code, msg) = net.host.plugin("host-device").add(&container, "eth0", &conf).err();
    assert!(code == 6 && msg.contains("useInterfaceNetwork"), "{code}: {msg}");
    // In any case, as all keys.
    set(&mut conf, &json!({"useInterfaceNetwork": null, "UseInterfaceNETWORK": true}));
    let result = net.host.plugin("host-device").add(&container, "eth0", &conf).ok();
    assert_eq!(result["ips"][0]["address"], "10.88.0.5/24");
    net.del(&container).ok();
}
