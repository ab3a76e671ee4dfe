//! Issue 14, part 3: DEL and GC need the network's name, the ID and the interface. A key that has a wrong type by now is no
//! reason to remove nothing, ever: it is logged, and all goes that can be found without it.

use serde_json::{Value, json};

use crate::life::{self, Life, fixed, leases};

/// What every plugin's configuration may have, but for `name`.
const COMMON: &str = "cniVersion type ipam ipam.type dns dns.nameservers capabilities args args.cni \
                      args.cni.mac runtimeConfig runtimeConfig.mac prevResult logLevel logFile";

/// They say where something is, or that it is there at all: without them it stays, and the DEL is no failure.
const PLACES: [&str; 4] = ["ipam", "ipam.type", "ipam.dataDir", "dataDir"];

/// A list of a number: wrong for numbers, texts, switches, objects, and lists of any of the others.
fn wrong() -> Value {
    json!([5])
}

fn broken(conf: &Value, path: &str) -> Value {
    let mut conf = conf.clone();
    let mut at = &mut conf;
    let (parents, key) = path.rsplit_once('.').unwrap_or(("", path));
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        at = &mut at[parent];
        if !at.is_object() {
            *at = json!({});
        }
    }
    at[key] = wrong();
    conf
}

/// With each of the keys broken, a DEL leaves nothing.
fn removes(mut life: Life, keys: &str) {
    life.once();
    let before = life.seen();
    let right = life.conf.clone();
    let paths = || keys.split_whitespace().chain(COMMON.split_whitespace());
    for path in paths() {
        life.begin();
        life.add();
        let added = life.conf.clone();
        life.conf = broken(&added, path);
        let outcome = life.try_del();
        assert_eq!(outcome.code, Some(0), "{path}: {outcome:?}");
        life.conf = added;
        if PLACES.contains(&path) {
            assert!(outcome.stderr.contains("cannot be read"), "{path}: {outcome:?}");
            life.del();
        }
        life.end();
        eprintln!("DEL without {path}: {}", outcome.stderr);
        life.seen().assert_same(&before);
    }
    life.conf = right;
    collects(life, paths());
}

/// GC by a broken configuration leaves nothing to a GC by the right one.
fn collects<'p>(mut life: Life, paths: impl Iterator<Item = &'p str>) {
    // The chain of a subnet can be deleted once the kernel has freed the elements that led to it, a second or so after the last DEL.
    for _ in 0..50 {
        life.gc();
        if !life.seen().0.iter().any(|line| line.contains("chain subnet-")) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    life.begin();
    life.add();
    let right = life.conf.clone();
    for path in paths.filter(|path| !PLACES.contains(path)) {
        life.conf = broken(&life.conf, path);
    }
    let collected = loop {
        life.gc();
        let seen = life.seen();
        // The kernel frees what was removed from masquerading's map, and so the subnet's chain, once a second.
        if !seen.0.iter().any(|line| line.contains("chain subnet-")) {
            break seen;
        }
    };
    life.conf = right;
    life.gc();
    life.seen().assert_same(&collected);
    life.del();
    life.end();
}

#[test]
fn bridge_is_removed() {
    let keys = "bridge isGateway isDefaultGateway forceAddress ipMasq ipMasqBackend mtu hairpinMode promiscMode vlan \
                vlanTrunk preserveDefaultVlan macspoofchk enabledad disableContainerInterface portIsolation \
                ipam.ranges ipam.routes";
    removes(life::bridge("nftables", leases), keys);
}

#[test]
fn ptp_is_removed() {
    removes(life::ptp("nftables", fixed), "ipMasq ipMasqBackend mtu ipam.addresses ipam.routes ipam.dns");
}

#[test]
fn macvlan_is_removed() {
    removes(life::on_master("macvlan"), "master mode mtu mac linkInContainer bcqueuelen");
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn ipvlan_is_removed() {
    removes(life::on_master("ipvlan"), "master mode mtu linkInContainer");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn vlan_is_removed() {
    removes(life::on_master("vlan"), "master vlanId mtu linkInContainer");
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn dummy_is_removed() {
    removes(life::dummy(), "");
}

#[test]
fn tap_is_removed() {
    let keys = "multiQueue mtu mac owner group selinuxContext bridge ipam.dataDir";
    removes(life::tap(), keys);
}

#[test]
fn host_device_is_given_back() {
    removes(life::host_device(), "device hwaddr kernelpath pciBusID runtimeConfig.deviceID");
}

#[test]
fn loopback_is_set_down() {
    removes(life::loopback(), "");
}

#[test]
fn host_local_is_freed() {
    let keys = "ipam.dataDir ipam.ranges ipam.routes ipam.resolvConf ipam.subnet ipam.rangeStart ipam.rangeEnd \
                ipam.gateway runtimeConfig.ipRanges runtimeConfig.ips args.cni.ips capabilities.ipRanges";
    removes(life::host_local(), keys);
}

#[test]
fn portmap_is_removed() {
    let keys = "backend snat conditionsV4 conditionsV6 masqAll markMasqBit externalSetMarkChain \
                runtimeConfig.portMappings";
    for_each_backend(life::portmap, keys);
}

#[test]
fn firewall_is_removed() {
    for_each_backend(life::firewall, "backend iptablesAdminChainName firewalldZone ingressPolicy");
}

fn for_each_backend(life: fn(&str) -> Life, keys: &str) {
    let backends = if std::path::Path::new("/usr/sbin/iptables").exists() {
        &["nftables", "iptables"][..]
    } else {
        &["nftables"]
    };
    for backend in backends {
        // Each host is a thread's.
        std::thread::scope(|scope| scope.spawn(|| removes(life(backend), keys)).join()).unwrap();
    }
}

#[test]
fn bandwidth_is_removed() {
    removes(life::bandwidth(), "ingressRate ingressBurst egressRate egressBurst runtimeConfig.bandwidth");
}

#[test]
fn tuning_is_restored() {
    let keys = "dataDir sysctl mac promisc mtu txQLen allmulti args.cni.sysctl args.cni.mtu";
    removes(life::tuning(), keys);
}

#[test]
fn sbr_is_removed() {
    removes(life::sbr(), "table gateways addSourceHints");
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn vrf_is_removed() {
    removes(life::vrf(), "vrfname table");
}
