//! What holds for any result and any input.

use std::net::IpAddr;

use cni_types::{
    BandwidthEntry, CniArgs, CniError, CniResult, ContainerId, Dns, IfName, Interface, IpConfig,
    NetworkConfigList, NetworkName, PluginConf, PluginType, PortMapping, Route, SpecVersion, VersionInfo,
    json,
};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::Value;

fn address() -> impl Strategy<Value = IpAddr> {
    // An IPv4 address in IPv6 form is read as IPv4, so it is no value of its own.
    any::<IpAddr>().prop_map(|address| address.to_canonical())
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), any::<u8>()).prop_map(|(address, bits)| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, bits % (longest + 1)).expect("the prefix fits the family")
    })
}

fn text() -> impl Strategy<Value = String> {
    "[ -~\u{e4}\n]{1,12}"
}

fn positive() -> impl Strategy<Value = u32> {
    1..=u32::MAX
}

fn interface() -> impl Strategy<Value = Interface> {
    let fields = (text(), of(text()), of(positive()), of(text()), of(text()), of(text()));
    fields.prop_map(|(name, mac, mtu, sandbox, socket_path, pci_id)| Interface {
        name,
        mac,
        mtu,
        sandbox,
        socket_path,
        pci_id,
    })
}

fn ip() -> impl Strategy<Value = IpConfig> {
    let fields = (of(0_usize..5), network(), of(address()));
    fields.prop_map(|(interface, address, gateway)| IpConfig { interface, address, gateway })
}

fn route() -> impl Strategy<Value = Route> {
    let numbers = (of(positive()), of(positive()), of(positive()));
    let fields = (network(), of(address()), numbers, of(any::<u32>()), of(any::<u8>()));
    fields.prop_map(|(dst, gw, (mtu, advmss, priority), table, scope)| Route {
        dst,
        gw,
        mtu,
        advmss,
        priority,
        table,
        scope,
    })
}

fn dns() -> impl Strategy<Value = Dns> {
    let fields = (vec(text(), 0..3), of(text()), vec(text(), 0..3), vec(text(), 0..3));
    fields.prop_map(|(nameservers, domain, search, options)| Dns { nameservers, domain, search, options })
}

fn result() -> impl Strategy<Value = CniResult> {
    let fields = (vec(interface(), 0..4), vec(ip(), 0..5), vec(route(), 0..5), dns());
    fields.prop_map(|(interfaces, ips, routes, dns)| CniResult { interfaces, ips, routes, dns })
}

fn version() -> impl Strategy<Value = SpecVersion> {
    proptest::sample::select(SpecVersion::ALL)
}

/// What 0.3.0 to 0.4.0 have fields for.
fn within_0_4(mut result: CniResult) -> CniResult {
    for interface in &mut result.interfaces {
        (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
    }
    result
}

/// What 0.1.0 and 0.2.0 have fields for: IPv4 comes first there.
fn within_0_2(result: CniResult) -> CniResult {
    let mut kept = CniResult { dns: result.dns, ..CniResult::default() };
    for is_ipv4 in [true, false] {
        let mut ips = result.ips.iter().filter(|ip| ip.address.addr().is_ipv4() == is_ipv4);
        let Some(first) = ips.next() else { continue };
        kept.ips.push(IpConfig { interface: None, ..first.clone() });
        let routes = result.routes.iter().filter(|route| route.dst.addr().is_ipv4() == is_ipv4);
        kept.routes.extend(routes.map(|route| Route::new(route.dst, route.gw)));
    }
    kept
}

fn there_and_back(result: &CniResult, version: SpecVersion) -> CniResult {
    let form = result.to_json(version).expect("it has a form");
    // The other default shows that the form carries its version.
    let other = if version == SpecVersion::V1_1_0 { SpecVersion::V0_2_0 } else { SpecVersion::V1_1_0 };
    CniResult::from_json(&form, other).expect("what was written is read")
}

/// JSON of any shape whose keys are often those that are looked for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        proptest::sample::select(
            &["0.2.0", "0.4.0", "1.1.0", "10.0.0.1/24", "10.0.0.1", "fd00::1/64", "bridge"][..]
        )
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(
        &[
            "cniVersion",
            "cniVersions",
            "supportedVersions",
            "name",
            "type",
            "plugins",
            "ipam",
            "dns",
            "prevResult",
            "interfaces",
            "ips",
            "routes",
            "ip4",
            "ip6",
            "address",
            "gateway",
            "interface",
            "dst",
            "gw",
            "mtu",
            "Table",
            "CAPABILITIES",
            "disableCheck",
            "loadOnlyInlinedPlugins",
            "cni.dev/valid-attachments",
            "containerID",
            "ifname",
            "code",
            "msg",
            "details",
            "nameservers",
            "domain",
            "hostPort",
            "containerPort",
            "protocol",
        ][..],
    );
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

