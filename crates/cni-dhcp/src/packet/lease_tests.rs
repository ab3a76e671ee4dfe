//! What an acknowledgement gives, and what it does not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// An acknowledgement of 10.9.0.50/24 with these options besides.
fn ack(options: &[(u8, &[u8])]) -> Message {
    let mut ack = Message::new(MessageType::Ack, 1, [2, 0, 0, 0, 9, 2]);
    ack.op = Op::Reply;
    ack.yiaddr = [10, 9, 0, 50].into();
    ack.options.set(code::SUBNET_MASK, [255, 255, 255, 0]).set(code::SERVER_ID, SERVER.octets());
    ack.options.set(code::LEASE_TIME, 1000_u32.to_be_bytes());
    for (code, value) in options {
        ack.options.set(*code, *value);
    }
    ack
}

fn lease(options: &[(u8, &[u8])]) -> Lease {
    let (lease, problems) = Lease::from_ack(&ack(options), None).unwrap();
    assert_eq!(problems, []);
    lease
}

/// What is told of an option that is left out.
fn problem(option: u8, value: &[u8]) -> String {
    let (lease, problems) = Lease::from_ack(&ack(&[(option, value)]), None).unwrap();
    let plain = Lease::from_ack(&ack(&[]), None).unwrap().0;
    assert_eq!((&lease, problems.len()), (&plain, 1), "{problems:?}");
    problems[0].to_string()
}

fn refused(options: &[(u8, &[u8])]) -> LeaseError {
    Lease::from_ack(&ack(options), None).unwrap_err()
}

fn routes(lease: &Lease) -> Vec<String> {
    lease.routes.iter().map(|route| format!("{} via {}", route.dst, route.gateway)).collect()
}

#[test]
fn a_lease_has_an_address_a_gateway_and_the_default_route() {
    let lease = lease(&[(3, &[10, 9, 0, 1, 10, 9, 0, 2])]);
    assert_eq!(lease.address.to_string(), "10.9.0.50/24");
    assert_eq!((lease.server, lease.gateway), (SERVER, Some(SERVER)));
    assert_eq!(routes(&lease), ["0.0.0.0/0 via 10.9.0.1"]);
    assert_eq!(problem(3, &[10, 9, 0]), "option 3 has 3 bytes and not a multiple of 4");
    assert_eq!(problem(3, &[0, 0, 0, 0]), "option 3: 0.0.0.0 is not an address of a router");
}

// RFC 2132, section 3.3.
#[test]
fn the_mask_must_be_there_and_be_one() {
    let mut without = ack(&[]);
    without.options.remove(code::SUBNET_MASK);
    assert_eq!(Lease::from_ack(&without, None), Err(LeaseError::NoSubnetMask));
    assert_eq!(refused(&[(1, &[255, 0, 255, 0])]).to_string(), "option 1: 255.0.255.0 is not a mask");
    assert_eq!(refused(&[(1, &[255, 0])]).to_string(), "option 1 has 2 bytes and not 4 bytes");
    assert_eq!(lease(&[(1, &[255; 4])]).address.prefix_len(), 32);
}

#[test]
fn the_address_must_be_one_that_a_host_can_have() {
    for bad in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
        let mut ack = ack(&[]);
        ack.yiaddr = bad.into();
        assert_eq!(Lease::from_ack(&ack, None), Err(LeaseError::Address(bad.into())));
    }
}

// RFC 2131, section 4.3.1, table 3: an acknowledgement must name its server.
#[test]
fn the_server_is_the_one_that_the_acknowledgement_names_or_else_the_offer() {
    let mut nameless = ack(&[]);
    nameless.options.remove(code::SERVER_ID);
    assert_eq!(Lease::from_ack(&nameless, None), Err(LeaseError::NoServer));
    assert_eq!(Lease::from_ack(&nameless, Some(SERVER)).unwrap().0.server, SERVER);
    assert_eq!(Lease::from_ack(&ack(&[]), Some([1, 1, 1, 1].into())).unwrap().0.server, SERVER);
    // One that could not be asked for renewal names nobody.
    for nobody in [[0; 4], [255; 4], [224, 0, 0, 1]] {
        let ack = ack(&[(54, &nobody)]);
        assert_eq!(Lease::from_ack(&ack, None), Err(LeaseError::NoServer));
        assert_eq!(Lease::from_ack(&ack, Some(SERVER)).unwrap().0.server, SERVER);
    }
}

