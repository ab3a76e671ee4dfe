//! What the tables have that belongs to no single attachment, and the names and forms of what does.

use cni_nftables::{Batch, Chain, DataType, Element, Family, Hook, Op, Policy, Selector, Set};
use cni_nftables::{Statement, Table, Value, Verdict};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Owner;

const NAME: &str = "cni_masquerade";
const TABLE4: Table = Table::new(Family::Ip, NAME);
const TABLE6: Table = Table::new(Family::Ip6, NAME);

pub(super) const POSTROUTING: &str = "postrouting";
const PRIORITY: i32 = 100;
pub(super) const SUBNET: &str = "subnet-";
/// As many rules has each chain here: one for what is left alone, one for the rest.
pub(super) const RULES: usize = 2;

/// What is different in the two families.
pub(super) struct Side {
    pub(super) table: Table,
    pub(super) sources: Set,
    pub(super) owners: Set,
    pub(super) multicast: IpNet,
    saddr: Selector,
    daddr: Selector,
}

pub(super) static SIDE4: Side = Side {
    table: TABLE4,
    sources: Set::map(TABLE4, "sources", &[DataType::Ipv4Addr], &[DataType::Verdict]),
    owners: Set::map(TABLE4, "owners", &[DataType::IfName], &[DataType::Mark]),
    multicast: IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 4)),
    saddr: Selector::IpSaddr,
    daddr: Selector::IpDaddr,
};

pub(super) static SIDE6: Side = Side {
    table: TABLE6,
    sources: Set::map(TABLE6, "sources", &[DataType::Ipv6Addr], &[DataType::Verdict]),
    owners: Set::map(TABLE6, "owners", &[DataType::IfName], &[DataType::Mark]),
    multicast: IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
    saddr: Selector::Ip6Saddr,
    daddr: Selector::Ip6Daddr,
};

pub(super) fn side(address: &IpNet) -> &'static Side {
    if address.addr().is_ipv4() { &SIDE4 } else { &SIDE6 }
}

impl Side {
    pub(super) fn maps(&self) -> Batch {
        let mut batch = Batch::default();
        batch.add_table(&self.table).add_set(&self.sources).add_set(&self.owners);
        batch
    }

    /// What does not belong to single addresses. Harmless when done again.
    pub(super) fn setup(&self, addresses: &[IpNet]) -> Batch {
        let mut batch = self.maps();
        let base = Chain { name: POSTROUTING, base: Some((Hook::NatPostrouting, PRIORITY, Policy::Accept)) };
        batch.add_chain(&self.table, &base).flush_chain(&self.table, POSTROUTING);
        batch.add_rule(&self.table, POSTROUTING, self.leave_alone(self.multicast));
        let lookup = Statement::VerdictMap { key: vec![self.saddr], map: self.sources.name.to_string() };
        batch.add_rule(&self.table, POSTROUTING, vec![lookup]);
        for address in addresses {
            let chain = &subnet_chain(address);
            batch.add_chain(&self.table, &Chain { name: chain, base: None }).flush_chain(&self.table, chain);
            batch.add_rule(&self.table, chain, self.leave_alone(address.trunc()));
            batch.add_rule(&self.table, chain, vec![Statement::Masquerade]);
        }
        batch
    }

    /// `ip daddr <net> return`
    fn leave_alone(&self, net: IpNet) -> Vec<Statement> {
        let to_it = Statement::Match { selector: self.daddr, op: Op::Eq, value: Value::Net(net) };
        vec![to_it, Statement::Verdict(Verdict::Return)]
    }
}

pub(super) fn element(owner: &Owner, address: &IpNet) -> Element {
    Element {
        key: vec![Value::Addr(address.addr())],
        data: vec![Value::Verdict(Verdict::Goto(subnet_chain(address)))],
        comment: Some(owner.comment()),
    }
}

/// `subnet-10.88.0.0/16`, `subnet-fd00_88__/64`: nft takes slashes and underscores in names, but no colons.
pub(super) fn subnet_chain(address: &IpNet) -> String {
    format!("{SUBNET}{}", address.trunc().to_string().replace(':', "_"))
}

/// The chain that an element leads to, where its subnet is the address alone: no other element can lead there.
pub(super) fn chain_of_address(found: &Element) -> Option<String> {
    match (&found.key[..], &found.data[..]) {
        ([Value::Addr(address)], [Value::Verdict(Verdict::Goto(chain))]) => {
            (*chain == subnet_chain(&IpNet::from(*address))).then(|| chain.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnets_chain_has_a_name_that_nft_can_read() {
        for (address, chain) in [
            ("10.88.0.5/16", "subnet-10.88.0.0/16"),
            ("10.88.0.5/32", "subnet-10.88.0.5/32"),
            ("fd00:88::5/64", "subnet-fd00_88__/64"),
            ("fd00:88::5/128", "subnet-fd00_88__5/128"),
        ] {
            assert_eq!(subnet_chain(&address.parse().unwrap()), chain);
        }
    }
}
