//! The tap plugin beside the reference's: the same results, and each deletes what the other made.
//!
//! With the reference's plugins in `$CNI_REFERENCE_DIR`; Debian's 1.1 has no tap yet.

use serde_json::{Value, json};

use crate::bridge::net::{Net, link_in, make_bridge, theirs};
use crate::tap::net as tap_net;

/// Every key but `selinuxContext`, which needs SELinux.
fn configurations() -> Vec<Value> {
    let ipam = json!({"type": "static", "addresses": [
        {"address": "10.88.0.2/24", "gateway": "10.88.0.1"}, {"address": "fd00:88::2/64"},
    ], "routes": [{"dst": "192.0.2.0/24"}], "dns": {"nameservers": ["192.0.2.1"]}});
    vec![
        json!({ "ipam": ipam }),
        json!({"ipam": ipam, "dns": {"nameservers": ["192.0.2.53"]}}),
        json!({"ipam": null, "mtu": 1400, "mac": "02:00:00:00:00:01", "multiQueue": true}),
        json!({"ipam": null, "owner": 1000, "bridge": "br0"}),
        json!({"ipam": null, "group": 1000}),
        // The reference ignores MTU and MAC address then.
        json!({"ipam": null, "owner": 1000, "group": 1000, "mtu": 1400, "mac": "02:00:00:00:00:01"}),
        json!({"ipam": null, "owner": 1, "group": 2, "multiQueue": true}),
    ]
}

/// A result without what is random or only ours.
fn comparable(mut result: Value) -> Value {
    let interface = result["interfaces"][0].as_object_mut().unwrap();
    for key in ["mac", "mtu", "sandbox"] {
        interface.remove(key);
    }
    // Empty, and which program prints it so is no matter.
    result.as_object_mut().unwrap().retain(|key, value| key != "dns" || *value != json!({}));
    result
}

/// ADD by one, CHECK and DEL by the other. Returns what came of it.
fn life(net: &Net, ours: bool, conf: &Value) -> Value {
    let container = net.host.container("one");
    container.ns().run(|| make_bridge("br0")).unwrap();
    let before = container.snapshot();
    let mut conf = conf.clone();
    let (maker, other) = (ours, !ours);
    let go = |by_us: bool, command: &str, conf: &Value| {
        if by_us {
            let plugin = net.host.plugin("tap");
            match command {
                "ADD" => plugin.add(&container, "eth0", conf),
                "CHECK" => plugin.check(&container, "eth0", conf),
                _ => plugin.del(&container, "eth0", conf),
            }
        } else {
            theirs("tap", command, &container, conf)
        }
    };
    let result = go(maker, "ADD", &conf).ok();
    let eth0 = link_in(&container, "eth0");
    conf["prevResult"] = result.clone();
    go(other, "CHECK", &conf).ok();
    go(other, "DEL", &conf).ok();
    go(maker, "DEL", &conf).ok();
    container.snapshot().assert_same(&before);
    let mut result = comparable(result);
    let tun = eth0.tun.unwrap();
    result["tun"] = json!([tun.tap, tun.multi_queue, tun.persist, tun.owner, tun.group, eth0.up]);
    result
}

#[test]
#[ignore = "needs the reference's plugins: 1.2 or later"]
fn results_are_the_same_and_each_checks_and_deletes_what_the_other_made() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        for keys in configurations() {
            let mut net = tap_net::net(&keys);
            net.conf["cniVersion"] = version.into();
            let conf = net.conf.clone();
            let [theirs, ours] = [false, true].map(|ours| life(&net, ours, &conf));
            assert_eq!(ours, theirs, "{conf}");
        }
    }
}
