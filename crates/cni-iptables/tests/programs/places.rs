//! Where rules are looked for, and what is run for that: nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cni_iptables::{Family, Iptables, Variant};
use cni_nftables::Nft;
use cni_testing::Host;

use crate::{Programs, each, path, rule};

fn has_chain(programs: &Programs, table: &str, chain: &str) -> Vec<Variant> {
    let mut found = Vec::new();
    let iptables = Iptables::wherever(&[programs.family], &programs.path);
    let nothing = iptables.look(&mut Nft::new(), programs.family, table, |table| {
        if table.has_chain(chain)? {
            found.push(table.variant());
        }
        Ok(None::<()>)
    });
    assert_eq!(nothing.unwrap(), None);
    found
}

#[test]
fn the_variant_that_has_the_chain_is_found() {
    each(|programs| {
        assert!(has_chain(programs, "nat", "CNI-a").is_empty());
        programs.run("", &["-t", "nat", "-N", "CNI-a"], "");
        assert_eq!(has_chain(programs, "nat", "CNI-a"), [programs.variant]);
        assert!(has_chain(programs, "nat", "CNI-b").is_empty());
        assert!(has_chain(programs, "mangle", "CNI-a").is_empty());
    });
}

#[test]
fn both_variants_are_looked_into_and_changed_where_both_are_in_use() {
    each(|programs| {
        let other = if programs.variant == Variant::Nft { Variant::Legacy } else { Variant::Nft };
        let Ok(other) = Iptables::find(&[programs.family], &path(&programs.host, other)) else { return };
        if other.update(&mut Nft::new(), "nat", |table| table.ensure_chain("CNI-a")).is_err() {
            return;
        }
        programs.update(|table| table.ensure_chain("CNI-a"));
        assert_eq!(has_chain(programs, "nat", "CNI-a"), [Variant::Nft, Variant::Legacy]);
        let both = Iptables::wherever(&[programs.family], &programs.path);
        both.update(&mut Nft::new(), "nat", |table| table.delete_chain("CNI-a")).unwrap();
        assert!(has_chain(programs, "nat", "CNI-a").is_empty());
    });
}

/// Other programs' tables are read once while they stay as they are, and a plugin's chain in them is never overlooked.
#[test]
fn a_chain_that_comes_after_a_look_is_found_by_the_next() {
    each(|programs| {
        let other = ["-t", "nat", "-A", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL", "-j", "OTHER"];
        programs.run("", &["-t", "nat", "-N", "OTHER"], "");
        programs.run("", &other, "");
        for _ in 0..2 {
            assert!(has_chain(programs, "nat", "CNI-a").is_empty());
        }
        programs.run("", &["-t", "nat", "-N", "CNI-a"], "");
        assert_eq!(has_chain(programs, "nat", "CNI-a"), [programs.variant]);
        programs.run("", &["-t", "nat", "-X", "CNI-a"], "");
        assert!(has_chain(programs, "nat", "CNI-a").is_empty());
        programs.run("", &["-t", "nat", "-A", "OTHER", "-j", "RETURN"], "");
        assert!(has_chain(programs, "nat", "CNI-a").is_empty());
    });
}

#[test]
fn looking_makes_no_table() {
    each(|programs| {
        let before = programs.host.snapshot();
        let names = || fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
        let used = names();
        assert!(has_chain(programs, "filter", "CNI-a").is_empty());
        let iptables = Iptables::wherever(&[programs.family], &programs.path);
        iptables
            .update(&mut Nft::new(), "filter", |table| table.delete("FORWARD", &rule(&["-j", "CNI-a"])))
            .unwrap();
        assert_eq!(names(), used);
        programs.host.snapshot().assert_same(&before);
    });
}

#[test]
fn nobody_holds_anything_on_a_host_without_iptables() {
    let host = Host::new();
    host.hide(&["/usr/sbin", "/usr/local/sbin", "/run"]);
    for family in [Family::Ipv4, Family::Ipv6] {
        let iptables = Iptables::wherever(&[family], "/nowhere");
        iptables.update(&mut Nft::new(), "nat", |table| table.delete_chain("CNI-a")).unwrap();
        assert_eq!(iptables.look(&mut Nft::new(), family, "nat", |_| Ok(None::<()>)).unwrap(), None);
        let error = Iptables::find(&[family], "/nowhere").unwrap_err();
        assert!(error.is_unusable() && error.to_string().starts_with("cannot find ip"), "{error}");
    }
}

/// A wrapper's name tells nothing, so it is asked.
#[test]
fn a_wrapper_says_which_iptables_it_is() {
    let host = Host::new();
    host.hide(&["/run"]);
    let folder = host.dir().with_file_name("wrapper");
    fs::create_dir(&folder).unwrap();
    let wrap = |version: &str| {
        let program = folder.join("iptables");
        fs::write(&program, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        Iptables::find(&[Family::Ipv4], folder.to_str().unwrap())
    };
    let nft = wrap("iptables v1.8.9 (nf_tables)").unwrap();
    let mut variant = None;
    nft.update(&mut Nft::new(), "nat", |table| {
        variant = Some(table.variant());
        Ok(())
    })
    .unwrap();
    assert_eq!(variant, Some(Variant::Nft));
    for legacy in ["iptables v1.8.9 (legacy)", "iptables v1.6.1"] {
        assert!(format!("{:?}", wrap(legacy).unwrap()).contains("Legacy"));
    }
    let error = wrap("no such thing").unwrap_err();
    assert!(error.is_unusable(), "{error}");
    assert!(error.to_string().ends_with("is: it says \"no such thing\""), "{error}");
}