// RFC 2131, sections 3.3 and 4.4.5.
#[test]
fn times_are_those_of_the_server_or_parts_of_the_lease_time() {
    let times = |lease: &Lease| (lease.lease_time, lease.renewal_time, lease.rebinding_time);
    assert_eq!(times(&lease(&[])), (1000, 500, 875));
    assert_eq!(times(&lease(&[(58, &[0, 0, 0, 5]), (59, &[0, 0, 0, 6])])), (1000, 5, 6));
    // T1 never comes after T2.
    assert_eq!(times(&lease(&[(59, &[0, 0, 0, 6])])), (1000, 6, 6));
    assert_eq!(times(&lease(&[(51, &[255; 4])])).0, FOREVER);
    assert_eq!(times(&lease(&[(51, &[0, 0, 0, 1])])), (1, 1, 1));
    let mut without = ack(&[]);
    without.options.remove(code::LEASE_TIME);
    assert_eq!(times(&Lease::from_ack(&without, None).unwrap().0), (3600, 1800, 3150));
    assert_eq!(refused(&[(51, &[0; 4])]), LeaseError::NoTime);
    assert_eq!(refused(&[(51, &[1])]).to_string(), "option 51 has 1 bytes and not 4 bytes");
    assert_eq!(
        problem(58, &[0, 0, 9, 9]),
        "option 58: T1 2313, T2 875 and the lease time 1000 are in no order"
    );
    assert!(problem(58, &[0; 4]).starts_with("option 58: T1 0,"));
    assert!(problem(59, &[0, 0, 9, 9]).starts_with("option 58: T1 500, T2 2313"));
    assert_eq!(problem(59, &[9]), "option 59 has 1 bytes and not 4 bytes");
}

// RFC 3442: "the DHCP client MUST ignore the Router option" and option 33.
#[test]
fn classless_routes_replace_classful_ones_and_the_router() {
    let (router, classful) = (&[10, 9, 0, 1][..], &[192, 168, 7, 0, 10, 9, 0, 3][..]);
    let classless =
        [0, 10, 9, 0, 2, 12, 172, 16, 0, 0, 0, 0, 8, 10, 10, 9, 0, 4, 32, 1, 2, 3, 4, 10, 9, 0, 5];
    let both = lease(&[(3, router), (33, classful), (121, &classless)]);
    assert_eq!(
        routes(&both),
        [
            "0.0.0.0/0 via 10.9.0.2",
            "172.16.0.0/12 via 0.0.0.0",
            "10.0.0.0/8 via 10.9.0.4",
            "1.2.3.4/32 via 10.9.0.5"
        ]
    );
    // As the reference, which tells it beside the routes.
    assert_eq!(both.gateway, Some(SERVER));
    let without = lease(&[(3, router), (33, classful)]);
    assert_eq!(routes(&without), ["192.168.7.0/24 via 10.9.0.3", "0.0.0.0/0 via 10.9.0.1"]);
    // Bits beyond the prefix are cut off.
    assert_eq!(routes(&lease(&[(121, &[9, 10, 255, 10, 9, 0, 1])])), ["10.128.0.0/9 via 10.9.0.1"]);
}

#[test]
fn classless_routes_that_are_none_are_told() {
    for bad in [&[][..], &[24], &[24, 10, 9], &[24, 10, 9, 0], &[24, 10, 9, 0, 1, 2, 3], &[0, 1, 2, 3]] {
        let wanted = format!("option 121 has {} bytes and not those of whole routes", bad.len());
        assert_eq!(problem(121, bad), wanted);
    }
    assert_eq!(problem(121, &[33, 1, 2, 3, 4, 5, 6, 7, 8, 9]), "option 121: a prefix of 33 bits");
    assert_eq!(problem(121, &[255; 20]), "option 121: a prefix of 255 bits");
    // What the router would give is given then.
    let (lease, problems) = Lease::from_ack(&ack(&[(3, &[10, 9, 0, 1]), (121, &[99])]), None).unwrap();
    assert_eq!((routes(&lease), problems.len()), (vec!["0.0.0.0/0 via 10.9.0.1".to_owned()], 1));
}

// RFC 2132, section 5.8.
#[test]
fn classful_routes_have_the_prefix_of_their_class() {
    let destinations = [[10, 0, 0, 0], [172, 16, 0, 0], [192, 168, 7, 0]];
    let value: Vec<u8> = destinations.iter().flat_map(|dst| [*dst, [10, 9, 0, 3]].concat()).collect();
    let all = routes(&lease(&[(33, &value)]));
    assert_eq!(all, ["10.0.0.0/8 via 10.9.0.3", "172.16.0.0/16 via 10.9.0.3", "192.168.7.0/24 via 10.9.0.3"]);
    assert_eq!(problem(33, &[1, 2, 3, 4, 5, 6, 7]), "option 33 has 7 bytes and not a multiple of 8");
    for first in [0, 224, 255] {
        assert!(problem(33, &[first, 0, 0, 0, 10, 9, 0, 3]).contains("is in no class"));
    }
}

// RFC 2132, section 5.1.
#[test]
fn an_mtu_is_68_at_least() {
    assert_eq!(lease(&[(26, &[5, 220])]).mtu, Some(1500));
    assert_eq!(lease(&[(26, &[0, 68])]).mtu, Some(68));
    assert_eq!(problem(26, &[0, 67]), "option 26: 67 is less than 68");
    assert_eq!(problem(26, &[5]), "option 26 has 1 bytes and not 2 bytes");
}

