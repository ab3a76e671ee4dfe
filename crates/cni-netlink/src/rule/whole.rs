//! Rules just as the kernel has them, to be made elsewhere.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::rule::RuleMessage;
use nix::libc::{RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE};

use super::{
    FIB_RULE_HDR, FIB_RULE_INVERT, FR_ACT_TO_TBL, FRA_PAD, FRA_SUPPRESS_IFGROUP, FRA_SUPPRESS_PREFIXLEN,
    Rule, SUPPRESS_NOTHING, parse,
};
use crate::attr::{self, Attrs};
use crate::socket::Request;
use crate::write::{NLMSG_HDR, Writer};
use crate::{Result, Socket};

/// linux/fib_rules.h
const FRA_IIFNAME: u16 = 3;
const FRA_OIFNAME: u16 = 17;

/// A rule that leads to a table, with all that [`Rule`] has no word for: marks, ports, interfaces, who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeRule {
    /// What can be said of it.
    pub rule: Rule,
    /// `struct fib_rule_hdr` without what tells of the rule's state.
    header: [u8; FIB_RULE_HDR],
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Socket {
    /// All rules of IPv4 and IPv6 that lead to a table.
    pub fn rule_dump_whole(&mut self) -> Result<Vec<WholeRule>> {
        let message = Request::of(RTM_GETRULE, &RuleMessage::default());
        self.dump(message, || "list the rules".into(), WholeRule::read)
    }

    /// Makes a rule that was found; EEXIST when there is one like it.
    pub fn rule_put(&mut self, rule: &WholeRule) -> Result<()> {
        let mut message = rule.message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
        self.connection.change(&mut message, &|| format!("add {}", rule.rule))
    }

    /// Removes a rule that was found, and no other that is like it.
    pub fn rule_take(&mut self, rule: &WholeRule) -> Result<()> {
        let mut message = rule.message(RTM_DELRULE, 0);
        self.connection.change(&mut message, &|| format!("remove {}", rule.rule))
    }
}

impl WholeRule {
    /// The same, about the interface `to` where it is about `from`: the one that packets come by, or leave by.
    #[must_use]
    pub fn renamed(&self, from: &str, to: &str) -> Self {
        let mut renamed = self.clone();
        for (kind, value) in &mut renamed.attributes {
            if matches!(*kind, FRA_IIFNAME | FRA_OIFNAME) && value.strip_suffix(&[0]) == Some(from.as_bytes())
            {
                *value = [to.as_bytes(), &[0]].concat();
            }
        }
        renamed
    }

    /// The kernel's bytes, to be kept somewhere.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.message(0, 0).split_off(NLMSG_HDR)
    }

    /// Reads what [`WholeRule::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let rule = parse(payload)?.rule;
        let mut header: [u8; FIB_RULE_HDR] = *payload.first_chunk()?;
        if header[7] != FR_ACT_TO_TBL {
            return None;
        }
        header[8..].copy_from_slice(&(attr::u32_at(payload, 8)? & FIB_RULE_INVERT).to_ne_bytes());
        let says_nothing = |kind: u16, value: &[u8]| match kind {
            FRA_PAD => true,
            FRA_SUPPRESS_IFGROUP | FRA_SUPPRESS_PREFIXLEN => attr::u32(value) == Some(SUPPRESS_NOTHING),
            _ => false,
        };
        let attributes =
            Attrs::after(payload, FIB_RULE_HDR).filter(|(kind, value)| !says_nothing(*kind, value));
        let attributes = attributes.map(|(kind, value)| (kind, value.to_vec())).collect();
        Some(WholeRule { rule, header, attributes })
    }

    fn message(&self, kind: u16, flags: u16) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, 0, &self.header, |writer| {
            for (kind, value) in &self.attributes {
                writer.attr(*kind, value);
            }
        });
        writer.into_bytes()
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::golden;

    /// What `ip rule show` is answered after `ip rule add not from 10.1.0.5/32 iif eth0 table 1000 priority 77`, eth0 being
    /// no interface (FIB_RULE_IIF_DETACHED 8).
    const FROM: &str = "50000000 20000200 01000000 46030000 02002000 00000001 0a000000
        08000f00 e8030000 08000e00 ffffffff 05001500 00000000 09000300 65746830 00000000
        08000600 4d000000 08000200 0a010005";

    fn read() -> WholeRule {
        let datagram = golden::bytes(FROM);
        WholeRule::read(golden::message(&datagram).payload).unwrap()
    }

    #[test]
    fn a_rule_is_made_as_it_was_but_for_its_state() {
        let found = read();
        assert_eq!(found.rule.to_string(), "rule from 10.1.0.5/32 lookup 1000 priority 77");
        let expected = "48000000 20000506 00000000 00000000 02002000 00000001 02000000
            08000f00 e8030000 05001500 00000000 09000300 65746830 00000000 08000600 4d000000 08000200 0a010005";
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        assert_eq!(found.message(RTM_NEWRULE, flags), golden::bytes(expected));
        assert_eq!(WholeRule::from_bytes(&found.to_bytes()), Some(found));
    }

    #[test]
    fn an_interface_is_called_by_its_name_there() {
        let renamed = read().renamed("eth0", "net1");
        assert!(renamed.attributes.contains(&(FRA_IIFNAME, b"net1\0".to_vec())));
        assert_eq!(read().renamed("eth", "net1"), read());
    }

    #[test]
    fn one_that_leads_to_no_table_is_none() {
        let datagram = golden::bytes(&FROM.replace("00000001 0a000000", "00000006 0a000000"));
        assert_eq!(WholeRule::read(golden::message(&datagram).payload), None);
        assert_eq!(WholeRule::from_bytes(&[2, 0, 32]), None);
    }
}
