//! Containers of the reference's vlan plugin and ours: the same configuration gives the same, and what either made the other
//! checks and deletes.

use serde_json::json;

use crate::uplink::reference as uplink_reference;

#[test]
#[ignore = "needs a kernel with vlan and the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR"]
fn the_same_configuration_gives_the_same_result() {
    for keys in [
        json!({}),
        json!({"vlanId": 4094, "mtu": 1400, "dns": {"nameservers": ["192.0.2.53"], "search": ["a.example"]}}),
        json!({"vlanId": 0}),
    ] {
        uplink_reference::the_reference_answers_the_same("vlan", &keys);
    }
}

#[test]
#[ignore = "needs a kernel with vlan and the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR"]
fn what_either_made_the_other_checks_and_deletes() {
    uplink_reference::either_checks_and_deletes_the_others("vlan");
}
