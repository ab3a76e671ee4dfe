//! The rules that kube-proxy's mode iptables writes (pkg/proxy/iptables/proxier.go, release 1.37) for services of one port
//! with two endpoints each, and with no cluster CIDR to tell pods by: seven rules and three chains a service in nat.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Both tables, as `iptables-restore` reads them.
pub(super) fn rules(services: usize) -> String {
    format!("{FILTER}{}", nat(services))
}

const FILTER: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";

const NAT_CHAINS: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
";

const NAT_RULES: &str = "\
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
";

const NODE_PORTS: &str = "\
-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
";

fn nat(services: usize) -> String {
    let (mut chains, mut portals, mut rules) = (NAT_CHAINS.to_owned(), String::new(), String::new());
    for number in 0..services {
        let service = Service::new(number);
        let _ = service.write(&mut chains, &mut portals, &mut rules);
    }
    format!("{chains}{NAT_RULES}{rules}{portals}{NODE_PORTS}")
}

struct Service {
    name: String,
    address: std::net::Ipv4Addr,
    chain: String,
    /// A chain and an address each.
    endpoints: [(String, String); 2],
}

impl Service {
    fn new(number: usize) -> Self {
        // 10.96.0.0/12 and 10.244.0.0/16 and further, as clusters have them.
        let address = |base: u32| std::net::Ipv4Addr::from(base + u32::try_from(number).unwrap_or(0));
        let endpoint = |base, which| (chain("SEP", number * 2 + which), address(base).to_string());
        Service {
            name: format!("default/service-{number}"),
            address: address(0x0a60_0010),
            chain: chain("SVC", number),
            endpoints: [endpoint(0x0af4_0010, 0), endpoint(0x0af5_0010, 1)],
        }
    }

    fn write(&self, chains: &mut String, portals: &mut String, rules: &mut String) -> std::fmt::Result {
        let Service { name, address, chain, endpoints } = self;
        writeln!(chains, ":{chain} - [0:0]")?;
        writeln!(
            portals,
            "-A KUBE-SERVICES -d {address}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 80 -j {chain}"
        )?;
        for (index, (endpoint, to)) in endpoints.iter().enumerate() {
            let half =
                if index == 0 { "-m statistic --mode random --probability 0.50000000000 " } else { "" };
            writeln!(chains, ":{endpoint} - [0:0]")?;
            writeln!(rules, "-A {chain} -m comment --comment \"{name} -> {to}:8080\" {half}-j {endpoint}")?;
            writeln!(rules, "-A {endpoint} -s {to}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ")?;
            writeln!(
                rules,
                "-A {endpoint} -p tcp -m comment --comment \"{name}\" -m tcp -j DNAT --to-destination {to}:8080"
            )?;
        }
        Ok(())
    }
}

/// `KUBE-SVC-` and sixteen characters of base32, of a hash of what it is for.
fn chain(kind: &str, number: usize) -> String {
    const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let letter = |place: usize| {
        let mut hasher = DefaultHasher::new();
        (kind, number, place).hash(&mut hasher);
        char::from(BASE32[usize::from(hasher.finish().to_be_bytes()[0] % 32)])
    };
    format!("KUBE-{kind}-{}", (0..16).map(letter).collect::<String>())
}
