//! The nftables backend's table `inet cni_portmap`: its chains and rules, which never change, and its maps, in which
//! containers have elements.
//!
//! ```text
//! map hostip4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
//! map hostport4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
//! chain prerouting4 { type nat hook prerouting priority -98; fib daddr type local jump hostports4 }
//! chain output4 { the same, of output }
//! chain hostports4 { dnat ip to ip daddr . meta l4proto . th dport map @hostip4
//!                    dnat ip to meta l4proto . th dport map @hostport4 }
//!
//! set masq4_10_1_0_0_16 { type ipv4_addr . inet_proto . inet_service; }
//! chain masq4_10_1_0_0_16 { ip saddr 10.1.0.0/16 masquerade
//!                           ip saddr 127.0.0.0/8 masquerade }
//! chain postrouting4_10_1_0_0_16 { type nat hook postrouting priority 99; for each protocol: ct status dnat
//!     ip daddr . meta l4proto . ct original proto-dst @masq4_10_1_0_0_16 jump masq4_10_1_0_0_16 }
//!
//! map owners { type ifname : mark; }
//!
//! chain martians { type filter hook prerouting priority -300; iifname != "lo" ip daddr 127.0.0.0/8 drop ... }
//! ```
//!
//! IPv6 has the same under names that end in 6. Networks with conditions have maps and chains of their own, so that
//! those of one network do not apply to another: `hostport4_<digits>`, `prerouting4_<digits>` and so on, the digits those
//! of a hash of the conditions. A table of another layout needs another name, since what is there is never repaired.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_host::Owner;
use cni_nftables::{
    Batch, Chain, DataType, Family, FoundRule, Hook, NatFamily, Nft, Op, Policy, Selector, Set, Statement,
    Table, Value, Verdict,
};
use ipnet::{IpNet, Ipv4Net};
use sha2::{Digest, Sha256};

use crate::config::{Masquerade, Protocol};

/// The table. The reference's are `ip cni_hostport` and `ip6 cni_hostport`, whose base chains it flushes on each ADD.
pub(crate) const TABLE: Table = Table::new(Family::Inet, "cni_portmap");

/// After everybody's chains at -100 (dstnat, and that of iptables): whoever translates first has the packet, and a mapping must
/// not take what a service or a policy of the cluster is for (CVE-2019-9946).
const DSTNAT: i32 = -98;
/// The more particular before the general: networks with conditions come before those without.
const DSTNAT_CONDITIONED: i32 = -99;
/// Before whatever masquerades at 100 (srcnat).
const SRCNAT: i32 = 99;
/// NF_IP_PRI_RAW: before connection tracking, hence before the answers to a masqueraded 127.0.0.1 get that address back.
const RAW: i32 = -300;

const MARTIANS: &str = "martians";
/// A packet's source and destination are the same address: a container that reaches itself.
const RTN_LOCAL: u32 = 2;
const IPS_DST_NAT: u32 = 32;

const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// A chain and all its rules.
pub(crate) struct Rules {
    pub(crate) chain: String,
    base: Option<(Hook, i32, Policy)>,
    rules: Vec<Vec<Statement>>,
}

impl Rules {
    /// Makes the chain as it should be, whatever it was.
    fn setup(&self, batch: &mut Batch) {
        batch.add_chain(&TABLE, &Chain { name: &self.chain, base: self.base });
        batch.flush_chain(&TABLE, &self.chain);
        for rule in &self.rules {
            batch.add_rule(&TABLE, &self.chain, rule.clone());
        }
    }

    /// Whether the chain is there with as many rules.
    pub(crate) fn are_there(&self, nft: &mut Nft) -> cni_nftables::Result<bool> {
        Ok(nft.rules(&TABLE, &self.chain)?.len() == self.rules.len())
    }

    /// Whether the chain is there and has lost rules, as by a flush of its table.
    pub(crate) fn are_lost(&self, nft: &mut Nft) -> cni_nftables::Result<bool> {
        Ok(nft.has_chain(&TABLE, &self.chain)? && !self.are_there(nft)?)
    }
}

