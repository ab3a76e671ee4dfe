//! The portmap plugin: who has a port, for how long, and what is left afterwards.

use serde_json::{Value, json};

use crate::portmap::net::{
    BACKENDS, Client, From, GATEWAY, HOST, OUTSIDE, Pod, Site, assert_unanswered, run, seen,
};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Lines that name a container or its address: what must be gone with it.
fn traces(site: &Site, pod: &Pod) -> Vec<String> {
    let of_pod = |line: &String| {
        line.contains(&format!(":{}:", pod.id()))
            || line.contains(&format!("\"{}\\\"", pod.id()))
            || line.contains("CNI-DN-")
            || pod.addresses().iter().any(|address| {
                let address = address.to_string();
                line.split([' ', '/', ','])
                    .any(|word| word == address || word.starts_with(&format!("{address}:")))
            })
    };
    site.rules().0.into_iter().filter(of_pod).collect()
}

#[track_caller]
fn assert_gone(site: &Site, pod: &Pod) {
    assert_eq!(traces(site, pod), [""; 0]);
}

#[test]
fn without_mappings_nothing_is_touched() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let before = site.host.snapshot();
        for keys in
            [json!({}), json!({"runtimeConfig": null}), json!({"runtimeConfig": {"portMappings": null}})]
        {
            let conf = site.conf(&pod, &[], keys);
            assert_eq!(site.run("ADD", &pod, &conf).ok(), pod.result);
            site.run("CHECK", &pod, &conf).ok();
            assert_eq!(site.run("DEL", &pod, &conf).ok(), Value::Null);
        }
        site.host.snapshot().assert_same(&before);
        assert_eq!(cni_host::sysctl_read("net/ipv4/conf/br0/route_localnet").unwrap(), "0");
    }
}

#[test]
fn the_result_is_passed_on_in_every_version() {
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    for version in VERSIONS {
        let keys = json!({"cniVersion": version});
        let mut conf = site.conf(&pod, &["8080/tcp"], keys);
        if version.starts_with("0.") {
            // As libcni does: in the form of the configuration's version.
            let old = match version {
                "0.1.0" | "0.2.0" => json!({"ip4": {"ip": "10.88.0.5/24"}, "dns": {}}),
                _ => json!({"ips": [{"version": "4", "address": "10.88.0.5/24"}], "dns": {}}),
            };
            conf["prevResult"] = old;
        }
        conf["prevResult"]["cniVersion"] = version.into();
        assert_eq!(site.run("ADD", &pod, &conf).ok(), conf["prevResult"], "{version}");
        seen(From::Host, "tcp", (HOST[0], 8080));
        site.run("DEL", &pod, &conf).ok();
        assert_gone(&site, &pod);
    }
}

#[test]
fn without_a_result_of_a_plugin_before_add_and_check_fail_and_del_does_not() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        for mappings in [&["8080/tcp"][..], &[]] {
            let conf = site.conf(&pod, mappings, json!({"prevResult": null}));
            for command in ["ADD", "CHECK"] {
                assert_eq!(
                    site.run(command, &pod, &conf).err(),
                    (7, "required prevResult is missing".into())
                );
            }
            site.run("DEL", &pod, &conf).ok();
        }
        assert_gone(&site, &pod);
    }
}

#[test]
fn del_removes_all_of_the_container_however_little_it_is_told() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (mut pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
        site.map(&other, &["9090/tcp"]);
        let before = site.rules();
        for (told, killed) in [
            (json!({}), false),
            (json!({"prevResult": null, "runtimeConfig": null}), false),
            // An ADD would refuse these.
            (json!({"backend": "none", "markMasqBit": 99, "runtimeConfig": {"portMappings": [{}]}}), false),
            (json!({"prevResult": {"cniVersion": "9"}, "conditionsV4": ["no sense"]}), false),
            (json!({}), true),
        ] {
            let mappings = ["8080/tcp", "8080/udp", "8081/sctp", "192.0.2.1 8082/tcp"];
            let conf = site.map(&pod, &mappings);
            seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
            let mut conf = conf.clone();
            crate::bridge::net::set(&mut conf, &told);
            if killed {
                pod.kill();
            }
            for _ in 0..2 {
                assert_eq!(site.run("DEL", &pod, &conf).ok(), Value::Null);
            }
            assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
            seen(From::Inside(&site.outside), "tcp", (HOST[0], 9090));
            if backend == "nftables" {
                site.rules().assert_same(&before);
            }
        }
        site.rules().assert_same(&before);
    }
}

