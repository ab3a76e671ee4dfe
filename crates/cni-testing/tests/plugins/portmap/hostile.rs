//! The portmap plugin under what goes wrong on a node: killed at any moment, huge lists, tables that somebody flushed, programs
//! that are not there, a family that is switched off.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::portmap::net::{BACKENDS, From, HOST, OUTSIDE, Pod, Site, assert_unanswered, run, seen};

/// What `nft` and both `iptables-save` say of containers: nothing once they are gone.
#[track_caller]
fn assert_no_trace(site: &Site, pod: &Pod) {
    let of_pod = |line: &String| {
        line.contains(&format!(":{}:", pod.id())) || line.contains("CNI-DN-") || line.contains("10.88.0.5")
    };
    let left: Vec<String> = site.rules().0.into_iter().filter(of_pod).collect();
    assert_eq!(left, [""; 0]);
}

/// Starts an ADD, and kills it after this time.
fn killed_add(site: &Site, pod: &Pod, conf: &Value, after: Duration) {
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().parent().unwrap().join("portmap");
    #[allow(clippy::disallowed_methods, reason = "the plugin itself, which has to be killed")]
    let mut child = Command::new(program)
        .env_clear()
        .env("PATH", site.path())
        .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", pod.id()), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", pod.container.netns()), ("CNI_PATH", "/nonexistent")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(conf.to_string().as_bytes());
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_add_that_is_killed_at_any_moment_is_undone_by_del_or_done_again() {
    for (backend, step) in [("nftables", Duration::from_micros(400)), ("iptables", Duration::from_millis(4))]
    {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let conf = site.conf(&pod, &["8080/tcp", "8080/udp"], json!({}));
        for n in 0..15 {
            killed_add(&site, &pod, &conf, step * n);
            if n % 2 == 0 {
                // Its programs may go on for a moment.
                std::thread::sleep(Duration::from_millis(if backend == "iptables" { 150 } else { 0 }));
                site.run("DEL", &pod, &conf).ok();
                assert_no_trace(&site, &pod);
            } else {
                site.run("ADD", &pod, &conf).ok();
                site.run("CHECK", &pod, &conf).ok();
                seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
            }
        }
    }
}

/// As podman sends for `-p 10000-10999:10000-10999`.
#[test]
fn a_thousand_ports_are_mapped_and_unmapped_by_one_add_and_one_del() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let before = site.rules();
        let ports: Vec<String> =
            (0..1000).map(|n| format!("{}/{}", 10000 + n, if n % 2 == 0 { "tcp" } else { "udp" })).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let conf = site.map(&pod, &ports);
        for host in HOST {
            for (port, protocol) in [(10000, "tcp"), (10501, "udp"), (10998, "tcp"), (10999, "udp")] {
                seen(From::Inside(&site.outside), protocol, (host, port));
            }
        }
        site.run("DEL", &pod, &conf).ok();
        assert_no_trace(&site, &pod);
        if backend == "nftables" {
            // But for the chains that all share.
            site.run("ADD", &pod, &conf).ok();
            assert_ne!(site.rules(), before);
            site.run("DEL", &pod, &site.conf(&pod, &[], json!({}))).ok();
            assert_no_trace(&site, &pod);
        }
    }
}

