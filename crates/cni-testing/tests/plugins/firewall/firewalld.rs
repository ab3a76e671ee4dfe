//! The firewall plugin's firewalld backend, over a bus of its own on which somebody plays firewalld.
//!
//! Marked as ignored, since they need `dbus-daemon` (Debian's package dbus-daemon):
//! `cargo test -p cni-testing --test plugins -- --ignored firewall::firewalld`

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use cni_testing::{Container, PluginRun};
use serde_json::{Value, json};

use crate::bridge::net::{make_bridge, set};
use crate::firewall::net::Site;
use crate::firewall::reference::Plugin;

/// A bus, ended when dropped.
struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    fn start() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the system's bus is no plugin's to start")]
        let daemon = Command::new("/usr/bin/dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn();
        let mut daemon = daemon.unwrap_or_else(|error| panic!("cannot run dbus-daemon: {error}"));
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Bus { daemon, address: address.trim().to_owned() }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

/// Sources, each with its zone.
type Sources = Arc<Mutex<BTreeMap<String, String>>>;

/// What firewalld does with sources of zones (src/firewall/core/fw_zone.py, its errors in errors.py).
struct Zones(Sources);

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.fedoraproject.FirewallD1")]
enum Refusal {
    #[zbus(error)]
    ZBus(zbus::Error),
    Exception(String),
}

fn refuse<T>(text: String) -> Result<T, Refusal> {
    Err(Refusal::Exception(text))
}

#[zbus::interface(name = "org.fedoraproject.FirewallD1.zone")]
impl Zones {
    #[zbus(name = "addSource")]
    fn add_source(&self, zone: String, source: String) -> Result<String, Refusal> {
        let mut sources = self.0.lock().unwrap();
        match sources.get(&source) {
            _ if zone == "nozone" => refuse(format!("INVALID_ZONE: {zone}")),
            Some(held) if *held == zone => {
                refuse(format!("ZONE_ALREADY_SET: '{source}' already bound to '{zone}'"))
            }
            Some(held) => refuse(format!("ZONE_CONFLICT: '{source}' already bound to '{held}'")),
            None => {
                sources.insert(source, zone.clone());
                Ok(zone)
            }
        }
    }

    #[zbus(name = "removeSource")]
    fn remove_source(&self, zone: String, source: String) -> Result<String, Refusal> {
        let mut sources = self.0.lock().unwrap();
        if sources.get(&source) != Some(&zone) {
            return refuse(format!("UNKNOWN_SOURCE: '{source}' is not in '{zone}'"));
        }
        sources.remove(&source);
        Ok(zone)
    }

    #[zbus(name = "querySource")]
    fn query_source(&self, zone: String, source: String) -> bool {
        self.0.lock().unwrap().get(&source) == Some(&zone)
    }
}

/// A host on which somebody is, or is not, firewalld.
struct Node {
    site: Site,
    bus: Bus,
    sources: Sources,
}

impl Node {
    fn new() -> Self {
        Node { site: Site::new("firewalld"), bus: Bus::start(), sources: Sources::default() }
    }

    fn with_firewalld() -> Self {
        let node = Node::new();
        let (address, sources) = (node.bus.address.clone(), node.sources.clone());
        let (ready, is_ready) = channel();
        // It ends with the process; without its bus it does nothing.
        std::thread::spawn(move || {
            zbus::block_on(async {
                let service = zbus::connection::Builder::address(address.as_str())
                    .serve_at("/org/fedoraproject/FirewallD1", Zones(sources))
                    .name("org.fedoraproject.FirewallD1");
                let service = service.build().await.unwrap();
                ready.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(service);
            });
        });
        is_ready.recv().unwrap();
        node
    }

    fn plugin(&self) -> PluginRun<'_> {
        self.site.host.plugin("firewall").env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus.address)
    }

    fn sources(&self) -> Vec<(String, String)> {
        self.sources.lock().unwrap().clone().into_iter().collect()
    }

    fn container(&self, id: &str) -> Container {
        self.site.host.container(id)
    }
}

fn conf(last: u8, keys: Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.1.0",
        "name": "blue",
        "type": "firewall",
        "prevResult": {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "br-blue"}],
            "ips": [{"address": format!("10.11.0.{last}/24")}, {"address": format!("fd00:11::{last}/64")}],
        },
    });
    crate::bridge::net::set(&mut conf, &keys);
    conf
}

fn in_zone(last: u8, zone: &str) -> Vec<(String, String)> {
    [format!("10.11.0.{last}/32"), format!("fd00:11::{last}/128")]
        .map(|source| (source, zone.to_owned()))
        .into()
}