#[test]
fn another_backend_than_the_adds_does_not_keep_del_from_removing() {
    for (backend, other) in
        [("nftables", "iptables"), ("iptables", "nftables"), ("iptables-legacy", "nftables")]
    {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let mut conf = site.map(&pod, &["8080/tcp"]);
        conf["backend"] = other.into();
        site.run("DEL", &pod, &conf).ok();
        assert_gone(&site, &pod);
    }
}

/// Releases of the reference before 0.8 masqueraded by a chain for each container.
#[test]
fn del_removes_the_masquerading_chain_of_old_releases() {
    let site = Site::new("iptables");
    let pod = site.pod("c1", 5);
    let conf = site.map(&pod, &["8080/tcp"]);
    let chains = run("iptables", &["-t", "nat", "-S", "CNI-HOSTPORT-DNAT"]);
    let chain = chains.split_whitespace().find(|word| word.starts_with("CNI-DN-")).unwrap();
    let old = chain.replace("CNI-DN-", "CNI-SN-");
    for args in [
        &["-N", "CNI-HOSTPORT-SNAT"][..],
        &["-N", &old],
        &["-A", &old, "-j", "MASQUERADE"],
        &["-A", "CNI-HOSTPORT-SNAT", "-j", &old],
    ] {
        run("iptables", &[&["-t", "nat"], args].concat());
    }
    site.run("DEL", &pod, &conf).ok();
    let left = run("iptables", &["-t", "nat", "-S"]);
    assert!(!left.contains("CNI-SN-") && !left.contains("CNI-DN-"), "{left}");
}

#[test]
fn the_latest_add_wins_and_the_displaced_container_takes_nothing_with_it() {
    let site = Site::new("nftables");
    let (mut old, new) = (site.pod("old", 5), site.pod("new", 6));
    let of_old = site.map(&old, &["8080/tcp", "8081/tcp"]);
    let of_new = site.conf(&new, &["8080/tcp"], json!({}));
    let outcome = site.run("ADD", &new, &of_new);
    outcome.ok();
    let warning = "tcp port 8080 was container old (eth0, network net)'s and is now container new (eth0, network net)'s";
    assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);

    old.kill();
    seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    site.run("CHECK", &new, &of_new).ok();
    let (_, text) = site.run("CHECK", &old, &of_old).err();
    assert!(text.starts_with("tcp port 8080 is now container new (eth0, network net)'s"), "{text}");

    // The old sandbox is deleted only now.
    site.run("DEL", &old, &of_old).ok();
    for host in HOST {
        seen(From::Inside(&site.outside), "tcp", (host, 8080));
    }
    site.run("CHECK", &new, &of_new).ok();
    assert_gone(&site, &old);
    assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
}

/// As the reference leaves it.
#[test]
fn with_iptables_the_first_add_keeps_the_port_until_its_del() {
    for backend in &BACKENDS[1..] {
        let site = Site::new(backend);
        let (first, second) = (site.pod("first", 5), site.pod("second", 6));
        let of_first = site.map(&first, &["8080/tcp"]);
        let of_second = site.conf(&second, &["8080/tcp"], json!({}));
        site.run("ADD", &second, &of_second).ok();
        let mut first = first;
        first.kill();
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
        site.run("DEL", &first, &of_first).ok();
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    }
}

/// cni#924: a late DEL hit the address that somebody else had by then.
#[test]
fn a_late_del_leaves_a_reused_address_alone() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let mut old = site.pod("old", 5);
        let of_old = site.map(&old, &["8080/tcp"]);
        old.kill();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let new = site.pod("new", 5);
        let of_new = site.conf(&new, &["8080/tcp"], json!({}));
        site.run("ADD", &new, &of_new).ok();
        site.run("DEL", &old, &of_old).ok();
        site.run("CHECK", &new, &of_new).ok();
        for host in HOST {
            seen(From::Inside(&site.outside), "tcp", (host, 8080));
        }
        // Masquerading as well.
        assert_eq!(seen(From::Inside(&new.container), "tcp", (HOST[0], 8080)), GATEWAY[0]);
        assert_eq!(seen(From::Host, "tcp", ("127.0.0.1", 8080)), GATEWAY[0]);
    }
}

#[test]
fn eight_containers_at_once_all_get_their_ports() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pods: Vec<Pod> = (0..8).map(|n| site.pod(&format!("c{n}"), 10 + n)).collect();
        let port = |n: usize| format!("{}/tcp", 8080 + n);
        let confs: Vec<Value> =
            pods.iter().enumerate().map(|(n, pod)| site.conf(pod, &[&port(n)], json!({}))).collect();
        let all = |command: &str| {
            std::thread::scope(|scope| {
                for (pod, conf) in pods.iter().zip(&confs) {
                    let site = &site;
                    scope.spawn(move || site.run(command, pod, conf).ok());
                }
            });
        };
        all("ADD");
        all("CHECK");
        for n in 0..8 {
            seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080 + n));
        }
        all("DEL");
        for pod in &pods {
            assert_gone(&site, pod);
        }
    }
}

