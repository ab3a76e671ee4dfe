//! The least that plugins can commit to nf_tables for a container: one batch a plugin, with an element of a small set by the
//! nftables backends, and by iptables' with rules in its own tables, made natively and deleted by handle.

use std::net::Ipv4Addr;

use cni_nftables::{
    Batch, Chain, DataType, Element, Family, Hook, Nft, Op, Policy, Selector, Set, Statement, Table, Value,
    Verdict,
};

use super::cell::Cell;
use crate::Result;

/// Of the nftables backends.
const OWN: Table = Table::new(Family::Inet, "bench");
/// firewall's, and with ports those of bridge and portmap.
const SETS: [Set; 3] = [set("pods"), set("masqueraded"), set("ports")];

const fn set(name: &'static str) -> Set {
    Set::new(OWN, name, &[DataType::Ipv4Addr])
}

/// iptables' tables as iptables-nft makes them.
const FILTER: Table = Table::new(Family::Ip, "filter");
const NAT: Table = Table::new(Family::Ip, "nat");
const FORWARD: &str = "FORWARD";
const PREROUTING: &str = "PREROUTING";
const POSTROUTING: &str = "POSTROUTING";
/// In the place of CNI-FORWARD and CNI-HOSTPORT-DNAT.
const PODS: &str = "BENCH-FORWARD";
const PORTS: &str = "BENCH-DNAT";

/// What plugins make once.
pub(super) fn setup(cell: Cell) -> Batch {
    let mut batch = Batch::default();
    if cell.backend.is_some() {
        batch.add_table(&OWN);
        for set in &SETS {
            batch.add_set(set);
        }
        return batch;
    }
    let base = |name, hook, priority| Chain { name, base: Some((hook, priority, Policy::Accept)) };
    batch.add_table(&FILTER).add_table(&NAT);
    batch.add_chain(&FILTER, &base(FORWARD, Hook::FilterForward, 0));
    batch.add_chain(&NAT, &base(PREROUTING, Hook::NatPrerouting, -100));
    batch.add_chain(&NAT, &base(POSTROUTING, Hook::NatPostrouting, 100));
    for (table, from, to) in [(FILTER, FORWARD, PODS), (NAT, PREROUTING, PORTS)] {
        batch.add_chain(&table, &Chain { name: to, base: None });
        batch.add_rule(&table, from, vec![jump(to)]);
    }
    batch
}

/// What is committed for one container, by a socket that is open already.
pub(super) struct Commits {
    nft: Nft,
    /// The comment of its rules in chains of others.
    owner: String,
    changes: Vec<Change>,
    add: Vec<Batch>,
    del: Vec<Batch>,
}

/// What one plugin changes.
enum Change {
    Element(Set, Vec<Value>),
    /// Rules in a chain of all containers, and the chain of this one that they lead to.
    Rules {
        table: Table,
        shared: &'static str,
        own: Option<String>,
    },
}

impl Commits {
    pub(super) fn new(cell: Cell, number: u32) -> Result<Self> {
        let address = Ipv4Addr::from(0x0a4e_0002 + number);
        let owner = format!("bench-{number}");
        let plugins = if cell.publishes_ports { 3 } else { 1 };
        let (mut changes, mut add) = (Vec::new(), Vec::new());
        for (plugin, set) in SETS.iter().enumerate().take(plugins) {
            let mut batch = Batch::default();
            changes.push(match (cell.backend, plugin) {
                (Some(_), _) => {
                    let key = vec![Value::Addr(address.into())];
                    let comment = Some(owner.clone());
                    batch.add_element(set, Element { key: key.clone(), data: Vec::new(), comment });
                    Change::Element(set.clone(), key)
                }
                (None, 0) => {
                    for selector in [Selector::IpDaddr, Selector::IpSaddr] {
                        batch.add_rule(&FILTER, PODS, vec![is(selector, address), accept(), comment(&owner)]);
                    }
                    Change::Rules { table: FILTER, shared: PODS, own: None }
                }
                (None, 1) => masquerade(&mut batch, address, &owner),
                (None, _) => ports(&mut batch, number, &owner),
            });
            add.push(batch);
        }
        let mut nft = Nft::new();
        // Which opens it, on this node.
        nft.probe()?;
        Ok(Commits { nft, owner, changes, add, del: Vec::new() })
    }

