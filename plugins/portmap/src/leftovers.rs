//! What the reference's plugin left in nf_tables: rules in tables of its own, with nothing but the container's ID as comment.

use std::net::{IpAddr, SocketAddr};

use cni_nftables::{Batch, Family, FoundRule, Nft, Table};
use cni_plugin::Result;

use crate::config::{Forward, Protocol};

static TABLES: [Table; 2] = [Table::new(Family::Ip, "cni_hostport"), Table::new(Family::Ip6, "cni_hostport")];

const HOST_PORTS: &str = "hostports";

/// Of its older versions.
const OLD_HOST_IPS: &str = "hostip_hostports";
const CHAINS: [&str; 3] = [HOST_PORTS, OLD_HOST_IPS, "masquerading"];

/// Removes the rules of this container, of whatever network: the reference does not tell. Adds the mappings among them to
/// `gone`.
pub(crate) fn del(nft: &mut Nft, container_id: &str, gone: &mut Vec<Forward>) -> Result<()> {
    let removed = nft.update("remove the reference's rules", None, |nft| {
        let mut batch = Batch::default();
        for table in &TABLES {
            for chain in CHAINS {
                for rule in nft.rules(table, chain)? {
                    if rule.comment.as_deref() == Some(container_id) {
                        // What an earlier try has found stays: flows to it are stale as well.
                        gone.extend(forward(&rule, table.family));
                        batch.delete_rule(table, chain, rule.handle);
                    }
                }
            }
        }
        Ok(batch)
    });
    match removed {
        Err(error) if error.is_unsupported() => Ok(()),
        done => Ok(done?),
    }
}

/// Takes these ports from the containers that the reference's plugin mapped them to, whose chains come before ours. Adds them to
/// `displaced`, with the ID of the container that had them.
pub(crate) fn displace(
    nft: &mut Nft,
    batch: &mut Batch,
    forwards: &[Forward],
    displaced: &mut Vec<(Forward, String)>,
) -> cni_nftables::Result<()> {
    for table in &TABLES {
        for chain in [HOST_PORTS, OLD_HOST_IPS] {
            for rule in nft.rules(table, chain)? {
                let Some((protocol, host)) = port_of(&rule, table.family) else { continue };
                if let Some(forward) = forwards.iter().find(|forward| forward.displaces(protocol, host)) {
                    batch.delete_rule(table, chain, rule.handle);
                    displaced.push((*forward, rule.comment.unwrap_or_default()));
                }
            }
        }
    }
    Ok(())
}

/// The port that a rule of the reference is for: it compares the protocol and the port, and with `hostIP` the address.
fn port_of(rule: &FoundRule, family: Family) -> Option<(Protocol, SocketAddr)> {
    let (mut protocol, mut port) = (None, None);
    let mut host: IpAddr = if family == Family::Ip { [0; 4].into() } else { [0; 16].into() };
    for compared in rule.compared() {
        match *compared {
            [number] => protocol = Protocol::of_number(number),
            [high, low] => port = Some(u16::from_be_bytes([high, low])),
            _ => host = address(compared)?,
        }
    }
    Some((protocol?, SocketAddr::new(host, port?)))
}

/// Reads the mapping that a rule of the reference is; `None` for those of masquerading.
fn forward(rule: &FoundRule, family: Family) -> Option<Forward> {
    let (protocol, host) = port_of(rule, family)?;
    let (mut pod, mut port) = (None, None);
    for loaded in rule.loaded() {
        match *loaded {
            [high, low] => port = Some(u16::from_be_bytes([high, low])),
            _ => pod = address(loaded),
        }
    }
    Some(Forward { protocol, host, pod: SocketAddr::new(pod?, port?) })
}

/// All mappings to addresses of IPv4.
pub(crate) fn mappings(nft: &mut Nft) -> Result<Vec<Forward>> {
    let [table, _] = &TABLES;
    let mut found = Vec::new();
    for chain in [HOST_PORTS, OLD_HOST_IPS] {
        let rules = match nft.rules(table, chain) {
            Err(error) if error.is_unsupported() => return Ok(found),
            rules => rules?,
        };
        found.extend(rules.iter().filter_map(|rule| forward(rule, table.family)));
    }
    Ok(found)
}

