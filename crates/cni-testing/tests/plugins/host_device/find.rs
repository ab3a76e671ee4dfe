//! By what the host-device plugin finds a device. The buses are folders of the test's own in place of /sys.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::bridge::net::{link, link_in, set};
use crate::host_device::net::{Net, records};

const PCI: &str = "0000:03:00.0";
const DRIVER_OF_PROGRAMS: &str = "vfio-pci";

/// A device below /sys, with its interface.
fn folder(path: &str) {
    std::fs::create_dir_all(format!("/sys/{path}")).unwrap();
}

fn pci_device(driver: &str) {
    folder(&format!("bus/pci/devices/{PCI}"));
    symlink(format!("../../../drivers/{driver}"), format!("/sys/bus/pci/devices/{PCI}/driver")).unwrap();
}

#[test]
fn every_key_finds_the_device() {
    let pci = json!(PCI);
    for (keys, path, pci_id) in [
        (json!({"pciBusID": PCI}), format!("bus/pci/devices/{PCI}/net/uplink"), &pci),
        (json!({"pciBusID": PCI}), format!("bus/pci/devices/{PCI}/virtio3/net/uplink"), &pci),
        (json!({"runtimeConfig": {"deviceID": PCI}}), format!("bus/pci/devices/{PCI}/net/uplink"), &pci),
        (
            json!({"pciBusID": "0000:99:00.0", "runtimeConfig": {"deviceID": "mlx5_core.sf.2"}}),
            "bus/auxiliary/devices/mlx5_core.sf.2/net/uplink".to_owned(),
            &Value::Null,
        ),
        (
            json!({"kernelpath": "/sys/devices/pci0000:00/0000:00:03.0"}),
            "devices/pci0000:00/0000:00:03.0/net/uplink".to_owned(),
            &Value::Null,
        ),
    ] {
        let mut net = Net::new(json!({"device": null}));
        set(&mut net.conf, &keys);
        folder(&path);
        if !pci_id.is_null() {
            pci_device("ixgbe");
        }
        let container = net.host.container("one");
        let before = net.host.snapshot();
        let result = net.add_and_check(&container);
        assert_eq!(&result["interfaces"][0]["pciID"], pci_id, "{keys}");
        assert_eq!(link_in(&container, "eth0").alias.as_deref(), Some("uplink"));
        net.del(&container).ok();
        net.host.snapshot().assert_same(&before);
    }
}

#[test]
fn a_hardware_address_finds_the_device() {
    let mut net = Net::layer2(json!({"device": null}));
    net.conf["hwaddr"] = link("uplink").mac.unwrap().to_string().to_uppercase().into();
    let container = net.host.container("one");
    net.add_and_check(&container);
    assert_eq!(link_in(&container, "eth0").alias.as_deref(), Some("uplink"));
}

#[test]
fn a_device_of_a_program_is_left_alone_and_told_of() {
    for runtime in [false, true] {
        let mut net = Net::with_leases(json!({"device": null, "pciBusID": PCI}));
        if runtime {
            set(&mut net.conf, &json!({"pciBusID": null, "runtimeConfig": {"deviceID": PCI}}));
        }
        pci_device(DRIVER_OF_PROGRAMS);
        let container = net.host.container("one");
        let before = (net.host.snapshot().without("leases"), container.snapshot());
        let result = net.add_and_check(&container);
        let interface = json!([{"name": "eth0", "sandbox": container.netns(), "pciID": PCI}]);
        assert_eq!(result["interfaces"], interface);
        assert_eq!(
            result["ips"][0],
            json!({"address": "10.88.0.1/24", "gateway": "10.88.0.1", "interface": 0})
                .as_object()
                .map(|ip| {
                    let mut ip = ip.clone();
                    ip.insert("address".into(), "10.88.0.2/24".into());
                    Value::Object(ip)
                })
                .unwrap()
        );
        assert_eq!((net.leases().len(), records()), (2, 0));
        container.snapshot().assert_same(&before.1);
        net.del(&container).ok();
        assert_eq!(net.leases().len(), 0);
        net.host.snapshot().without("leases").assert_same(&before.0);
    }
}

#[test]
fn del_works_when_the_device_was_pulled_out() {
    let mut net = Net::with_leases(json!({"device": null}));
    net.conf["runtimeConfig"] = json!({"deviceID": PCI});
    folder(&format!("bus/pci/devices/{PCI}/net/uplink"));
    pci_device("ixgbe");
    let container = net.host.container("one");
    net.add(&container);
    let mut inside = container.ns().socket().unwrap();
    inside.link_del(link_in(&container, "eth0").index).unwrap();
    std::fs::remove_dir_all("/sys/bus").unwrap();
    net.del(&container).ok();
    assert_eq!((net.leases().len(), records()), (0, 0));
}

#[test]
fn a_device_that_is_not_there_is_named_and_no_address_is_taken() {
    for (keys, part) in [
        (json!({"device": "nowhere"}), "nowhere"),
        (json!({"hwaddr": "02:00:00:00:00:77"}), "02:00:00:00:00:77"),
        (json!({"kernelpath": "/sys/devices/a"}), "/sys/devices/a"),
        (json!({"pciBusID": "0000:04:00.0"}), "0000:04:00.0"),
        (json!({"pciBusID": PCI}), "has no interface on the host"),
    ] {
        let mut net = Net::with_leases(json!({"device": null}));
        set(&mut net.conf, &keys);
        pci_device("ixgbe");
        let before = net.host.snapshot();
        let (code, msg) = net.try_add(&net.host.container("one")).err();
        assert_eq!(code, 999, "{msg}");
        assert!(msg.contains(part), "{msg}");
        net.host.snapshot().assert_same(&before);
    }
}

#[test]
fn values_that_cannot_be_are_refused_with_the_keys_name() {
    for (keys, key, expected) in [
        (json!({"device": null}), "no device is named", 7),
        (json!({"device": "a/b"}), "device", 7),
        (json!({"device": 5}), "device", 6),
        (json!({"device": null, "hwaddr": "02:00"}), "hwaddr", 7),
        (json!({"device": null, "kernelpath": "/sys/devices/../class/net/uplink"}), "kernelpath", 7),
        (json!({"device": null, "pciBusID": "../../class/net"}), "pciBusID", 7),
        (json!({"runtimeConfig": {"deviceID": "../../class/net/uplink"}}), "runtimeConfig.deviceID", 7),
        (json!({"runtimeConfig": {"deviceID": "0000:04:00.0"}}), "runtimeConfig.deviceID", 7),
        (json!({"runtimeConfig": {"deviceID": 5}}), "runtimeConfig.deviceID", 6),
    ] {
        let net = Net::layer2(keys);
        let container = net.host.container("one");
        let (code, msg) = net.try_add(&container).err();
        assert_eq!(code, expected, "{msg}");
        assert!(msg.contains(key), "{msg}");
        if expected == 7 {
            // What ADD refuses a DEL passes over.
            net.del(&container).ok();
        }
    }
}

#[test]
fn b_a_device_of_a_program_has_no_network_to_use() {
    let mut net = Net::layer2(json!({"device": null, "pciBusID": PCI, "useInterfaceNetwork": true}));
    pci_device(DRIVER_OF_PROGRAMS);
    let container = net.host.container("one");
    let (code, msg) = net.try_add(&container).err();
    assert!(code == 7 && msg.contains("useInterfaceNetwork") && msg.contains("DPDK"), "{code}: {msg}");
    // DEL does not look at it.
    net.del(&container).ok();
    set(&mut net.conf, &json!({"useInterfaceNetwork": false}));
    net.add(&container);
}
