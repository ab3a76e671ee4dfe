//! The portmap plugin and `route_localnet`: on for as long as an interface has mappings, guarded by whoever sees it on.

use std::net::UdpSocket;
use std::path::Path;

use cni_host::{sysctl_read, sysctl_write};
use serde_json::{Value, json};

use crate::bridge::net::set;
use crate::portmap::net::{
    BACKENDS, From, GATEWAY, HOST, Pod, Site, assert_unanswered, run, run_reference, seen,
};

const FOLDER: &str = "/run/cni-plugins-rs/portmap/localnet";

/// Of the containers' bridge.
fn is_on() -> bool {
    value("br0") == "1"
}

fn value(interface: &str) -> String {
    sysctl_read(&format!("net/ipv4/conf/{interface}/route_localnet")).unwrap()
}

/// The files of all interfaces and the folders that have none.
fn files() -> Vec<String> {
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for folder in names(Path::new(FOLDER)) {
        let files = names(&folder);
        found.extend(if files.is_empty() { vec![folder] } else { files });
    }
    found.iter().map(|path| path.display().to_string()).collect()
}

fn gc(site: &Site, pod: &Pod, keys: Value) {
    let mut conf = site.conf(pod, &[], json!({"prevResult": null, "runtimeConfig": null}));
    set(&mut conf, &keys);
    site.run("GC", pod, &conf).ok();
}

#[track_caller]
fn reaches_localhost(port: u16) {
    assert_eq!(seen(From::Host, "tcp", ("127.0.0.1", port)), GATEWAY[0]);
}

#[test]
fn route_localnet_goes_off_with_the_last_mapping() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (mut one, two) = (site.pod("c1", 5), site.pod("c2", 6));
        for told in [json!({}), json!({"prevResult": null, "runtimeConfig": null})] {
            let of_one = site.map(&one, &["8080/tcp", "8080/udp"]);
            let of_two = site.map(&two, &["127.0.0.1 8081/tcp"]);
            assert!(is_on(), "{backend}");
            let del = |pod: &Pod, conf: &Value| {
                let mut conf = conf.clone();
                set(&mut conf, &told);
                site.run("DEL", pod, &conf).ok();
            };
            for _ in 0..2 {
                del(&one, &of_one);
                assert!(is_on(), "{backend}");
            }
            reaches_localhost(8081);
            // Those of other addresses do not count.
            let with_host_ip = site.map(&one, &["192.0.2.1 8080/tcp"]);
            del(&two, &of_two);
            assert!(!is_on(), "{backend}");
            del(&one, &with_host_ip);
            assert!(!is_on(), "{backend}");
            assert_eq!(files(), [""; 0], "{backend}");
        }
        // Nor does it matter whether the container is there.
        let of_one = site.map(&one, &["8080/tcp"]);
        one.kill();
        site.run("DEL", &one, &of_one).ok();
        assert!(!is_on(), "{backend}");
    }
}

#[test]
fn route_localnet_that_was_on_before_stays_on() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (one, two) = (site.pod("c1", 5), site.pod("c2", 6));
        sysctl_write("net/ipv4/conf/br0/route_localnet", "1").unwrap();
        for pod in [&one, &two] {
            let conf = site.map(pod, &["8080/tcp"]);
            reaches_localhost(8080);
            site.run("DEL", pod, &conf).ok();
            assert!(is_on(), "{backend}");
        }
        gc(&site, &one, json!({"cni.dev/valid-attachments": []}));
        assert!(is_on(), "{backend}");
        assert_eq!(files(), [""; 0]);
    }
}

/// As earlier releases have made it.
#[test]
fn route_localnet_stays_on_for_a_mapping_that_has_no_file() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (old, new) = (site.pod("c1", 5), site.pod("c2", 6));
        let of_old = site.map(&old, &["8080/tcp"]);
        let [file] = &files()[..] else { panic!("{:?}", files()) };
        std::fs::remove_file(file).unwrap();
        for _ in 0..2 {
            let of_new = site.map(&new, &["8081/tcp"]);
            site.run("DEL", &new, &of_new).ok();
            assert!(is_on(), "{backend}");
            reaches_localhost(8080);
        }
        site.run("DEL", &old, &of_old).ok();
        assert!(!is_on(), "{backend}");
        assert_eq!(files(), [""; 0]);
    }
}

#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored route_localnet`"]
fn route_localnet_stays_on_for_a_mapping_of_the_reference() {
    for backend in ["nftables", "iptables"] {
        let site = Site::new(backend);
        let (theirs, ours) = (site.pod("c1", 5), site.pod("c2", 6));
        let of_ours = site.map(&ours, &["8081/tcp"]);
        let of_theirs = site.conf(&theirs, &["8080/tcp"], json!({}));
        run_reference("ADD", &theirs, &of_theirs).ok();
        site.run("DEL", &ours, &of_ours).ok();
        assert!(is_on(), "{backend}");
        seen(From::Host, "tcp", ("127.0.0.1", 8080));
        // It leaves it on, and the next that looks finds nobody.
        run_reference("DEL", &theirs, &of_theirs).ok();
        assert!(is_on(), "{backend}");
        let of_ours = site.map(&ours, &["8081/tcp"]);
        site.run("DEL", &ours, &of_ours).ok();
        assert!(!is_on(), "{backend}");
    }
}

