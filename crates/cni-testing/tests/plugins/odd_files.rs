//! Issue 14, part 3: files that configurations name and that are none, links where files are written, values that are longer than
//! anything can be, and a process that may have no threads.

use std::fs::{self, FileTimes};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cni_testing::{Act, Host, Syscall};
use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use crate::bridge::net::set;
use crate::life::{self, Life, fixed, leases};

fn fifo(host: &Host) -> String {
    let path = host.dir().join("fifo");
    #[allow(clippy::disallowed_methods, reason = "the person who made it")]
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_no_file_is_no_resolv_conf() {
    let host = Host::new();
    let container = host.container("c1");
    let large = host.dir().join("large");
    fs::File::create(&large).unwrap().set_len(1 << 30).unwrap();
    for path in [fifo(&host), "/dev/zero".to_owned(), large.to_str().unwrap().to_owned()] {
        let conf = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "host-local",
            "ipam": {"type": "host-local", "dataDir": host.dir(), "subnet": "10.1.0.0/24", "resolvConf": path},
        });
        let (code, msg) = host.plugin("host-local").add(&container, "eth0", &conf).err();
        assert!(code == 5 && msg.contains(&path), "{code}: {msg}");
        assert!(!host.dir().join("net/10.1.0.1").exists());
        host.plugin("host-local").del(&container, "eth0", &conf).ok();
    }
}

#[test]
fn what_is_no_file_is_no_log_and_no_failure() {
    let host = Host::new();
    let container = host.container("c1");
    for path in [fifo(&host), "/dev/zero".to_owned()] {
        let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "loopback", "logFile": path});
        let outcome = host.plugin("loopback").add(&container, "lo", &conf);
        outcome.ok();
        assert!(outcome.stderr.contains("it is not a regular file"), "{outcome:?}");
        let outcome = host.plugin("loopback").env("CNI_LOG_FILE", &path).del(&container, "lo", &conf);
        outcome.ok();
        assert!(outcome.stderr.contains("it is not a regular file"), "{outcome:?}");
    }
}

/// Everything that host-local and tuning write below dataDir, as links to a file that is not theirs.
#[test]
fn no_link_below_a_data_dir_is_written_through() {
    let mut life = life::host_local();
    let victim = life.host.dir().join("victim");
    fs::write(&victim, "kept").unwrap();
    life.once();
    let data = life.host.dir().join("leases");
    for file in files(&data).into_iter().filter(|file| !file.is_symlink()) {
        fs::remove_file(&file).unwrap();
        symlink(&victim, &file).unwrap();
        let outcome = life.try_add();
        assert_eq!(fs::read(&victim).unwrap(), b"kept", "{}: {outcome:?}", file.display());
        let _ = life.try_del();
        fs::remove_file(&file).unwrap();
    }
    // A link to nothing makes nothing there.
    let nothing = life.host.dir().join("nothing");
    for file in ["net/lock", "net/last_reserved_ip.0", "net/10.88.0.9", ".net.tmp"] {
        let _ = fs::remove_file(data.join(file));
        symlink(&nothing, data.join(file)).unwrap();
        let _ = (life.try_add(), life.try_del());
        assert!(!nothing.exists(), "{file}");
        let _ = fs::remove_file(data.join(file));
    }
}

