//! Whether two rules can hold for one packet.

use crate::compile::compile;
use crate::{Cmp, Expr, Family, FoundRule, REG_1, Statement};

impl FoundRule {
    /// Whether no packet matches both this rule, of a table of this family, and `rule`: each compares the same part of the packet
    /// with one constant, and these differ. Of lists, ranges and negations nothing is concluded.
    pub fn excludes(&self, family: Family, rule: &[Statement]) -> bool {
        let Ok(rule) = compile(family, rule) else { return false };
        let others = constants(&rule.exprs);
        constants(&self.exprs).iter().any(|own| others.iter().any(|other| own.excludes(other)))
    }
}

/// What a packet must have to get past one comparison.
struct Constant<'e> {
    source: &'e Expr,
    mask: Option<&'e [u8]>,
    value: &'e [u8],
}

impl Constant<'_> {
    /// What is compared over fewer bytes, as with networks and with names that end in a star, is compared up to there.
    fn excludes(&self, other: &Constant<'_>) -> bool {
        let is_same_source = match (self.source, other.source) {
            (
                Expr::Payload { base, offset, .. },
                Expr::Payload { base: other_base, offset: other_offset, .. },
            ) => (base, offset) == (other_base, other_offset),
            (own, other) => own == other,
        };
        let mut bytes = self.value.iter().zip(other.value).enumerate();
        is_same_source
            && bytes.any(|(at, (own, byte))| (own ^ byte) & self.mask_of(at) & other.mask_of(at) != 0)
    }

    fn mask_of(&self, at: usize) -> u8 {
        self.mask.map_or(0xff, |mask| mask.get(at).copied().unwrap_or_default())
    }
}

fn constants(exprs: &[Expr]) -> Vec<Constant<'_>> {
    let mut found = Vec::new();
    let (mut loaded, mut masked) = (None, None);
    for expr in exprs {
        match expr {
            Expr::Meta { register: REG_1, .. } | Expr::Payload { register: REG_1, .. } => {
                (loaded, masked) = (Some(expr), None);
            }
            Expr::Bitwise { mask, xor } if masked.is_none() && xor.iter().all(|byte| *byte == 0) => {
                masked = Some(mask.as_slice());
            }
            Expr::Cmp(Cmp::Eq, value) => {
                found.extend(loaded.map(|source| Constant { source, mask: masked, value }));
            }
            Expr::Cmp(..) => {}
            _ => (loaded, masked) = (None, None),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_matches;

    fn exclude(one: &str, other: &str) -> bool {
        let [one, other] = [one, other].map(|text| parse_matches(text).unwrap());
        let excludes = |one: &[Statement], other: &[Statement]| {
            let exprs = compile(Family::Inet, one).unwrap().exprs;
            FoundRule { handle: 1, comment: None, exprs }.excludes(Family::Inet, other)
        };
        assert_eq!(excludes(&one, &other), excludes(&other, &one));
        excludes(&one, &other)
    }

    #[test]
    fn different_constants_exclude_each_other() {
        for (one, other) in [
            ("iifname eth0", "iifname eth1"),
            ("iifname eth0", "ip saddr 10.0.0.1 iifname eth1"),
            ("iifname \"eth*\"", "iifname up0"),
            ("iifname \"eth*\"", "iifname \"up*\""),
            ("ip saddr 10.0.0.0/8", "ip saddr 192.168.0.0/16"),
            ("ip saddr 10.0.0.0/9", "ip saddr 10.128.0.0/9"),
            ("ip saddr 10.0.0.0/9", "ip saddr 192.0.2.1"),
            ("ip6 saddr fd00::/64", "ip6 saddr fd00:0:0:1::/64"),
            ("tcp sport 1", "tcp sport 2"),
            ("tcp sport 1", "udp sport 1"),
            ("meta mark 1", "meta mark 2"),
            ("meta mark & 0xff == 1", "meta mark 0x102"),
            ("meta mark & 0xff == 1", "meta mark & 0x0f == 2"),
        ] {
            assert!(exclude(one, other), "{one}, {other}");
        }
    }

    #[test]
    fn what_may_hold_for_one_packet_does_not() {
        for (one, other) in [
            ("iifname eth0", "iifname eth0"),
            ("iifname \"eth*\"", "iifname eth0"),
            ("iifname \"e*\"", "iifname \"eth*\""),
            ("iifname eth0", "oifname eth1"),
            ("iifname eth0", "iifname != eth0"),
            ("iifname eth0", "iifname { eth1, eth2 }"),
            ("ip saddr 10.0.0.0/8", "ip saddr 10.1.0.0/16"),
            ("ip saddr 10.0.0.0/9", "ip saddr 10.1.0.1"),
            ("ip saddr 10.0.0.1", "ip daddr 10.0.0.2"),
            ("tcp sport 1-5", "tcp sport 7"),
            ("meta mark & 0xff == 1", "meta mark 0x101"),
            ("meta mark & 0xf0 == 0", "meta mark & 0x0f == 1"),
            ("ct state new", "ct state established"),
        ] {
            assert!(!exclude(one, other), "{one}, {other}");
        }
    }
}