#[test]
fn gc_removes_what_belongs_to_no_valid_attachment_of_its_network() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pods = [site.pod("kept", 5), site.pod("gone", 6), site.pod("foreign", 7)];
        let [kept, gone, foreign] = &pods;
        site.map(kept, &["8080/tcp"]);
        site.map(gone, &["8081/tcp", "8081/udp"]);
        let conf = site.conf(foreign, &["8082/tcp"], json!({"name": "other"}));
        site.run("ADD", foreign, &conf).ok();

        let gc = |valid: Value| {
            let keys = json!({"prevResult": null, "runtimeConfig": null, "cni.dev/valid-attachments": valid});
            let conf = site.conf(kept, &[], keys);
            site.run("GC", kept, &conf).ok();
        };
        // Nothing is said about what is in use.
        gc(Value::Null);
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
        gc(json!([kept.valid()]));
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
        for port in [8080, 8082] {
            seen(From::Inside(&site.outside), "tcp", (HOST[0], port));
        }
        gc(json!([]));
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8082));
        site.run("CHECK", foreign, &conf).ok();
    }
}

#[test]
fn check_finds_what_is_missing() {
    for (backend, damages) in [
        (
            "nftables",
            &[
                ("flush map inet cni_portmap hostport4", "tcp port 8080 is not mapped"),
                (
                    "flush set inet cni_portmap masq6_fd00_88___64",
                    "masq6_fd00_88___64 of table inet cni_portmap",
                ),
                ("flush chain inet cni_portmap postrouting4_10_88_0_0_24", "chain postrouting4_10_88_0_0_24"),
                ("flush map inet cni_portmap owners", "owners of table inet cni_portmap"),
                ("flush chain inet cni_portmap hostports4", "chain hostports4"),
                ("flush chain inet cni_portmap output6", "chain output6"),
                ("flush chain inet cni_portmap martians", "chain martians"),
                ("delete table inet cni_portmap", "is not mapped"),
            ][..],
        ),
        (
            "iptables",
            &[
                ("flush chain ip nat PREROUTING", "chain PREROUTING"),
                ("flush chain ip6 nat CNI-HOSTPORT-DNAT", "chain CNI-HOSTPORT-DNAT of the ip6tables table"),
                ("flush chain ip nat CNI-HOSTPORT-MASQ", "chain CNI-HOSTPORT-MASQ"),
                ("flush chain ip nat POSTROUTING", "chain POSTROUTING"),
            ][..],
        ),
    ] {
        for (damage, found) in damages {
            let site = Site::new(backend);
            let pod = site.pod("c1", 5);
            let conf = site.map(&pod, &["8080/tcp"]);
            run("nft", &[damage]);
            let (code, text) = site.run("CHECK", &pod, &conf).err();
            assert!(code == 999 && text.contains(found), "{damage}: {text}");
            // DEL does not mind.
            site.run("DEL", &pod, &conf).ok();
            assert_gone(&site, &pod);
        }
    }
}

#[test]
fn a_failed_add_leaves_nothing_behind() {
    let site = Site::new("iptables");
    let pod = site.pod("c1", 5);
    // There for IPv4 only, which comes first.
    run("iptables", &["-t", "nat", "-N", "MARK-HERE"]);
    let keys = json!({"externalSetMarkChain": "MARK-HERE"});
    let conf = site.conf(&pod, &["8080/tcp"], keys);
    let (_, text) = site.run("ADD", &pod, &conf).err();
    assert!(text.contains("MARK-HERE"), "{text}");
    assert_gone(&site, &pod);

    run("ip6tables", &["-t", "nat", "-N", "MARK-HERE"]);
    site.run("ADD", &pod, &conf).ok();
    site.run("CHECK", &pod, &conf).ok();
    seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));

    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    let before = site.rules();
    // A name that is taken by something else.
    run(
        "nft",
        &["add table inet cni_portmap; add map inet cni_portmap hostport6 { type ipv4_addr : verdict; }"],
    );
    let damaged = site.rules();
    let conf = site.conf(&pod, &["8080/tcp"], json!({"snat": false}));
    site.run("ADD", &pod, &conf).err();
    site.rules().assert_same(&damaged);
    run("nft", &["delete table inet cni_portmap"]);
    site.rules().assert_same(&before);
}

