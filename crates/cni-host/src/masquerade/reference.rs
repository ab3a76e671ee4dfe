//! What the reference's nftables backend leaves: rules in its own table, known by the hashes that their comments begin with
//! (plugins v1.9.1, pkg/ip/ipmasq_nftables_linux.go, commentForInstance):
//! `<16 hex digits of the network>-<16 of ifname:containerID>, net: ..., if: ..., id: ...`.

use cni_nftables::{Batch, Family, Nft, Result, Table};

use crate::Owner;
use crate::owner::hex_digest;

const TABLE: Table = Table::new(Family::Inet, "cni_plugins_masquerade");
const CHAIN: &str = "masq_checks";

/// Whether a rule's comment says that it is this attachment's.
pub(super) fn is_masquerade_of(comment: &str, owner: &Owner) -> bool {
    start(comment).is_some_and(|start| start == start_of_comment(owner))
}

/// What the comments of an attachment's rules begin with.
pub(super) fn start_of_comment(owner: &Owner) -> String {
    let instance = hex_digest(&format!("{}:{}", owner.ifname, owner.container_id), 16);
    format!("{}-{instance}", hex_digest(&owner.network, 16))
}

/// What this comment begins with, if it is long enough.
pub(super) fn start(comment: &str) -> Option<&str> {
    comment.get(..33)
}

/// Whether it is of this network.
pub(super) fn is_masquerade_in(comment: &str, network: &str) -> bool {
    comment.starts_with(&format!("{}-", hex_digest(network, 16)))
}

/// Whether there is a rule of this attachment.
pub(super) fn has_masquerade(nft: &mut Nft, owner: &Owner) -> Result<bool> {
    let rules = nft.rules(&TABLE, CHAIN)?;
    Ok(rules
        .iter()
        .any(|rule| rule.comment.as_deref().is_some_and(|comment| is_masquerade_of(comment, owner))))
}

/// Deletes the rules whose comments `pick` picks.
pub(super) fn delete_masquerade(nft: &mut Nft, pick: impl Fn(&str) -> bool) -> Result<Batch> {
    let mut batch = Batch::default();
    for rule in nft.rules(&TABLE, CHAIN)? {
        if rule.comment.as_deref().is_some_and(&pick) {
            batch.delete_rule(&TABLE, CHAIN, rule.handle);
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference's own test (ipmasq_nftables_linux_test.go).
    const COMMENT: &str = "6fd94d501e58f0aa-d750b2c8f0f25d5f, net: unit-test, if: eth0, id: two";

    #[test]
    fn a_rule_of_the_reference_is_known_by_its_comment() {
        let owner = |id: &str, ifname: &str| Owner {
            network: "unit-test".into(),
            container_id: id.into(),
            ifname: ifname.into(),
        };
        assert!(is_masquerade_of(COMMENT, &owner("two", "eth0")));
        assert!(!is_masquerade_of(COMMENT, &owner("three", "eth0")));
        assert!(!is_masquerade_of(COMMENT, &owner("two", "net1")));
        assert!(is_masquerade_in(COMMENT, "unit-test"));
        assert!(!is_masquerade_in(COMMENT, "alternate"));
    }
}
