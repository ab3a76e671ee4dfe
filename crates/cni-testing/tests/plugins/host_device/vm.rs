//! Network cards that come back to the host when their namespace ends, on their own bus: in a virtual machine with two cards
//! that are wired to each other and that nobody uses, such as QEMU makes with
//! `-netdev hubport,id=n0,hubid=0 -device virtio-net-pci,netdev=n0 -netdev hubport,id=n1,hubid=0 -device e1000,netdev=n1`.
//!
//! A card comes back to the initial namespace, so the plugin runs there and not on a private host.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cni_netlink::{Link, LinkChange, NewBridge, Socket};
use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{link_in, set};
use crate::host_device::net::{change, records};

/// One test at a time has the cards.
static CARDS: Mutex<()> = Mutex::new(());

const INSIDE: [&str; 2] = ["10.88.0.5", "fd00:88::5"];

/// A card on the PCI bus.
#[derive(Clone)]
struct Card {
    address: String,
    link: Link,
}

/// The virtual machine.
struct Machine {
    host: Host,
    virtio: Card,
    e1000: Card,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    fn new() -> Self {
        let turn = CARDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let vendor = fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
        assert_eq!(vendor.trim(), "QEMU", "not on a machine whose cards are somebody's");
        let same = |a: &str, b: &str| fs::read_link(a).unwrap() == fs::read_link(b).unwrap();
        assert!(
            same("/proc/1/ns/net", "/proc/thread-self/ns/net"),
            "a card comes back to the initial namespace"
        );
        // Made by a thread that goes to a namespace of its own: this one stays.
        let host = std::thread::spawn(Host::new).join().unwrap();
        host.hide(&["/run"]);
        Machine { host, virtio: card("virtio_net"), e1000: card("e1000"), _turn: turn }
    }

    fn conf(&self, keys: Value) -> Value {
        let mut conf = json!({
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "host-device",
            "ipam": {"type": "static", "addresses": INSIDE.map(|address| {
                json!({"address": format!("{address}/{}", if address.contains(':') { 64 } else { 24 })})
            })},
        });
        set(&mut conf, &keys);
        conf
    }

    fn run(&self, command: &str, container: &Container, conf: &Value) -> Outcome {
        let run = self.host.plugin("host-device");
        match command {
            "ADD" => run.add(container, "net1", conf),
            "CHECK" => run.check(container, "net1", conf),
            _ => run.del(container, "net1", conf),
        }
    }

    fn add_and_check(&self, container: &Container, conf: &Value) -> Value {
        let mut conf = conf.clone();
        conf["prevResult"] = Value::Null;
        let result = self.run("ADD", container, &conf).ok();
        conf["prevResult"] = result.clone();
        self.run("CHECK", container, &conf).ok();
        result
    }

    fn gc(&self, conf: &Value) {
        let mut conf = conf.clone();
        conf["cni.dev/valid-attachments"] = json!([]);
        self.host.plugin("host-device").command("GC", &conf).ok();
    }
}

/// The card of this driver, which has to be on the host, down, and without an alias.
fn card(driver: &str) -> Card {
    let addresses = fs::read_dir("/sys/bus/pci/devices").unwrap().map(|device| device.unwrap().path());
    let found = addresses.filter_map(|device| {
        let interfaces = [device.join("net")].into_iter().chain(virtio_of(&device));
        let name = interfaces.filter_map(|folder| fs::read_dir(folder).ok()?.next()).next()?;
        let link = link(name.unwrap().file_name().to_str().unwrap())?;
        let own = fs::read_link(format!("/sys/class/net/{}/device/driver", link.name)).ok()?;
        let address = device.file_name().unwrap().to_str().unwrap().to_owned();
        (own.file_name().unwrap() == driver).then_some(Card { address, link })
    });
    let cards: Vec<Card> = found.collect();
    let [card] = &cards[..] else { panic!("the machine has {} cards of {driver}", cards.len()) };
    assert!(!card.link.up && card.link.alias.is_none(), "{:?}", card.link);
    card.clone()
}

/// The `net` folders of a PCI device's virtio device.
fn virtio_of(device: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(device).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|entry| entry.join("net")).filter(|net| net.to_string_lossy().contains("/virtio")).collect()
}

fn link(name: &str) -> Option<Link> {
    Socket::open().unwrap().link_by_name(name).ok()
}