/// One address family under one set of conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    v6: bool,
    conditions: Vec<Statement>,
    /// `4`, `6_1f2e3d4c5b6a`: what the names of its objects end in.
    suffix: String,
}

impl Scope {
    pub(crate) fn new(v6: bool, conditions: Vec<Statement>) -> Self {
        let mut suffix = if v6 { "6" } else { "4" }.to_owned();
        if !conditions.is_empty() {
            let text: Vec<String> = conditions.iter().map(ToString::to_string).collect();
            // Twelve hex digits.
            let digest = Sha256::digest(text.join(" "));
            suffix.push('_');
            suffix.extend(digest.iter().take(6).map(|byte| format!("{byte:02x}")));
        }
        Self { v6, conditions, suffix }
    }

    /// The scopes that the table has, by the names of its maps. Their conditions do not matter any more.
    pub(crate) fn all(sets: &[String]) -> Vec<Self> {
        let of_map = |map: &String| {
            let suffix = map.strip_prefix("hostport")?;
            Some(Scope { v6: suffix.starts_with('6'), conditions: Vec::new(), suffix: suffix.to_owned() })
        };
        sets.iter().filter_map(of_map).collect()
    }

    /// The same, as they are in the kernel; none where it has no nf_tables.
    pub(crate) fn found(nft: &mut Nft) -> cni_nftables::Result<Vec<Self>> {
        match nft.sets(&TABLE) {
            Err(error) if error.is_unsupported() => Ok(Vec::new()),
            names => Ok(Self::all(&names?)),
        }
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.v6
    }

    /// Where a mapping is that holds for one address of the host, or for all.
    pub(crate) fn map_of(&self, host: IpAddr) -> Set {
        if host.is_unspecified() { self.host_port() } else { self.host_ip() }
    }

    pub(crate) fn host_ip(&self) -> Set {
        use DataType::{InetProto, InetService, Ipv4Addr, Ipv6Addr};
        let (key, data): (&[_], &[_]) = if self.v6 {
            (&[Ipv6Addr, InetProto, InetService], &[Ipv6Addr, InetService])
        } else {
            (&[Ipv4Addr, InetProto, InetService], &[Ipv4Addr, InetService])
        };
        Set { table: TABLE, name: Cow::Owned(self.name("hostip")), key, data }
    }

    pub(crate) fn host_port(&self) -> Set {
        Set {
            key: &[DataType::InetProto, DataType::InetService],
            name: Cow::Owned(self.name("hostport")),
            ..self.host_ip()
        }
    }

    fn name(&self, base: &str) -> String {
        format!("{base}{}", self.suffix)
    }

    /// Its chains, in the order in which they can be made.
    pub(crate) fn chains(&self) -> [Rules; 3] {
        let Scope { v6, conditions, suffix } = self;
        let port = vec![Selector::L4Proto, Selector::ThDport];
        let address = if *v6 { Selector::Ip6Daddr } else { Selector::IpDaddr };
        let family = if *v6 { NatFamily::Ip6 } else { NatFamily::Ip };
        let dnat = |key, map: Set| vec![Statement::DnatMap { family, key, map: map.name.into_owned() }];
        let hostports = Rules {
            chain: format!("hostports{suffix}"),
            base: None,
            rules: vec![
                dnat([vec![address], port.clone()].concat(), self.host_ip()),
                dnat(port, self.host_port()),
            ],
        };

        let priority = if conditions.is_empty() { DSTNAT } else { DSTNAT_CONDITIONED };
        let entry = |name: &str, hook| {
            let mut rule = vec![is(Selector::NfProto, Value::Proto(if *v6 { 10 } else { 2 }))];
            if *v6 && matches!(hook, Hook::NatOutput) {
                // The kernel takes no packet for ::1 from another interface than lo, so its answers would not
                // come back: whoever tries localhost should be refused at once and go on to 127.0.0.1.
                let localhost = Value::Addr(Ipv6Addr::LOCALHOST.into());
                rule.push(Statement::Match { selector: address, op: Op::Ne, value: localhost });
            }
            rule.extend(conditions.iter().cloned());
            // CVE-2025-67499: without it every packet through the host to this port of any other host is taken too.
            rule.push(is(Selector::FibDaddrType, Value::AddrType(RTN_LOCAL)));
            rule.push(Statement::Verdict(Verdict::Jump(hostports.chain.clone())));
            Rules {
                chain: format!("{name}{suffix}"),
                base: Some((hook, priority, Policy::Accept)),
                rules: vec![rule],
            }
        };
        let (prerouting, output) =
            (entry("prerouting", Hook::NatPrerouting), entry("output", Hook::NatOutput));
        [hostports, prerouting, output]
    }

