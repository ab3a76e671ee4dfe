//! The sbr plugin by packets: what comes from an interface's addresses leaves by that interface.

mod life;
pub(crate) mod net;
mod reference;

use cni_netlink::{Addr, NextHop, RouteSpec};
use serde_json::json;

use crate::bridge::net::link_in;
use crate::sbr::net::{FAR, IFNAMES, Site, address, conf, gateway, network, routing, rules, ways};

#[test]
fn packets_leave_by_the_interface_of_their_source_address() {
    let site = Site::new();
    let (container, result) = site.container("one");
    let far = FAR.map(|far| far.parse().unwrap());
    for (far, ipv4) in far.into_iter().zip([true, false]) {
        let sources = [address(0, ipv4, 5), address(1, ipv4, 5)];
        assert_eq!(ways(&container, Some(sources[1]), far), [0_usize; 0], "{far}: world0 knows no way back");
    }
    let conf = conf(&result, &json!({}));
    assert_eq!(site.sbr("ADD", &container, &conf).ok(), result, "the result is passed on");
    for (far, ipv4) in far.into_iter().zip([true, false]) {
        assert_eq!(ways(&container, Some(address(0, ipv4, 5)), far), [0]);
        assert_eq!(ways(&container, Some(address(1, ipv4, 5)), far), [1]);
        assert_eq!(ways(&container, None, far), [0], "the main table's default route is the first network's");
    }
    site.sbr("CHECK", &container, &conf).ok();
}

/// In the order of a chain, and both CHECKs hold in between.
#[test]
fn bridge_finds_its_routes_where_sbr_has_moved_them() {
    let site = Site::new();
    let container = site.host.container("one");
    let before = (routing(&container), container.snapshot());
    let mut bridge = network(1, 5);
    bridge["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.7.0.0/16", "gw": "10.89.0.9", "priority": 7}]);
    bridge["prevResult"] = site.attach(&container, 1, &bridge);
    let own = conf(&bridge["prevResult"], &json!({}));
    site.sbr("ADD", &container, &own).ok();
    site.host.plugin("bridge").check(&container, IFNAMES[1], &bridge).ok();
    site.sbr("CHECK", &container, &own).ok();
    site.sbr("DEL", &container, &own).ok();
    let (_, msg) = site.host.plugin("bridge").check(&container, IFNAMES[1], &bridge).err();
    assert!(msg.contains("no route to 0.0.0.0/0"), "{msg}");
    site.host.plugin("bridge").del(&container, IFNAMES[1], &bridge).ok();
    assert_eq!(routing(&container), before.0);
    container.snapshot().assert_same(&before.1);
}

#[test]
fn each_address_has_a_table_with_the_routes_of_its_subnet() {
    let site = Site::new();
    let container = site.host.container("one");
    let mut bridge = network(1, 5);
    bridge["ipam"] = json!({"type": "static", "addresses": [
        {"address": "10.89.0.5/24", "gateway": "10.89.0.254"},
        {"address": "10.90.0.5/24"},
        {"address": "10.89.0.6/24", "gateway": "10.89.0.254"},
    ], "routes": [
        {"dst": "10.7.0.0/16", "gw": "10.89.0.9", "mtu": 1400}, {"dst": "10.8.0.0/16", "gw": "10.90.0.9"},
        {"dst": "10.9.0.0/16", "scope": 253},
    ]});
    let result = site.attach(&container, 1, &bridge);
    site.sbr("ADD", &container, &conf(&result, &json!({}))).ok();
    let tables: Vec<_> = rules(&container).iter().map(|rule| (rule.src.to_string(), rule.table)).collect();
    let expected = [("10.89.0.6/32", 102), ("10.90.0.5/32", 101), ("10.89.0.5/32", 100)];
    assert_eq!(tables, expected.map(|(src, table)| (src.to_owned(), table)));

    let index = link_in(&container, IFNAMES[1]).index;
    let mut inside = container.ns().socket().unwrap();
    let mut dsts = |table| {
        let found = inside.route_dump_found(index, Some(table)).unwrap().into_iter();
        let mut dsts: Vec<_> = found.filter(|found| found.spec.dst.addr().is_ipv4()).collect();
        dsts.sort_by_key(|found| found.spec.dst);
        dsts.iter().map(|found| (found.spec.dst.to_string(), found.spec.mtu)).collect::<Vec<_>>()
    };
    let of = |dsts: &[(&str, Option<u32>)]| -> Vec<(String, Option<u32>)> {
        dsts.iter().map(|(dst, mtu)| ((*dst).to_owned(), *mtu)).collect()
    };
    let subnet = |default: bool| {
        let mut dsts = of(&[("10.7.0.0/16", Some(1400)), ("10.9.0.0/16", None), ("10.89.0.0/24", None)]);
        if default {
            dsts.insert(0, ("0.0.0.0/0".to_owned(), None));
        }
        dsts
    };
    assert_eq!(dsts(100), subnet(true));
    assert_eq!(dsts(102), subnet(true));
    assert_eq!(dsts(101), of(&[("10.8.0.0/16", None), ("10.9.0.0/16", None), ("10.90.0.0/24", None)]));
    assert_eq!(dsts(254), of(&[]));
    let far = FAR[0].parse().unwrap();
    for source in ["10.89.0.5", "10.89.0.6"] {
        assert_eq!(ways(&container, Some(source.parse().unwrap()), far), [1], "{source}");
    }
}

