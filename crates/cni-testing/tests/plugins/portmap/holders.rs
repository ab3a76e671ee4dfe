//! The portmap plugin and host ports that containers of several networks ask for: whoever holds one keeps it while it lives.

use std::path::Path;

use cni_testing::{Container, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::set;
use crate::portmap::net::{BACKENDS, From, HOST, Pod, Site, assert_unanswered, run, run_reference, seen};

const FOLDER: &str = "/run/cni-plugins-rs/portmap";

/// The containers' network, which the aliases of their links tell too.
const LINKED: &str = "net";
/// One that only records tell.
const OTHER: &str = "other";

fn records() -> Vec<String> {
    let entries = std::fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().extension().is_none() && entry.path().is_file());
    files.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).collect()
}

fn forget_records() {
    for entry in std::fs::read_dir(FOLDER).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        std::fs::remove_file(entry.path()).unwrap();
    }
}

/// Portmap's configuration in a network, by a backend.
fn conf(site: &Site, pod: &Pod, network: &str, backend: &str, mappings: &[&str]) -> Value {
    site.conf(pod, mappings, json!({"name": network, "backend": backend.split('-').next().unwrap()}))
}

#[track_caller]
fn assert_refused(outcome: &Outcome, parts: &[&str]) {
    let (code, text) = outcome.err();
    assert!(code == 7 && parts.iter().all(|part| text.contains(part)), "{code} {text}");
}

/// Whoever asks by either backend, against a holder in nf_tables; and by nf_tables against one of iptables.
const PAIRS: [(&str, &str); 4] = [
    ("nftables", "nftables"),
    ("nftables", "iptables"),
    ("iptables", "nftables"),
    ("iptables-legacy", "nftables"),
];

#[test]
fn host_ports_of_a_container_whose_interface_is_there_are_refused_to_other_networks() {
    for (holds, asks) in PAIRS {
        let site = Site::new(holds);
        let (holder, asking) = (site.pod("c1", 5), site.pod("c2", 6));
        site.map(&holder, &["8080/tcp"]);
        forget_records();
        let (rules, links) = (site.rules(), site.host.links());
        let of_asking = conf(&site, &asking, OTHER, asks, &["9090/tcp", "8080/tcp"]);
        let outcome = site.run("ADD", &asking, &of_asking);
        assert_refused(
            &outcome,
            &["cannot map tcp port 8080: container c1", "network net) has it", "its interface veth"],
        );
        assert_refused(&outcome, &["(eth0, network net)"]);
        // Nothing was touched.
        site.rules().assert_same(&rules);
        site.host.links().assert_same(&links);
        assert_eq!(records(), [""; 0]);
        site.run("DEL", &asking, &of_asking).ok();
        for host in HOST {
            seen(From::Inside(&site.outside), "tcp", (host, 8080));
            assert_unanswered(From::Inside(&site.outside), "tcp", (host, 9090));
        }
        site.run("CHECK", &holder, &site.conf(&holder, &["8080/tcp"], json!({}))).ok();
        // Another protocol is another port.
        site.run("ADD", &asking, &conf(&site, &asking, OTHER, asks, &["8080/udp"])).ok();
        seen(From::Inside(&site.outside), "udp", (HOST[0], 8080));
    }
}

#[test]
fn host_ports_of_a_container_whose_namespace_is_there_are_refused_to_other_networks() {
    for (holds, asks) in PAIRS {
        let site = Site::new(holds);
        let (holder, asking) = (site.pod("c1", 5), site.pod("c2", 6));
        let of_holder = conf(&site, &holder, OTHER, holds, &["8080/tcp"]);
        site.run("ADD", &holder, &of_holder).ok();
        let of_asking = conf(&site, &asking, LINKED, asks, &["8080/tcp"]);
        let namespace = format!("its namespace {}", holder.container.netns());
        assert_refused(
            &site.run("ADD", &asking, &of_asking),
            &["container c1 (eth0, network other)", &namespace],
        );
        // A path that leads to the host's own is no container's.
        let path = Path::new(holder.container.netns());
        let was = std::fs::read_link(path).unwrap();
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(own_namespace(), path).unwrap();
        site.run("ADD", &asking, &of_asking).ok();
        site.run("DEL", &asking, &of_asking).ok();
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(was, path).unwrap();
    }
}

/// By a path that other processes can use.
fn own_namespace() -> String {
    format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid())
}