#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn firewalld_is_the_default_where_it_runs() {
    let node = Node::with_firewalld();
    let (container, conf) = (node.container("c1"), conf(5, json!({})));
    let before = node.site.rules();
    for _ in 0..2 {
        let result = node.plugin().add(&container, "eth0", &conf).ok();
        assert_eq!(result["ips"], conf["prevResult"]["ips"]);
        node.plugin().check(&container, "eth0", &conf).ok();
    }
    assert_eq!(node.sources(), in_zone(5, "trusted"));
    node.site.rules().assert_same(&before);
    for _ in 0..2 {
        node.plugin().del(&container, "eth0", &conf).ok();
        assert_eq!(node.sources(), []);
    }
    let (_, msg) = node.plugin().check(&container, "eth0", &conf).err();
    assert_eq!(msg, "10.11.0.5 is not in firewalld zone trusted");
}

#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn a_bus_without_firewalld_is_none() {
    let node = Node::new();
    node.site.host.hide(&["/usr/sbin", "/usr/local/sbin"]);
    let (container, default) = (node.container("c1"), conf(5, json!({})));
    node.plugin().add(&container, "eth0", &default).ok();
    node.plugin().check(&container, "eth0", &conf(5, json!({"backend": "nftables"}))).ok();
    node.plugin().del(&container, "eth0", &default).ok();

    let chosen = conf(5, json!({"backend": "firewalld"}));
    let (_, msg) = node.plugin().add(&container, "eth0", &chosen).err();
    assert!(msg.starts_with("cannot add 10.11.0.5 to firewalld zone trusted: "), "{msg}");
    node.plugin().del(&container, "eth0", &chosen).ok();
    let (code, msg) = node.plugin().command("STATUS", &chosen).err();
    assert_eq!((code, &*msg), (50, "firewalld is not running"));
}

#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn the_zone_is_the_configured_one_and_a_refusal_undoes_the_add() {
    let node = Node::with_firewalld();
    let container = node.container("c1");
    let dmz = conf(5, json!({"backend": "firewalld", "firewalldZone": "dmz"}));
    node.plugin().command("STATUS", &dmz).ok();
    node.plugin().add(&container, "eth0", &dmz).ok();
    assert_eq!(node.sources(), in_zone(5, "dmz"));
    node.plugin().del(&container, "eth0", &dmz).ok();

    // Somebody has put the second address elsewhere.
    node.sources.lock().unwrap().insert("fd00:11::5/128".to_owned(), "public".to_owned());
    let (_, msg) = node.plugin().add(&container, "eth0", &dmz).err();
    assert!(msg.starts_with("cannot add fd00:11::5 to firewalld zone dmz: "), "{msg}");
    assert!(msg.contains("ZONE_CONFLICT"), "{msg}");
    assert_eq!(node.sources(), [("fd00:11::5/128".to_owned(), "public".to_owned())]);
}

#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn a_late_del_and_gc_leave_others_addresses_alone() {
    let node = Node::with_firewalld();
    let [old, new, other] = ["old", "new", "other"].map(|id| node.container(id));
    node.plugin().add(&old, "eth0", &conf(5, json!({}))).ok();
    node.plugin().add(&new, "eth0", &conf(5, json!({}))).ok();
    node.plugin().add(&other, "eth0", &conf(6, json!({"name": "green"}))).ok();
    node.plugin().del(&old, "eth0", &conf(5, json!({}))).ok();
    let all = [in_zone(5, "trusted"), in_zone(6, "trusted")].concat();
    assert_eq!(node.sources().len(), all.len());

    let gc = |valid: Value| {
        let mut conf = conf(5, json!({"prevResult": null}));
        set(&mut conf, &json!({"cni.dev/valid-attachments": valid}));
        node.plugin().command("GC", &conf).ok();
    };
    gc(Value::Null);
    gc(json!([{"containerID": "new", "ifname": "eth0"}]));
    assert_eq!(node.sources().len(), all.len());
    gc(json!([]));
    assert_eq!(node.sources(), in_zone(6, "trusted"));
    // Without prevResult, and with firewalld gone from the configuration.
    let mut without = conf(6, json!({"name": "green", "prevResult": null, "backend": "nftables"}));
    without["prevResult"] = Value::Null;
    node.plugin().del(&other, "eth0", &without).ok();
    assert_eq!(node.sources(), []);
}

