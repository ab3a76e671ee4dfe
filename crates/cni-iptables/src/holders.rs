//! Which iptables of this host, if any, may hold a chain: what spares a DEL most forks.

use std::fs;

use cni_nftables::{Nft, Table};

use crate::{Family, Iptables, Result, Variant};

/// The programs that have to be run to find what a chain holds, told without running any.
///
/// iptables-nft keeps its tables in nf_tables, under the same names: a chain with rules in it is found by asking the
/// kernel for them. ip_tables, where iptables-legacy keeps its own, only tells which tables are in use
/// (`/proc/net/ip_tables_names`), so that one is among them whenever `table` is. A kernel without either has no holder.
pub fn holders(family: Family, path: &str, table: &'static str, chain: &str) -> Result<Vec<Iptables>> {
    let mut holders = Vec::new();
    if in_nf_tables(family, table, chain)? {
        holders.push(
            Iptables::find_variant(family, Variant::Nft, path).or_else(|_| Iptables::find(family, path))?,
        );
    }
    if in_ip_tables(family, table) {
        holders.push(
            Iptables::find_variant(family, Variant::Legacy, path)
                .or_else(|_| Iptables::find(family, path))?,
        );
    }
    Ok(holders)
}

fn in_nf_tables(family: Family, table: &'static str, chain: &str) -> Result<bool> {
    let nf_family = match family {
        Family::Ipv4 => cni_nftables::Family::Ip,
        Family::Ipv6 => cni_nftables::Family::Ip6,
    };
    let table = Table { family: nf_family, name: table };
    match Nft::open().and_then(|mut nft| nft.rules(table, chain)) {
        Ok(rules) => Ok(!rules.is_empty()),
        Err(error) if error.is_unsupported() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn in_ip_tables(family: Family, table: &str) -> bool {
    let path = match family {
        Family::Ipv4 => "/proc/thread-self/net/ip_tables_names",
        Family::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
    };
    // Not there without ip_tables in the kernel.
    fs::read_to_string(path).is_ok_and(|names| names.lines().any(|name| name == table))
}