/// Whether a rule of the reference, whoever's it is, leads from the same port to the same place.
pub(crate) fn maps(nft: &mut Nft, wanted: &Forward) -> Result<bool> {
    let table = &TABLES[usize::from(wanted.pod.is_ipv6())];
    for chain in [HOST_PORTS, OLD_HOST_IPS] {
        let rules = match nft.rules(table, chain) {
            Err(error) if error.is_unsupported() => return Ok(false),
            rules => rules?,
        };
        if rules.iter().any(|rule| forward(rule, table.family).as_ref() == Some(wanted)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Whether the reference's plugin has mapped this container's ports: as many rules in each family, which is all that its own
/// CHECK looks at.
pub(crate) fn holds(nft: &mut Nft, container_id: &str, forwards: &[Forward]) -> Result<bool> {
    for table in &TABLES {
        let v6 = table.family == Family::Ip6;
        let wanted = forwards.iter().filter(|forward| forward.pod.is_ipv6() == v6).count();
        if wanted == 0 {
            continue;
        }
        let rules = nft.rules(table, HOST_PORTS)?;
        if rules.iter().filter(|rule| rule.comment.as_deref() == Some(container_id)).count() < wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use cni_nftables::{Cmp, Expr};

    use super::*;

    fn rule(exprs: Vec<Expr>) -> FoundRule {
        let mut rule = FoundRule::default();
        rule.exprs = exprs;
        rule
    }

    #[test]
    fn a_rule_of_the_reference_tells_its_port() {
        let port = |family, compared: &[&[u8]]| {
            let exprs = compared.iter().map(|bytes| Expr::Cmp(Cmp::Eq, bytes.to_vec())).collect();
            port_of(&rule(exprs), family)
        };
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        for (family, compared, read) in [
            (Family::Ip, &[&[6][..], &[31, 144]][..], Some((Protocol::Tcp, "0.0.0.0:8080"))),
            (Family::Ip, &[&[192, 0, 2, 1], &[17], &[0, 53]], Some((Protocol::Udp, "192.0.2.1:53"))),
            (Family::Ip6, &[&v6, &[132], &[0, 9]], Some((Protocol::Sctp, "[2001:db8::1]:9"))),
            (Family::Ip6, &[&[6], &[0, 9]], Some((Protocol::Tcp, "[::]:9"))),
            (Family::Ip, &[&[192, 0, 2, 1], &[192, 0, 2, 1]], None),
            (Family::Ip, &[&[1], &[0, 9]], None),
            (Family::Ip, &[&[6], &[0, 9], &[1, 2, 3]], None),
        ] {
            let read = read.map(|(protocol, host)| (protocol, host.parse().unwrap()));
            assert_eq!(port(family, compared), read, "{compared:?}");
        }
    }

    #[test]
    fn a7_a_rule_of_the_reference_tells_its_mapping() {
        let mapping = |loaded: &[&[u8]]| {
            let compared = [&[17][..], &[0, 53]].map(|bytes| Expr::Cmp(Cmp::Eq, bytes.to_vec()));
            let loaded = loaded.iter().map(|bytes| Expr::Immediate { register: 1, value: bytes.to_vec() });
            let exprs = compared.into_iter().chain(loaded).collect();
            forward(&rule(exprs), Family::Ip)
        };
        let pod = |loaded| mapping(loaded).map(|forward| forward.pod.to_string());
        assert_eq!(pod(&[&[10, 0, 0, 5], &[0, 80]]).as_deref(), Some("10.0.0.5:80"));
        assert_eq!(pod(&[]), None);
        assert_eq!(pod(&[&[10, 0, 0, 5]]), None);
        assert_eq!(pod(&[&[0, 80]]), None);
        assert_eq!(pod(&[&[10, 0, 0], &[0, 80]]), None);
    }
}