/// The card, once it is on the host again, under whatever name.
#[track_caller]
fn wait_for(card: &Card) -> Link {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let links = Socket::open().unwrap().link_dump(None).unwrap();
        if let Some(link) = links.into_iter().find(|link| link.address == card.link.address) {
            return link;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let links = Socket::open().unwrap().link_dump(None).unwrap();
    let names: Vec<String> = links.into_iter().map(|link| link.name).collect();
    panic!("{} did not come back: {names:?}", card.link.name);
}

/// The card is on the host under its own name, without an alias.
#[track_caller]
fn assert_home(card: &Card) {
    let link = link(&card.link.name).unwrap();
    assert_eq!((&link.address, link.alias, link.up), (&card.link.address, None, false));
    assert_eq!(records(), 0);
}

#[test]
#[ignore = "needs a kernel with two unused network cards: there, add -- --ignored host_device::vm"]
fn cards_found_by_their_bus_talk_to_each_other_and_come_back() {
    let machine = Machine::new();
    let (one, two) = (machine.host.container("one"), machine.host.container("two"));
    let path = fs::canonicalize(format!("/sys/bus/pci/devices/{}", machine.e1000.address)).unwrap();
    let first = machine.conf(json!({"pciBusID": machine.virtio.address}));
    let second = machine.conf(json!({"kernelpath": path, "ipam": {"type": "static", "addresses": [
        {"address": "10.88.0.9/24"}, {"address": "fd00:88::9/64"}]}}));
    let result = machine.add_and_check(&one, &first);
    assert_eq!(result["interfaces"][0]["pciID"], machine.virtio.address.as_str());
    machine.add_and_check(&two, &second);
    // The first packets go before the cards have noticed their cable.
    let answered = |to: &str| (0..4).any(|_| one.ping(to.parse().unwrap()));
    assert!(answered("10.88.0.9") && answered("fd00:88::9"));
    // A card that is in use is none that is missing.
    for conf in [&first, &second] {
        machine.host.plugin("host-device").command("STATUS", conf).ok();
    }
    let (_, msg) = machine.run("ADD", &machine.host.container("three"), &first).err();
    assert!(msg.contains("has no interface on the host"), "{msg}");
    for (container, conf) in [(&one, &first), (&two, &second)] {
        for _ in 0..2 {
            machine.run("DEL", container, conf).ok();
        }
    }
    assert_home(&machine.virtio);
    assert_home(&machine.e1000);
}

#[test]
#[ignore = "needs a kernel with two unused network cards: there, add -- --ignored host_device::vm"]
fn a_card_whose_container_died_gets_its_name_again_by_a_late_del_gc_or_the_next_add() {
    let machine = Machine::new();
    let card = &machine.virtio;
    // It takes what the other sends: a packet that is stuck on its way out keeps its namespace from ending.
    change(&machine.e1000.link.name, &LinkChange { up: Some(true), ..LinkChange::default() });
    let by_name = machine.conf(json!({"device": card.link.name}));
    let by_bus = machine.conf(json!({"pciBusID": card.address}));
    for (round, conf) in [&by_name, &by_bus, &by_name, &by_bus, &by_name, &by_bus].into_iter().enumerate() {
        // With the container's name taken on the host it comes back under one of the kernel's.
        let taken = round >= 3;
        let mut socket = Socket::open().unwrap();
        if taken {
            let bridge = NewBridge { name: "net1", mac: None, mtu: None, vlan_filtering: false };
            socket.link_add_bridge(&bridge).unwrap();
        }
        let mut container = machine.host.container(&format!("c{round}"));
        machine.add_and_check(&container, conf);
        assert_eq!(link_in(&container, "net1").alias.as_deref(), Some(card.link.name.as_str()));
        container.kill();
        if round % 3 != 0 {
            // Too early, perhaps: the namespace takes its time to end.
            machine.run("DEL", &container, conf).ok();
        }
        let back = wait_for(card);
        match round % 3 {
            0 => {
                assert!(
                    if taken { back.name.starts_with("dev") } else { back.name == "net1" },
                    "{}",
                    back.name
                );
                machine.run("DEL", &container, conf).ok();
            }
            1 => machine.gc(conf),
            _ => {
                let next = machine.host.container("next");
                machine.add_and_check(&next, conf);
                assert_eq!(link_in(&next, "net1").alias.as_deref(), Some(card.link.name.as_str()));
                machine.run("DEL", &next, conf).ok();
            }
        }
        if taken {
            socket.link_del(link("net1").unwrap().index).unwrap();
        }
        assert_home(card);
    }
    change(&machine.e1000.link.name, &LinkChange { up: Some(false), ..LinkChange::default() });
}

/// Its alias is all there is of one that the reference moved, and after the records have been lost.
#[test]
#[ignore = "needs a kernel with two unused network cards: there, add -- --ignored host_device::vm"]
fn a_card_that_nobody_recorded_gets_its_configured_name_again() {
    let machine = Machine::new();
    let card = &machine.e1000;
    let conf = machine.conf(json!({"device": card.link.name}));
    let mut container = machine.host.container("one");
    machine.add_and_check(&container, &conf);
    fs::remove_dir_all("/run/cni-plugins-rs/host-device").unwrap();
    container.kill();
    assert_eq!(wait_for(card).name, "net1");
    machine.run("DEL", &container, &conf).ok();
    assert_home(card);
}

#[test]
#[ignore = "needs a kernel with two unused network cards: there, add -- --ignored host_device::vm"]
fn a_card_that_belongs_to_a_program_is_left_alone() {
    let machine = Machine::new();
    let Card { address, link: before } = &machine.e1000;
    let device = format!("/sys/bus/pci/devices/{address}");
    let bind = |driver: &str| {
        fs::write(format!("{device}/driver/unbind"), address).unwrap();
        fs::write(format!("{device}/driver_override"), driver).unwrap();
        fs::write("/sys/bus/pci/drivers_probe", address).unwrap();
    };
    crate::portmap::net::run("modprobe", &["uio_pci_generic"]);
    bind("uio_pci_generic");
    let container = machine.host.container("one");
    let conf = machine.conf(json!({"runtimeConfig": {"deviceID": address}}));
    let result = machine.add_and_check(&container, &conf);
    let interface = json!([{"name": "net1", "sandbox": container.netns(), "pciID": address}]);
    assert_eq!(result["interfaces"], interface);
    machine.run("DEL", &container, &conf).ok();
    bind("e1000");
    let again = wait_for(&machine.e1000);
    if again.name != before.name {
        change(&again.name, &LinkChange { name: Some(&before.name), ..LinkChange::default() });
    }
}
