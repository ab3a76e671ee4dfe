//! Rules that say which table routes a packet: `ip rule`.

mod whole;

pub use whole::WholeRule;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use nix::libc::{RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE};

use crate::attr::{self, Attrs};
use crate::socket::Request;
use crate::{Result, Socket};

/// A rule by which packets from some addresses are routed by a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// FRA_SRC; a prefix length of 0 is every address of the family.
    pub src: IpNet,
    /// FRA_TABLE
    pub table: u32,
    /// FRA_PRIORITY; `None`, when it is added, for the one before the first rule but that of the local table.
    pub priority: Option<u32>,
}

/// A rule as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRule {
    /// What [`Rule`] has words for; table 0 for a rule that names none.
    pub rule: Rule,
    /// There is nothing else about it: it looks at the source address alone, and leads to the table.
    pub plain: bool,
}

impl Socket {
    /// Adds a rule. EEXIST when it is to have the priority of one like it; without a priority there can be several.
    pub fn rule_add(&mut self, rule: &Rule) -> Result<()> {
        let message = Request::of(RTM_NEWRULE, &message(rule, RuleAction::ToTable));
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, || format!("add {rule}"))
    }

    /// Removes a rule, the first of several.
    pub fn rule_del(&mut self, rule: &Rule) -> Result<()> {
        let message = Request::of(RTM_DELRULE, &message(rule, RuleAction::Unspec));
        self.change(message, 0, || format!("remove {rule}"))
    }

    /// All rules for IPv4 and IPv6.
    pub fn rule_dump(&mut self) -> Result<Vec<FoundRule>> {
        let message = Request::of(RTM_GETRULE, &RuleMessage::default());
        self.dump(message, || "list the rules".into(), parse)
    }
}

/// `ip rule add from SRC table TABLE [priority PRIORITY]`; `ip rule del` names no action.
fn message(rule: &Rule, action: RuleAction) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = match rule.src {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.header.action = action;
    message.header.src_len = rule.src.prefix_len();
    if rule.src.prefix_len() > 0 {
        message.attributes.push(RuleAttribute::Source(rule.src.addr()));
    }
    // The header has one byte for the table's number; a larger one needs the attribute.
    match u8::try_from(rule.table) {
        Ok(table) => message.header.table = table,
        Err(_) => message.attributes.push(RuleAttribute::Table(rule.table)),
    }
    message.attributes.extend(rule.priority.map(RuleAttribute::Priority));
    message
}

/// Length of `struct fib_rule_hdr`.
const FIB_RULE_HDR: usize = 12;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// linux/fib_rules.h
const FR_ACT_TO_TBL: u8 = 1;
const FIB_RULE_INVERT: u32 = 2;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PAD: u16 = 18;
const FRA_PROTOCOL: u16 = 21;

/// What the kernel says where nothing is suppressed.
const SUPPRESS_NOTHING: u32 = u32::MAX;