#[test]
fn status_tells_whether_the_backend_can_be_used() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let before = site.rules();
        let conf = site.conf(&pod, &[], json!({}));
        assert_eq!(site.run("STATUS", &pod, &conf).ok(), Value::Null);
        site.rules().assert_same(&before);
        let bad = site.conf(&pod, &[], json!({"backend": "ipfw"}));
        assert_eq!(site.run("STATUS", &pod, &bad).err().0, 7);
    }
}

/// plugins#553, plugins#1190: a client that keeps its port went on talking to the container of yesterday.
#[test]
fn udp_clients_follow_the_port_to_its_new_container() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (mut old, new) = (site.pod("old", 5), site.pod("new", 6));
        let of_old = site.map(&old, &["8080/udp", "8081/udp"]);
        let from = From::Inside(&site.outside);
        let clients: Vec<Client> = HOST
            .iter()
            .map(|host| Client::new(from, (host, 8080)))
            .chain([Client::new(From::Host, ("127.0.0.1", 8080))])
            .collect();
        let others: Vec<Client> = HOST.iter().map(|host| Client::new(from, (host, 8081))).collect();
        for client in clients.iter().chain(&others) {
            assert!(client.is_answered(), "{backend}");
        }
        if backend == "nftables" {
            // Before the old one's DEL.
            site.map(&new, &["8080/udp"]);
            old.kill();
        } else {
            // Nobody is left to answer, but the clients go on.
            old.kill();
            site.run("DEL", &old, &of_old).ok();
            for client in &clients {
                assert!(!client.is_answered_soon());
            }
            site.map(&new, &["8080/udp"]);
        }
        for client in &clients {
            assert!(client.is_answered(), "{backend}");
        }
    }
}

#[test]
fn udp_flows_of_other_ports_and_to_elsewhere_stay() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (pod, new) = (site.pod("c1", 5), site.pod("c2", 6));
        let of_pod = site.map(&pod, &["8081/udp"]);
        let _server = site.beyond.serve("198.51.100.9:8080".parse().unwrap());
        let passing = Client::new(From::Inside(&site.outside), ("198.51.100.9", 8080));
        let other = Client::new(From::Inside(&site.outside), (HOST[0], 8081));
        assert!(passing.is_answered() && other.is_answered());
        let flows = || {
            let mut conntrack = cni_netlink::Conntrack::open().unwrap();
            let mut to = |to: &str| conntrack.udp_flows_to(&[to.parse().unwrap()]).unwrap();
            [to("198.51.100.9:8080"), to("192.0.2.1:8081")]
        };
        let before = flows();
        assert_eq!(before.each_ref().map(Vec::len), [1, 1]);
        let of_new = site.map(&new, &["8080/udp"]);
        site.run("DEL", &new, &of_new).ok();
        assert_eq!(flows(), before, "{backend}");
        site.run("DEL", &pod, &of_pod).ok();
        assert_eq!(flows()[0], before[0]);
        assert_eq!(flows()[1], []);
    }
}

#[test]
fn more_ports_than_one_rule_takes_are_all_mapped() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let ports: Vec<String> = (0..40).map(|n| format!("{}/tcp", 8000 + n)).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let conf = site.map(&pod, &ports);
        for port in [8000, 8014, 8015, 8030, 8039] {
            assert_eq!(seen(From::Inside(&site.outside), "tcp", (HOST[0], port)), OUTSIDE[0]);
        }
        site.run("DEL", &pod, &conf).ok();
        assert_gone(&site, &pod);
    }
}

#[test]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../../docs/plugins/portmap.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    // As a runtime makes the plugin's configuration.
    let mut conf = list["plugins"][1].clone();
    assert_eq!(conf["capabilities"]["portMappings"], true);
    let mapping = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
    for (key, value) in [
        ("cniVersion", list["cniVersion"].clone()),
        ("name", list["name"].clone()),
        ("prevResult", pod.result.clone()),
        ("runtimeConfig", json!({"portMappings": [mapping]})),
    ] {
        conf[key] = value;
    }
    conf["prevResult"]["cniVersion"] = list["cniVersion"].clone();
    site.run("ADD", &pod, &conf).ok();
    site.run("CHECK", &pod, &conf).ok();
    for host in HOST {
        seen(From::Inside(&site.outside), "tcp", (host, 8080));
    }
    // What the page asks at three in the morning.
    let question = ["get element inet cni_portmap hostport4 { tcp . 8080 }"];
    assert!(run("nft", &question).contains(r#"comment "cni:blue:c1:eth0" : 10.88.0.5 . 80"#));
    let owners = run("nft", &["list map inet cni_portmap owners"]);
    assert!(page.contains(owners.split('"').nth(1).unwrap()), "{owners}");
    site.run("DEL", &pod, &conf).ok();
    assert_gone(&site, &pod);
}
