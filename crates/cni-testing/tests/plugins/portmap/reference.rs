//! The portmap plugin beside the reference's: the same iptables rules, and containers that one made and the other deletes.

use serde_json::{Value, json};

use crate::portmap::net::{From, HOST, Pod, Site, run, run_reference, seen};

/// The rules of table nat, as `iptables-save` prints them, without those of other plugins.
fn nat(program: &str) -> Vec<String> {
    let text = run(program, &["-t", "nat"]);
    let wanted = |line: &&str| line.starts_with("-A") || line.starts_with(":CNI");
    text.lines().filter(wanted).map(|line| line.split(" [").next().unwrap().to_owned()).collect()
}

fn both_families() -> [Vec<String>; 2] {
    ["iptables-save", "ip6tables-save"].map(nat)
}

/// Ports enough for several rules, addresses of both families.
const MAPPINGS: [&str; 22] = [
    "8080/tcp",
    "8080/udp",
    "8080/sctp",
    "192.0.2.1 8081/tcp",
    "2001:db8:1::1 8082/tcp",
    "0.0.0.0 8083/tcp",
    ":: 8084/udp",
    "9001/tcp",
    "9002/tcp",
    "9003/tcp",
    "9004/tcp",
    "9005/tcp",
    "9006/tcp",
    "9007/tcp",
    "9008/tcp",
    "9009/tcp",
    "9010/tcp",
    "9011/tcp",
    "9012/tcp",
    "9013/tcp",
    "127.0.0.1 9014/tcp",
    "9015/tcp",
];

#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored portmap::reference`"]
fn iptables_rules_are_the_references_to_the_letter() {
    let long = "n".repeat(120);
    for keys in [
        json!({}),
        json!({"snat": false}),
        json!({"masqAll": true, "markMasqBit": 5}),
        json!({"conditionsV4": ["!", "-d", "192.0.2.3", "-i", "up0"], "conditionsV6": ["-s", "2001:db8::/32"]}),
        json!({"externalSetMarkChain": "THEIR-MARK"}),
        json!({"name": long}),
    ] {
        let rules = [false, true].map(|ours| {
            let site = Site::new("iptables");
            for program in ["iptables", "ip6tables"] {
                run(program, &["-t", "nat", "-N", "THEIR-MARK"]);
                // What is there before them keeps its place.
                run(program, &["-t", "nat", "-A", "POSTROUTING", "-j", "THEIR-MARK"]);
                run(program, &["-t", "nat", "-A", "PREROUTING", "-j", "THEIR-MARK"]);
            }
            let conf = |pod: &Pod| site.conf(pod, &MAPPINGS, keys.clone());
            let pods = [site.pod("c1", 5), site.pod("c2", 6)];
            let add = |pod: &Pod| {
                if ours { site.run("ADD", pod, &conf(pod)) } else { run_reference("ADD", pod, &conf(pod)) }
            };
            for pod in &pods {
                add(pod).ok();
            }
            // Each takes the other's for its own; that the second container comes second, ours alone sees.
            site.run("CHECK", &pods[0], &conf(&pods[0])).ok();
            let (_, text) = site.run("CHECK", &pods[1], &conf(&pods[1])).err();
            assert!(text.contains("which comes before"), "{text}");
            for pod in &pods {
                run_reference("CHECK", pod, &conf(pod)).ok();
            }
            let added = both_families();
            let del = |pod: &Pod| {
                if ours { site.run("DEL", pod, &conf(pod)) } else { run_reference("DEL", pod, &conf(pod)) }
            };
            del(&pods[0]).ok();
            [added, both_families()]
        });
        assert_eq!(rules[0], rules[1], "{keys}");
    }
}