#[test]
fn configured_gateways_go_before_all_others() {
    let site = Site::new();
    let (container, mut result) = site.container("one");
    // What the network's own answer says would lead nowhere.
    for (n, wrong) in [(0, "10.89.0.77"), (1, "fd00:89::77")] {
        result["ips"][n]["gateway"] = wrong.into();
    }
    let mut inside = container.ns().socket().unwrap();
    let index = link_in(&container, IFNAMES[1]).index;
    let next_hops = vec![NextHop { index, gateway: Some("10.89.0.78".parse().unwrap()) }];
    inside.route_add(&route("0.0.0.0/0", next_hops, Some(9))).unwrap();
    let gateways = json!({"gateways": [gateway(1, false).to_string(), gateway(1, true).to_string()]});
    let conf = conf(&result, &gateways);
    site.sbr("ADD", &container, &conf).ok();
    for (far, ipv4) in FAR.into_iter().zip([true, false]) {
        assert_eq!(ways(&container, Some(address(1, ipv4, 5)), far.parse().unwrap()), [1], "{far}");
    }
    let default = inside.route_dump(index, Some(100)).unwrap();
    let default: Vec<_> = default.iter().filter(|route| route.dst.to_string() == "0.0.0.0/0").collect();
    assert!(default.len() == 1 && default[0].next_hops[0].gateway == Some(gateway(1, true)), "{default:?}");
    site.sbr("CHECK", &container, &conf).ok();
}

fn route(dst: &str, next_hops: Vec<NextHop>, metric: Option<u32>) -> RouteSpec {
    RouteSpec {
        dst: dst.parse().unwrap(),
        next_hops,
        metric,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    }
}

#[test]
fn with_source_hints_the_subnet_is_reached_without_a_source_too() {
    let site = Site::new();
    for (hints, expected) in [(false, &[][..]), (true, &[1][..])] {
        let (container, result) = site.container("one");
        let conf = conf(&result, &json!({ "addSourceHints": hints }));
        site.sbr("ADD", &container, &conf).ok();
        // By the first network, world0 gets it, and has no way to it.
        assert_eq!(ways(&container, None, gateway(1, true)), expected);
        for (far, ipv4) in FAR.into_iter().zip([true, false]) {
            assert_eq!(ways(&container, Some(address(1, ipv4, 5)), far.parse().unwrap()), [1]);
            assert_eq!(ways(&container, None, far.parse().unwrap()), [0]);
        }
        let index = link_in(&container, IFNAMES[1]).index;
        let main = container.ns().socket().unwrap().route_dump_found(index, Some(254)).unwrap();
        let mut main: Vec<_> = main.iter().map(|found| (found.spec.dst.to_string(), found.src)).collect();
        main.retain(|(dst, _)| dst != "fe80::/64");
        let kept =
            [("10.89.0.0/24", Some(address(1, true, 5))), ("fd00:89::/64", Some(address(1, false, 5)))];
        let kept = kept.map(|(dst, src)| (dst.to_owned(), src));
        assert_eq!(main, if hints { kept.to_vec() } else { Vec::new() });
        site.sbr("CHECK", &container, &conf).ok();
        for (n, ifname) in IFNAMES.into_iter().enumerate() {
            site.host.plugin("bridge").del(&container, ifname, &network(n, 5)).ok();
        }
    }
}

