//! Containers of the reference's ipvlan plugin and ours: the same configuration gives the same, and what either made the
//! other checks and deletes.

use serde_json::json;

use crate::{uplink, uplink::reference as uplink_reference};

#[test]
#[ignore = "needs a kernel with ipvlan, and the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR"]
fn the_same_configuration_gives_the_same_result() {
    for keys in [
        json!({}),
        json!({"mode": "l3", "mtu": 1400, "dns": {"nameservers": ["192.0.2.53"], "search": ["a.example"]}}),
        json!({"mode": "l3s"}),
        json!({"ipam": null, "master": null, "prevResult": {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": uplink::MASTER}],
            "ips": [{"address": "10.88.0.77/24", "gateway": uplink::OUTSIDE[0]}],
            "routes": [{"dst": "192.0.2.0/24"}],
        }}),
    ] {
        uplink_reference::the_reference_answers_the_same("ipvlan", &keys);
    }
}

#[test]
#[ignore = "needs a kernel with ipvlan, and the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR"]
fn what_either_made_the_other_checks_and_deletes() {
    uplink_reference::either_checks_and_deletes_the_others("ipvlan");
}
