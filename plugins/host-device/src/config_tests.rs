use serde_json::{Value, json};

use super::*;
use crate::sysfs::fake::Fake;

const PCI: &str = "0000:03:00.0";

fn fake() -> Fake {
    let fake = Fake::new();
    fake.folder(&format!("bus/pci/devices/{PCI}"));
    fake.folder("bus/auxiliary/devices/mlx5_core.sf.2");
    fake
}

fn read(conf: Value) -> Result<Config> {
    let wire: Wire = cni_types::json::from_value(&conf)?;
    Config::new(&wire, &fake().sysfs)
}

fn selector(conf: Value) -> Selector {
    read(conf).unwrap().selector
}

#[track_caller]
fn refused(conf: Value, key: &str) {
    let error = read(conf.clone()).unwrap_err();
    assert_eq!(error.code(), cni_types::ErrorCode::INVALID_NETWORK_CONFIG, "{conf}");
    assert!(error.to_string().contains(key), "{conf}: {error}");
}

#[test]
fn the_first_key_that_is_set_names_the_device() {
    let mut conf = json!({
        "device": "ens3",
        "hwaddr": "02:00:00:00:00:01",
        "kernelpath": "/sys/devices/pci0000:00/0000:00:03.0",
        "pciBusID": PCI,
    });
    let mut next = |key: &str| {
        let selected = selector(conf.clone());
        conf[key] = "".into();
        selected
    };
    assert_eq!(next("device"), Selector::Name("ens3".into()));
    assert_eq!(next("hwaddr"), Selector::Address(vec![2, 0, 0, 0, 0, 1]));
    assert_eq!(next("kernelpath"), Selector::KernelPath("devices/pci0000:00/0000:00:03.0".into()));
    assert_eq!(next("pciBusID"), Selector::Pci(PCI.into()));
    refused(conf, "no device is named");
    refused(json!({}), "runtimeConfig.deviceID");
}

#[test]
fn the_runtimes_device_replaces_the_one_on_the_pci_bus_and_no_other() {
    let runtime = |id: &str, keys: Value| {
        let mut conf = json!({"pciBusID": "0000:99:00.0", "runtimeConfig": {"deviceID": id}});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        read(conf).unwrap()
    };
    let pci = runtime(PCI, json!({}));
    assert_eq!(
        pci,
        Config { selector: Selector::Pci(PCI.into()), pci: Some(PCI.into()), with_network: false }
    );
    let auxiliary = runtime("mlx5_core.sf.2", json!({}));
    assert_eq!(
        auxiliary,
        Config { selector: Selector::Auxiliary("mlx5_core.sf.2".into()), pci: None, with_network: false }
    );
    let named = runtime(PCI, json!({"device": "ens3"}));
    assert_eq!(
        named,
        Config { selector: Selector::Name("ens3".into()), pci: Some(PCI.into()), with_network: false }
    );
}

#[test]
fn a_device_of_the_runtime_that_is_not_there_or_leads_elsewhere_is_refused() {
    for id in ["0000:03:00.1", "..", ".", "../devices/0000:03:00.0", "a/b", "/", "no\0", "mlx5_core.sf.3"] {
        refused(json!({"runtimeConfig": {"deviceID": id}}), "runtimeConfig.deviceID");
        // Whatever else is set.
        refused(json!({"device": "ens3", "runtimeConfig": {"deviceID": id}}), "runtimeConfig.deviceID");
    }
}

#[test]
fn only_addresses_of_the_pci_bus_are_taken() {
    for id in ["0000:AF:00.0", "10000:01:00.7"] {
        assert_eq!(selector(json!({"pciBusID": id})), Selector::Pci(id.to_ascii_lowercase()));
    }
    for id in
        ["03:00.0", "0000:03:00", "../0000:03:00.0", "0000:03:00.0/..", "0000:3:00.0", "0000:03:00.g", ".."]
    {
        refused(json!({"pciBusID": id}), "pciBusID");
    }
}

#[test]
fn a_path_cannot_leave_the_devices() {
    let path = |path: &str| json!({"kernelpath": path});
    assert_eq!(selector(path("/sys/devices//a/./b/")), Selector::KernelPath("devices/a/b".into()));
    for wrong in [
        "/sys/devices",
        "/sys/devices/",
        "/sys/devices/../class/net",
        "/sys/devices/a/../../bus",
        "/sys/devicesX/a",
        "/sys/class/net",
        "sys/devices/a",
        "/etc",
        "/sys/devices/a\0",
    ] {
        refused(path(wrong), "kernelpath");
    }
}

#[test]
fn hardware_addresses_of_every_length_and_form_are_read() {
    let address = |text: &str| selector(json!({"hwaddr": text}));
    let ethernet = || Selector::Address(vec![2, 0x42, 0xac, 0x11, 0, 0xff]);
    for text in ["02:42:ac:11:00:ff", "02-42-AC-11-00-FF", "0242.ac11.00ff"] {
        assert_eq!(address(text), ethernet());
    }
    let infiniband = ["80"; 20].join(":");
    assert_eq!(address(&infiniband), Selector::Address(vec![0x80; 20]));
    for wrong in ["02:42", "02:42:ac:11:00", "02:42:ac:11:00:+f", "02:42:ac:11:00:fff", "0242ac1100ff", "é"]
    {
        refused(json!({"hwaddr": wrong}), "hwaddr");
    }
}

#[test]
fn a_device_can_be_named_by_an_alternative_name() {
    let long = "enx".repeat(42);
    assert_eq!(selector(json!({"device": long})), Selector::Name(long));
    for wrong in ["../eth0".to_owned(), "e\0".to_owned(), "e".repeat(128)] {
        refused(json!({"device": wrong}), "device");
    }
}

#[test]
fn only_a_configuration_without_any_key_names_no_device() {
    let wire = |conf: Value| cni_types::json::from_value::<Wire>(&conf).unwrap();
    assert!(wire(json!({"device": "", "runtimeConfig": {}})).names_no_device());
    for conf in [json!({"device": "a"}), json!({"hwaddr": "a"}), json!({"pciBusID": "a"})] {
        assert!(!wire(conf).names_no_device());
    }
    assert!(!wire(json!({"runtimeConfig": {"deviceID": "a"}})).names_no_device());
}
