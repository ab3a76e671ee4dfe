//! Masquerading's elements and rules; the packets are tried with the plugins that use it.

use std::time::Duration;

use cni_host::MasqueradeBackend::{self, Iptables, Nftables};
use cni_host::{Masquerade, Owner};
use cni_iptables::{Family, Rule};
use ipnet::IpNet;

use crate::nft::{load, owner, ruleset};
use crate::{on_private_host, with_own_run};

pub(crate) const PATH: &str = "/usr/sbin:/sbin";

pub(crate) fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn add(owner: &Owner, addresses: &[&str], backend: MasqueradeBackend) {
    Masquerade::new(Some(backend), PATH).add(owner, &nets(addresses)).unwrap();
}

pub(crate) fn del(owner: &Owner, addresses: &[&str]) {
    Masquerade::new(None, PATH).del(owner, &nets(addresses)).unwrap();
}

pub(crate) fn check(
    owner: &Owner,
    addresses: &[&str],
    backend: Option<MasqueradeBackend>,
) -> Result<(), String> {
    Masquerade::new(backend, PATH).check(owner, &nets(addresses)).map_err(|error| error.to_string())
}

/// A thread with a namespace, and a /run for the lock of iptables.
pub(crate) fn on_host(test: impl FnOnce() + Send) {
    on_private_host(|| {
        with_own_run();
        test();
    });
}

