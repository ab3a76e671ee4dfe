//! The dummy plugin, as far as it goes on any kernel; the rest is in `dummy_vm`.

mod reference;
pub(crate) mod vm;

use serde_json::{Value, json};

use cni_testing::Host;

fn conf(keys: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "dummy"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

#[test]
fn without_ipam_all_but_del_and_gc_are_refused() {
    let host = Host::new();
    let container = host.container("one");
    let before = container.snapshot();
    let needs_ipam = (7, "ipam.type is missing: a dummy interface is of no use without addresses".to_owned());
    for conf in [conf(json!({})), conf(json!({"ipam": {}})), conf(json!({"ipam": null}))] {
        let run = || host.plugin("dummy");
        assert_eq!(run().add(&container, "eth0", &conf).err(), needs_ipam);
        assert_eq!(run().check(&container, "eth0", &conf).err(), needs_ipam);
        assert_eq!(run().command("STATUS", &conf).err(), needs_ipam);
        assert_eq!(run().command("GC", &conf).ok(), Value::Null);
        assert_eq!(run().del(&container, "eth0", &conf).ok(), Value::Null);
    }
    container.snapshot().assert_same(&before);
}

#[test]
fn status_is_ipams() {
    let host = Host::new();
    let status = |ipam: Value| host.plugin("dummy").command("STATUS", &conf(json!({ "ipam": ipam })));
    status(json!({"type": "static", "addresses": [{"address": "10.88.0.2/32"}]})).ok();
    assert_eq!(status(json!({"type": "not-installed"})).err().0, 50);
}
