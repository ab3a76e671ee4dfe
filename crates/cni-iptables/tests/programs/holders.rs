//! Telling without running a program which iptables may hold a chain.

use cni_iptables::{Change, Iptables, Rule, Variant, holders};

use crate::{PATH, Programs, each};

fn fill(iptables: &Iptables) {
    let mut change = Change::default();
    change.replace_chain("CNI-a", vec![Rule::new(&["-j", "RETURN"])]);
    iptables.restore("nat", &change).unwrap();
}

fn chains(programs: &Programs, table: &'static str, chain: &str) -> Vec<bool> {
    let holders = holders(programs.family, PATH, table, chain).unwrap();
    holders.iter().map(|holder| holder.save(table).unwrap().has_chain(chain)).collect()
}

#[test]
fn the_variant_that_has_the_chain_is_found() {
    each(|programs| {
        fill(&programs.iptables);
        assert!(chains(programs, "nat", "CNI-a").contains(&true));
        assert!(!chains(programs, "nat", "CNI-b").contains(&true));
        assert!(chains(programs, "mangle", "CNI-a").is_empty());
    });
}

#[test]
fn both_variants_are_found_where_both_are_in_use() {
    each(|programs| {
        let other = match programs.variant {
            Variant::Nft => Variant::Legacy,
            _ => Variant::Nft,
        };
        fill(&programs.iptables);
        let Ok(other) = Iptables::find_variant(programs.family, other, PATH) else { return };
        if other.save("nat").is_ok() {
            fill(&other);
            assert_eq!(chains(programs, "nat", "CNI-a"), [true, true]);
        }
    });
}

#[test]
fn nobody_holds_anything_on_a_host_without_rules() {
    let _host = cni_testing::Host::new();
    for family in [cni_iptables::Family::Ipv4, cni_iptables::Family::Ipv6] {
        assert!(holders(family, PATH, "nat", "CNI-a").unwrap().is_empty());
    }
}
