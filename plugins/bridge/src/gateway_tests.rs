use cni_plugin::Call;
use cni_types::{CniArgs, IpConfig, PluginConf};
use serde_json::json;

use super::*;
use crate::config::Wire;

fn config(keys: &str) -> Config {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge"});
    for key in keys.split_whitespace() {
        conf[key] = true.into();
    }
    let conf = PluginConf::from_slice(conf.to_string().as_bytes()).unwrap();
    let call =
        Call { conf, args: CniArgs::default(), path: Vec::new(), stdin: Vec::new(), delegators: Vec::new() };
    Config::new(&Wire::read(&call).unwrap(), &call).unwrap()
}

fn result(ips: &[(&str, Option<&str>)], routes: &[(&str, Option<&str>)]) -> CniResult {
    let gateway = |gw: &Option<&str>| gw.map(|gw| gw.parse().unwrap());
    let ip = |(address, gw): &(&str, _)| IpConfig {
        interface: None,
        address: address.parse().unwrap(),
        gateway: gateway(gw),
    };
    let route = |(dst, gw): &(&str, _)| Route::new(dst.parse().unwrap(), gateway(gw));
    CniResult {
        ips: ips.iter().map(ip).collect(),
        routes: routes.iter().map(route).collect(),
        ..CniResult::default()
    }
}

fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

fn routes(result: &CniResult) -> Vec<String> {
    let via = |route: &Route| route.gw.map_or_else(String::new, |gw| format!(" via {gw}"));
    result.routes.iter().map(|route| format!("{}{}", route.dst, via(route))).collect()
}

#[test]
fn without_a_gateway_only_the_interface_is_filled_in() {
    let mut result = result(&[("10.1.0.5/16", None), ("10.2.0.5/16", Some("10.2.0.9"))], &[]);
    assert!(plan(&mut result, &config("")).unwrap().is_empty());
    assert!(result.ips.iter().all(|ip| ip.interface == Some(2)));
    assert_eq!(result.ips[0].gateway, None);
    assert_eq!(result.ips[1].gateway, Some("10.2.0.9".parse().unwrap()));
}

#[test]
fn a_missing_gateway_is_the_first_address_of_the_subnet() {
    let mut result =
        result(&[("10.1.3.5/16", None), ("fd00::5/64", None), ("10.2.0.5/24", Some("10.2.0.254"))], &[]);
    let gateways = plan(&mut result, &config("isGateway")).unwrap();
    assert_eq!(texts(gateways), ["10.1.0.1/16", "10.2.0.254/24", "fd00::1/64"]);
    assert_eq!(result.ips[0].gateway, Some("10.1.0.1".parse().unwrap()));
    assert!(result.routes.is_empty());
}

#[test]
fn each_family_gets_one_default_route_through_its_first_gateway() {
    let ips = [("10.1.0.5/16", None), ("10.2.0.5/16", None), ("fd00::5/64", None), ("fd01::5/64", None)];
    let mut result = result(&ips, &[("10.9.0.0/16", None)]);
    plan(&mut result, &config("isDefaultGateway")).unwrap();
    assert_eq!(routes(&result), ["10.9.0.0/16", "0.0.0.0/0 via 10.1.0.1", "::/0 via fd00::1"]);
}

#[test]
fn a_default_route_of_ipam_is_kept() {
    let ips = [("10.1.0.5/16", None), ("fd00::5/64", None)];
    let mut with = result(&ips, &[("0.0.0.0/0", Some("10.1.0.7")), ("::/0", Some("fd00::7"))]);
    plan(&mut with, &config("isDefaultGateway")).unwrap();
    assert_eq!(routes(&with), ["0.0.0.0/0 via 10.1.0.7", "::/0 via fd00::7"]);

    let mut without = result(&ips[..1], &[("0.0.0.0/0", None)]);
    plan(&mut without, &config("isDefaultGateway")).unwrap();
    assert_eq!(routes(&without), ["0.0.0.0/0"]);

    // One in another table or of another metric is another route.
    let mut other = result(&ips[..1], &[("0.0.0.0/0", None)]);
    other.routes[0].table = Some(100);
    plan(&mut other, &config("isDefaultGateway")).unwrap();
    assert_eq!(routes(&other), ["0.0.0.0/0", "0.0.0.0/0 via 10.1.0.1"]);
}

#[test]
fn a_gateway_of_the_other_family_is_refused() {
    let mut result = result(&[("10.1.0.5/16", Some("fd00::1"))], &[]);
    let msg = plan(&mut result, &config("isGateway")).unwrap_err().to_string();
    assert!(msg.contains("fd00::1") && msg.contains("10.1.0.5/16"), "{msg}");
}

#[test]
fn a_subnet_at_the_very_end_has_no_gateway() {
    let mut result = result(&[("255.255.255.255/32", None)], &[]);
    assert!(plan(&mut result, &config("isGateway")).is_err());
}

#[test]
fn ipv4_addresses_always_conflict_and_ipv6_only_when_they_overlap() {
    let conflict = |a: &str, b: &str| conflict(a.parse().unwrap(), b.parse().unwrap());
    assert!(conflict("10.1.0.1/16", "192.168.0.1/24"));
    assert!(conflict("fd00::1/64", "fd00::2/64"));
    assert!(conflict("fd00::1/64", "fd00::1/48"));
    assert!(!conflict("fd00::1/64", "fd01::1/64"));
    assert!(!conflict("fd00::1/64", "fe80::1/64"));
    assert!(!conflict("fd00::1/64", "10.1.0.1/16"));
}
