//! What the reference's plugin left in nf_tables: rules in tables of its own, with nothing but the container's ID as comment.

use cni_nftables::{Batch, Family, Nft, Table};
use cni_plugin::Result;

use crate::config::Forward;

const TABLES: [Table; 2] =
    [Table { family: Family::Ip, name: "cni_hostport" }, Table { family: Family::Ip6, name: "cni_hostport" }];

const HOST_PORTS: &str = "hostports";

/// `hostip_hostports` is of its older versions.
const CHAINS: [&str; 3] = [HOST_PORTS, "hostip_hostports", "masquerading"];

/// Removes the rules of this container, of whatever network: the reference does not tell.
pub(crate) fn del(container_id: &str) -> Result<()> {
    let removed = Nft::open().and_then(|mut nft| {
        nft.update("remove the reference's rules", None, |nft| {
            let mut batch = Batch::default();
            for table in TABLES {
                for chain in CHAINS {
                    for rule in nft.rules(table, chain)? {
                        if rule.comment.as_deref() == Some(container_id) {
                            batch.delete_rule(table, chain, rule.handle);
                        }
                    }
                }
            }
            Ok(batch)
        })
    });
    match removed {
        Err(error) if error.is_unsupported() => Ok(()),
        done => Ok(done?),
    }
}

/// Whether the reference's plugin has mapped this container's ports: as many rules in each family, which is all that its own
/// CHECK looks at.
pub(crate) fn holds(container_id: &str, forwards: &[Forward]) -> Result<bool> {
    let mut nft = Nft::open()?;
    for table in TABLES {
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
