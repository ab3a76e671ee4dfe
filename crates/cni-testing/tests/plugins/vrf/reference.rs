//! vrf beside the reference's: the same addresses, routes and table, and either checks and deletes what the other made.

use cni_testing::Host;
use serde_json::{Value, json};

use crate::bridge::net::theirs;
use crate::uplink::has;
use crate::vrf::vm::{FAR, conf, kept, network, table_of, vrf, ways, world};

#[test]
#[ignore = "needs a kernel with vrf and the reference's plugins in $CNI_REFERENCE_DIR"]
fn reference_and_ours_make_the_same_and_each_checks_and_deletes_the_others() {
    let both = [true, false].map(|is_theirs| {
        let host = Host::new();
        let _world = world(&host, 0);
        let container = host.container("one");
        let mut bridge = network(0, 5);
        // What the reference loses, and those that belong to other tables, are for the tests above.
        bridge["ipam"]["routes"] = json!([
            {"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.7.0.0/16", "gw": "10.88.0.9", "mtu": 1400, "priority": 7},
        ]);
        bridge["cniVersion"] = "1.0.0".into();
        let mut own = conf(&host.plugin("bridge").add(&container, "eth0", &bridge).ok(), &json!({}));
        let run = |is_theirs, command, conf: &Value| match is_theirs {
            true => theirs("vrf", command, &container, conf).ok(),
            false => vrf(&host, command, &container, "eth0", conf).ok(),
        };
        own["prevResult"] = run(is_theirs, "ADD", &own);
        assert_eq!(ways(&container, "red", FAR[0]), [0]);
        let mut lines = kept(&container, "eth0", 1);
        // From a random MAC address, and what belongs to it.
        lines.retain(|line| !line.starts_with("fe80"));
        let table = table_of(&container, "red");
        run(!is_theirs, "CHECK", &own);
        run(!is_theirs, "DEL", &own);
        assert!(!has(&container, "red"));
        (own["prevResult"]["ips"].clone(), lines, table)
    });
    assert_eq!(both[1], both[0]);
}
