//! The firewalld backend: each address becomes a source of a zone, by D-Bus. What passes is then up to that zone.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cni_plugin::{Error, Result, environment, log};
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

/// The name of this backend's records.
pub(crate) const NAME: &str = "firewalld";

/// A connection to the system bus.
struct Bus(Connection);

/// Whether firewalld is there. No connection is made where there is no bus, as on most hosts that run containers only.
pub(crate) fn is_running() -> bool {
    let bus_is_there = !environment("DBUS_SYSTEM_BUS_ADDRESS").is_empty()
        || SOCKETS.iter().any(|socket| Path::new(socket).exists());
    bus_is_there && Bus::connect().and_then(|bus| bus.has_firewalld()).unwrap_or(false)
}

/// Puts the container's addresses into the zone.
pub(crate) fn add(pod: &Pod, zone: &str) -> Result<()> {
    let (bus, records) = (Bus::connect()?, Records::of(NAME));
    records.locked(|| {
        for address in &pod.addresses {
            records.set(*address, &pod.owner)?;
            match bus.call::<String>("addSource", zone, *address) {
                Err(error) if error.to_string().contains(ALREADY_SET) => {}
                Err(error) => {
                    return Err(Error::failed(format!(
                        "cannot add {address} to firewalld zone {zone}: {error}"
                    )));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    })
}

/// Takes the container's addresses out of the zone. What firewalld refuses is left, as the reference leaves it: a zone
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
    if !pick(&records).iter().any(|address| chosen || records.knows(*address)) {
        return Ok(());
    }
    let bus = Bus::connect();
    records.locked(|| {
        for address in pick(&records).into_iter().filter(|address| chosen || records.knows(*address)) {
            let removed = match &bus {
                Ok(bus) => {
                    bus.call::<String>("removeSource", zone, address).map(drop).map_err(|e| e.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = removed {
                log::info(format_args!("{address} is not taken out of firewalld zone {zone}: {error}"));
            }
            records.remove(address)?;
        }
        Ok(())
    })
}

impl Bus {
    fn connect() -> Result<Self> {
        let connection = zbus::block_on(Builder::system().method_timeout(PATIENCE).build());
        let connection = connection
            .map_err(|error| Error::failed(format!("cannot connect to the system bus: {error}")))?;
        Ok(Bus(connection))
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