fn read_value_as_everything(value: &Value, version: SpecVersion) {
    let _ = CniResult::from_json(value, version).map(|result| result.to_json(version));
    let _ = CniError::from_json(value).map(|error| error.to_string());
    let _ = VersionInfo::from_json(value);
    let _ = json::from_value::<Route>(value);
    let _ = json::from_value::<Dns>(value);
    let _ = json::from_value::<Vec<PortMapping>>(value);
    let _ = json::from_value::<BandwidthEntry>(value);
}

fn read_bytes_as_everything(bytes: &[u8]) {
    let conf = PluginConf::from_slice(bytes);
    let _ = conf
        .map_err(|error| error.to_string())
        .map(|conf| conf.prev_result().map(Option::<&CniResult>::cloned));
    let _ = NetworkConfigList::from_slice(bytes).map_err(|error| error.to_string());
    let _ = NetworkConfigList::from_single(bytes).map_err(|error| error.to_string());
}

proptest! {
    #[test]
    fn a_result_through_1_0_or_1_1_is_the_same(result in result()) {
        for version in [SpecVersion::V1_0_0, SpecVersion::V1_1_0] {
            prop_assert_eq!(&there_and_back(&result, version), &result);
        }
    }

    #[test]
    fn a_result_through_0_3_or_0_4_keeps_what_these_have(result in result()) {
        let kept = within_0_4(result.clone());
        for version in [SpecVersion::V0_3_0, SpecVersion::V0_3_1, SpecVersion::V0_4_0] {
            prop_assert_eq!(&there_and_back(&result, version), &kept);
        }
    }

    #[test]
    fn a_result_through_0_1_or_0_2_keeps_what_these_have(result in result()) {
        for version in [SpecVersion::V0_1_0, SpecVersion::V0_2_0] {
            if result.ips.is_empty() {
                prop_assert!(result.to_json(version).is_err());
            } else {
                prop_assert_eq!(there_and_back(&result, version), within_0_2(result.clone()));
            }
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..200)) {
        read_bytes_as_everything(&bytes);
        let _ = json::from_slice::<Route>(&bytes);
    }

    #[test]
    fn no_json_makes_a_parser_panic(value in any_json(), version in version()) {
        read_value_as_everything(&value, version);
        read_bytes_as_everything(value.to_string().as_bytes());
    }

    #[test]
    fn no_configuration_with_odd_members_makes_a_parser_panic(
        members in proptest::collection::btree_map(key(), any_json(), 0..8),
        version in version(),
    ) {
        let mut members: serde_json::Map<String, Value> = members.into_iter().collect();
        members.insert("cniVersion".to_owned(), version.as_str().into());
        members.insert("name".to_owned(), "net".into());
        members.insert("type".to_owned(), "bridge".into());
        let conf = Value::Object(members);
        read_value_as_everything(&conf, version);
        read_bytes_as_everything(conf.to_string().as_bytes());
    }

    #[test]
    fn no_text_makes_a_name_or_arguments_panic(text in "\\PC{0,20}|[a-zA-Z0-9_.=;/:%-]{0,20}") {
        let _ = CniArgs::parse(&text).expect_only(&["IP"]).map_err(|error| error.to_string());
        let _ = text.parse::<SpecVersion>();
        let _ = PluginType::new(&*text).map_err(|error| error.to_string());
        let _ = NetworkName::new(&*text);
        if let Ok(id) = ContainerId::new(&*text) {
            // What the rules let through is safe as a file's name.
            prop_assert!(!id.as_str().contains('/') && !id.as_str().starts_with('.'));
        }
        if let Ok(name) = IfName::new(&*text) {
            prop_assert!((1..=15).contains(&name.as_str().len()));
        }
    }
}

#[test]
fn nesting_without_end_is_skipped_or_refused() {
    let deep = "[".repeat(100_000);
    read_bytes_as_everything(deep.as_bytes());
    let conf = format!(r#"{{"name":"n","type":"t","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let conf = PluginConf::from_slice(conf.as_bytes()).expect("nobody looks at x");
    let error = conf.raw.get::<Value>("x").expect_err("it is too deep");
    assert!(error.to_string().contains("recursion limit"), "{error}");
}
