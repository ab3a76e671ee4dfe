//! The table `inet cni_firewall`: its sets, its chains and their rules, which are made once.
//!
//! ```text
//! table inet cni_firewall {
//!     set pods4 { type ipv4_addr; elements = { 10.88.0.5 comment "cni:blue:c1:eth0" } }
//!     set pods6 { type ipv6_addr }
//!     set bridges { type ifname; elements = { "blue0" comment "cni:blue::" } }
//!     set within { type ifname . ifname; elements = { "blue0" . "blue0" comment "cni:blue::" } }
//!     map owners { type ifname : mark; elements = { "23b4b120bad08f0" comment "cni:blue:c1:eth0" : 0x00000001 } }
//!     chain admin { }
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         iifname @bridges oifname @bridges iifname . oifname != @within drop
//!         jump admin
//!         ip daddr @pods4 ct state established,related accept
//!         ip saddr @pods4 accept
//!         ip daddr @pods4 ct status dnat accept
//!         ...
//!     }
//! }
//! ```
//!
//! The order is that of the reference's iptables chains: isolation, the owner's chain, the containers. So the first rule
//! drops packets of established flows too.
//!
//! Packets that a bridge switches from port to port pass the forward hook of inet only where br_netfilter is loaded. For
//! isolated networks a second table therefore keeps the ports themselves apart:
//!
//! ```text
//! table bridge cni_firewall {
//!     set ports { type ifname; elements = { "veth3f09c1b2a4d" comment "cni:blue:c1:eth0" } }
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         iifname @ports oifname @ports drop
//!     }
//! }
//! ```

use cni_host::Owner;
use cni_nftables::{
    Batch, Chain, DataType, Expr, Family, Hook, Nft, Op, Policy, Result, Selector, Set, Statement, Table,
    Value, Verdict,
};

pub(crate) const TABLE: Table = Table::new(Family::Inet, "cni_firewall");

/// Addresses of containers.
pub(crate) static PODS4: Set = set("pods4", &[DataType::Ipv4Addr]);
pub(crate) static PODS6: Set = set("pods6", &[DataType::Ipv6Addr]);
/// Bridges with a policy: nothing passes between two of them, nor between one and itself.
pub(crate) static BRIDGES: Set = set("bridges", &[DataType::IfName]);
/// Bridges that packets may pass from and to all the same: twice the same name.
pub(crate) static WITHIN: Set = set("within", &[DataType::IfName, DataType::IfName]);

/// How many elements an attachment has, ports among them. By it DEL knows whether it has found all of them, without a look at
/// those of all others.
pub(crate) static OWNERS: Set = Set::map(TABLE, "owners", &[DataType::IfName], &[DataType::Mark]);

pub(crate) const BRIDGE_TABLE: Table = Table::new(Family::Bridge, "cni_firewall");
/// Ports of isolated containers, on the host: nothing passes between any two of them.
pub(crate) static PORTS: Set = Set::new(BRIDGE_TABLE, "ports", &[DataType::IfName]);

/// The owner's chain: made, and never touched again.
const ADMIN: &str = "admin";
pub(crate) const FORWARD: &str = "forward";

/// The priority of the iptables filter table too (NF_IP_PRI_FILTER).
const PRIORITY_FILTER: i32 = 0;
/// The one of ebtables' (NF_BR_PRI_FILTER_BRIDGED).
const PRIORITY_BRIDGE_FILTER: i32 = -200;

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// `ct state established,related`
const ESTABLISHED_RELATED: u32 = 2 | 4;
/// `ct status dnat`
const IPS_DST_NAT: u32 = 32;

const fn set(name: &'static str, key: &'static [DataType]) -> Set {
    Set::new(TABLE, name, key)
}

/// The key of an attachment in [`OWNERS`].
pub(crate) fn owner_key(owner: &Owner) -> Vec<Value> {
    vec![Value::IfName(owner.short_key())]
}

/// Whether the chain has its rules, or as many as earlier releases made, which the next ADD completes: nothing is wrong with a
/// node or a container meanwhile. More than ours are the owner's business.
pub(crate) fn has_rules(nft: &mut Nft, table: &Table) -> Result<bool> {
    Ok(nft.rules(table, FORWARD)?.len() >= rules(table).len() - published(table))
}