#[test]
fn host_ports_of_a_container_that_is_gone_go_to_other_networks() {
    for (holds, asks) in PAIRS {
        let site = Site::new(holds);
        let (mut holder, asking) = (site.pod("c1", 5), site.pod("c2", 6));
        let mappings = ["8080/tcp", "8081/tcp", "192.0.2.1 8082/tcp"];
        let of_holder = conf(&site, &holder, OTHER, holds, &mappings);
        site.run("ADD", &holder, &of_holder).ok();
        holder.kill();
        let of_asking = conf(&site, &asking, LINKED, asks, &["8080/tcp", "8082/tcp"]);
        let outcome = site.run("ADD", &asking, &of_asking);
        outcome.ok();
        if holds == "nftables" {
            let warning = "tcp port 8080 was container c1 (eth0, network other)'s and is now container c2";
            assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);
            let table = run("nft", &["list table inet cni_portmap"]);
            let left = ["tcp . 8080", ". 8082"].map(|port| {
                table
                    .lines()
                    .any(|line| line.contains(port) && line.contains(":c1:") && line.contains("c1:eth0\" : "))
            });
            assert_eq!(left, [false; 2], "{table}");
        }
        for host in HOST {
            seen(From::Inside(&site.outside), "tcp", (host, 8080));
        }
        site.run("CHECK", &asking, &of_asking).ok();
        // A late DEL takes nothing of the new one.
        site.run("DEL", &holder, &of_holder).ok();
        site.run("CHECK", &asking, &of_asking).ok();
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
        assert!(!site.rules().to_string().contains("10.88.0.5"), "{}", site.rules());
    }
}

/// podman gives a container's ports to each of its networks.
#[test]
fn host_ports_of_one_container_are_mapped_in_all_its_networks() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        for network in [LINKED, OTHER, LINKED] {
            let conf = conf(&site, &pod, network, backend, &["8080/tcp", "192.0.2.1 8081/tcp"]);
            site.run("ADD", &pod, &conf).ok();
            site.run("CHECK", &pod, &conf).ok();
            seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
        }
        for network in [LINKED, OTHER] {
            site.run("DEL", &pod, &conf(&site, &pod, network, backend, &[])).ok();
        }
        assert!(!site.rules().to_string().contains("10.88.0.5"), "{}", site.rules());
        assert_eq!(records(), [""; 0]);
    }
}

#[test]
fn host_ports_overlap_by_address_whoever_comes_first() {
    let site = Site::new("nftables");
    let (holder, asking) = (site.pod("c1", 5), site.pod("c2", 6));
    for (held, wanted, meets) in [
        ("8080/tcp", "8080/tcp", Some("has it")),
        ("8080/tcp", "192.0.2.1 8080/tcp", Some("has tcp port 8080, and")),
        ("192.0.2.1 8080/tcp", "192.0.2.1 8080/tcp", Some("has it")),
        ("8080/tcp", "0.0.0.0 8080/tcp", Some("has it")),
        ("127.0.0.1 8080/tcp", "8080/tcp", Some("has tcp port 8080 of 127.0.0.1")),
        ("2001:db8:1::1 8080/tcp", "8080/tcp", Some("has tcp port 8080 of 2001:db8:1::1")),
        ("192.0.2.1 8080/tcp", "198.51.100.1 8080/tcp", None),
        ("0.0.0.0 8080/tcp", ":: 8080/tcp", None),
        ("8080/tcp", "8080/sctp", None),
        ("8080/tcp", "8081/tcp", None),
    ] {
        for asks in ["nftables", "iptables"] {
            for (held, wanted) in [(held, wanted), (wanted, held)] {
                let of_holder = conf(&site, &holder, LINKED, "nftables", &[held]);
                let of_asking = conf(&site, &asking, OTHER, asks, &[wanted]);
                site.run("ADD", &holder, &of_holder).ok();
                let outcome = site.run("ADD", &asking, &of_asking);
                eprintln!("{held}, {wanted}: {}", outcome.stdout);
                match meets {
                    Some(_) => assert_refused(&outcome, &["container c1 (eth0, network net)"]),
                    None => {
                        outcome.ok();
                        site.run("CHECK", &asking, &of_asking).ok();
                    }
                }
                site.run("CHECK", &holder, &of_holder).ok();
                site.run("DEL", &asking, &of_asking).ok();
                site.run("DEL", &holder, &of_holder).ok();
            }
        }
        if let Some(text) = meets {
            let of_holder = conf(&site, &holder, LINKED, "nftables", &[held]);
            site.run("ADD", &holder, &of_holder).ok();
            assert_refused(
                &site.run("ADD", &asking, &conf(&site, &asking, OTHER, "nftables", &[wanted])),
                &[text],
            );
            site.run("DEL", &holder, &of_holder).ok();
        }
    }
}

