//! Whose masquerading goes: that of the attachment, all of it, and nothing of the container's other interface.

use std::net::SocketAddr;
use std::path::Path;

use cni_testing::{Container, EchoServer, Outcome};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::bridge::net::set;
use crate::masquerade::Net;
use crate::portmap::net::{BACKENDS, From, HOST, OUTSIDE, run, seen};

const PORT: u16 = 7000;

/// A network whose plugin is bridge, or ptp.
fn net(backend: &'static str, plugin: &str) -> Net {
    let mut net = Net::new(backend);
    net.conf["type"] = plugin.into();
    net
}

/// With these addresses, whose gateway is the first of their subnet and, with `bridge`, on a bridge of theirs.
fn conf(net: &Net, addresses: &[&str]) -> Value {
    let address = |address: &&str| {
        let (subnet, _) = address.rsplit_once(['.', ':']).unwrap();
        let gateway = format!("{subnet}{}1", if address.contains(':') { ':' } else { '.' });
        json!({"address": address, "gateway": gateway})
    };
    let mut conf = net.conf.clone();
    conf["bridge"] = if addresses == OTHER { "br1".into() } else { "br0".into() };
    let addresses: Vec<Value> = addresses.iter().map(address).collect();
    let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    conf["ipam"] = json!({"type": "static", "addresses": addresses, "routes": routes});
    conf
}

fn command(net: &Net, command: &str, container: &Container, ifname: &str, conf: &Value) -> Outcome {
    let run = net.site.host.plugin(conf["type"].as_str().unwrap()).env("PATH", &net.site.path());
    match command {
        "ADD" => run.add(container, ifname, conf),
        "CHECK" => run.check(container, ifname, conf),
        "DEL" => run.del(container, ifname, conf),
        _ => run.command(command, conf),
    }
}

/// ADD and CHECK. Returns the configuration for DEL.
fn add(net: &Net, container: &Container, ifname: &str, addresses: &[&str]) -> Value {
    let mut conf = conf(net, addresses);
    if ifname != "eth0" {
        set(&mut conf, &json!({"isDefaultGateway": null, "isGateway": true}));
        set(&mut conf["ipam"], &json!({"routes": null}));
    }
    conf["prevResult"] = command(net, "ADD", container, ifname, &conf).ok();
    command(net, "CHECK", container, ifname, &conf).ok();
    conf
}

/// DEL, and again, as runtimes do.
fn del(net: &Net, container: &Container, ifname: &str, conf: &Value) {
    for _ in 0..2 {
        command(net, "DEL", container, ifname, conf).ok();
    }
}

fn without_prev(conf: &Value) -> Value {
    let mut conf = conf.clone();
    set(&mut conf, &json!({"prevResult": null}));
    conf
}

/// What the result of `conf` has, but for these addresses.
fn lacking(conf: &Value, addresses: &[&str]) -> Value {
    let mut conf = conf.clone();
    let is_told = |ip: &Value| !addresses.contains(&ip["address"].as_str().unwrap());
    conf["prevResult"]["ips"].as_array_mut().unwrap().retain(is_told);
    conf
}

