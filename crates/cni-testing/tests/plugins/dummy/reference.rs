//! Containers of the reference's dummy plugin and ours.

use serde_json::json;

use crate::bridge::net::theirs;
use crate::dummy::vm::net;

#[test]
#[ignore = "needs a kernel with dummy and the reference's plugins: 1.2 or later"]
fn both_answer_the_same_and_each_checks_and_deletes_the_others() {
    let mut net = net();
    net.conf["cniVersion"] = "1.0.0".into();
    net.conf["dns"] = json!({"nameservers": ["192.0.2.53"]});
    net.conf["ipam"] = json!({"type": "static", "addresses": [
        {"address": "10.88.0.2/24", "gateway": "10.88.0.1"}, {"address": "fd00:88::2/64"},
    ], "routes": [{"dst": "192.0.2.0/24"}], "dns": {"nameservers": ["192.0.2.1"]}});
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let before = (one.snapshot(), two.snapshot());

    let mut of_theirs = theirs("dummy", "ADD", &one, &net.conf).ok();
    net.check(&one, &of_theirs).ok();
    let mut of_ours = net.add(&two);
    theirs("dummy", "CHECK", &two, &net.with_prev(&of_ours)).ok();
    let inside = two.snapshot().to_string().replace(" alias \"cni:net:two:eth0\"", "");
    assert_eq!(inside, one.snapshot().to_string());

    net.host.plugin("dummy").del(&one, "eth0", &net.with_prev(&of_theirs)).ok();
    theirs("dummy", "DEL", &two, &net.with_prev(&of_ours)).ok();
    one.snapshot().assert_same(&before.0);
    two.snapshot().assert_same(&before.1);
    for result in [&mut of_theirs, &mut of_ours] {
        let interface = result["interfaces"][0].as_object_mut().unwrap();
        for key in ["mac", "mtu", "sandbox"] {
            interface.remove(key);
        }
    }
    assert_eq!(of_ours, of_theirs);
}