#[test]
fn host_ports_under_conditions_meet_unless_these_exclude_each_other() {
    let site = Site::new("nftables");
    let (holder, asking) = (site.pod("c1", 5), site.pod("c2", 6));
    for (held, wanted, meets) in [
        (json!([]), json!(["iifname up0"]), true),
        (json!(["iifname up0"]), json!(["iifname up0"]), true),
        (json!(["iifname \"up*\""]), json!(["iifname up1"]), true),
        (json!(["ip saddr 192.0.2.0/24"]), json!(["iifname up1"]), true),
        (json!(["iifname up0"]), json!(["iifname up1"]), false),
        (json!(["iifname \"up*\""]), json!(["iifname eth0"]), false),
        (json!(["ip saddr 192.0.2.0/24"]), json!(["ip saddr 198.51.100.0/24"]), false),
        (json!(["ip", "saddr", "10.0.0.0/9"]), json!(["iifname up0 ip saddr 10.128.0.0/9"]), false),
    ] {
        for (held, wanted) in [(&held, &wanted), (&wanted, &held)] {
            let conf = |pod: &Pod, network: &str, conditions: &Value| {
                // Addresses of one family, for conditions of the other would be none.
                let mut conf = conf(&site, pod, network, "nftables", &["0.0.0.0 8080/tcp"]);
                set(&mut conf, &json!({"conditionsV4": conditions}));
                conf
            };
            let (of_holder, of_asking) = (conf(&holder, LINKED, held), conf(&asking, OTHER, wanted));
            site.run("ADD", &holder, &of_holder).ok();
            let outcome = site.run("ADD", &asking, &of_asking);
            eprintln!("{held}, {wanted}: {}", outcome.stdout);
            if meets {
                assert_refused(&outcome, &["container c1 (eth0, network net)"]);
            } else {
                outcome.ok();
                site.run("CHECK", &asking, &of_asking).ok();
            }
            site.run("CHECK", &holder, &of_holder).ok();
            site.run("DEL", &asking, &of_asking).ok();
            site.run("DEL", &holder, &of_holder).ok();
        }
    }
    // By packets: each has those that its conditions are for.
    for (pod, network, interface) in [(&holder, LINKED, "up0"), (&asking, OTHER, "up1")] {
        let mut conf = conf(&site, pod, network, "nftables", &["0.0.0.0 8080/tcp"]);
        set(&mut conf, &json!({"conditionsV4": [format!("iifname {interface}")]}));
        site.run("ADD", pod, &conf).ok();
    }
    seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    seen(From::Inside(&site.beyond), "tcp", ("198.51.100.1", 8080));
}

/// Conditions of a holder that is gone go on to be compared by what the kernel has of them.
#[test]
fn host_ports_that_are_gone_under_other_conditions_go() {
    let site = Site::new("nftables");
    let (mut holder, asking) = (site.pod("c1", 5), site.pod("c2", 6));
    let mut of_holder = conf(&site, &holder, OTHER, "nftables", &["8080/tcp"]);
    set(&mut of_holder, &json!({"conditionsV4": ["iifname up0"], "conditionsV6": ["iifname up0"]}));
    site.run("ADD", &holder, &of_holder).ok();
    holder.kill();
    let outcome = site.run("ADD", &asking, &conf(&site, &asking, LINKED, "nftables", &["8080/tcp"]));
    outcome.ok();
    assert!(outcome.stderr.contains("was container c1 (eth0, network other)'s"), "{}", outcome.stderr);
    for host in HOST {
        seen(From::Inside(&site.outside), "tcp", (host, 8080));
    }
}

#[test]
fn host_ports_of_names_too_long_to_be_read_are_held_too() {
    let site = Site::new("nftables");
    let (holder, asking) = (site.pod(&"c".repeat(100), 5), site.pod("c2", 6));
    let long = "n".repeat(100);
    for network in [LINKED, &long] {
        let of_holder = conf(&site, &holder, network, "nftables", &["8080/tcp"]);
        site.run("ADD", &holder, &of_holder).ok();
        let of_asking = conf(&site, &asking, OTHER, "nftables", &["8080/tcp"]);
        let whose = format!("container {} (eth0, network {network})", holder.id());
        assert_refused(&site.run("ADD", &asking, &of_asking), &[&whose]);
        // Within its network the latest has it.
        let of_same = conf(&site, &asking, network, "nftables", &["8080/tcp"]);
        site.run("ADD", &asking, &of_same).ok();
        site.run("DEL", &asking, &of_same).ok();
        site.run("DEL", &holder, &of_holder).ok();
    }
}