/// A node whose owner changed the zone while containers run.
#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn an_address_leaves_the_zone_that_it_was_put_into_whatever_is_configured_by_then() {
    let node = Node::with_firewalld();
    let (container, next) = (node.container("c1"), node.container("next"));
    let (dmz, trusted) = (conf(5, json!({"firewalldZone": "dmz"})), conf(5, json!({})));
    node.plugin().add(&container, "eth0", &dmz).ok();
    node.plugin().del(&container, "eth0", &trusted).ok();
    assert_eq!(node.sources(), []);

    // Nobody ran a DEL, and somebody else has the address.
    node.plugin().add(&container, "eth0", &dmz).ok();
    node.plugin().add(&next, "eth0", &trusted).ok();
    assert_eq!(node.sources(), in_zone(5, "trusted"));
    node.plugin().del(&container, "eth0", &dmz).ok();
    assert_eq!(node.sources(), in_zone(5, "trusted"));

    // Where the owner moved it to since is the owner's business.
    node.sources.lock().unwrap().insert("10.11.0.5/32".to_owned(), "drop".to_owned());
    node.plugin().del(&next, "eth0", &trusted).ok();
    assert_eq!(node.sources(), [("10.11.0.5/32".to_owned(), "drop".to_owned())]);
}

#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn a_bus_that_hangs_holds_nothing_up_for_long() {
    let node = Node::with_firewalld();
    node.site.host.hide(&["/usr/sbin", "/usr/local/sbin"]);
    let container = node.container("c1");
    let bus = nix::unistd::Pid::from_raw(i32::try_from(node.bus.daemon.id()).unwrap());
    nix::sys::signal::kill(bus, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let began = std::time::Instant::now();
    let (_, msg) = node.plugin().add(&container, "eth0", &conf(5, json!({"backend": "firewalld"}))).err();
    assert_eq!(msg, "cannot connect to the system bus: it has not answered for 5 seconds");
    let outcome = node.plugin().add(&container, "eth0", &conf(5, json!({})));
    outcome.ok();
    assert!(
        outcome.stderr.contains("taking firewalld for not running: cannot connect"),
        "{}",
        outcome.stderr
    );
    node.plugin().del(&container, "eth0", &conf(5, json!({}))).ok();
    let took = began.elapsed();
    assert!(took.as_secs() < 30, "{took:?}");
}

#[test]
#[ignore = "needs dbus-daemon, and the reference's plugins 1.9.1 in $CNI_REFERENCE_DIR: add -- --ignored firewall::firewalld"]
fn the_reference_chooses_firewalld_too_and_each_deletes_what_the_other_added() {
    let node = Node::with_firewalld();
    let (ours, reference) = (Plugin::ours(&node.site), Plugin::reference());
    let rounds = [(&ours, &reference, "trusted"), (&reference, &ours, "trusted"), (&reference, &ours, "dmz")];
    for (last, (adds, deletes, zone)) in (5..).zip(rounds) {
        let container = node.container(&format!("c{last}"));
        let conf = conf(last, json!({"cniVersion": "1.0.0", "firewalldZone": zone}));
        let run = |plugin: &Plugin, command: &str| {
            let bus = [("DBUS_SYSTEM_BUS_ADDRESS", node.bus.address.as_str())];
            assert!(plugin.run_with(command, &container, &conf, &bus), "{command} c{last}");
        };
        run(adds, "ADD");
        assert_eq!(node.sources(), in_zone(last, zone));
        run(deletes, "CHECK");
        run(deletes, "DEL");
        assert_eq!(node.sources(), []);
    }
}

/// The reference runs iptables for these, whatever the backend; where it is not installed nftables does it.
#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn policies_are_kept_beside_firewalld() {
    let node = Node::with_firewalld();
    node.site.host.hide(&["/usr/sbin", "/usr/local/sbin"]);
    make_bridge("br-blue");
    let (container, conf) = (node.container("c1"), conf(5, json!({"ingressPolicy": "isolated"})));
    node.plugin().add(&container, "eth0", &conf).ok();
    node.plugin().check(&container, "eth0", &conf).ok();
    assert_eq!(node.sources(), in_zone(5, "trusted"));
    let bridges = cni_nftables::Set::new(
        cni_nftables::Table::new(cni_nftables::Family::Inet, "cni_firewall"),
        "bridges",
        &[cni_nftables::DataType::IfName],
    );
    assert_eq!(cni_nftables::Nft::new().elements(&bridges).unwrap().len(), 1);
}

#[test]
#[ignore = "needs dbus-daemon: add -- --ignored firewall::firewalld"]
fn a_policy_for_what_is_no_bridge_is_refused_and_the_zone_not_touched() {
    let node = Node::with_firewalld();
    let (container, conf) = (node.container("c1"), conf(5, json!({"ingressPolicy": "isolated"})));
    let (code, msg) = node.plugin().add(&container, "eth0", &conf).err();
    assert_eq!(code, 7);
    assert!(msg.contains("the host has no interface br-blue"), "{msg}");
    assert_eq!(node.sources(), []);
    node.plugin().del(&container, "eth0", &conf).ok();
}