/// Everything that an ADD sees of a host where the rules were lost.
#[test]
fn route_localnet_is_guarded_again_by_whoever_sees_it_on() {
    let losses = [
        "flush chain inet cni_portmap martians",
        "flush table inet cni_portmap",
        "delete table inet cni_portmap",
        "flush ruleset",
    ];
    for (n, loss) in losses.into_iter().enumerate() {
        let backend = BACKENDS[n % 3];
        let site = Site::new(backend);
        let (pod, rogue) = (site.pod("c1", 5), site.pod("c2", 6));
        site.map(&pod, &["8080/tcp"]);
        let listener = sends_to_localhost(&rogue);
        let arrives = || {
            assert_unanswered(From::Inside(&rogue.container), "udp", ("127.0.0.1", 9000));
            listener.recv(&mut [0; 8]).is_ok()
        };
        assert!(!arrives(), "{backend}");
        let third = site.pod("c3", 7);
        let add = |mappings: &[&str], keys: Value| {
            let conf = site.conf(&third, mappings, keys);
            site.run("ADD", &third, &conf).ok();
        };
        let ways: [&dyn Fn(); 4] = [
            &|| add(&[], json!({})),
            &|| add(&["192.0.2.1 8081/tcp"], json!({})),
            &|| add(&["8081/tcp"], json!({"snat": false})),
            &|| gc(&site, &pod, json!({"cni.dev/valid-attachments": [pod.valid(), third.valid()]})),
        ];
        for (n, way) in ways.into_iter().enumerate() {
            run("nft", &loss.split(' ').collect::<Vec<_>>());
            assert!(arrives(), "{loss}: nothing was lost");
            way();
            assert!(!arrives(), "{backend}, {loss}, {n}");
        }
    }
}

/// What listens on the host's 127.0.0.1, after teaching a container to send there by its gateway.
fn sends_to_localhost(rogue: &Pod) -> UdpSocket {
    let open = || {
        run("ip", &["route", "add", "127.0.0.0/8", "via", GATEWAY[0]]);
        sysctl_write("net/ipv4/conf/eth0/route_localnet", "1").unwrap();
    };
    rogue.container.ns().run(open).unwrap();
    let listener = UdpSocket::bind("127.0.0.1:9000").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[test]
fn route_localnet_of_others_interfaces_is_no_reason_to_touch_anything() {
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    sysctl_write("net/ipv4/conf/up0/route_localnet", "1").unwrap();
    let before = site.rules();
    site.run("ADD", &pod, &site.conf(&pod, &[], json!({}))).ok();
    site.rules().assert_same(&before);
}

#[test]
fn route_localnet_is_taken_back_by_an_add_that_fails() {
    let site = Site::new("nftables");
    let (pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
    // A name that is taken by something else.
    let in_the_way =
        "add table inet cni_portmap; add map inet cni_portmap hostport6 { type ipv4_addr : verdict; }";
    run("nft", &[in_the_way]);
    site.run("ADD", &pod, &site.conf(&pod, &["8080/tcp"], json!({}))).err();
    assert!(!is_on());
    assert_eq!(files(), [""; 0]);
    run("nft", &["delete table inet cni_portmap"]);

    // What an ADD before it has set stays.
    site.map(&pod, &["8080/tcp"]);
    let of_other = site.map(&other, &["8081/tcp"]);
    run("nft", &["delete table inet cni_portmap"]);
    run("nft", &[in_the_way]);
    site.run("ADD", &pod, &site.conf(&pod, &["8080/tcp"], json!({}))).err();
    assert_eq!((is_on(), files().len()), (true, 2));
    run("nft", &["delete table inet cni_portmap"]);
    site.run("DEL", &other, &of_other).ok();
    site.run("DEL", &pod, &site.conf(&pod, &[], json!({}))).ok();
    assert!(!is_on());
}

#[test]
fn route_localnet_follows_a_bridge_that_is_renamed_or_made_anew() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (one, two) = (site.pod("c1", 5), site.pod("c2", 6));
        let of_one = site.map(&one, &["8080/tcp"]);
        run("ip", &["link", "set", "br0", "down"]);
        run("ip", &["link", "set", "br0", "name", "br9"]);
        run("ip", &["link", "set", "br9", "up"]);
        let of_two = site.map(&two, &["8081/tcp"]);
        site.run("DEL", &one, &of_one).ok();
        assert_eq!(value("br9"), "1", "{backend}");
        site.run("DEL", &two, &of_two).ok();
        assert_eq!(value("br9"), "0", "{backend}");

        // Somebody deletes it with what stands on it, and the containers come back before the old ones are deleted.
        let site = Site::new(backend);
        let (one, two) = (site.pod("c1", 5), site.pod("c2", 6));
        let of_one = site.map(&one, &["8080/tcp"]);
        run("ip", &["link", "delete", "br0"]);
        let new = site.pod("c3", 7);
        assert!(!is_on());
        let of_new = site.map(&new, &["8081/tcp"]);
        reaches_localhost(8081);
        site.run("DEL", &one, &of_one).ok();
        site.run("DEL", &two, &site.conf(&two, &[], json!({}))).ok();
        assert!(is_on(), "{backend}");
        reaches_localhost(8081);
        site.run("DEL", &new, &of_new).ok();
        assert!(!is_on(), "{backend}");
        assert_eq!(files(), [""; 0]);
    }
}

