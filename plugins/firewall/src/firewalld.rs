//! The firewalld backend: each address becomes a source of a zone, by D-Bus. What passes is then up to that zone.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cni_plugin::{Error, Result, Undo, environment, log};
use ipnet::IpNet;

use crate::Pod;
use crate::dbus::{BUS, Connection, Object, Reply};
use crate::records::Records;

/// Where the system bus listens, unless `DBUS_SYSTEM_BUS_ADDRESS` says otherwise.
const SOCKETS: [&str; 2] = ["/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"];

const SERVICE: &str = "org.fedoraproject.FirewallD1";
const ZONES: Object<'static> = Object {
    destination: SERVICE,
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
};

/// What firewalld says when the address is in that zone already (firewall/errors.py).
const ALREADY_SET: &str = "ZONE_ALREADY_SET";

/// A change may have to wait for a reload of firewalld's, which takes seconds.
const PATIENCE: Duration = Duration::from_secs(25);

/// A bus that works answers at once.
const GREETING: Duration = Duration::from_secs(5);

/// The name of this backend's records.
pub(crate) const NAME: &str = "firewalld";

/// A connection to the system bus.
struct Bus(Connection);

/// Whether firewalld is there. No connection is made where there is no bus, as on most hosts that run containers only.
pub(crate) fn is_running() -> bool {
    let bus_is_there = !environment("DBUS_SYSTEM_BUS_ADDRESS").is_empty()
        || SOCKETS.iter().any(|socket| Path::new(socket).exists());
    bus_is_there
        && Bus::connect().and_then(|bus| bus.has_firewalld()).unwrap_or_else(|error| {
            log::warn(format_args!("taking firewalld for not running: {error}"));
            false
        })
}

/// Puts the container's addresses into the zone.
pub(crate) fn add<'a>(pod: &'a Pod, zone: &'a str, undo: &mut Undo<'a>) -> Result<()> {
    let (bus, records) = (Bus::connect()?, Records::of(NAME));
    records.locked(|| {
        // Armed no earlier: who has waited for the lock in vain should not wait for it again.
        undo.push("take the container out of the firewalld zone", || del(pod, zone, true));
        for address in &pod.addresses {
            // An address is in one zone at most: in another one if the configuration changed and nobody ran a DEL.
            if let Some(old) = records.note(*address).filter(|old| old != zone) {
                bus.remove_source(&old, *address);
            }
            records.set(*address, &pod.owner, zone)?;
            match bus.call("addSource", zone, *address) {
                Err(error) if !error.to_string().contains(ALREADY_SET) => {
                    // It is not ours, and DEL leaves it alone.
                    records.remove(*address)?;
                    return Err(Error::failed(format!(
                        "cannot add {address} to firewalld zone {zone}: {error}"
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    })
}

/// Takes the container's addresses out of the zone that they were put into, which for those that nobody is recorded for is
/// the configured one. What firewalld refuses is left, as the reference leaves it: a zone
/// that is gone must not keep a container from being deleted.
pub(crate) fn del(pod: &Pod, zone: &str, chosen: bool) -> Result<()> {
    remove(zone, chosen, |records| records.of_pod(pod))
}

/// The same for this network's attachments that are not among the valid ones.
pub(crate) fn gc(network: &str, valid: &HashSet<String>, zone: &str) -> Result<()> {
    remove(zone, false, |records| records.stale(network, valid))
}

/// Whether all addresses are in the zone.
pub(crate) fn check(pod: &Pod, zone: &str) -> Result<()> {
    let bus = Bus::connect()?;
    for address in &pod.addresses {
        let found = bus.call("querySource", zone, *address).and_then(|reply| reply.truth());
        let is_there = found.map_err(|error| {
            Error::failed(format!("cannot look for {address} in firewalld zone {zone}: {error}"))
        })?;
        if !is_there {
            return Err(Error::failed(format!("{address} is not in firewalld zone {zone}")));
        }
    }
    Ok(())
}

/// `chosen`: this backend is the host's, so addresses that nobody is recorded for are firewalld's too.
fn remove(zone: &str, chosen: bool, pick: impl Fn(&Records) -> Vec<IpAddr>) -> Result<()> {
    let records = Records::of(NAME);
    let is_ours = |address: &IpAddr| chosen || records.knows(*address);
    if !records.has_unfinished() && !pick(&records).iter().any(is_ours) {
        return Ok(());
    }
    let bus = Bus::connect();
    records.locked(|| {
        for address in pick(&records).into_iter().filter(is_ours) {
            let zone = records.note(address).unwrap_or_else(|| zone.to_owned());
            match &bus {
                Ok(bus) => bus.remove_source(&zone, address),
                Err(error) => log::info(format_args!("{address} is left in firewalld zone {zone}: {error}")),
            }
            records.remove(address)?;
        }
        Ok(())
    })
}

impl Bus {
    /// A bus that hangs must not hold up every container of the host.
    fn connect() -> Result<Self> {
        Connection::open(&addresses(), GREETING, PATIENCE)
            .map(Bus)
            .map_err(|error| Error::failed(format!("cannot connect to the system bus: {error}")))
    }

    fn has_firewalld(&self) -> Result<bool> {
        let reply = self.0.call(BUS, "NameHasOwner", &[SERVICE]).and_then(|reply| reply.truth());
        reply.map_err(|error| Error::failed(format!("cannot look for {SERVICE}: {error}")))
    }

    /// What is refused is left: an address that is not there, or that somebody moved, and a zone that is gone.
    fn remove_source(&self, zone: &str, address: IpAddr) {
        if let Err(error) = self.call("removeSource", zone, address) {
            log::info(format_args!("{address} is not taken out of firewalld zone {zone}: {error}"));
        }
    }

    /// Calls a method of zones that takes a zone and a source.
    fn call(&self, method: &str, zone: &str, address: IpAddr) -> io::Result<Reply> {
        self.0.call(ZONES, method, &[zone, &IpNet::from(address).to_string()])
    }
}

/// Of the system bus.
fn addresses() -> String {
    match environment("DBUS_SYSTEM_BUS_ADDRESS") {
        address if address.is_empty() => SOCKETS.map(|socket| format!("unix:path={socket}")).join(";"),
        address => address,
    }
}
