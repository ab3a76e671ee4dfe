//! Level with the reference's 1.10.0: what holds for every plugin alike. What is one plugin's is with its tests, under the
//! same names: A1, A2 and so on are the rows of the comparison that found it.

use cni_testing::Snapshot;
use serde_json::{Value, json};

use crate::bridge::net::set;
use crate::host_local::Node;
use crate::life::{self, Life, fixed, leases};

/// GC of a runtime that sends these keys.
fn gc(life: &Life, keys: &Value) {
    let mut conf = life.conf.clone();
    set(&mut conf, &json!({"prevResult": null}));
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    life.host.plugin(life.conf["type"].as_str().unwrap()).command("GC", &conf).ok();
}

/// What is there after an ADD and this GC.
fn after(life: &Life, keys: &Value) -> (Snapshot, Snapshot) {
    life.add();
    let added = life.seen();
    gc(life, keys);
    let collected = life.seen();
    life.del();
    // tap's interface stays with its container, at the turn's next address.
    (added, collected.without("address eth0"))
}

/// libcni 1.3.1 sends `null` in both keys for a runtime that holds no attachment, which is when a node is cleaned up after
/// all that was lost.
#[test]
fn a6_gc_with_null_is_gc_with_the_empty_list_and_without_a_key_it_keeps_everything() {
    let null = json!({"cni.dev/valid-attachments": null, "cni.dev/attachments": null});
    let lives: [fn() -> Life; 8] = [
        life::host_local,
        || life::bridge("nftables", fixed),
        || life::ptp("nftables", leases),
        life::tap,
        life::host_device,
        || life::portmap("nftables"),
        || life::firewall("nftables"),
        life::tuning,
    ];
    for make in lives {
        // Each host is a thread's.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut life = make();
                eprintln!("{}", life.conf["type"]);
                // Of masquerading the kernel frees some only with its next tick.
                set(&mut life.conf, &json!({"ipMasq": null}));
                life.once();
                let (added, kept) = after(&life, &json!({}));
                kept.assert_same(&added.without("address eth0"));
                let (added, collected) = after(&life, &null);
                assert_ne!(collected.0, added.without("address eth0").0, "nothing was collected");
                let (_, by_list) = after(&life, &json!({"cni.dev/valid-attachments": []}));
                collected.assert_same(&by_list);
            });
        });
    }
}

/// A lease that 1.9.1, or ours of before, gave out with such a gateway is checked, deleted and collected, whatever ADD says.
#[test]
fn a5_a_gateway_outside_the_subnet_is_refused_by_add_and_keeps_nothing_from_being_deleted() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    let [one, two] = ["c1", "c2"].map(|id| node.host.container(id));
    let subnet = |gateway: &str| json!({"subnet": "10.1.2.0/24", "gateway": gateway});
    for gateway in ["10.1.3.1", "2001:db8::1", "0.0.0.0"] {
        let mut result = node.add(&one, "eth0").ok();
        let mut by_list = node.conf.clone();
        by_list["ipam"]["ranges"] = json!([[subnet(gateway)]]);
        let mut old_form = node.conf.clone();
        set(&mut old_form["ipam"], &json!({"ranges": null, "subnet": "10.1.2.0/24", "gateway": gateway}));
        let mut by_runtime = node.conf.clone();
        set(&mut by_runtime["ipam"], &json!({"ranges": null}));
        set(&mut by_runtime, &json!({"runtimeConfig": {"ipRanges": [[subnet(gateway)]]}}));

        for (mut conf, place) in
            [(by_list, "ipam.ranges[0][0]"), (old_form, "ipam"), (by_runtime, "runtimeConfig.ipRanges[0][0]")]
        {
            let plugin = || node.host.plugin("host-local");
            let leases = node.leases();
            let expected = (7, format!("{place}: gateway {gateway} is not in subnet 10.1.2.0/24"));
            assert_eq!(plugin().add(&two, "eth0", &conf).err(), expected);
            assert_eq!(plugin().command("STATUS", &conf).err(), expected);
            assert_eq!(node.leases(), leases);

            conf["prevResult"] = result.clone();
            plugin().check(&one, "eth0", &conf).ok();
            set(&mut conf, &json!({"prevResult": null, "cni.dev/valid-attachments": []}));
            plugin().command("GC", &conf).ok();
            assert!(node.leases().is_empty());
            node.add(&one, "eth0").ok();
            plugin().del(&one, "eth0", &conf).ok();
            assert!(node.leases().is_empty());
            result = node.add(&one, "eth0").ok();
        }
        node.del(&one, "eth0").ok();
    }
}