    /// Whether it is the same, as far as the names of its objects tell.
    pub(crate) fn is_named_like(&self, other: &Scope) -> bool {
        self.suffix == other.suffix
    }

    /// Whether a packet can be for both, unless conditions plainly exclude each other. Those of one that was found are in its chain.
    pub(crate) fn meets(&self, found: &Scope, nft: &mut Nft) -> cni_nftables::Result<bool> {
        let is_conditioned = !self.conditions.is_empty() && found.suffix.contains('_');
        if !is_conditioned || self.v6 != found.v6 || self.is_named_like(found) {
            return Ok(self.v6 == found.v6);
        }
        let [_, own, _] = self.chains();
        let rules = nft.rules(&TABLE, &format!("prerouting{}", found.suffix))?;
        let excludes = |rule: &FoundRule| own.rules.iter().all(|own| rule.excludes(TABLE.family, own));
        Ok(rules.is_empty() || !rules.iter().all(excludes))
    }
}

/// Makes what containers share and is missing, and puts right what is there.
pub(crate) fn setup(scopes: &[Scope], groups: &[Group], batch: &mut Batch) {
    batch.add_table(&TABLE).add_set(&owners());
    for scope in scopes {
        batch.add_set(&scope.host_ip()).add_set(&scope.host_port());
        scope.chains().iter().for_each(|rules| rules.setup(batch));
    }
    for group in groups {
        batch.add_set(&self_set(group.v6)).add_set(&group.set());
        group.chains().iter().for_each(|rules| rules.setup(batch));
    }
}

/// How many other elements a container has. By it DEL knows whether it has found all of them, without a look at those of
/// all other containers.
pub(crate) fn owners() -> Set {
    Set::map(TABLE, "owners", &[DataType::IfName], &[DataType::Mark])
}

/// The key of a container in [`owners`].
pub(crate) fn owner_key(owner: &Owner) -> Vec<Value> {
    vec![Value::IfName(owner.short_key())]
}

/// Containers to which the same sources are masqueraded: those of a subnet, of a family with `masqAll`, or those that are
/// their whole subnet. Each has a set and chains of its own. A verdict map for all of them would be one lookup less, but the
/// kernel walks through all of it at each change to look for loops (net/netfilter/nf_tables_api.c, nf_tables_validate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    v6: bool,
    /// `4_10_1_0_0_16`, `6_all`, `4_self`: what the names of its objects end in.
    suffix: String,
    sources: Vec<Vec<Statement>>,
}

impl Group {
    /// That of a container's address; none when nobody is masqueraded.
    pub(crate) fn new(pod: IpNet, masquerade: Masquerade) -> Option<Self> {
        let v6 = matches!(pod, IpNet::V6(_));
        let source = if v6 { Selector::Ip6Saddr } else { Selector::IpSaddr };
        let (name, source) = match masquerade {
            Masquerade::Nobody => return None,
            Masquerade::Near if pod.prefix_len() == pod.max_prefix_len() => {
                let dst = if v6 { Selector::Ip6Daddr } else { Selector::IpDaddr };
                let set = self_set(v6).name.into_owned();
                ("self".to_owned(), Some(Statement::InSet { key: vec![source, dst], op: Op::Eq, set }))
            }
            Masquerade::Near if pod.prefix_len() > 0 => {
                let net = pod.trunc();
                let name = net.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                (name, Some(is(source, Value::Net(net))))
            }
            Masquerade::Near | Masquerade::All => ("all".to_owned(), None),
        };
        let mut sources = vec![Vec::from_iter(source)];
        if !v6 && !sources[0].is_empty() {
            sources.push(vec![is(Selector::IpSaddr, Value::Net(LOOPBACK.into()))]);
        }
        Some(Group { v6, suffix: format!("{}_{name}", if v6 { 6 } else { 4 }), sources })
    }