/// DEL looks only at what it is told of, as long as that is all there is.
#[test]
fn del_removes_what_it_is_not_told_of_too() {
    let site = Site::new("nftables");
    let (pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
    let mappings = ["8080/tcp", "8081/udp", "192.0.2.1 8082/tcp"];
    site.map(&other, &["9090/tcp"]);
    let before = site.rules();
    for told in [
        site.conf(&pod, &[], json!({})),
        site.conf(&pod, &mappings[..1], json!({})),
        site.conf(&pod, &["9090/tcp"], json!({})),
        site.conf(&pod, &mappings, json!({"snat": false})),
        site.conf(&pod, &mappings, json!({"conditionsV4": ["iifname up0"]})),
        site.conf(&pod, &mappings, json!({"prevResult": null})),
    ] {
        site.map(&pod, &mappings);
        site.run("DEL", &pod, &told).ok();
        site.rules().assert_same(&before);
    }
    // Nor does it miss anything when somebody has emptied the map by which it knows.
    let conf = site.map(&pod, &mappings);
    run("nft", &["flush map inet cni_portmap owners"]);
    site.run("DEL", &pod, &conf).ok();
    assert_no_trace(&site, &pod);
    seen(From::Inside(&site.outside), "tcp", (HOST[0], 9090));
}

#[test]
fn an_add_after_an_add_replaces_its_ports() {
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    site.map(&pod, &["8080/tcp", "8081/tcp"]);
    let conf = site.map(&pod, &["8081/tcp", "8082/tcp"]);
    assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    for port in [8081, 8082] {
        seen(From::Inside(&site.outside), "tcp", (HOST[0], port));
    }
    site.run("DEL", &pod, &conf).ok();
    assert_no_trace(&site, &pod);
}

#[test]
fn a_port_that_is_asked_for_twice_in_one_request_is_mapped_once() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        // All but the last two are one port, and the first is its mapping.
        let ports =
            ["8080/tcp", "8080/TCP", "0.0.0.0 8080/tcp", ":: 8080/tcp", "192.0.2.1 8080/tcp", "8080/udp"];
        let mut conf = site.conf(&pod, &ports, json!({}));
        for n in 1..4 {
            conf["runtimeConfig"]["portMappings"][n]["containerPort"] = 81.into();
        }
        site.run("ADD", &pod, &conf).ok();
        site.run("CHECK", &pod, &conf).ok();
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            assert_eq!(seen(From::Inside(&site.outside), "tcp", (host, 8080)), outside, "{backend}");
            seen(From::Inside(&site.outside), "udp", (host, 8080));
        }
        site.run("DEL", &pod, &conf).ok();
        assert_no_trace(&site, &pod);
    }
}

#[test]
fn names_of_any_length_are_told_apart() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let network = "n".repeat(200);
        let ids = ["a", "b"].map(|end| "c".repeat(150) + end);
        let pods = [site.pod(&ids[0], 5), site.pod(&ids[1], 6)];
        let conf = |n: usize| site.conf(&pods[n], &[["8080/tcp", "8081/tcp"][n]], json!({"name": network}));
        for (n, pod) in pods.iter().enumerate() {
            site.run("ADD", pod, &conf(n)).ok();
            site.run("CHECK", pod, &conf(n)).ok();
        }
        site.run("DEL", &pods[0], &conf(0)).ok();
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
        let comments = site.rules().0.into_iter().filter(|line| line.contains("comment \"cni"));
        assert!(comments.clone().all(|line| line.split('"').nth(1).unwrap().len() <= 128));
        assert_eq!(comments.count() > 0, backend == "nftables");
    }
}

#[test]
fn the_next_add_fills_chains_that_somebody_has_flushed() {
    let site = Site::new("nftables");
    let (one, two) = (site.pod("c1", 5), site.pod("c2", 6));
    let of_one = site.map(&one, &["8080/tcp"]);
    // It leaves chains, maps and their elements.
    run("nft", &["flush table inet cni_portmap"]);
    assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    site.map(&two, &["8081/tcp"]);
    for (host, port) in HOST.into_iter().flat_map(|host| [(host, 8080), (host, 8081)]) {
        seen(From::Inside(&site.outside), "tcp", (host, port));
    }
    site.run("CHECK", &one, &of_one).ok();
}

/// The conditions of a conflist may change while its containers run.
#[test]
fn a_container_gets_its_port_from_one_of_the_same_network_under_earlier_conditions() {
    let site = Site::new("nftables");
    let (mut old, new) = (site.pod("old", 5), site.pod("new", 6));
    let earlier = json!({"conditionsV4": ["iifname up0"], "conditionsV6": ["iifname up0"]});
    let of_old = site.conf(&old, &["8080/tcp", "8081/tcp"], earlier);
    site.run("ADD", &old, &of_old).ok();
    let of_new = site.conf(&new, &["8080/tcp"], json!({}));
    let outcome = site.run("ADD", &new, &of_new);
    outcome.ok();
    assert!(outcome.stderr.contains("tcp port 8080 was container old"), "{}", outcome.stderr);
    old.kill();
    for host in HOST {
        seen(From::Inside(&site.outside), "tcp", (host, 8080));
    }
    site.run("CHECK", &old, &of_old).err();
    site.run("DEL", &old, &of_old).ok();
    assert!(!site.rules().to_string().contains(":old:"), "{}", site.rules());
    site.run("CHECK", &new, &of_new).ok();
}