fn read_only_run() {
    let none = None::<&str>;
    mount(none, "/run", none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
}

fn records() -> usize {
    let folder = Path::new("/run/cni-plugins-rs/masquerade");
    if folder.exists() { std::fs::read_dir(folder).unwrap().count() } else { 0 }
}

fn serve(net: &Net) -> Vec<EchoServer> {
    let serve = |address: &str| net.site.outside.serve(SocketAddr::new(address.parse().unwrap(), PORT));
    OUTSIDE.into_iter().map(serve).collect()
}

/// Whom the machine outside sees.
#[track_caller]
fn assert_seen(container: &Container, as_whom: [&str; 2]) {
    for (to, as_whom) in OUTSIDE.into_iter().zip(as_whom) {
        assert_eq!(seen(From::Inside(container), "tcp", (to, PORT)), as_whom, "{to}");
    }
}

const FIRST: &[&str] = &["10.88.0.5/24", "fd00:88::5/64"];
const SECOND: &[&str] = &["10.88.0.6/24", "fd00:88::6/64"];
/// In other subnets.
const OTHER: &[&str] = &["10.99.0.5/24", "fd00:99::5/64"];

/// What is shared and stays, such as chains of subnets, is there afterwards.
fn once(net: &Net) {
    let probe = net.container("probe");
    for addresses in [FIRST, OTHER] {
        let conf = add(net, &probe, "eth0", addresses);
        del(net, &probe, "eth0", &conf);
    }
}

#[test]
fn f3_the_del_of_one_interface_leaves_the_other_masqueraded() {
    for backend in BACKENDS {
        for (known, read_only) in [(true, false), (false, false), (true, true)] {
            // iptables-legacy has a lock of its own in /run.
            if backend == "iptables-legacy" && read_only {
                continue;
            }
            for other in [OTHER, SECOND] {
                let net = net(backend, "bridge");
                once(&net);
                if read_only {
                    read_only_run();
                }
                let one = net.container("one");
                let empty = net.site.rules();
                let eth0 = add(&net, &one, "eth0", FIRST);
                let before = net.site.rules();
                let mut eth1 = add(&net, &one, "eth1", other);
                assert_ne!(net.site.rules(), before);
                if !known {
                    eth1 = without_prev(&eth1);
                }
                del(&net, &one, "eth1", &eth1);
                net.site.rules().assert_same(&before);
                command(&net, "CHECK", &one, "eth0", &eth0).ok();
                if other == OTHER {
                    let _servers = serve(&net);
                    assert_seen(&one, HOST);
                }
                del(&net, &one, "eth0", &if known { eth0 } else { without_prev(&eth0) });
                net.site.rules().assert_same(&empty);
                assert_eq!(records(), 0);
            }
        }
    }
}

/// Of those that the reference or an earlier release added nothing is on record.
#[test]
fn f3_what_is_not_on_record_goes_by_what_del_is_told() {
    for backend in ["iptables", "iptables-legacy"] {
        let net = net(backend, "bridge");
        once(&net);
        let one = net.container("one");
        let empty = net.site.rules();
        let eth0 = add(&net, &one, "eth0", FIRST);
        let before = net.site.rules();
        let eth1 = add(&net, &one, "eth1", OTHER);
        let forget = || std::fs::remove_dir_all("/run/cni-plugins-rs/masquerade").unwrap();
        forget();
        del(&net, &one, "eth1", &eth1);
        net.site.rules().assert_same(&before);
        // The other's is.
        add(&net, &one, "eth1", OTHER);
        del(&net, &one, "eth0", &eth0);
        assert_eq!(records(), 1);
        del(&net, &one, "eth1", &without_prev(&eth1));
        net.site.rules().assert_same(&empty);
        // Nothing is known of anybody.
        add(&net, &one, "eth0", FIRST);
        forget();
        del(&net, &one, "eth0", &without_prev(&eth0));
        net.site.rules().assert_same(&empty);
    }
}

#[test]
fn f3_gc_collects_the_interface_that_is_not_valid() {
    for backend in BACKENDS {
        let net = net(backend, "bridge");
        let one = net.container("one");
        let eth0 = add(&net, &one, "eth0", FIRST);
        let before = net.site.rules();
        add(&net, &one, "eth1", OTHER);
        let mut gc = without_prev(&eth0);
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "one", "ifname": "eth0"}]);
        command(&net, "GC", &one, "", &gc).ok();
        net.site.rules().assert_same(&before);
        assert_eq!(records(), usize::from(backend != "nftables"));
        command(&net, "CHECK", &one, "eth0", &eth0).ok();
        gc["cni.dev/valid-attachments"] = json!([]);
        command(&net, "GC", &one, "", &gc).ok();
        assert_eq!(records(), 0);
        let left = net.site.rules().to_string();
        assert!(!left.contains("10.88.0.5") && !left.contains("net:one"), "{left}");
    }
}

