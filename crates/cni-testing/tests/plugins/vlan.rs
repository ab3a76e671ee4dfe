//! The vlan plugin, as far as it goes on any kernel; the rest is in `vlan_vm`.

mod reference;
mod vm;

use serde_json::{Value, json};

use crate::uplink::Uplink;

/// What needs no link is asked for no `ipam` either.
#[test]
fn a4_without_ipam_no_command_asks_for_it() {
    for ipam in [Value::Null, json!({}), json!({"type": ""})] {
        // A veth, whose other end is nobody's VLAN here.
        let Uplink { mut net, outside: _outside } = Uplink::new("macvlan", &json!({"ipam": null}));
        (net.conf["type"], net.conf["vlanId"], net.conf["ipam"]) = ("vlan".into(), 100.into(), ipam);
        let container = net.host.container("one");
        let before = (net.host.snapshot(), container.snapshot());
        assert_eq!(net.host.plugin("vlan").command("STATUS", &net.conf).ok(), Value::Null);
        let (code, msg) = net.check(&container, &json!({"cniVersion": "1.1.0"})).err();
        assert!(code == 999 && msg.contains("prevResult has no interface eth0"), "{code}: {msg}");
        let added = net.try_add(&container);
        if added.code != Some(0) {
            // The kernel has no VLANs.
            let (code, msg) = added.err();
            assert!(code == 999 && msg.contains("not supported"), "{code}: {msg}");
        }
        net.del(&container).ok();
        net.host.snapshot().assert_same(&before.0);
        container.snapshot().assert_same(&before.1);
    }
}