/// One wins, and the other's ADD has left nothing.
#[test]
fn host_ports_that_two_networks_ask_for_at_once_go_to_one() {
    for backends in [["nftables"; 2], ["nftables", "iptables"]] {
        let site = Site::new("nftables");
        let pods = [site.pod("c1", 5), site.pod("c2", 6)];
        for turn in 0..12 {
            let confs = [0, 1].map(|n| {
                let keys = ["8080/tcp", "192.0.2.1 8080/tcp"];
                conf(&site, &pods[n], [LINKED, OTHER][n], backends[n], &keys[(n * turn) % 2..][..1])
            });
            let outcomes = std::thread::scope(|scope| {
                let site = &site;
                let add = |n: usize| {
                    let (pod, conf) = (&pods[n], &confs[n]);
                    scope.spawn(move || site.run("ADD", pod, conf))
                };
                [add(0), add(1)].map(|add| add.join().unwrap())
            });
            let won: Vec<usize> = (0..2).filter(|n| outcomes[*n].code == Some(0)).collect();
            let [won] = won[..] else { panic!("{outcomes:#?}") };
            assert_refused(&outcomes[1 - won], &[&format!("container c{} (eth0", won + 1)]);
            site.run("CHECK", &pods[won], &confs[won]).ok();
            let loser = ["10.88.0.5", "10.88.0.6"][1 - won];
            assert!(!site.rules().to_string().contains(loser), "{}", site.rules());
            assert_eq!(records().len(), 1);
            site.run("DEL", &pods[won], &confs[won]).ok();
        }
    }
}

/// Its rules in nf_tables carry no network.
#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored host_ports`"]
fn host_ports_that_the_reference_mapped_are_taken() {
    for made_by in ["nftables", "iptables"] {
        let site = Site::new("nftables");
        let (old, new) = (site.pod("c1", 5), site.pod("c2", 6));
        // The alias of its interface tells of another network than this.
        let of_old = conf(&site, &old, "theirs", made_by, &["8080/tcp"]);
        run_reference("ADD", &old, &of_old).ok();
        let of_new = conf(&site, &new, OTHER, "nftables", &["8080/tcp"]);
        site.run("ADD", &new, &of_new).ok();
        site.run("CHECK", &new, &of_new).ok();
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    }
}

/// Of an attachment: what is recorded, for as long as it has rules.
#[test]
fn host_ports_leave_a_record_of_their_container_until_its_del() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let record = |container: &Container| {
            format!("net\nc1\neth0\n{}\n10.88.0.5/24 fd00:88::5/64\n", container.netns())
        };
        let conf = site.map(&pod, &["8080/tcp"]);
        assert_eq!(records(), [record(&pod.container)], "{backend}");
        // One that fails leaves that of the one before it.
        let mut other = conf.clone();
        other["prevResult"]["ips"][0]["address"] = "10.88.0.7/24".into();
        run("nft", &["add table inet cni_portmap; delete table inet cni_portmap"]);
        let in_the_way =
            "add table inet cni_portmap; add map inet cni_portmap hostport6 { type ipv4_addr : verdict; }";
        if backend == "nftables" {
            run("nft", &[in_the_way]);
            site.run("ADD", &pod, &other).err();
            assert_eq!(records(), [record(&pod.container)]);
            run("nft", &["delete table inet cni_portmap"]);
        }
        site.run("DEL", &pod, &site.conf(&pod, &[], json!({"prevResult": null}))).ok();
        assert_eq!(records(), [""; 0]);
        // Without ports there is none, and GC takes those of its network.
        site.run("ADD", &pod, &site.conf(&pod, &[], json!({}))).ok();
        assert_eq!(records(), [""; 0]);
        site.map(&pod, &["8080/tcp"]);
        for (network, left) in [("other", 1), ("net", 0)] {
            let keys = json!({"name": network, "prevResult": null, "cni.dev/valid-attachments": []});
            site.run("GC", &pod, &site.conf(&pod, &[], keys)).ok();
            assert_eq!(records().len(), left);
        }
    }
}
