//! The tap plugin's `selinuxContext`, under a policy by which only the type tap_t may make tap devices: testdata/tap/selinux.conf,
//! which says how it is loaded. What else tap_t may do is what the plugin's page asks for, and no more.

use cni_host::Tap;
use serde_json::json;

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{addresses, link_in};
use crate::tap::net::net;

const LABEL: &str = "base_u:base_r:tap_t";

#[test]
#[ignore = "needs SELinux with the policy of testdata/tap/selinux.conf: there, add -- --ignored tap::selinux_vm"]
fn a_device_is_made_by_the_label_and_has_it() {
    let mut net = net(&json!({"owner": 1000, "mtu": 1400, "mac": "02:00:00:00:00:01"}));
    let container = net.host.container("one");
    let before = container.snapshot();
    // The plugin's own label may not make one.
    let (_, msg) = net.try_add(&container).err();
    assert_eq!(msg, "cannot add tap eth0: Permission denied (os error 13)");
    container.snapshot().assert_same(&before);
    assert_eq!(net.leases(), [""; 0]);

    net.conf["selinuxContext"] = LABEL.into();
    net.host.plugin("tap").command("STATUS", &net.conf).ok();
    let result = net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    assert_eq!((eth0.mtu, eth0.mac.unwrap().to_string().as_str()), (1400, "02:00:00:00:00:01"));
    assert_eq!(eth0.tun.unwrap().owner, Some(1000));
    // By this policy nobody may attach to a device of another label.
    container.ns().run(|| Tap::attach("eth0", false)).unwrap().unwrap();
    // IPAM, which the plugin runs too, does not get the label: tap_t may not write files.
    assert_eq!(addresses(&result).len(), net.leases().len());
    net.del(&container).ok();
    container.snapshot().assert_same(&before);
}

#[test]
#[ignore = "needs SELinux with the policy of testdata/tap/selinux.conf: there, add -- --ignored tap::selinux_vm"]
fn a_label_that_the_policy_does_not_know_or_allow_leaves_nothing() {
    let mut net = net(&json!({"selinuxContext": "base_u:base_r:other_t"}));
    let (code, msg) = net.host.plugin("tap").command("STATUS", &net.conf).err();
    assert!(code == 50 && msg.contains("or does not know the context"), "{code}: {msg}");
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    let container = net.host.container("one");
    fails_cleanly(&net, &container, "base_u:base_r:other_t");
    // Known, and not allowed to make devices.
    net.conf["selinuxContext"] = "base_u:base_r:base_t".into();
    fails_cleanly(&net, &container, "cannot add tap eth0: Permission denied");
}