// RFC 2132, sections 3.8 and 3.17.
#[test]
fn name_servers_and_a_domain_are_given() {
    let lease = lease(&[(6, &[1, 1, 1, 1, 8, 8, 8, 8]), (15, b"lan.example\0")]);
    assert_eq!(lease.dns_servers, [Ipv4Addr::from([1, 1, 1, 1]), [8, 8, 8, 8].into()]);
    assert_eq!(lease.domain.as_deref(), Some("lan.example"));
    assert_eq!(problem(6, &[1]), "option 6 has 1 bytes and not a multiple of 4");
}

#[test]
fn a_domain_cannot_bring_lines_of_resolv_conf_with_it() {
    let long = [b'a'; 64];
    let many = b"a.".repeat(127);
    for bad in [
        &b"x\nnameserver 6.6.6.6"[..],
        b"a b",
        b"",
        b"\0",
        b"a..b",
        b".",
        "ä".as_bytes(),
        b"\xff",
        &long,
        &many,
    ] {
        assert!(problem(15, bad).ends_with("is not a domain name"), "{bad:?}");
    }
    assert!(problem(119, b"\x03a\nb\0").ends_with("is not a label"));
}

// RFC 3397, section 2, with its own example; RFC 1035, section 4.1.4.
#[test]
fn a_search_list_is_decompressed() {
    let value = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
    assert_eq!(lease(&[(119, value)]).search, ["eng.apple.com", "marketing.apple.com"]);
    // A pointer alone, and one to a pointer.
    let chained = [&value[..], b"\xc0\x0f", b"\x01x\xc0\x0f"].concat();
    let search = lease(&[(119, &chained)]).search;
    assert_eq!(search[2..], ["marketing.apple.com", "x.marketing.apple.com"]);
}

#[test]
fn hostile_names_are_told() {
    let told = |value: &[u8]| problem(119, value).strip_prefix("option 119: ").unwrap().to_owned();
    for beyond in [&b"\x03en"[..], b"\x03eng", b"\xc0", b"\x01a\xc0"] {
        assert_eq!(told(beyond), "a name reaches beyond the end", "{beyond:?}");
    }
    // To itself, forwards, beyond the end, and back into the name that it ends.
    for pointer in
        [&b"\xc0\x00"[..], b"\xc0\x02\x01a\0", b"\x01a\0\xff\xff", b"\x01a\xc0\x00", b"\x01a\0\x01b\xc0\x03"]
    {
        assert_eq!(told(pointer), "a pointer does not go back", "{pointer:?}");
    }
    // Two names that end in each other: the first pointer would have to go forwards.
    assert_eq!(told(b"\x01a\xc0\x04\x01b\xc0\x00"), "a pointer does not go back");
    assert_eq!(told(b"\0"), "an empty name");
    assert_eq!(told(b"\x40a"), "a label begins with 64");
    assert_eq!(told(&b"\x01a".repeat(128)), "a name is too long");
    assert_eq!(told(&[&b"\x01a\0"[..], &b"\xc0\x00".repeat(64)].concat()), "more than 64 names");
}

#[test]
fn the_result_is_the_reference_s() {
    let lease = lease(&[
        (3, &[10, 9, 0, 1]),
        (121, &[0, 10, 9, 0, 2, 16, 172, 20, 0, 0, 0, 0]),
        (6, &[1, 1, 1, 1]),
        (15, b"lan"),
        (119, b"\x01a\0"),
    ]);
    let version = cni_types::SpecVersion::V1_0_0;
    let routes = json!([
        { "dst": "0.0.0.0/0", "gw": "10.9.0.2", "priority": 100 },
        { "dst": "172.20.0.0/16", "gw": "0.0.0.0", "priority": 100, "scope": 253 }
    ]);
    let ips = json!([{ "address": "10.9.0.50/24", "gateway": "10.9.0.1" }]);
    let plain = lease.result(&[3, 1], Some(100)).to_json(version).unwrap();
    assert_eq!(plain, json!({ "cniVersion": "1.0.0", "ips": ips, "routes": routes }));
    let dns = lease.result(&[6, 15, 119], None).to_json(version).unwrap();
    assert_eq!(dns["dns"], json!({ "nameservers": ["1.1.1.1"], "domain": "lan", "search": ["a"] }));
}

#[test]
fn a_lease_is_stored_and_read_again() {
    let lease = lease(&[(3, &[10, 9, 0, 1]), (6, &[1, 1, 1, 1]), (15, b"lan"), (26, &[5, 220])]);
    let stored = serde_json::to_string(&lease).unwrap();
    assert_eq!(serde_json::from_str::<Lease>(&stored).unwrap(), lease);
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(code in prop::sample::select(vec![1, 3, 6, 15, 26, 33, 51, 54, 58, 59, 119, 121]), value: Vec<u8>) {
        if let Ok((lease, _)) = Lease::from_ack(&ack(&[(code, &value)]), None) {
            prop_assert!(lease.renewal_time <= lease.rebinding_time && lease.rebinding_time <= lease.lease_time);
            let _ = lease.result(&[6, 15, 119], None);
        }
    }
}