    pub(super) fn add(&mut self) -> Result<()> {
        Ok(self.add.iter().try_for_each(|batch| self.nft.commit(batch))?)
    }

    /// The handles of what was added.
    pub(super) fn find(&mut self) -> Result<()> {
        for change in &self.changes {
            let mut batch = Batch::default();
            match change {
                Change::Element(set, key) => {
                    batch.delete_element(set, key.clone());
                }
                Change::Rules { table, shared, own } => {
                    for rule in self.nft.rules(table, shared)? {
                        if rule.comment.as_ref() == Some(&self.owner) {
                            batch.delete_rule(table, shared, rule.handle);
                        }
                    }
                    if let Some(own) = own {
                        batch.flush_chain(table, own).delete_chain(table, own);
                    }
                }
            }
            self.del.push(batch);
        }
        Ok(())
    }

    pub(super) fn del(&mut self) -> Result<()> {
        for (change, batch) in self.changes.iter().zip(&self.del).rev() {
            match change {
                // What a plugin makes to expire is not waited for.
                Change::Element(..) => self.nft.commit(batch)?,
                // A plugin is a process, whose socket is closed when it ends, and after the deletion of a rule the kernel has whoever
                // closes one wait for a grace period (net/netfilter/nf_tables_api.c, nft_rcv_nl_event).
                Change::Rules { .. } => Nft::new().commit(batch)?,
            }
        }
        Ok(())
    }
}

/// As bridge does: a chain of the container's own.
fn masquerade(batch: &mut Batch, address: Ipv4Addr, owner: &str) -> Change {
    let own = format!("BENCH-MASQ-{owner}");
    batch.add_chain(&NAT, &Chain { name: &own, base: None });
    let near = Value::Net(ipnet::Ipv4Net::from(address).into());
    batch.add_rule(&NAT, &own, vec![matches(Selector::IpDaddr, Op::Eq, near), accept()]);
    batch.add_rule(&NAT, &own, vec![Statement::Masquerade]);
    batch.add_rule(&NAT, POSTROUTING, vec![is(Selector::IpSaddr, address), jump(&own), comment(owner)]);
    Change::Rules { table: NAT, shared: POSTROUTING, own: Some(own) }
}

/// As portmap does for two ports: two marks and a translation each, for which there is a verdict here.
fn ports(batch: &mut Batch, number: u32, owner: &str) -> Change {
    let own = format!("BENCH-PORTS-{owner}");
    batch.add_chain(&NAT, &Chain { name: &own, base: None });
    let ports = [2 * number, 2 * number + 1].map(|port| {
        let port = Value::Port(u16::try_from(10_000 + port).unwrap_or(u16::MAX));
        matches(Selector::TcpDport, Op::Eq, port)
    });
    for port in &ports {
        for then in [Statement::OrMark(0x2000), Statement::OrMark(0x2000), accept()] {
            batch.add_rule(&NAT, &own, vec![port.clone(), then]);
        }
    }
    for port in ports {
        batch.add_rule(&NAT, PORTS, vec![port, jump(&own), comment(owner)]);
    }
    Change::Rules { table: NAT, shared: PORTS, own: Some(own) }
}

fn matches(selector: Selector, op: Op, value: Value) -> Statement {
    Statement::Match { selector, op, value }
}

fn is(selector: Selector, address: Ipv4Addr) -> Statement {
    matches(selector, Op::Eq, Value::Addr(address.into()))
}

fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

fn jump(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Jump(chain.to_owned()))
}

fn comment(text: &str) -> Statement {
    Statement::Comment(text.to_owned())
}