#[test]
fn the_tables_are_as_documented() {
    on_host(|| {
        let one = owner("net", "c1", "eth0");
        add(&one, &["10.88.0.5/16", "fd00:88::5/64"], Nftables);
        let listed = ruleset();
        let expected = "\
table ip cni_masquerade {
	map sources {
		type ipv4_addr : verdict
		flags timeout
		elements = { 10.88.0.5 comment \"cni:net:c1:eth0\" : goto subnet-10.88.0.0/16 }
	}

	map owners {
		type ifname : mark
		flags timeout
		elements = { \"0771aa8adb1a0cc\" comment \"cni:net:c1:eth0\" : 0x00000001 }
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip daddr 224.0.0.0/4 return
		ip saddr vmap @sources
	}

	chain subnet-10.88.0.0/16 {
		ip daddr 10.88.0.0/16 return
		masquerade
	}
}
table ip6 cni_masquerade {
	map sources {
		type ipv6_addr : verdict
		flags timeout
		elements = { fd00:88::5 comment \"cni:net:c1:eth0\" : goto subnet-fd00_88__/64 }
	}

	map owners {
		type ifname : mark
		flags timeout
		elements = { \"0771aa8adb1a0cc\" comment \"cni:net:c1:eth0\" : 0x00000001 }
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip6 daddr ff00::/8 return
		ip6 saddr vmap @sources
	}

	chain subnet-fd00_88__/64 {
		ip6 daddr fd00:88::/64 return
		masquerade
	}
}
";
        assert_eq!(listed, expected);
        // What is listed can be loaded, as owners do who save their ruleset.
        load("flush ruleset");
        load(&listed);
        check(&one, &["10.88.0.5/16", "fd00:88::5/64"], Some(Nftables)).unwrap();
    });
}

#[test]
fn a_family_without_addresses_is_not_touched() {
    on_host(|| {
        add(&owner("net", "c1", "eth0"), &["10.88.0.5/16"], Nftables);
        assert!(!ruleset().contains("ip6"));
    });
    on_host(|| {
        add(&owner("net", "c1", "eth0"), &["10.88.0.5/16"], Iptables);
        let rules = ruleset();
        assert!(rules.contains("CNI-") && !rules.contains("ip6"), "{rules}");
    });
}

#[test]
fn a_late_del_leaves_a_reused_address_to_its_new_owner() {
    // https://github.com/containernetworking/cni/issues/924
    for backend in [Nftables, Iptables] {
        on_host(|| {
            let (old, new) = (owner("net", "old", "eth0"), owner("net", "new", "eth0"));
            add(&old, &["10.88.0.5/16"], backend);
            add(&new, &["10.88.0.5/16"], backend);
            for addresses in [&["10.88.0.5/16"][..], &[]] {
                del(&old, addresses);
                check(&new, &["10.88.0.5/16"], Some(backend)).unwrap();
            }
            assert!(check(&old, &["10.88.0.5/16"], Some(backend)).is_err());
        });
    }
}

#[test]
fn an_address_that_moves_to_another_subnet_is_masqueraded_by_that_ones_rules() {
    on_host(|| {
        add(&owner("net", "old", "eth0"), &["10.88.0.5/16"], Nftables);
        let new = owner("other", "new", "eth0");
        add(&new, &["10.88.0.5/24"], Nftables);
        check(&new, &["10.88.0.5/24"], Some(Nftables)).unwrap();
        let error = check(&new, &["10.88.0.5/16"], Some(Nftables)).unwrap_err();
        assert_eq!(error, "10.88.0.5 is not masqueraded: its subnet is another one");
    });
}

#[test]
fn check_says_what_is_wrong_and_whose_the_address_is_now() {
    on_host(|| {
        let (one, two) = (owner("net", "c1", "eth0"), owner("net", "c2", "eth0"));
        let error = check(&one, &["10.88.0.5/16"], Some(Nftables)).unwrap_err();
        assert_eq!(
            error,
            "10.88.0.5 is not masqueraded: it is not in map sources of table ip cni_masquerade"
        );
        add(&one, &["10.88.0.5/16"], Nftables);
        check(&one, &["10.88.0.5/16"], None).unwrap();
        add(&two, &["10.88.0.5/16"], Nftables);
        let error = check(&one, &["10.88.0.5/16"], Some(Nftables)).unwrap_err();
        assert_eq!(error, "10.88.0.5 is not masqueraded: it is cni:net:c2:eth0 now");
        load("flush chain ip cni_masquerade postrouting");
        let error = check(&two, &["10.88.0.5/16"], Some(Nftables)).unwrap_err();
        assert!(
            error.ends_with("chain postrouting of table ip cni_masquerade does not have its rules"),
            "{error}"
        );
        add(&two, &["10.88.0.6/16"], Iptables);
        check(&two, &["10.88.0.6/16"], None).unwrap();
        let error = check(&two, &["10.88.0.7/16"], Some(Iptables)).unwrap_err();
        assert!(error.ends_with("a rule of chain POSTROUTING of table nat is missing"), "{error}");
    });
}

#[test]
fn what_somebody_flushed_is_made_again_by_the_next_add() {
    on_host(|| {
        let one = owner("net", "c1", "eth0");
        for backend in [Nftables, Iptables] {
            add(&one, &["10.88.0.5/16", "fd00:88::5/64"], backend);
            load("flush ruleset");
            add(&one, &["10.88.0.5/16", "fd00:88::5/64"], backend);
            check(&one, &["10.88.0.5/16", "fd00:88::5/64"], Some(backend)).unwrap();
        }
    });
}

/// F2: `nft flush table` takes the rules and leaves the elements.
#[test]
fn f2_a_chain_that_somebody_emptied_is_filled_by_the_next_add_and_told_by_status() {
    on_host(|| {
        let (one, two) = (owner("net", "c1", "eth0"), owner("net", "c2", "eth0"));
        let status = || Masquerade::new(Some(Nftables), PATH).status().map_err(|error| error.to_string());
        add(&one, &["10.88.0.5/16", "fd00:88::5/64"], Nftables);
        let before = ruleset();
        for flush in [
            "flush table ip cni_masquerade",
            "flush table ip6 cni_masquerade",
            "flush chain ip cni_masquerade postrouting",
        ] {
            assert_eq!(status(), Ok(()));
            load(flush);
            assert_ne!(ruleset(), before);
            assert!(status().unwrap_err().ends_with("does not have its rules"), "{flush}");
            // Another container's, of both families.
            add(&two, &["10.88.0.6/16", "fd00:88::6/64"], Nftables);
            check(&one, &["10.88.0.5/16", "fd00:88::5/64"], Some(Nftables)).unwrap();
            del(&two, &["10.88.0.6/16", "fd00:88::6/64"]);
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(ruleset(), before, "{flush}");
        }
        // A subnet's chain alone.
        load("flush chain ip cni_masquerade subnet-10.88.0.0/16");
        add(&one, &["10.88.0.5/16", "fd00:88::5/64"], Nftables);
        assert_eq!(ruleset(), before);
    });
}

#[test]
fn del_leaves_nothing_of_its_own_with_or_without_the_addresses_and_again() {
    for (backend, hint) in [(Nftables, true), (Nftables, false), (Iptables, true), (Iptables, false)] {
        on_host(|| {
            let (one, two) = (owner("net", "c1", "eth0"), owner("net", "c2", "eth0"));
            // A result may name an address twice.
            let addresses: &[&str] = &["10.88.0.5/16", "10.99.0.5/24", "fd00:88::5/64", "10.88.0.5/16"];
            add(&two, &["10.88.0.6/16", "10.99.0.6/24", "fd00:88::6/64"], backend);
            let before = ruleset();
            add(&one, addresses, backend);
            assert_ne!(ruleset(), before);
            for _ in 0..2 {
                del(&one, if hint { addresses } else { &[] });
                // Elements go with the kernel's next tick.
                std::thread::sleep(Duration::from_millis(20));
                assert_eq!(ruleset(), before);
            }
        });
    }
}

#[test]
fn the_chain_of_a_single_address_goes_with_it() {
    on_host(|| {
        add(&owner("net", "c2", "eth0"), &["10.88.0.6/32", "fd00:88::6/128"], Nftables);
        let before = ruleset();
        let one = owner("net", "c1", "eth0");
        for hint in [&["10.88.0.5/32", "fd00:88::5/128"][..], &[]] {
            add(&one, &["10.88.0.5/32", "fd00:88::5/128"], Nftables);
            check(&one, &["10.88.0.5/32", "fd00:88::5/128"], Some(Nftables)).unwrap();
            del(&one, hint);
            assert_eq!(ruleset(), before);
        }
    });
}

#[test]
fn rules_without_a_program_to_delete_them_do_not_stop_a_del() {
    on_host(|| {
        let one = owner("net", "c1", "eth0");
        add(&one, &["10.88.0.5/16"], Iptables);
        crate::hide("/usr/sbin");
        crate::hide("/sbin");
        del(&one, &["10.88.0.5/16"]);
        Masquerade::new(None, PATH).gc("net", &[]).unwrap();
    });
}

#[test]
fn del_where_nothing_ever_was_makes_nothing() {
    on_host(|| {
        del(&owner("net", "c1", "eth0"), &["10.88.0.5/16", "fd00:88::5/64"]);
        del(&owner("net", "c1", "eth0"), &[]);
        Masquerade::new(None, PATH).gc("net", &[]).unwrap();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn two_attachments_of_one_container_share_the_references_chain() {
    on_host(|| {
        let (eth0, net1) = (owner("net", "c1", "eth0"), owner("net", "c1", "net1"));
        add(&eth0, &["10.88.0.5/16"], Iptables);
        add(&net1, &["10.88.0.6/16"], Iptables);
        del(&net1, &["10.88.0.6/16"]);
        check(&eth0, &["10.88.0.5/16"], Some(Iptables)).unwrap();
        del(&eth0, &["10.88.0.5/16"]);
        assert!(!ruleset().contains("CNI-"));
    });
}

#[test]
fn gc_removes_what_is_of_this_network_and_not_valid_and_nothing_else() {
    for backend in [Nftables, Iptables] {
        on_host(|| {
            let valid = owner("net", "valid", "eth0");
            let (stale, foreign) = (owner("net", "stale", "eth0"), owner("other", "c1", "eth0"));
            add(&valid, &["10.88.0.5/16", "fd00:88::5/64"], backend);
            add(&foreign, &["10.77.0.5/16"], backend);
            let before = ruleset();
            add(&stale, &["10.88.0.6/16", "10.66.0.6/16", "fd00:66::6/64"], backend);
            Masquerade::new(None, PATH).gc("net", std::slice::from_ref(&valid)).unwrap();
            assert_eq!(ruleset(), before, "the subnets' chains too");
            Masquerade::new(None, PATH).gc("net", &[]).unwrap();
            assert!(check(&valid, &["10.88.0.5/16"], Some(backend)).is_err());
            check(&foreign, &["10.77.0.5/16"], Some(backend)).unwrap();
        });
    }
}

#[test]
fn gc_leaves_iptables_chains_alone_that_do_not_say_whose_they_are() {
    on_host(|| {
        add(&owner("net", "c1", "eth0"), &["10.88.0.5/16"], Iptables);
        let accept = |comment| vec![Rule::new(&["-m", "comment", "--comment", comment, "-j", "ACCEPT"])];
        let iptables = cni_iptables::Iptables::find(&[Family::Ipv4], PATH).unwrap();
        let others = |table: &mut cni_iptables::Table<'_>| {
            table.replace_chain("CNI-0123456789abcdef01234567", Vec::new());
            table.replace_chain("CNI-FORGED", accept(r#"name: "net" id: "c1""#));
            Ok(())
        };
        iptables.update(&mut cni_nftables::Nft::new(), "nat", others).unwrap();
        Masquerade::new(None, PATH).gc("net", &[]).unwrap();
        let rules = ruleset();
        for chain in ["CNI-0123456789abcdef01234567", "CNI-FORGED"] {
            assert!(rules.contains(chain), "{rules}");
        }
        assert!(!rules.contains("masquerade"), "{rules}");
    });
}

#[test]
fn eight_at_once_lose_nothing() {
    for backend in [Nftables, Iptables] {
        on_host(|| {
            let owners: Vec<Owner> = (0..8).map(|i| owner("net", &format!("c{i}"), "eth0")).collect();
            let address = |i: usize| format!("10.88.0.{}/16", i + 10);
            std::thread::scope(|scope| {
                for (i, one) in owners.iter().enumerate() {
                    scope.spawn(move || {
                        for _ in 0..3 {
                            add(one, &[&address(i)], backend);
                            del(one, &[&address(i)]);
                        }
                        add(one, &[&address(i)], backend);
                    });
                }
            });
            for (i, one) in owners.iter().enumerate() {
                check(one, &[&address(i)], Some(backend)).unwrap();
            }
        });
    }
}

#[test]
fn without_iptables_the_default_is_nftables() {
    on_host(|| {
        let one = owner("net", "c1", "eth0");
        Masquerade::new(None, PATH).add(&one, &nets(&["10.88.0.5/16"])).unwrap();
        check(&one, &["10.88.0.5/16"], Some(Iptables)).unwrap();
        Masquerade::new(None, PATH).status().unwrap();
    });
    on_host(|| {
        crate::hide("/usr/sbin");
        crate::hide("/sbin");
        let one = owner("net", "c1", "eth0");
        Masquerade::new(None, PATH).add(&one, &nets(&["10.88.0.5/16"])).unwrap();
        check(&one, &["10.88.0.5/16"], Some(Nftables)).unwrap();
        Masquerade::new(None, PATH).status().unwrap();
        let error = Masquerade::new(Some(Iptables), PATH).status().unwrap_err().to_string();
        assert!(error.starts_with("cannot find iptables in "), "{error}");
        del(&one, &["10.88.0.5/16"]);
        assert!(check(&one, &["10.88.0.5/16"], Some(Nftables)).is_err());
    });
}

#[test]
fn what_the_reference_left_in_nf_tables_is_deleted_for_this_attachment_only() {
    on_host(|| {
        // From the reference's own test (pkg/ip/ipmasq_nftables_linux_test.go).
        let of =
            |instance: &str, about: &str| format!("6fd94d501e58f0aa-{instance}, net: unit-test, {about}");
        let (two, three) =
            (of("d750b2c8f0f25d5f", "if: eth0, id: two"), of("a4d4adb82b669cfe", "if: eth0, id: three"));
        let other = "82783ef24bdc7036-acb19d111858e348, net: alternate, if: net1, id: three";
        load("add table inet cni_plugins_masquerade");
        load("add chain inet cni_plugins_masquerade masq_checks");
        for comment in [&two, &two, &three, other] {
            load(&format!("add rule inet cni_plugins_masquerade masq_checks counter comment \"{comment}\""));
        }
        check(&owner("unit-test", "two", "eth0"), &["10.88.0.5/16"], None).unwrap();
        del(&owner("unit-test", "two", "eth0"), &["10.88.0.5/16"]);
        let rules = ruleset();
        assert!(!rules.contains(&two) && rules.contains(&three) && rules.contains(other), "{rules}");
        Masquerade::new(None, PATH).gc("unit-test", &[owner("unit-test", "three", "eth0")]).unwrap();
        assert!(ruleset().contains(&three));
        Masquerade::new(None, PATH).gc("unit-test", &[]).unwrap();
        let rules = ruleset();
        assert!(!rules.contains(&three) && rules.contains(other), "{rules}");
    });
}

#[test]
fn an_over_long_key_is_known_again() {
    on_host(|| {
        let long = owner("net", &"c".repeat(300), "eth0");
        add(&long, &["10.88.0.5/16"], Nftables);
        Masquerade::new(None, PATH).gc("net", std::slice::from_ref(&long)).unwrap();
        check(&long, &["10.88.0.5/16"], Some(Nftables)).unwrap();
        Masquerade::new(None, PATH).gc("net", &[]).unwrap();
        assert!(check(&long, &["10.88.0.5/16"], Some(Nftables)).is_err());
        add(&long, &["10.88.0.5/16"], Iptables);
        check(&long, &["10.88.0.5/16"], Some(Iptables)).unwrap();
        del(&long, &["10.88.0.5/16"]);
        assert!(!ruleset().contains("CNI-"));
    });
}
