use proptest::prelude::*;

use super::*;

fn print(statements: &[Statement]) -> String {
    statements.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Text as users write it, and as it is printed.
#[test]
fn matches_are_read() {
    let cases = [
        ("iifname eth0", "iifname \"eth0\""),
        ("meta iifname != eth0-1", "iifname != \"eth0-1\""),
        ("oifname \"veth*\"", "oifname \"veth*\""),
        ("oifname { eth0,\"a b\" , veth*, }", ""),
        ("oifname { eth0,\"a.b\" , veth*, }", "oifname { \"eth0\", \"a.b\", \"veth*\" }"),
        ("mark 5", "meta mark 0x00000005"),
        ("meta mark & 0x2000 == 0x2000", "meta mark & 0x00002000 == 0x00002000"),
        ("meta mark and 0x2000 != 0", "meta mark & 0x00002000 != 0x00000000"),
        ("meta mark & 0x2000 0x2000", "meta mark & 0x00002000 == 0x00002000"),
        ("ip saddr == 10.0.0.1", "ip saddr 10.0.0.1"),
        ("ip saddr 10.0.0.1/32", "ip saddr 10.0.0.1"),
        ("ip saddr 10.1.2.3/8", "ip saddr 10.0.0.0/8"),
        ("ip saddr {10.0.0.0/8}", "ip saddr 10.0.0.0/8"),
        ("ip daddr { 10.0.0.0/8,192.168.0.0/16 }", "ip daddr { 10.0.0.0/8, 192.168.0.0/16 }"),
        ("ip daddr 10.0.0.1 - 10.0.0.9", "ip daddr 10.0.0.1-10.0.0.9"),
        ("ip6 saddr != FD00::/64", "ip6 saddr != fd00::/64"),
        ("tcp dport 1024-65535", "tcp dport 1024-65535"),
        ("tcp dport 1024- 65535", "tcp dport 1024-65535"),
        ("tcp dport 1024 -65535", "tcp dport 1024-65535"),
        ("tcp sport ne 0x50", "tcp sport != 80"),
        ("udp dport { 80, 443 } ct state new", "udp dport { 80, 443 } ct state new"),
        ("sctp dport 1 th sport 2", "sctp dport 1 th sport 2"),
        ("ip protocol 6 tcp dport 80", "ip protocol tcp tcp dport 80"),
        ("meta l4proto ipv6-icmp", "meta l4proto ipv6-icmp"),
        ("meta l4proto icmpv6", "meta l4proto ipv6-icmp"),
        ("meta l4proto 1-17", "meta l4proto 1-17"),
        ("meta nfproto ipv6 ip6 daddr ::1", "meta nfproto ipv6 ip6 daddr ::1"),
        ("ether saddr 2:42:AC:11:0:2", "ether saddr 02:42:ac:11:00:02"),
        ("fib daddr type local", "fib daddr type local"),
        ("fib daddr type != { local, 3 }", "fib daddr type != { local, broadcast }"),
        ("ct state new , established", "ct state established,new"),
        ("ct state established|related", "ct state established,related"),
        ("ct state == new", "ct state new"),
        ("ct state != invalid", "ct state != invalid"),
        ("ct status dnat", "ct status dnat"),
        (
            "iifname != \"eth0\" ip saddr { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 1024-65535",
            "iifname != \"eth0\" ip saddr { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 1024-65535",
        ),
    ];
    for (text, printed) in cases {
        match parse_matches(text) {
            Ok(statements) => assert_eq!(print(&statements), printed, "{text}"),
            Err(error) => assert!(printed.is_empty(), "{error}"),
        }
    }
}

/// What is refused, the token that the error names, and a word of the reason.
#[test]
fn everything_else_is_refused_by_its_token() {
    let cases = [
        ("", "", "begins"),
        ("  ", "", "begins"),
        ("accept", "accept", "begins"),
        ("tcp dport 80 accept", "accept", "begins"),
        ("tcp dport 80 counter", "counter", "begins"),
        ("tcp dport 80; tcp dport 81", ";", "no place"),
        ("tcp dport 80 # x", "#", "no place"),
        ("tcp dport 80\ndrop", "drop", "begins"),
        ("tcp", "", "field"),
        ("tcp flags syn", "flags", "field"),
        ("ip6 nexthdr tcp", "nexthdr", "field"),
        ("fib saddr type local", "saddr", "field"),
        ("fib daddr oif 1", "oif", "only fib daddr type"),
        ("tcp dport", "", "ends"),
        ("tcp dport !=", "", "ends"),
        ("tcp dport http", "http", "port's number"),
        ("tcp dport 65536", "65536", "port's number"),
        ("tcp dport +80", "+", "no place"),
        ("tcp dport -80", "-80", "not a range"),
        ("tcp dport 90-80", "tcp", "empty"),
        ("tcp dport 80-http", "80-http", "not a range"),
        ("tcp dport \"80\"", "\"80\"", "port's number"),
        ("tcp dport 80,443", ",", "begins"),
        ("tcp dport @ports", "@ports", "named sets"),
        ("tcp dport { }", "}", "port's number"),
        ("tcp dport {", "", "ends"),
        ("tcp dport { 80", "", "comma"),
        ("tcp dport { 80 443 }", "443", "comma"),
        ("tcp dport { 80, { 443 } }", "{", "port's number"),
        ("tcp dport < 1024", "<", "no place"),
        ("ip saddr . tcp dport { 1.2.3.4 . 80 }", ".", "IPv4"),
        ("ip saddr fd00::1", "fd00::1", "IPv4"),
        ("ip6 saddr 10.0.0.1", "10.0.0.1", "IPv6"),
        ("ip saddr 10.0.0.0/33", "10.0.0.0/33", "IPv4"),
        ("ip saddr 10.0.0.0/8-10.0.0.9", "10.0.0.0/8-10.0.0.9", "not a range"),
        ("ip saddr localhost", "localhost", "IPv4"),
        ("ether saddr 02:42", "02:42", "hardware"),
        ("iifname \"eth0", "\"eth0", "not closed"),
        ("iifname a/b", "iifname", "not an interface name"),
        ("iifname \"*\"", "iifname", "not an interface name"),
        ("iifname \"0123456789abcdef\"", "iifname", "not an interface name"),
        ("iifname { a-b, \"\" }", "iifname", "not an interface name"),
        ("meta mark 0x100000000", "0x100000000", "number"),
        ("meta mark & == 5", "==", "number"),
        ("ct state foo", "foo", "state"),
        ("ct state != established,related", "ct", "write !="),
        ("ct state == established,new", "==", "several bits"),
        ("ct status == dnat", "==", "several bits"),
        ("ct state 1-2", "1-2", "state"),
        ("udp dport 53 tcp dport 53", "tcp", "another protocol"),
        ("meta l4proto udp tcp dport 53", "tcp", "another protocol"),
        ("tcp dport 53 meta l4proto udp", "meta", "another protocol"),
        ("ip saddr 10.0.0.1 ip6 daddr ::1", "ip6", "another protocol"),
    ];
    for (text, token, reason) in cases {
        let error = parse_matches(text).expect_err(text);
        assert_eq!(error.token, token, "{text}: {error}");
        assert_eq!(error.text, text);
        assert!(error.reason.contains(reason), "{text}: {error}");
    }
}

#[test]
fn error_is_a_sentence() {
    let error = parse_matches("tcp dport http").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot understand \"http\" in \"tcp dport http\": it is not a port's number"
    );
}