#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored portmap::reference`"]
fn what_the_reference_made_is_deleted_with_nothing_left() {
    for backend in ["iptables", "nftables"] {
        for told in [json!({}), json!({"prevResult": null, "runtimeConfig": null})] {
            let site = Site::new(backend);
            let (mut pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
            let of_other = site.conf(&other, &["9090/tcp"], json!({}));
            run_reference("ADD", &other, &of_other).ok();
            let before = site.rules();
            let mut conf = site.conf(&pod, &MAPPINGS, json!({}));
            run_reference("ADD", &pod, &conf).ok();
            site.run("CHECK", &pod, &conf).ok();
            pod.kill();
            crate::bridge::net::set(&mut conf, &told);
            site.run("DEL", &pod, &conf).ok();
            site.rules().assert_same(&before);
            // The other container's are not touched, nor is what both share.
            run_reference("CHECK", &other, &of_other).ok();
            for host in HOST {
                seen(From::Inside(&site.outside), "tcp", (host, 9090));
            }
        }
    }
}

#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored portmap::reference`"]
fn what_we_made_with_iptables_the_reference_deletes() {
    let site = Site::new("iptables");
    let (pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
    site.map(&other, &["9090/tcp"]);
    let before = site.rules();
    let conf = site.map(&pod, &MAPPINGS);
    assert_ne!(site.rules(), before);
    run_reference("DEL", &pod, &conf).ok();
    site.rules().assert_same(&before);
}

/// A pod that restarts during the upgrade, before its old sandbox is deleted.
#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored portmap::reference`"]
fn a_mapping_of_the_reference_loses_to_ours_and_its_add_does_not_take_ours_away() {
    for made_by in ["iptables", "nftables"] {
        let site = Site::new("nftables");
        let (mut old, new) = (site.pod("old", 5), site.pod("new", 6));
        let of_old = site.conf(&old, &["8080/tcp"], json!({"backend": made_by}));
        run_reference("ADD", &old, &of_old).ok();
        let of_new = site.map(&new, &["8080/tcp"]);
        old.kill();
        let reached = || {
            for host in HOST {
                seen(From::Inside(&site.outside), "tcp", (host, 8080));
            }
            seen(From::Host, "tcp", ("127.0.0.1", 8080));
        };
        reached();
        // Base chains of its tables are flushed by each ADD of the reference.
        let third = site.pod("third", 7);
        let of_third = site.conf(&third, &["9090/tcp"], json!({"backend": made_by}));
        run_reference("ADD", &third, &of_third).ok();
        reached();
        site.run("DEL", &old, &of_old).ok();
        reached();
        site.run("CHECK", &new, &of_new).ok();
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 9090));
    }
}

/// Key by key: what one refuses the other does too.
#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored portmap::reference`"]
fn the_reference_refuses_the_same_configurations() {
    let site = Site::new("iptables");
    let pod = site.pod("c1", 5);
    let port = |keys: Value| {
        let mut mapping = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
        crate::bridge::net::set(&mut mapping, &keys);
        json!({"runtimeConfig": {"portMappings": [mapping]}})
    };
    for (keys, refused) in [
        (json!({}), false),
        (json!({"markMasqBit": 32}), true),
        (json!({"markMasqBit": -1}), true),
        (json!({"markMasqBit": 3, "externalSetMarkChain": "X"}), true),
        (json!({"backend": "ipfw"}), true),
        (json!({"conditionsV4": ["ip saddr 10.0.0.0/8"]}), true),
        (json!({"backend": "nftables", "conditionsV6": ["-s", "::/0"]}), true),
        (json!({"backend": "nftables", "conditionsV6": ["!", "-s", "::/0"]}), true),
        (json!({"backend": "nftables", "externalSetMarkChain": "X"}), true),
        (json!({"backend": "nftables", "markMasqBit": 3}), false),
        (json!({"conditionsV4": [], "conditionsV6": null}), false),
        (json!({"conditionsV4": "-s 10.0.0.0/8"}), true),
        (json!({"snat": "no"}), true),
        (json!({"MasqAll": true, "SNAT": null}), false),
        (port(json!({"hostPort": 0})), true),
        (port(json!({"hostPort": null})), true),
        (port(json!({"containerPort": -1})), true),
        (port(json!({"hostPort": "80"})), true),
        (port(json!({"protocol": "icmp"})), true),
        (port(json!({"protocol": ""})), true),
        (port(json!({"hostIP": null})), false),
    ] {
        let mut conf = site.conf(&pod, &["8080/tcp"], json!({}));
        crate::bridge::net::set(&mut conf, &json!({"prevResult": pod.result}));
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        let [ours, theirs] = [site.run("ADD", &pod, &conf), run_reference("ADD", &pod, &conf)]
            .map(|outcome| outcome.code != Some(0));
        assert_eq!([ours, theirs], [refused; 2], "{keys}");
        site.run("DEL", &pod, &conf);
        run_reference("DEL", &pod, &conf);
    }
}