#[test]
fn route_localnet_goes_off_with_what_gc_collects() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (kept, gone, foreign) = (site.pod("c1", 5), site.pod("c2", 6), site.pod("c3", 7));
        site.map(&kept, &["8080/tcp"]);
        site.map(&gone, &["8081/tcp"]);
        let conf = site.conf(&foreign, &["8082/tcp"], json!({"name": "other"}));
        site.run("ADD", &foreign, &conf).ok();
        gc(&site, &kept, json!({"cni.dev/valid-attachments": [kept.valid()]}));
        assert_eq!((is_on(), files().len()), (true, 2), "{backend}");
        gc(&site, &kept, json!({"cni.dev/valid-attachments": []}));
        assert_eq!((is_on(), files().len()), (true, 1), "{backend}");
        reaches_localhost(8082);
        gc(&site, &kept, json!({"name": "other", "cni.dev/valid-attachments": []}));
        assert!(!is_on(), "{backend}");
        assert_eq!(files(), [""; 0]);
    }
}

#[test]
fn route_localnet_stays_on_where_nothing_can_be_recorded() {
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    site.host.cover("/run");
    site.host.seal("/run");
    let conf = site.map(&pod, &["8080/tcp"]);
    reaches_localhost(8080);
    let outcome = site.run("DEL", &pod, &conf);
    outcome.ok();
    assert_eq!(outcome.stderr, "");
    assert!(is_on());
    gc(&site, &pod, json!({"cni.dev/valid-attachments": []}));
}

/// The container's own interface, which nobody else is behind.
#[test]
fn route_localnet_of_a_ptp_container_is_off_before_its_interface_goes() {
    let site = Site::new("nftables");
    let other = site.pod("c2", 6);
    site.map(&other, &["8081/tcp"]);
    let container = site.host.container("c1");
    let ptp = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "ptp",
        "ipam": {"type": "static", "addresses": [{"address": "10.99.0.5/32", "gateway": "10.99.0.1"}]},
    });
    let result = site.host.plugin("ptp").add(&container, "eth0", &ptp).ok();
    let veth = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
    let mut conf = site.conf(&other, &["8080/tcp"], json!({}));
    conf["prevResult"] = result;
    let run = |command: &str| {
        let plugin = site.host.plugin("portmap");
        if command == "ADD" {
            plugin.add(&container, "eth0", &conf)
        } else {
            plugin.del(&container, "eth0", &conf)
        }
    };
    run("ADD").ok();
    assert_eq!((value(&veth).as_str(), files().len()), ("1", 2));
    run("DEL").ok();
    assert_eq!((value(&veth).as_str(), files().len()), ("0", 1));
    assert!(is_on());
}

#[test]
fn route_localnet_is_right_whatever_comes_at_once() {
    for backend in ["nftables", "iptables"] {
        let site = Site::new(backend);
        let stays = site.pod("stays", 5);
        let of_stays = site.map(&stays, &["9000/tcp"]);
        let pods: Vec<Pod> = (0..4).map(|n| site.pod(&format!("c{n}"), 10 + n)).collect();
        let all = |turns: usize| {
            std::thread::scope(|scope| {
                for (n, pod) in pods.iter().enumerate() {
                    let site = &site;
                    scope.spawn(move || {
                        let conf = site.conf(pod, &[&format!("{}/tcp", 8080 + n)], json!({}));
                        for _ in 0..turns {
                            site.run("ADD", pod, &conf).ok();
                            assert!(is_on(), "{backend}");
                            site.run("DEL", pod, &conf).ok();
                        }
                    });
                }
            });
        };
        all(5);
        assert!(is_on(), "{backend}");
        reaches_localhost(9000);
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 9000));
        site.run("DEL", &stays, &of_stays).ok();
        assert!(!is_on(), "{backend}");
        // Now each DEL may be the last.
        all(10);
        assert!(!is_on(), "{backend}");
        assert_eq!(files(), [""; 0]);
    }
}