fn single(data_type: DataType) -> BoxedStrategy<Value> {
    match data_type {
        DataType::Ipv4Addr => any::<[u8; 4]>().prop_map(|octets| Value::Addr(octets.into())).boxed(),
        DataType::Ipv6Addr => any::<[u8; 16]>().prop_map(|octets| Value::Addr(octets.into())).boxed(),
        DataType::EtherAddr => any::<[u8; 6]>().prop_map(Value::Mac).boxed(),
        DataType::InetProto => any::<u8>().prop_map(Value::Proto).boxed(),
        DataType::NfProto => prop_oneof![Just(2), Just(10)].prop_map(Value::Proto).boxed(),
        DataType::InetService => any::<u16>().prop_map(Value::Port).boxed(),
        DataType::Mark => any::<u32>().prop_map(Value::Mark).boxed(),
        DataType::IfName => "[a-z0-9.:_{},&@é-]{1,6}[*]?".prop_map(Value::IfName).boxed(),
        DataType::FibAddrType => (0..20_u32).prop_map(Value::AddrType).boxed(),
        _ => (0..11_u32).prop_map(|bit| Value::Bits(1 << bit)).boxed(),
    }
}

fn net(data_type: DataType) -> BoxedStrategy<Value> {
    let whole = move |value: Value, bits: u8| match value {
        Value::Addr(addr) => {
            let most = if data_type == DataType::Ipv4Addr { 32 } else { 128 };
            Value::Net(IpNet::new(addr, bits % most).unwrap().trunc())
        }
        other => other,
    };
    (single(data_type), any::<u8>()).prop_map(move |(value, bits)| whole(value, bits)).boxed()
}