    /// The sets of all groups among those that the table has.
    pub(crate) fn sets(sets: &[String]) -> Vec<Set> {
        let of_group = |set: &String| {
            let suffix = set.strip_prefix("masq")?.to_owned();
            Some(Group { v6: suffix.starts_with('6'), suffix, sources: Vec::new() }.set())
        };
        sets.iter().filter_map(of_group).collect()
    }

    /// The containers, each by its address, the protocol and the host's port. The port is there so that it is only for
    /// connections that came by a mapping, not for those that kube-proxy, say, sends there.
    pub(crate) fn set(&self) -> Set {
        use DataType::{InetProto, InetService, Ipv4Addr, Ipv6Addr};
        let key: &[_] =
            if self.v6 { &[Ipv6Addr, InetProto, InetService] } else { &[Ipv4Addr, InetProto, InetService] };
        Set { table: TABLE, name: Cow::Owned(self.chain()), key, data: &[] }
    }

    fn chain(&self) -> String {
        format!("masq{}", self.suffix)
    }

    /// Its chains, in the order in which they can be made.
    pub(crate) fn chains(&self) -> [Rules; 2] {
        let masquerade = |source: &Vec<Statement>| [source.clone(), vec![Statement::Masquerade]].concat();
        let masq =
            Rules { chain: self.chain(), base: None, rules: self.sources.iter().map(masquerade).collect() };
        let address = if self.v6 { Selector::Ip6Daddr } else { Selector::IpDaddr };
        let rule = |protocol: Protocol| {
            let key = vec![address, Selector::L4Proto, Selector::CtOriginalProtoDst];
            vec![
                // Only by the protocol before it does nft, printing the rule, know what type the port is of.
                is(Selector::L4Proto, Value::Proto(protocol.number())),
                is(Selector::CtStatus, Value::Bits(IPS_DST_NAT)),
                Statement::InSet { key, op: Op::Eq, set: self.set().name.into_owned() },
                Statement::Verdict(Verdict::Jump(self.chain())),
            ]
        };
        let postrouting = Rules {
            chain: format!("postrouting{}", self.suffix),
            base: Some((Hook::NatPostrouting, SRCNAT, Policy::Accept)),
            rules: Protocol::ALL.into_iter().map(rule).collect(),
        };
        [masq, postrouting]
    }
}

/// Containers that are their whole subnet: address and address. A chain for each of these subnets would be one for each
/// container.
pub(crate) fn self_set(v6: bool) -> Set {
    use DataType::{Ipv4Addr, Ipv6Addr};
    let key: &[_] = if v6 { &[Ipv6Addr, Ipv6Addr] } else { &[Ipv4Addr, Ipv4Addr] };
    Set::new(TABLE, if v6 { "self6" } else { "self4" }, key)
}

/// Drops what comes for or from 127.0.0.0/8 by any other interface than lo. Without `route_localnet` the kernel does that
/// itself; with it, neighbours could reach what listens on 127.0.0.1 only (CVE-2020-8558).
///
/// The answers to connections from 127.0.0.1 are not concerned: those are masqueraded, and come for another address of the
/// host until connection tracking gives them back their own, which is after this chain.
pub(crate) fn martians() -> Rules {
    let drop = |selector| {
        let lo = Value::IfName("lo".to_owned());
        vec![
            Statement::Match { selector: Selector::IifName, op: Op::Ne, value: lo },
            is(selector, Value::Net(LOOPBACK.into())),
            Statement::Verdict(Verdict::Drop),
        ]
    };
    Rules {
        chain: MARTIANS.to_owned(),
        base: Some((Hook::FilterPrerouting, RAW, Policy::Accept)),
        rules: vec![drop(Selector::IpDaddr), drop(Selector::IpSaddr)],
    }
}

/// Makes the chain of [`martians`].
pub(crate) fn setup_martians(batch: &mut Batch) {
    batch.add_table(&TABLE);
    martians().setup(batch);
}

fn is(selector: Selector, value: Value) -> Statement {
    Statement::Match { selector, op: Op::Eq, value }
}
