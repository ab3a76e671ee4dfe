//! What DEL removes from nf_tables goes a little later, and with what else the attachment has there.

use std::time::Duration;

use cni_host::MasqueradeBackend::Nftables;
use cni_host::{Masquerade, Owner, SpoofCheck};
use cni_netlink::MacAddr;

use crate::masquerade::{PATH, add, check, del, nets, on_host};
use crate::nft::{load, owner, ruleset};

#[test]
fn gc_just_after_a_del_takes_the_subnets_chain_or_leaves_it_to_the_next() {
    on_host(|| {
        let one = owner("net", "c1", "eth0");
        add(&one, &["10.88.0.5/16"], Nftables);
        del(&one, &["10.88.0.5/16"]);
        let mut tries = 0;
        loop {
            Masquerade::new(None, PATH).gc("net", &[]).unwrap();
            if !ruleset().contains("subnet-") {
                break;
            }
            tries += 1;
            assert!(tries < 100, "{}", ruleset());
            std::thread::sleep(Duration::from_millis(100));
        }
        add(&one, &["10.88.0.5/16"], Nftables);
        check(&one, &["10.88.0.5/16"], Some(Nftables)).unwrap();
    });
}

#[test]
fn an_address_that_comes_back_at_once_is_masqueraded_again() {
    on_host(|| {
        for round in 0..20 {
            let one = owner("net", &format!("c{round}"), "eth0");
            add(&one, &["10.88.0.5/16"], Nftables);
            std::thread::sleep(Duration::from_millis(round));
            check(&one, &["10.88.0.5/16"], Some(Nftables)).unwrap();
            del(&one, &["10.88.0.5/16"]);
        }
    });
}

#[test]
fn both_parts_of_the_packet_filter_go_at_once_and_each_where_the_other_cannot() {
    let mac: MacAddr = "02:42:0a:58:00:05".parse().unwrap();
    let remove = |one: &Owner| {
        Masquerade::new(None, PATH).del_with_spoof_check(one, &nets(&["10.88.0.5/32"]), Some(mac))
    };
    on_host(|| {
        let (one, two) = (owner("net", "c1", "eth0"), owner("net", "c2", "eth0"));
        add(&two, &["10.88.0.6/32"], Nftables);
        SpoofCheck::add(&two, mac).unwrap();
        let before = ruleset();
        add(&one, &["10.88.0.5/32"], Nftables);
        SpoofCheck::add(&one, mac).unwrap();
        for _ in 0..2 {
            remove(&one).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(ruleset(), before);
        }
        add(&one, &["10.88.0.5/32"], Nftables);
        SpoofCheck::add(&one, mac).unwrap();
        // Somebody else's rule holds the chain.
        load(
            "add chain ip cni_masquerade theirs; add rule ip cni_masquerade theirs goto subnet-10.88.0.5/32",
        );
        let error = remove(&one).unwrap_err().to_string();
        assert!(error.contains("subnet-10.88.0.5/32"), "{error}");
        std::thread::sleep(Duration::from_millis(20));
        assert!(!ruleset().contains(&one.veth_name()), "{}", ruleset());
    });
}