#[test]
fn a_container_gets_its_port_from_one_that_iptables_mapped() {
    for program in ["iptables", "iptables-legacy"] {
        let site = Site::new(program);
        let (mut old, new) = (site.pod("old", 5), site.pod("new", 6));
        let of_old = site.conf(&old, &["8080/tcp", "8081/tcp"], json!({"masqAll": true}));
        site.run("ADD", &old, &of_old).ok();
        let of_new = site.conf(&new, &["8080/tcp"], json!({"backend": "nftables"}));
        site.run("ADD", &new, &of_new).ok();
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
        old.kill();
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            assert_eq!(seen(From::Inside(&site.outside), "tcp", (host, 8080)), outside, "{program}");
        }
        let (_, text) = site.run("CHECK", &old, &of_old).err();
        assert!(text.starts_with("tcp port 8080 is now container new"), "{text}");
        site.run("DEL", &old, &of_old).ok();
        site.run("CHECK", &new, &of_new).ok();
        assert!(!site.rules().to_string().contains("CNI-DN-"), "{}", site.rules());
    }
}

#[test]
fn without_iptables_nf_tables_is_chosen_and_whoever_names_iptables_is_told() {
    let site = Site::new("nftables");
    site.host.hide(&["/usr/sbin"]);
    let pod = site.pod("c1", 5);
    let unset = site.conf(&pod, &["8080/tcp"], json!({"backend": null}));
    site.run("STATUS", &pod, &unset).ok();
    site.run("ADD", &pod, &unset).ok();
    site.run("CHECK", &pod, &unset).ok();
    seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    site.run("DEL", &pod, &unset).ok();
    assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));

    let named = site.conf(&pod, &["8080/tcp"], json!({"backend": "iptables"}));
    let (_, text) = site.run("ADD", &pod, &named).err();
    assert!(text.contains("iptables"), "{text}");
    assert_eq!(site.run("STATUS", &pod, &named).err().0, 50);
    site.run("DEL", &pod, &named).ok();
}

#[test]
fn a_host_without_ipv6_maps_ports_of_its_ipv4_addresses() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        for key in ["all", "default"] {
            cni_host::sysctl_write(&format!("net/ipv6/conf/{key}/disable_ipv6"), "1").unwrap();
        }
        let pod = site.pod_with("c1", json!([{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]));
        let conf = site.map(&pod, &["8080/tcp", "2001:db8:1::1 8081/tcp", ":: 8082/udp"]);
        assert_eq!(seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080)), OUTSIDE[0], "{backend}");
        seen(From::Host, "tcp", ("127.0.0.1", 8080));
        site.run("DEL", &pod, &conf).ok();
        assert_no_trace(&site, &pod);
    }
}

/// CVE-2020-8558 class: what guards `route_localnet` outlives the containers, and does no harm.
#[test]
fn what_guards_route_localnet_stays_after_the_last_del_and_gc() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let conf = site.map(&pod, &["8080/tcp"]);
        site.run("DEL", &pod, &conf).ok();
        let mut gc = site.conf(&pod, &[], json!({"prevResult": null, "runtimeConfig": null}));
        gc["cni.dev/valid-attachments"] = json!([]);
        site.run("GC", &pod, &gc).ok();
        assert_eq!(cni_host::sysctl_read("net/ipv4/conf/br0/route_localnet").unwrap(), "0");
        let guard = run("nft", &["list chain inet cni_portmap martians"]);
        assert!(guard.contains(r#"iifname != "lo" ip daddr 127.0.0.0/8 drop"#), "{backend}: {guard}");
    }
}