fn range(data_type: DataType) -> BoxedStrategy<Value> {
    let pair = (single(data_type), single(data_type));
    pair.prop_map(move |(a, b)| {
        let later = a.interval(data_type).unwrap() > b.interval(data_type).unwrap();
        let (first, last) = if later { (b, a) } else { (a, b) };
        Value::Range(Box::new(first), Box::new(last))
    })
    .boxed()
}

fn value(data_type: DataType) -> BoxedStrategy<Value> {
    let one = match data_type {
        DataType::Ipv4Addr | DataType::Ipv6Addr => {
            prop_oneof![single(data_type), net(data_type), range(data_type)].boxed()
        }
        _ if data_type.has_ranges() => prop_oneof![single(data_type), range(data_type)].boxed(),
        _ => single(data_type),
    };
    let list = proptest::collection::vec(one.clone(), 2..5).prop_map(Value::AnyOf);
    match data_type {
        DataType::Mark => {
            let masked = any::<(u32, u32)>().prop_map(|(value, mask)| Value::MaskedMark { value, mask });
            prop_oneof![one, list, masked].boxed()
        }
        DataType::CtState | DataType::CtStatus => {
            prop_oneof![one, list, (1..2048_u32).prop_map(Value::Bits)].boxed()
        }
        _ => prop_oneof![one, list].boxed(),
    }
}

const SELECTORS: [Selector; 22] = [
    Selector::NfProto,
    Selector::L4Proto,
    Selector::IifName,
    Selector::OifName,
    Selector::Mark,
    Selector::IpSaddr,
    Selector::IpDaddr,
    Selector::IpProtocol,
    Selector::Ip6Saddr,
    Selector::Ip6Daddr,
    Selector::EtherSaddr,
    Selector::ThSport,
    Selector::ThDport,
    Selector::TcpSport,
    Selector::TcpDport,
    Selector::UdpSport,
    Selector::UdpDport,
    Selector::SctpSport,
    Selector::SctpDport,
    Selector::FibDaddrType,
    Selector::CtState,
    Selector::CtStatus,
];

/// A match that can become a rule.
fn statement() -> impl Strategy<Value = Statement> {
    let parts = (0..SELECTORS.len()).prop_flat_map(|at| {
        let op = prop_oneof![Just(Op::Eq), Just(Op::Ne)];
        (Just(SELECTORS[at]), op, value(SELECTORS[at].data_type()))
    });
    let whole = |(selector, op, value)| Statement::Match { selector, op, value };
    parts
        .prop_map(whole)
        .prop_filter("a rule", |statement| Compiler::new(Family::Inet).statement(statement).is_ok())
}

proptest! {
    #[test]
    fn no_text_panics(text: String) {
        let _ = parse_matches(&text);
    }

    #[test]
    fn no_text_of_known_words_panics(
        words in proptest::collection::vec(
            "ip|ip6|tcp|th|saddr|dport|meta|mark|l4proto|ct|state|fib|daddr|type|local|iifname|[{},&|-]|!=|==|\
             \"[a-z*]{0,3}\"|[0-9]{1,3}(-[0-9]{0,3})?|10\\.0\\.0\\.0/[0-9]{1,2}|::/[0-9]|new|@x|\"|-|0x[0-9a-f]{0,9}",
            0..12,
        )
    ) {
        let text = words.join(" ");
        if let Ok(statements) = parse_matches(&text) {
            prop_assert_eq!(parse_matches(&print(&statements)).unwrap(), statements);
        }
    }

    #[test]
    fn what_is_printed_is_read_again(statements in proptest::collection::vec(statement(), 1..4)) {
        let text = print(&statements);
        match parse_matches(&text) {
            Ok(read) => prop_assert_eq!(read, statements),
            // Alone each is fine, but together they may exclude each other.
            Err(error) => prop_assert!(error.reason.contains("another protocol"), "{}", error),
        }
    }
}
