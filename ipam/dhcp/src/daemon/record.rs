//! What is known of an attachment, on disk before its ADD is answered, so that a restart forgets nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni_dhcp::packet::{FOREVER, Lease, Settings, lease_key};
use cni_dhcp::rpc::CmdArgs;
use cni_host::StateDir;
use cni_types::{CniResult, PluginConf};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{IpamConf, Shape};

/// An interface of a container, and the lease that it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) container_id: String,
    pub(super) network: String,
    pub(super) ifname: String,
    /// CNI_ARGS, which may have values of options.
    args: String,
    /// The configuration's `ipam`, as JSON.
    ipam: String,
    pub(super) place: Place,
    pub(super) held: Option<Held>,
}

/// Where the interface is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) netns: PathBuf,
    /// Device and inode: the path may come to name another one.
    pub(super) netns_id: (u64, u64),
    /// Names change.
    pub(super) index: u32,
    pub(super) mac: [u8; 6],
    /// The daemon's own link that leads to the same network, by its index: what a macvlan stands on, or the bridge behind a veth pair.
    /// A RELEASE goes that way when the interface is no more.
    pub(super) outside: Option<u32>,
}

/// A lease, and since when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) lease: Lease,
    /// By CLOCK_BOOTTIME of the boot.
    pub(super) since: Duration,
    pub(super) boot: String,
    /// When it is over, by the wall clock, in seconds since 1970; none for a lease without an end.
    over: Option<u64>,
    /// The hardware address that the server's answer came from: its own, or a relay's or router's.
    pub(super) server_mac: Option<[u8; 6]>,
}

/// What a configuration says, for one attachment.
pub(super) struct Wanted {
    pub(super) settings: Settings,
    pub(super) priority: Option<u32>,
    pub(super) shape: Shape,
}

impl Record {
    /// What a plugin has sent.
    pub(super) fn new(args: &CmdArgs, place: Place) -> Result<Self, String> {
        let conf = configuration(args)?;
        let ipam: Option<serde_json::Value> = conf.raw.get("ipam").map_err(|error| error.to_string())?;
        Ok(Record {
            container_id: args.container_id.clone(),
            network: conf.name.as_str().to_owned(),
            ifname: args.ifname.clone(),
            args: args.args.clone(),
            ipam: ipam.map_or_else(|| "{}".to_owned(), |ipam| ipam.to_string()),
            place,
            held: None,
        })
    }

    pub(super) fn key(&self) -> Vec<u8> {
        lease_key(&self.container_id, &self.network, &self.ifname)
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        format!("{}/{}/{}", self.container_id, self.network, self.ifname)
    }

    pub(super) fn wanted(&self) -> Result<Wanted, String> {
        let ipam: IpamConf =
            cni_types::json::from_slice(self.ipam.as_bytes()).map_err(|error| format!("ipam.{error}"))?;
        let settings = Settings::new(&self.key(), &ipam.provide, &ipam.request, &self.args)
            .map_err(|error| error.to_string())?;
        let shape = ipam.shape().map_err(|error| error.to_string())?;
        Ok(Wanted { settings, priority: ipam.priority(), shape })
    }

    /// Remembers a lease.
    pub(super) fn hold(&mut self, lease: Lease, age: Duration, server_mac: Option<[u8; 6]>) {
        let before = self.held.take().and_then(|held| held.server_mac);
        let left = Duration::from_secs(lease.lease_time.into()).saturating_sub(age);
        self.held = Some(Held {
            over: (lease.lease_time != FOREVER).then(|| (wall() + left).as_secs()),
            since: boottime().saturating_sub(age),
            boot: boot(),
            server_mac: server_mac.or(before),
            lease,
        });
    }
}

impl Held {
    /// How old it is, when it is of this boot.
    pub(super) fn age(&self) -> Option<Duration> {
        (self.boot == boot()).then(|| boottime().saturating_sub(self.since))
    }

    /// Whether it has ended, as far as the wall clock can tell.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some_and(|over| over <= wall().as_secs())
    }
}

impl Wanted {
    /// What an ADD answers. An MTU that the link does not have is not told, since packets of it would be lost.
    pub(super) fn result(&self, lease: &Lease, link_mtu: u32) -> CniResult {
        let requested = self.settings.requested();
        let mut result = lease.result(requested, self.priority);
        let mtu = lease.mtu.filter(|_| requested.contains(&MTU)).map(u32::from);
        if let Some(mtu) = mtu.filter(|mtu| *mtu <= link_mtu) {
            result.routes.iter_mut().for_each(|route| route.mtu = Some(mtu));
        }
        result
    }
}

/// The option that has the link's MTU.
const MTU: u8 = cni_dhcp::packet::code::MTU;

/// The configuration of a call, whose name is a part of the lease's key.
pub(super) fn configuration(args: &CmdArgs) -> Result<PluginConf, String> {
    PluginConf::for_del(&args.stdin).map_err(|error| format!("cannot read the configuration: {error}"))
}

/// The key of the lease that a call is about.
pub(super) fn key_of(args: &CmdArgs) -> Result<Vec<u8>, String> {
    let conf = configuration(args)?;
    Ok(lease_key(&args.container_id, conf.name.as_str(), &args.ifname))
}

/// The name of the file: a key has characters that a name must not have, and is too long.
fn file(record: &Record) -> String {
    let digest = Sha256::digest(record.key());
    digest.iter().take(16).fold(String::new(), |name, byte| format!("{name}{byte:02x}"))
}

pub(super) fn write(leases: &StateDir, record: &Record) -> Result<(), String> {
    let text = serde_json::to_vec(record).map_err(|error| error.to_string())?;
    leases.write(&file(record), &text).map_err(|error| error.to_string())
}

pub(super) fn remove(leases: &StateDir, record: &Record) -> Result<(), String> {
    leases.remove(&file(record)).map_err(|error| error.to_string())
}

/// All that there are; what cannot be read is told, and stays for somebody to look at.
pub(super) fn read_all(leases: &StateDir, mut told: impl FnMut(String)) -> Vec<Record> {
    leases.remove_all_unfinished();
    let mut read = |name: &String| {
        let path = leases.path().join(name);
        let content = leases.try_read(name).map_err(|error| error.to_string()).transpose()?;
        let record = content.and_then(|content| {
            serde_json::from_slice::<Record>(&content)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))
        });
        record.map_err(&mut told).ok()
    };
    leases.names().iter().filter_map(&mut read).collect()
}

/// CLOCK_BOOTTIME, which goes on while the machine sleeps, as a server's clock does.
pub(super) fn boottime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The kernel's name of this boot (random(4)).
pub(super) fn boot() -> String {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map(|id| id.trim().to_owned()).unwrap_or_default()
}
