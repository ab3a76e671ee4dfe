//! The spoof check's elements; the frames are tried with the bridge plugin.

use cni_host::{Owner, SpoofCheck};
use cni_netlink::MacAddr;

use crate::nft::{load, owner, ruleset};
use crate::on_private_host;

const MAC: MacAddr = MacAddr([0x02, 0x42, 0x0a, 0x58, 0, 5]);
const OTHER: MacAddr = MacAddr([0x02, 0x42, 0x0a, 0x58, 0, 6]);

fn check(owner: &Owner, mac: MacAddr) -> Result<(), String> {
    SpoofCheck::check(owner, mac).map_err(|error| error.to_string())
}

#[test]
fn the_table_is_as_documented() {
    on_private_host(|| {
        let one = owner("blue", "c1", "eth0");
        SpoofCheck::add(&one, MAC).unwrap();
        let listed = ruleset();
        let expected = "\
table bridge cni_spoofcheck {
	set ports {
		type ifname
		flags timeout
		elements = { \"vethd3c1b05f553\" comment \"cni:blue:c1:eth0\" }
	}

	set allowed {
		type ifname . ether_addr
		flags timeout
		elements = { \"vethd3c1b05f553\" . 02:42:0a:58:00:05 comment \"cni:blue:c1:eth0\" }
	}

	chain prerouting {
		type filter hook prerouting priority dstnat; policy accept;
		iifname . ether saddr @allowed return
		iifname @ports drop
	}
}
";
        assert_eq!(listed, expected);
        load("flush ruleset");
        load(&listed);
        check(&one, MAC).unwrap();
    });
}

#[test]
fn del_leaves_nothing_of_its_own_with_or_without_the_address_and_again() {
    for mac in [Some(MAC), None, Some(OTHER)] {
        on_private_host(|| {
            let (one, two) = (owner("net", "c1", "eth0"), owner("net", "c2", "eth0"));
            SpoofCheck::add(&two, MAC).unwrap();
            let before = ruleset();
            SpoofCheck::add(&one, MAC).unwrap();
            for _ in 0..2 {
                SpoofCheck::del(&one, mac).unwrap();
                // What was removed goes with the kernel's next tick.
                std::thread::sleep(std::time::Duration::from_millis(20));
                assert_eq!(ruleset(), before);
            }
        });
    }
}

#[test]
fn del_where_nothing_ever_was_makes_nothing() {
    on_private_host(|| {
        SpoofCheck::del(&owner("net", "c1", "eth0"), Some(MAC)).unwrap();
        SpoofCheck::gc("net", &[]).unwrap();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_second_add_leaves_only_its_own_address_allowed() {
    on_private_host(|| {
        let one = owner("net", "c1", "eth0");
        SpoofCheck::add(&one, MAC).unwrap();
        SpoofCheck::add(&one, OTHER).unwrap();
        check(&one, OTHER).unwrap();
        let error = check(&one, MAC).unwrap_err();
        let port = one.veth_name();
        assert_eq!(
            error,
            format!(
                "port {port} is not checked for spoofed MAC addresses: 02:42:0a:58:00:05 is not allowed there"
            )
        );
        assert_eq!(ruleset().matches(&port).count(), 2);
    });
}

#[test]
fn check_says_what_is_missing() {
    on_private_host(|| {
        let one = owner("net", "c1", "eth0");
        assert!(
            check(&one, MAC).unwrap_err().ends_with("it is not in set ports of table bridge cni_spoofcheck")
        );
        SpoofCheck::add(&one, MAC).unwrap();
        check(&one, MAC).unwrap();
        load("flush chain bridge cni_spoofcheck prerouting");
        assert!(
            check(&one, MAC)
                .unwrap_err()
                .ends_with("chain prerouting of table bridge cni_spoofcheck does not have its rules")
        );
    });
}

/// F2: `nft flush table` takes the rules and leaves the elements.
#[test]
fn f2_a_chain_that_somebody_emptied_is_filled_by_the_next_add_and_told_by_status() {
    on_private_host(|| {
        let one = owner("net", "c1", "eth0");
        SpoofCheck::status().unwrap();
        SpoofCheck::add(&one, MAC).unwrap();
        SpoofCheck::status().unwrap();
        let before = ruleset();
        load("flush table bridge cni_spoofcheck");
        let error = SpoofCheck::status().unwrap_err().to_string();
        assert!(error.ends_with("does not have its rules"), "{error}");
        SpoofCheck::add(&owner("net", "c2", "eth0"), MAC).unwrap();
        check(&one, MAC).unwrap();
        SpoofCheck::status().unwrap();
        SpoofCheck::del(&owner("net", "c2", "eth0"), Some(MAC)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(ruleset(), before);
    });
}

#[test]
fn gc_removes_what_is_of_this_network_and_not_valid_and_nothing_else() {
    on_private_host(|| {
        let (valid, foreign) = (owner("net", "valid", "eth0"), owner("other", "c1", "eth0"));
        SpoofCheck::add(&valid, MAC).unwrap();
        SpoofCheck::add(&foreign, MAC).unwrap();
        let before = ruleset();
        SpoofCheck::add(&owner("net", "stale", "eth0"), MAC).unwrap();
        SpoofCheck::gc("net", std::slice::from_ref(&valid)).unwrap();
        assert_eq!(ruleset(), before);
    });
}

#[test]
fn what_the_reference_left_is_deleted_for_this_attachment_only() {
    on_private_host(|| {
        load("add table bridge nat");
        load("add chain bridge nat PREROUTING { type filter hook prerouting priority -300; policy accept; }");
        let theirs = |id: &str| {
            let (chain, comment) =
                (format!("cni-br-iface-{id}-eth0"), format!("comment \"macspoofchk-{id}-eth0\""));
            load(&format!("add chain bridge nat {chain}"));
            load(&format!("add chain bridge nat {chain}-mac"));
            load(&format!("add rule bridge nat PREROUTING iifname veth{id} jump {chain} {comment}"));
            load(&format!("add rule bridge nat {chain} jump {chain}-mac {comment}"));
            load(&format!("add rule bridge nat {chain}-mac ether saddr 02:42:0a:58:00:05 return {comment}"));
            load(&format!("add rule bridge nat {chain}-mac drop {comment}"));
        };
        theirs("c1");
        let before = ruleset();
        theirs("c2");
        let (one, two) = (owner("net", "c1", "eth0"), owner("net", "c2", "eth0"));
        check(&two, MAC).unwrap();
        SpoofCheck::del(&two, None).unwrap();
        assert_eq!(ruleset(), before);
        check(&one, MAC).unwrap();
        SpoofCheck::gc("net", &[]).unwrap();
        assert_eq!(ruleset(), before, "whose network that is cannot be told");
        SpoofCheck::del(&one, Some(MAC)).unwrap();
        assert!(!ruleset().contains("c1"), "{}", ruleset());
    });
}
