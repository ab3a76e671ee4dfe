//! macvlan, ipvlan and vlan beside the reference's: the same results, and either deletes what the other made.

use serde_json::{Value, json};

use crate::bridge::net::theirs;
use crate::uplink::Uplink;

/// The newest that the reference of Debian 12 knows (1.1).
const REFERENCE_VERSION: &str = "1.0.0";

/// Results but for MAC addresses, MTU (which the reference does not tell) and the namespace's path; and links, addresses and
/// routes in the container.
pub(crate) fn the_reference_answers_the_same(plugin: &str, keys: &Value) {
    let [theirs, ours] = [true, false].map(|reference| {
        let Uplink { mut net, outside: _outside } = Uplink::new(plugin, keys);
        net.conf["cniVersion"] = REFERENCE_VERSION.into();
        let container = net.host.container("one");
        let mut result = match reference {
            true => theirs(plugin, "ADD", &container, &net.conf).ok(),
            false => net.add(&container),
        };
        let interface = result["interfaces"][0].as_object_mut().unwrap();
        for key in ["mac", "mtu", "sandbox"] {
            interface.remove(key);
        }
        // Older releases write an empty one.
        if result["dns"] == json!({}) {
            result.as_object_mut().unwrap().remove("dns");
        }
        let inside = container.snapshot().to_string();
        (result, inside.replace(" alias \"cni:net:one:eth0\"", ""))
    });
    assert_eq!(ours, theirs);
}

pub(crate) fn either_checks_and_deletes_the_others(plugin: &str) {
    let keys = json!({ "cniVersion": REFERENCE_VERSION });
    let Uplink { net, outside: _outside } = Uplink::v4(plugin, &keys);
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let before = (one.snapshot(), two.snapshot());
    let result = theirs(plugin, "ADD", &one, &net.conf).ok();
    net.check(&one, &result).ok();
    net.host.plugin(plugin).del(&one, "eth0", &net.with_prev(&result)).ok();
    one.snapshot().assert_same(&before.0);

    let result = net.add(&two);
    theirs(plugin, "CHECK", &two, &net.with_prev(&result)).ok();
    theirs(plugin, "DEL", &two, &net.with_prev(&result)).ok();
    two.snapshot().assert_same(&before.1);
    assert_eq!(net.leases(), [""; 0]);
}
