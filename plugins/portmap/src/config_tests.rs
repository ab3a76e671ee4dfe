use cni_types::{ErrorCode, json as cni_json};
use serde_json::{Value, json};

use super::*;

fn wire(keys: Value) -> Wire {
    cni_json::from_value(&keys).unwrap()
}

fn parse(keys: Value) -> Config {
    Config::new(&wire(keys)).unwrap()
}

fn refusal(keys: Value) -> String {
    let error = Config::new(&wire(keys)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_NETWORK_CONFIG, "{error}");
    error.to_string()
}

fn with_mapping(mapping: Value) -> Value {
    let good = json!({"hostPort": 1, "containerPort": 2, "protocol": "tcp"});
    json!({"runtimeConfig": {"portMappings": [good, mapping]}})
}

#[test]
fn defaults_are_the_references() {
    let config = parse(json!({}));
    assert_eq!((config.backend, config.masquerade), (None, Masquerade::Near));
    assert_eq!(config.mark, Mark::Bit(13));
    assert!(config.mappings.is_empty() && config.conditions(false).is_empty());
}

#[test]
fn masq_all_needs_snat() {
    assert_eq!(parse(json!({"masqAll": true})).masquerade, Masquerade::All);
    assert_eq!(parse(json!({"masqAll": true, "snat": false})).masquerade, Masquerade::Nobody);
}

#[test]
fn keys_match_without_case_and_null_is_unset() {
    let keys =
        json!({"BACKEND": "nftables", "SNAT": false, "conditionsv4": ["mark 1"], "conditionsV6": null});
    let config = parse(keys);
    assert_eq!((config.backend, config.masquerade), (Some(Backend::Nftables), Masquerade::Nobody));
    assert_eq!(config.conditions(false), ["mark 1"]);
    assert!(config.conditions(true).is_empty());
}

#[test]
fn a_mapping_is_read_as_runtimes_write_it() {
    let mapping =
        json!({"hostPort": 8080, "containerPort": 80, "protocol": "UDP", "hostIP": "::ffff:10.0.0.1"});
    assert_eq!(
        parse(with_mapping(mapping)).mappings[1],
        Mapping {
            protocol: Protocol::Udp,
            host_ip: Some("10.0.0.1".parse().unwrap()),
            host_port: 8080,
            container_port: 80,
        }
    );
    let everywhere = json!({"hostPort": 8080, "containerPort": 80, "protocol": "sctp", "hostIP": ""});
    assert_eq!(parse(with_mapping(everywhere)).mappings[1].host_ip, None);
}

#[test]
fn of_two_mappings_of_one_port_the_first_counts() {
    let config = parse(with_mapping(json!({"hostPort": 1, "containerPort": 3, "protocol": "tcp"})));
    assert_eq!(config.mappings.len(), 1);
    assert_eq!(config.mappings[0].container_port, 2);
}

#[test]
fn a_mapping_that_cannot_be_is_named_by_its_place() {
    for (mapping, reason) in [
        (json!({}), r#"protocol: "" is not one of tcp, udp, sctp"#),
        (json!({"protocol": "icmp"}), r#"protocol: "icmp" is not one of tcp, udp, sctp"#),
        (json!({"protocol": "tcp", "containerPort": 1}), "hostPort: 0 is not a port"),
        (json!({"protocol": "tcp", "hostPort": 1}), "containerPort: 0 is not a port"),
        (json!({"protocol": "tcp", "hostPort": 65536}), "hostPort: 65536 is not a port"),
        (json!({"protocol": "tcp", "hostPort": 1, "containerPort": -1}), "containerPort: -1 is not a port"),
        (json!({"protocol": "tcp", "hostIP": "10.0.0"}), r#"hostIP: "10.0.0" is not an IP address"#),
    ] {
        assert_eq!(refusal(with_mapping(mapping)), format!("runtimeConfig.portMappings[1].{reason}"));
    }
}

#[test]
fn values_that_cannot_be_are_named() {
    assert_eq!(
        refusal(json!({"backend": "ipfw"})),
        r#"backend: "ipfw" is unknown; known are iptables and nftables"#
    );
    for bit in [-1, 32, 300] {
        let text = refusal(json!({"markMasqBit": bit}));
        assert_eq!(text, format!("markMasqBit: {bit} is not between 0 and 31"));
    }
    assert_eq!(
        refusal(json!({"markMasqBit": 1, "externalSetMarkChain": "X"})),
        "externalSetMarkChain and markMasqBit exclude each other"
    );
    let text = refusal(json!({"backend": "nftables", "conditionsV6": ["ip6", "saddr", "somewhere"]}));
    assert!(text.starts_with(r#"conditionsV6: cannot understand "somewhere""#), "{text}");
}

#[test]
fn keys_of_the_other_backend_are_refused() {
    let keys =
        json!({"backend": "nftables", "externalSetMarkChain": "X", "conditionsV4": ["!", "-i", "eth0"]});
    assert_eq!(
        refusal(keys),
        "the backend is nftables, but these keys are for iptables: externalSetMarkChain, conditionsV4"
    );
    assert_eq!(
        refusal(json!({"backend": "iptables", "conditionsV6": ["iifname eth0"]})),
        "the backend is iptables, but these keys are for nftables: conditionsV6"
    );
    // With no backend named that of the host decides, which is not known yet.
    parse(json!({"conditionsV6": ["iifname eth0"]}));
    parse(json!({"backend": "nftables", "markMasqBit": 3, "conditionsV4": [""]}));
}

#[test]
fn a_mapping_means_something_only_for_addresses_of_its_family() {
    let pods: [IpNet; 2] = ["10.1.0.5/16".parse().unwrap(), "fd00::5/64".parse().unwrap()];
    let forwards = |host_ip: Option<&str>| {
        let mapping = Mapping {
            protocol: Protocol::Tcp,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: 8080,
            container_port: 80,
        };
        let forwards = pods.iter().filter_map(|pod| mapping.forward(*pod));
        forwards.map(|forward| format!("{forward} {}", forward.pod)).collect::<Vec<_>>()
    };
    assert_eq!(forwards(None), ["tcp port 8080 10.1.0.5:80", "tcp port 8080 [fd00::5]:80"]);
    assert_eq!(forwards(Some("0.0.0.0")), ["tcp port 8080 10.1.0.5:80"]);
    assert_eq!(forwards(Some("2001:db8::1")), ["tcp port 8080 of 2001:db8::1 [fd00::5]:80"]);
}