/// Whether the chain has all its rules.
fn has_all_rules(nft: &mut Nft, table: &Table) -> Result<bool> {
    let found = nft.rules(table, FORWARD)?;
    // To the fewer of an earlier release the owner may have added some.
    let of_dnat = found.iter().filter(|rule| rule.exprs.iter().any(is_about_dnat)).count();
    Ok(found.len() >= rules(table).len() && of_dnat >= published(table))
}

/// How many rules are for published ports, which earlier releases did not make: one for each family.
fn published(table: &Table) -> usize {
    if table.family == Family::Bridge { 0 } else { 2 }
}

/// What is left of the connection's status by `ct status dnat`.
fn is_about_dnat(expr: &Expr) -> bool {
    matches!(expr, Expr::Bitwise { mask, .. } if *mask == IPS_DST_NAT.to_ne_bytes())
}

/// What makes a table complete: nothing as a rule, all of it on a node's first ADD, the rules when somebody flushed
/// them. What rules refer to, the kernel keeps, so that needs no look itself.
pub(crate) fn repair(nft: &mut Nft, table: &Table) -> Result<Batch> {
    let mut batch = Batch::default();
    if has_all_rules(nft, table)? {
        return Ok(batch);
    }
    batch.add_table(table);
    let (sets, priority) = match table.family {
        Family::Bridge => (&[&PORTS][..], PRIORITY_BRIDGE_FILTER),
        _ => {
            batch.add_chain(table, &Chain { name: ADMIN, base: None });
            (&[&PODS4, &PODS6, &BRIDGES, &WITHIN, &OWNERS][..], PRIORITY_FILTER)
        }
    };
    for set in sets {
        batch.add_set(set);
    }
    // Added again, a base chain would lose the policy that its owner may have given it.
    if !nft.chains(table)?.iter().any(|chain| chain == FORWARD) {
        let base = Some((Hook::FilterForward, priority, Policy::Accept));
        batch.add_chain(table, &Chain { name: FORWARD, base });
    }
    batch.flush_chain(table, FORWARD);
    for rule in rules(table) {
        batch.add_rule(table, FORWARD, rule);
    }
    Ok(batch)
}

fn rules(table: &Table) -> Vec<Vec<Statement>> {
    use Selector::{IifName, Ip6Daddr, Ip6Saddr, IpDaddr, IpSaddr, OifName};
    let between = |set| [in_set(&[IifName], Op::Eq, set), in_set(&[OifName], Op::Eq, set)];
    let drop = Statement::Verdict(Verdict::Drop);
    if table.family == Family::Bridge {
        return vec![[&between(&PORTS)[..], &[drop]].concat()];
    }
    let not_within = in_set(&[IifName, OifName], Op::Ne, &WITHIN);
    let across = [&between(&BRIDGES)[..], &[not_within, drop]].concat();
    let admin = vec![Statement::Verdict(Verdict::Jump(ADMIN.to_owned()))];
    let v4 = accept(NFPROTO_IPV4, IpDaddr, IpSaddr, &PODS4);
    let v6 = accept(NFPROTO_IPV6, Ip6Daddr, Ip6Saddr, &PODS6);
    [vec![across, admin], v4.to_vec(), v6.to_vec()].concat()
}

/// Answers to the containers, what they send, and what came for them by a published port.
fn accept(family: u8, daddr: Selector, saddr: Selector, pods: &Set) -> [Vec<Statement>; 3] {
    let is = |selector, value| Statement::Match { selector, op: Op::Eq, value };
    let family = is(Selector::NfProto, Value::Proto(family));
    let answers = is(Selector::CtState, Value::Bits(ESTABLISHED_RELATED));
    let published = is(Selector::CtStatus, Value::Bits(IPS_DST_NAT));
    let accept = Statement::Verdict(Verdict::Accept);
    let to = in_set(&[daddr], Op::Eq, pods);
    [
        vec![family.clone(), to.clone(), answers, accept.clone()],
        vec![family.clone(), in_set(&[saddr], Op::Eq, pods), accept.clone()],
        vec![family, to, published, accept],
    ]
}

fn in_set(key: &[Selector], op: Op, set: &Set) -> Statement {
    Statement::InSet { key: key.to_vec(), op, set: set.name.to_string() }
}