#[test]
fn no_link_in_the_place_of_a_backup_is_written_through() {
    let mut life = life::tuning();
    life.begin();
    life.add();
    let data = life.host.dir().join("tuning");
    let backup = files(&data).pop().unwrap();
    life.del();
    let victim = life.host.dir().join("victim");
    fs::write(&victim, "kept").unwrap();
    for name in [backup.clone(), backup.with_extension("new")] {
        let _ = fs::remove_file(&name);
        symlink(&victim, &name).unwrap();
        let _ = (life.try_add(), life.try_del());
        assert_eq!(fs::read(&victim).unwrap(), b"kept", "{}", name.display());
        let _ = fs::remove_file(&name);
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_lease_of_an_absurd_time_is_a_lease() {
    let mut life = life::host_local();
    life.once();
    life.add();
    let data = life.host.dir().join("leases");
    let lease = fs::read_dir(data.join("net")).unwrap().map(|entry| entry.unwrap().path());
    let lease = lease.into_iter().find(|path| path.to_str().unwrap().contains("10.88")).unwrap();
    for seconds in [1 << 33, i64::MAX as u64 - 1] {
        let Some(time) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) else { continue };
        let file = fs::File::options().write(true).open(&lease).unwrap();
        // Some file systems hold no such times.
        if file.set_times(FileTimes::new().set_modified(time)).is_err() {
            continue;
        }
        let _ = fs::remove_dir_all(data.join(".net.index"));
        let outcome = life.try_add();
        assert!(outcome.err().1.contains("duplicate allocation"), "{outcome:?}");
        assert!(lease.exists());
    }
    life.del();
}

/// No key of a text takes the plugin down, however long.
fn survives(mut life: Life, keys: &str) {
    life.begin();
    let long = "a".repeat(70_000);
    let right = life.conf.clone();
    for key in keys.split_whitespace() {
        for value in [json!(long), json!([long])] {
            let mut conf = right.clone();
            let mut at: &mut Value = &mut conf;
            for part in key.split('.') {
                at = &mut at[part];
            }
            *at = value;
            set(&mut life.conf, &conf);
            for outcome in [life.try_add(), life.try_del()] {
                assert!(!outcome.stderr.contains("panic"), "{key}: {}", outcome.stderr);
                assert!(!outcome.stdout.contains("panic"), "{key}: {}", outcome.stdout);
            }
            life.conf = right.clone();
        }
    }
}

#[test]
fn texts_of_any_length_are_refused_by_plugins_that_make_interfaces() {
    let all: [Case; 6] = [
        (|| life::bridge("nftables", fixed), "bridge ipMasqBackend args.cni.mac runtimeConfig.mac"),
        (|| life::ptp("nftables", fixed), "ipMasqBackend"),
        (|| life::on_master("macvlan"), "master mode mac"),
        (life::tap, "mac bridge selinuxContext"),
        (life::host_device, "device hwaddr kernelpath pciBusID runtimeConfig.deviceID"),
        (life::host_local, "ipam.dataDir ipam.resolvConf ipam.subnet ipam.gateway runtimeConfig.ips"),
    ];
    each_on_its_host(&all);
}

#[test]
fn texts_of_any_length_are_refused_by_plugins_that_come_behind() {
    let all: [Case; 6] = [
        (|| life::portmap("nftables"), "backend conditionsV4 conditionsV6 externalSetMarkChain"),
        (|| life::portmap("iptables"), "backend conditionsV4 conditionsV6 externalSetMarkChain"),
        (|| life::firewall("nftables"), "backend iptablesAdminChainName firewalldZone ingressPolicy"),
        (|| life::firewall("iptables"), "backend iptablesAdminChainName firewalldZone ingressPolicy"),
        (life::tuning, "mac dataDir args.cni.mac sysctl.a"),
        (life::sbr, "gateways"),
    ];
    each_on_its_host(&all);
}

/// A plugin and its keys.
type Case = (fn() -> Life, &'static str);

fn each_on_its_host(all: &[Case]) {
    for (life, keys) in all {
        std::thread::scope(|scope| scope.spawn(|| survives(life(), keys)).join()).unwrap();
    }
}

/// DEL does one thing after the other where it may have no thread for it.
#[test]
fn a_removal_needs_no_threads() {
    for life in [|| life::bridge("nftables", leases), || life::ptp("nftables", leases)] as [fn() -> Life; 2] {
        let check = || {
            let mut life = life();
            life.once();
            let before = life.seen();
            life.add();
            let mut refused = 0;
            let watch = |call: &Syscall| {
                // Programs are started by clone3 as well, with CLONE_VFORK, after the thread.
                let is_first = call.number == libc::SYS_clone3 && call.returned.is_none() && refused == 0;
                refused += usize::from(is_first);
                if is_first { Act::Fail(Errno::EAGAIN) } else { Act::Go }
            };
            life.watched("DEL", watch).ok();
            assert_eq!(refused, 1);
            life.seen().assert_same(&before);
        };
        std::thread::scope(|scope| scope.spawn(check).join()).unwrap();
    }
}
