//! The firewalld backend: each address becomes a source of a zone, by D-Bus. What passes is then up to that zone.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use cni_plugin::{Error, Result, Undo, environment, log};
use ipnet::IpNet;
use zbus::Connection;
use zbus::connection::Builder;

use crate::Pod;
use crate::records::Records;

/// Where the system bus listens, unless `DBUS_SYSTEM_BUS_ADDRESS` says otherwise.
const SOCKETS: [&str; 2] = ["/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"];

const SERVICE: &str = "org.fedoraproject.FirewallD1";
const OBJECT: &str = "/org/fedoraproject/FirewallD1";
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";

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
            match bus.call::<String>("addSource", zone, *address) {
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
        let found = bus.call::<bool>("querySource", zone, *address);
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
    /// Waits for the bus on a thread that is left behind, since greeting it has no timeout, and a bus that hangs must not hold
    /// up every container of the host.
    fn connect() -> Result<Self> {
        let cannot = |reason: &str| Error::failed(format!("cannot connect to the system bus: {reason}"));
        let (done, connected) = channel();
        let connect = move || {
            // Nobody listens any more when it took too long.
            let _ = done.send(zbus::block_on(Builder::system().method_timeout(PATIENCE).build()));
        };
        thread::Builder::new().spawn(connect).map_err(|error| cannot(&error.to_string()))?;
        match connected.recv_timeout(GREETING) {
            Ok(connection) => Ok(Bus(connection.map_err(|error| cannot(&error.to_string()))?)),
            Err(_) => Err(cannot(&format!("it has not answered for {} seconds", GREETING.as_secs()))),
        }
    }

    fn has_firewalld(&self) -> Result<bool> {
        let (name, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        let has_owner = async {
            let reply = self.0.call_method(Some(name), path, Some(name), "NameHasOwner", &(SERVICE,)).await?;
            reply.body().deserialize::<bool>()
        };
        zbus::block_on(has_owner)
            .map_err(|error| Error::failed(format!("cannot look for {SERVICE}: {error}")))
    }

    /// What is refused is left: an address that is not there, or that somebody moved, and a zone that is gone.
    fn remove_source(&self, zone: &str, address: IpAddr) {
        if let Err(error) = self.call::<String>("removeSource", zone, address) {
            log::info(format_args!("{address} is not taken out of firewalld zone {zone}: {error}"));
        }
    }

    /// Calls a method of zones that takes a zone and a source.
    fn call<T>(&self, method: &str, zone: &str, address: IpAddr) -> zbus::Result<T>
    where
        T: serde::de::DeserializeOwned + zbus::zvariant::Type,
    {
        let source = IpNet::from(address).to_string();
        zbus::block_on(async {
            let reply =
                self.0.call_method(Some(SERVICE), OBJECT, Some(ZONES), method, &(zone, source)).await?;
            reply.body().deserialize()
        })
    }
}