/// Reads the payload of RTM_NEWRULE; `None` for other families (multicast routing has rules of its own) and for what is cut
/// short.
pub(crate) fn parse(payload: &[u8]) -> Option<FoundRule> {
    let [family, dst_len, src_len, tos, table, _, _, action] = *payload.first_chunk()?;
    let flags = attr::u32_at(payload, 8)?;
    let mut src: IpAddr = match family {
        AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let (mut table, mut priority) = (u32::from(table), 0);
    let mut plain = action == FR_ACT_TO_TBL && flags & FIB_RULE_INVERT == 0 && dst_len == 0 && tos == 0;
    for (kind, value) in Attrs::after(payload, FIB_RULE_HDR) {
        match kind {
            FRA_SRC => src = attr::ip(value)?,
            FRA_TABLE => table = attr::u32(value)?,
            FRA_PRIORITY => priority = attr::u32(value)?,
            FRA_SUPPRESS_IFGROUP | FRA_SUPPRESS_PREFIXLEN => {
                plain &= attr::u32(value)? == SUPPRESS_NOTHING;
            }
            FRA_PAD | FRA_PROTOCOL => {}
            // It looks at something else too; which does not matter, and a newer kernel may know more.
            _ => plain = false,
        }
    }
    let rule = Rule { src: IpNet::new(src, src_len).ok()?, table, priority: Some(priority) };
    Some(FoundRule { rule, plain })
}

/// `rule from 10.1.0.5/32 lookup 100 priority 32765`, in iproute2's words.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule from {} lookup {}", self.src, self.table)?;
        match self.priority {
            Some(priority) => write!(f, " priority {priority}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{self, CHANGE, CREATE_EXCL, assert_request};

    fn rule(src: &str, table: u32, priority: Option<u32>) -> Rule {
        Rule { src: src.parse().unwrap(), table, priority }
    }

    fn assert_add(rule: &Rule, expected: &str) {
        assert_request(Request::of(RTM_NEWRULE, &message(rule, RuleAction::ToTable)), CREATE_EXCL, expected);
    }

    /// ip rule add from 10.1.0.5/32 table 100
    #[test]
    fn ipv4_source() {
        assert_add(
            &rule("10.1.0.5/32", 100, None),
            "24000000 20000506 00000000 00000000 02002000 64000001 00000000 08000200 0a010005",
        );
    }

    /// ip -6 rule add from 2001:db8::5/128 table 100
    #[test]
    fn ipv6_source() {
        assert_add(
            &rule("2001:db8::5/128", 100, None),
            "30000000 20000506 00000000 00000000 0a008000 64000001 00000000
             14000200 20010db8 00000000 00000000 00000005",
        );
    }

    /// ip rule add from 10.1.0.5/32 table 1000 priority 77
    #[test]
    fn large_table_and_priority() {
        assert_add(
            &rule("10.1.0.5/32", 1000, Some(77)),
            "34000000 20000506 00000000 00000000 02002000 00000001 00000000
             08000200 0a010005 08000f00 e8030000 08000600 4d000000",
        );
    }

    /// ip rule add from all table 100
    #[test]
    fn every_source() {
        assert_add(
            &rule("0.0.0.0/0", 100, None),
            "1c000000 20000506 00000000 00000000 02000000 64000001 00000000",
        );
    }

    /// ip rule del from 10.1.0.5/32 table 1000 priority 77; ip -6 rule del from 2001:db8::5/128 table 100 priority 32765
    #[test]
    fn removal() {
        let assert_del = |rule: &Rule, expected| {
            assert_request(Request::of(RTM_DELRULE, &message(rule, RuleAction::Unspec)), CHANGE, expected);
        };
        assert_del(
            &rule("10.1.0.5/32", 1000, Some(77)),
            "34000000 21000500 00000000 00000000 02002000 00000000 00000000
             08000200 0a010005 08000f00 e8030000 08000600 4d000000",
        );
        assert_del(
            &rule("2001:db8::5/128", 100, Some(32765)),
            "38000000 21000500 00000000 00000000 0a008000 64000000 00000000
             14000200 20010db8 00000000 00000000 00000005 08000600 fd7f0000",
        );
    }

    /// ip rule show, which asks for one family at a time
    #[test]
    fn dump_of_both_families() {
        assert_request(
            Request::of(RTM_GETRULE, &RuleMessage::default()),
            0x301,
            "1c000000 22000103 00000000 00000000 00000000 00000000 00000000",
        );
    }

    fn read(hex: &str) -> FoundRule {
        let datagram = golden::bytes(hex);
        parse(golden::message(&datagram).payload).unwrap()
    }

    /// What `ip rule show` is answered after `ip rule add from 10.1.0.5/32 table 100`, by Linux 6.18.
    const FROM: &str = "44000000 20000200 01000000 46030000 02002000 64000001 00000000
        08000f00 64000000 08000e00 ffffffff 05001500 00000000 08000600 fd7f0000 08000200 0a010005";

    #[test]
    fn rule_from_an_address_is_read_as_it_was_made() {
        let expected = FoundRule { rule: rule("10.1.0.5/32", 100, Some(32765)), plain: true };
        assert_eq!(read(FROM), expected);
        assert_eq!(expected.rule.to_string(), "rule from 10.1.0.5/32 lookup 100 priority 32765");
    }

    /// The rule of the local table, which every namespace begins with; its priority of 0 is left out.
    #[test]
    fn first_rule_is_every_sources() {
        let local = read(
            "34000000 20000200 01000000 46030000 02000000 ff000001 00000000
             08000f00 ff000000 08000e00 ffffffff 05001500 02000000",
        );
        assert_eq!(local, FoundRule { rule: rule("0.0.0.0/0", 255, Some(0)), plain: true });
    }

    /// Each changes one thing of it: action (blackhole), inversion, destination, type of service, suppressed prefixes, and an
    /// interface (iif lo) in the place of the protocol.
    #[test]
    fn rules_that_look_at_more_are_not_plain() {
        for (was, is) in [
            ("64000001 00000000", "64000006 00000000"),
            ("64000001 00000000", "64000001 02000000"),
            ("02002000", "02202000"),
            ("02002000", "02002010"),
            ("08000e00 ffffffff", "08000e00 00000000"),
            ("05001500 00000000", "07000300 6c6f0000"),
        ] {
            let found = read(&FROM.replace(was, is));
            assert_eq!(found.rule, read(FROM).rule);
            assert!(!found.plain, "{is}");
        }
    }

    #[test]
    fn rules_of_multicast_routing_are_left_out() {
        let datagram = golden::bytes(&FROM.replace("02002000", "80002000"));
        assert_eq!(parse(golden::message(&datagram).payload), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = parse(&payload);
        }
    }
}
