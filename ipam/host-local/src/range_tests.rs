use super::*;

fn conf(subnet: &str, start: &str, end: &str, gateway: &str) -> RangeConf {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    RangeConf { subnet: some(subnet), range_start: some(start), range_end: some(end), gateway: some(gateway) }
}

fn range(subnet: &str, start: &str, end: &str, gateway: &str) -> Range {
    Range::new("ipam.ranges[0][0]".to_owned(), &conf(subnet, start, end, gateway)).unwrap()
}

fn set(ranges: &[Range]) -> RangeSet {
    RangeSet::new("ipam.ranges[0]", ranges.to_vec()).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_not_given_is_filled_in() {
    for (subnet, start, end, gateway) in [
        ("10.1.2.0/24", "10.1.2.1", "10.1.2.254", "10.1.2.1"),
        ("10.1.2.0/30", "10.1.2.1", "10.1.2.2", "10.1.2.1"),
        ("0.0.0.0/0", "0.0.0.1", "255.255.255.254", "0.0.0.1"),
        ("2001:db8:1::/64", "2001:db8:1::1", "2001:db8:1::ffff:ffff:ffff:ffff", "2001:db8:1::1"),
        ("2001:db8::4/126", "2001:db8::5", "2001:db8::7", "2001:db8::5"),
    ] {
        let range = range(subnet, "", "", "");
        assert_eq!((range.start, range.end, range.gateway), (ip(start), ip(end), ip(gateway)), "{subnet}");
    }
}

#[test]
fn what_is_given_is_kept() {
    let range = range("10.1.2.0/24", "::ffff:10.1.2.0", "10.1.2.255", "192.0.2.1");
    assert_eq!((range.start, range.end, range.gateway), (ip("10.1.2.0"), ip("10.1.2.255"), ip("192.0.2.1")));
    assert_eq!(range.with_prefix(ip("10.1.2.7")).to_string(), "10.1.2.7/24");
}

#[test]
fn bad_ranges_are_refused_with_place_key_value_and_reason() {
    for (conf, reason) in [
        (conf("", "10.1.2.3", "", ""), "subnet is missing"),
        (
            conf("10.1.2.0", "", "", ""),
            "subnet \"10.1.2.0\" is not an address with a prefix length, as in 10.1.0.0/16",
        ),
        (conf("10.1.2.3/24", "", "", ""), "subnet 10.1.2.3/24 has host bits set; the network is 10.1.2.0/24"),
        (conf("10.1.2.0/31", "", "", ""), "subnet 10.1.2.0/31 is too small to allocate from"),
        (conf("10.1.2.0/32", "", "", ""), "subnet 10.1.2.0/32 is too small to allocate from"),
        (conf("2001:db8::/127", "", "", ""), "subnet 2001:db8::/127 is too small to allocate from"),
        (
            conf("::ffff:10.1.2.0/120", "", "", ""),
            "subnet ::ffff:10.1.2.0/120 mixes IPv4 and IPv6; write it as IPv4",
        ),
        (conf("10.1.2.0/24", "10.1.2", "", ""), "rangeStart \"10.1.2\" is not an IP address"),
        (conf("10.1.2.0/24", "", "10.1.2.300", ""), "rangeEnd \"10.1.2.300\" is not an IP address"),
        (conf("10.1.2.0/24", "", "", "gw"), "gateway \"gw\" is not an IP address"),
        (conf("10.1.2.0/24", "10.1.3.1", "", ""), "rangeStart 10.1.3.1 is not in subnet 10.1.2.0/24"),
        (conf("10.1.2.0/24", "", "2001:db8::1", ""), "rangeEnd 2001:db8::1 is not in subnet 10.1.2.0/24"),
        (conf("10.1.2.0/24", "10.1.2.9", "10.1.2.8", ""), "rangeStart 10.1.2.9 is after rangeEnd 10.1.2.8"),
        (conf("10.1.2.0/24", "10.1.2.255", "", ""), "rangeStart 10.1.2.255 is after rangeEnd 10.1.2.254"),
    ] {
        let error = Range::new("ipam.ranges[0][1]".to_owned(), &conf).unwrap_err();
        assert_eq!(error.to_string(), format!("ipam.ranges[0][1]: {reason}"));
    }
}

#[test]
fn a5_a_gateway_is_in_the_subnet_and_of_its_family() {
    for (subnet, gateway) in [
        ("10.1.2.0/24", ""),
        ("10.1.2.0/24", "10.1.2.77"),
        ("10.1.2.0/24", "::ffff:10.1.2.77"),
        ("10.1.2.0/24", "10.1.2.0"),
        ("10.1.2.0/24", "10.1.2.255"),
        ("fd00::/64", "fd00::ffff"),
    ] {
        range(subnet, "", "", gateway).check_gateway().unwrap();
    }
    for (subnet, gateway) in [
        ("10.1.2.0/24", "10.1.3.1"),
        ("10.1.2.0/24", "0.0.0.0"),
        ("10.1.2.0/24", "2001:db8::1"),
        ("::/0", "10.1.2.1"),
        ("fd00::/64", "fe80::1"),
    ] {
        let error = range(subnet, "", "", gateway).check_gateway().unwrap_err().to_string();
        assert_eq!(error, format!("ipam.ranges[0][0]: gateway {gateway} is not in subnet {subnet}"));
    }
}

#[test]
fn a_set_is_of_one_family_without_overlap_and_not_empty() {
    let error = |ranges: Vec<Range>| RangeSet::new("ipam.ranges[3]", ranges).unwrap_err().to_string();
    assert_eq!(error(vec![]), "ipam.ranges[3]: the range set is empty");
    let (v4, v6) = (range("10.1.2.0/24", "", "", ""), range("2001:db8::/64", "", "", ""));
    assert_eq!(
        error(vec![v4.clone(), v6]),
        "ipam.ranges[0][0]: 2001:db8::1-2001:db8::ffff:ffff:ffff:ffff and 10.1.2.1-10.1.2.254 of ipam.ranges[0][0] are \
         of different address families"
    );
    for inside in
        [("10.1.2.0/25", "", ""), ("10.1.0.0/16", "", ""), ("10.1.2.0/24", "10.1.2.254", "10.1.2.254")]
    {
        let other = range(inside.0, inside.1, inside.2, "");
        assert_eq!(
            error(vec![v4.clone(), other.clone()]),
            format!("ipam.ranges[0][0]: {other} overlaps 10.1.2.1-10.1.2.254 of ipam.ranges[0][0]")
        );
    }
    set(&[range("10.1.2.0/24", "", "10.1.2.9", ""), range("10.1.2.0/24", "10.1.2.10", "", "")]);
}

#[test]
fn round_robin_goes_once_round_and_leaves_out_gateways() {
    let set = set(&[
        range("10.1.2.0/24", "10.1.2.1", "10.1.2.4", ""),
        range("10.3.0.0/30", "", "", "10.3.0.2"),
        range("10.2.0.0/24", "10.2.0.9", "10.2.0.9", "10.1.2.3"),
    ]);
    let walk = |last: Option<&str>| -> Vec<String> {
        set.round_robin(last.map(ip)).map(|address| address.to_string()).collect()
    };
    let start = ["10.1.2.2", "10.1.2.4", "10.3.0.1", "10.2.0.9"];
    assert_eq!(walk(None), start);
    assert_eq!(walk(Some("192.0.2.1")), start);
    assert_eq!(walk(Some("10.1.2.2")), ["10.1.2.4", "10.3.0.1", "10.2.0.9", "10.1.2.2"]);
    assert_eq!(walk(Some("10.1.2.4")), ["10.3.0.1", "10.2.0.9", "10.1.2.2", "10.1.2.4"]);
    assert_eq!(walk(Some("10.3.0.1")), ["10.2.0.9", "10.1.2.2", "10.1.2.4", "10.3.0.1"]);
    assert_eq!(walk(Some("10.2.0.9")), start);
    assert_eq!(set.capacity(), 4);
}

#[test]
fn the_ends_of_the_address_space_do_not_overflow() {
    let all = set(&[range("::/0", "", "", "::1")]);
    assert_eq!(all.round_robin(None).next(), Some(ip("::2")));
    let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(all.round_robin(Some(ip(last))).next(), Some(ip("::2")));
    assert!(all.capacity() > u128::MAX - 4);

    let last = set(&[range("255.255.255.252/30", "", "255.255.255.255", "")]);
    let walk: Vec<IpAddr> = last.round_robin(Some(ip("255.255.255.255"))).collect();
    assert_eq!(walk, [ip("255.255.255.254"), ip("255.255.255.255")]);
}

#[test]
fn a_range_that_is_only_its_gateway_holds_nobody() {
    let set = set(&[range("10.1.2.0/24", "10.1.2.1", "10.1.2.1", "")]);
    assert_eq!((set.capacity(), set.round_robin(None).next()), (0, None));
}

#[test]
fn addresses_are_written_as_go_writes_them() {
    // Left: what Go's net.ParseIP takes; right: what net.IP.String makes of it.
    for (text, go) in [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ("::1.2.3.4", "::102:304"),
        ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
        ("::", "::"),
    ] {
        assert_eq!(parse_address(text).unwrap().to_string(), go);
    }
    for text in ["010.1.2.3", "10.1.2", "fe80::1%eth0", "", " 10.1.2.3"] {
        assert_eq!(parse_address(text), None, "{text:?}");
    }
}