/// Whose it is now decides, also between the interfaces of one container.
#[test]
fn f3_an_address_that_another_interface_has_now_is_left_to_it() {
    for backend in BACKENDS {
        for known in [true, false] {
            let net = net(backend, "bridge");
            once(&net);
            let empty = net.site.rules();
            let mut old = net.container("one");
            let now = add(&net, &old, "eth1", FIRST);
            let wanted = net.site.rules();
            del(&net, &old, "eth1", &now);

            let late = add(&net, &old, "eth0", FIRST);
            old.kill();
            let one = net.container("one");
            let now = add(&net, &one, "eth1", FIRST);
            del(&net, &one, "eth0", &if known { late } else { without_prev(&late) });
            net.site.rules().assert_same(&wanted);
            command(&net, "CHECK", &one, "eth1", &now).ok();
            del(&net, &one, "eth1", &without_prev(&now));
            net.site.rules().assert_same(&empty);
        }
    }
}

#[test]
fn f5_a_second_add_leaves_nothing_of_the_first() {
    for (plugin, backends) in [("bridge", &BACKENDS[..]), ("ptp", &["nftables", "iptables"])] {
        for &backend in backends {
            for second in [SECOND, &SECOND[..1], OTHER] {
                // Told of the second, told of the first, not told.
                for told in 0..3 {
                    let net = net(backend, plugin);
                    once(&net);
                    let mut one = net.container("one");
                    let empty = net.site.rules();
                    let fresh = add(&net, &one, "eth0", second);
                    let wanted = net.site.rules();
                    del(&net, &one, "eth0", &fresh);
                    net.site.rules().assert_same(&empty);

                    let first = add(&net, &one, "eth0", FIRST);
                    one.kill();
                    let one = net.container("one");
                    let last = add(&net, &one, "eth0", second);
                    net.site.rules().assert_same(&wanted);
                    let untold = without_prev(&last);
                    let conf = [&last, &first, &untold][told];
                    del(&net, &one, "eth0", conf);
                    net.site.rules().assert_same(&empty);
                    assert_eq!(records(), 0);
                }
            }
        }
    }
}

/// By packets: whoever has the first address afterwards, and no `ipMasq`, keeps it.
#[test]
fn f5_the_first_address_is_not_masqueraded_any_more() {
    for backend in BACKENDS {
        let net = net(backend, "bridge");
        let mut one = net.container("one");
        add(&net, &one, "eth0", FIRST);
        one.kill();
        let one = net.container("one");
        add(&net, &one, "eth0", SECOND);
        let plain = net.container("plain");
        let mut conf = conf(&net, FIRST);
        set(&mut conf, &json!({"ipMasq": false}));
        command(&net, "ADD", &plain, "eth0", &conf).ok();
        let _servers = serve(&net);
        assert_seen(&one, HOST);
        assert_seen(&plain, ["10.88.0.5", "fd00:88::5"]);
    }
}

#[test]
fn f5_del_told_of_one_address_removes_all() {
    for backend in BACKENDS {
        for told in ["10.88.0.5/24", "fd00:88::6/64"] {
            let net = net(backend, "bridge");
            once(&net);
            add(&net, &net.container("other"), "eth0", &["10.88.0.9/24", "fd00:88::9/64"]);
            let one = net.container("one");
            let before = net.site.rules();
            let all = [FIRST, SECOND].concat();
            let conf = add(&net, &one, "eth0", &all);
            let others: Vec<&str> = all.into_iter().filter(|address| *address != told).collect();
            del(&net, &one, "eth0", &lacking(&conf, &others));
            net.site.rules().assert_same(&before);
        }
    }
}