/// By another metric the route to the subnet is another one, which the hint does not replace.
#[test]
fn a9_with_source_hints_the_same_subnet_by_another_metric_stays() {
    let site = Site::new();
    for hints in [false, true] {
        let (container, result) = site.container("one");
        let mut inside = container.ns().socket().unwrap();
        let index = link_in(&container, IFNAMES[1]).index;
        let on_link = || vec![NextHop { index, gateway: None }];
        for metric in [7, 9] {
            let route = route("10.89.0.0/24", on_link(), Some(metric));
            inside.route_add(&RouteSpec { scope: Some(253), ..route }).unwrap();
        }
        let conf = conf(&result, &json!({ "addSourceHints": hints }));
        site.sbr("ADD", &container, &conf).ok();
        let mut metrics = |table| {
            let found = inside.route_dump_found(index, Some(table)).unwrap().into_iter();
            let subnet = found.filter(|found| found.spec.dst.to_string() == "10.89.0.0/24");
            let mut metrics: Vec<_> = subnet.map(|found| found.spec.metric.unwrap_or_default()).collect();
            metrics.sort_unstable();
            metrics
        };
        assert_eq!(metrics(254), if hints { vec![0, 7, 9] } else { Vec::new() });
        assert_eq!(metrics(100), [0, 7, 9]);
        site.sbr("CHECK", &container, &conf).ok();
        site.sbr("DEL", &container, &conf).ok();
        for (n, ifname) in IFNAMES.into_iter().enumerate() {
            site.host.plugin("bridge").del(&container, ifname, &network(n, 5)).ok();
        }
    }
}

/// https://github.com/k8snetworkplumbingwg/multus-cni/issues/706: without a gateway among the addresses the default route is the
/// one of the routes; IPv6's mostly has a link-local gateway, which is in no address's subnet.
#[test]
fn multus_706_a_default_route_by_a_link_local_gateway_is_kept() {
    let site = Site::new();
    let container = site.host.container("one");
    let mut first = network(0, 5);
    first["ipam"]["routes"] = json!([{"dst": "::/0"}]);
    site.attach(&container, 0, &first);
    let world = link_in(&site.worlds[1], "eth0").index;
    let addrs = site.worlds[1].ns().socket().unwrap().addr_dump(world).unwrap();
    let is_link_local = |addr: &&Addr| addr.address.to_string().starts_with("fe80");
    let router = addrs.iter().find(is_link_local).unwrap().address.addr().to_string();
    let mut bridge = network(1, 5);
    bridge["ipam"] = json!({"type": "static", "addresses": [{"address": "fd00:89::5/64"}, {"address": "10.89.0.5/24"}],
        "routes": [{"dst": "::/0", "gw": router}]});
    let result = site.attach(&container, 1, &bridge);
    site.sbr("ADD", &container, &conf(&result, &json!({}))).ok();
    assert_eq!(ways(&container, Some(address(1, false, 5)), FAR[1].parse().unwrap()), [1]);
    assert_eq!(ways(&container, Some(address(0, false, 5)), FAR[1].parse().unwrap()), [0]);
    assert_eq!(ways(&container, None, FAR[1].parse().unwrap()), [0]);
}

#[test]
fn a_given_table_gets_rules_and_nothing_else() {
    let site = Site::new();
    let container = site.host.container("one");
    let mut first = network(0, 5);
    first["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    site.attach(&container, 0, &first);
    let mut second = network(1, 5);
    second["ipam"]["routes"] = json!([
        {"dst": "0.0.0.0/0", "table": 500, "gw": gateway(1, true).to_string()},
        {"dst": "::/0", "table": 500, "gw": gateway(1, false).to_string()},
    ]);
    let result = site.attach(&container, 1, &second);
    let before = routing(&container);
    let conf = conf(&result, &json!({"table": 500, "addSourceHints": true, "gateways": ["203.0.113.1"]}));
    site.sbr("ADD", &container, &conf).ok();
    let mut expected: Vec<String> = rules(&container).iter().map(ToString::to_string).collect();
    assert_eq!(expected.len(), 2);
    assert!(rules(&container).iter().all(|rule| rule.table == 500), "{expected:?}");
    expected.extend(before.clone());
    expected.sort();
    assert_eq!(routing(&container), expected);
    for (far, ipv4) in FAR.into_iter().zip([true, false]) {
        assert_eq!(ways(&container, Some(address(1, ipv4, 5)), far.parse().unwrap()), [1]);
    }
    site.sbr("CHECK", &container, &conf).ok();
    site.sbr("DEL", &container, &conf).ok();
    assert_eq!(routing(&container), before, "the table's routes are somebody else's");
}