/// Without records, and with nothing but the addresses that DEL is told.
#[test]
fn f5_a_read_only_run_is_no_failure() {
    for backend in ["nftables", "iptables"] {
        let net = net(backend, "bridge");
        once(&net);
        let before = net.site.rules();
        let (one, two) = (net.container("one"), net.container("two"));
        let first = add(&net, &one, "eth0", FIRST);
        read_only_run();
        let second = add(&net, &two, "eth0", SECOND);
        del(&net, &two, "eth0", &second);
        // What was recorded before is, now that nothing can be forgotten, no reason to fail.
        del(&net, &one, "eth0", &first);
        net.site.rules().assert_same(&before);
        let mut gc = without_prev(&first);
        gc["cni.dev/valid-attachments"] = json!([]);
        command(&net, "GC", &one, "", &gc).ok();
    }
}

/// The tables of a release that counted nothing.
#[test]
fn f5_what_an_earlier_release_made_is_deleted_and_added_to() {
    for told in 0..3 {
        let net = net("nftables", "bridge");
        once(&net);
        let before = net.site.rules();
        let (one, two) = (net.container("one"), net.container("two"));
        let all = [FIRST, SECOND].concat();
        let conf = add(&net, &one, "eth0", &all);
        for family in ["ip", "ip6"] {
            run("nft", &["delete", "map", family, "cni_masquerade", "owners"]);
        }
        let second = add(&net, &two, "eth0", &["10.88.0.7/24", "fd00:88::7/64"]);
        command(&net, "CHECK", &one, "eth0", &conf).ok();
        // All, some that are not all there, none.
        let conf = match told {
            0 => conf,
            1 => {
                let mut conf = lacking(&conf, &all[..2]);
                let ips = conf["prevResult"]["ips"].as_array_mut().unwrap();
                ips.extend([json!({"address": "10.88.0.77/24"}), json!({"address": "fd00:88::77/64"})]);
                conf
            }
            _ => without_prev(&conf),
        };
        del(&net, &one, "eth0", &conf);
        del(&net, &two, "eth0", &second);
        let mut left = net.site.rules();
        let mut before = before;
        // The map was made again, after the others.
        left.0.sort();
        before.0.sort();
        left.assert_same(&before);
    }
}

/// Whoever has taken `ipam` out of the configuration since.
#[test]
fn f5_del_goes_by_the_result_where_the_configuration_has_no_ipam_any_more() {
    for backend in BACKENDS {
        let net = net(backend, "bridge");
        once(&net);
        let before = net.site.rules();
        let one = net.container("one");
        let mut conf = add(&net, &one, "eth0", FIRST);
        set(&mut conf, &json!({"ipam": null, "ipMasq": null}));
        del(&net, &one, "eth0", &conf);
        net.site.rules().assert_same(&before);
        assert_eq!(records(), 0);
    }
}

#[test]
fn f5_what_cannot_be_recorded_is_not_added() {
    let net = net("iptables", "bridge");
    let one = net.container("one");
    let conf = conf(&net, FIRST);
    let before = net.site.rules();
    let folder = Path::new("/run/cni-plugins-rs/masquerade");
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    std::fs::write(folder, "in the way").unwrap();
    let (code, msg) = command(&net, "ADD", &one, "eth0", &conf).err();
    assert!(code == 5 && msg.contains("/run/cni-plugins-rs/masquerade/"), "{code} {msg}");
    net.site.rules().assert_same(&before);
    std::fs::remove_file(folder).unwrap();
    del(&net, &one, "eth0", &conf);
}

#[test]
fn f5_an_add_that_fails_half_way_leaves_neither_rules_nor_a_record() {
    let net = net("iptables-legacy", "bridge");
    once(&net);
    let before = net.site.rules();
    let folder = net.site.path().split(':').next().unwrap().to_owned();
    let program = Path::new(&folder).join("ip6tables-legacy-restore");
    std::fs::write(&program, "#!/bin/sh\ncat >/dev/null; echo no room left >&2; exit 1\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let one = net.container("one");
    let (code, msg) = command(&net, "ADD", &one, "eth0", &conf(&net, FIRST)).err();
    assert!(code == 999 && msg.contains("no room left"), "{code} {msg}");
    std::fs::remove_file(&program).unwrap();
    net.site.rules().assert_same(&before);
    assert_eq!(records(), 0);
}
