//! The `host-device` plugin: moves a network device of the host into a container, and back. For a device that a container
//! has to itself: a port of a network card, a virtual function, a VLAN that an administrator made.
//!
//! The device is tracked by its index, not by names that others may change: it is moved and renamed in one message, and while
//! it is away its alias is its name on the host. What belongs to one attachment is the device, a record of it
//! (`records`) and the lease. A device on the PCI bus whose driver hands it to a program (DPDK) has no interface; it is told
//! of in the result and left alone.

use std::collections::HashSet;
use std::rc::Rc;

use cni_host::{NetNs, Owner};
use cni_interface::{
    Container, Reported, all, check_mac, collect_and_release, inside as reported, ipam_wants_link,
    open_inside, owner, remove_and_release, valid_owners,
};
use cni_netlink::{Link, Socket};
use cni_plugin::{Add, Check, Context as _, Del, Error, Gc, Plugin, Request, Result, Status, Undo, log};
use cni_types::{CniResult, Dns, IfName, Interface, SpecVersion};

mod config;
mod device;
mod kept;
mod moving;
mod network;
mod records;
mod returned;
mod sysfs;

use config::Selector;
pub use config::{Config, Wire};
use device::Before;
use moving::Home;
use network::Network;
use records::{Moved, Record, Records};
use returned::Found;
use sysfs::Sysfs;

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Option<Config>> = Plugin {
    name: "host-device",
    versions: SpecVersion::ALL,
    read: Wire::read,
    validate: |wire, _| match wire.names_no_device() {
        true => Ok(None),
        false => Config::new(wire, &Sysfs::host()).map(Some),
    },
    add,
    check,
    del,
    gc,
    status,
};

fn add(req: &Add<Option<Config>>) -> Result<CniResult> {
    let sysfs = Sysfs::host();
    let config = named(&req.config)?;
    network::expect_interface(config, is_in_userspace(config, &sysfs)?)?;
    // Read before anything is touched: one that cannot be read fails the ADD.
    let prev = req.call.conf.prev_result()?;
    let mut inside = Container::open(req)?;
    let mut host = Socket::open()?;
    let device = if is_in_userspace(config, &sysfs)? {
        None
    } else {
        inside.expect_free()?;
        Some(log::step("find the device", || find_at_home(&mut host, config, &sysfs))?)
    };

    let network = match &device {
        Some(device) if config.with_network => Some(Network::of(&mut host, device, &mut inside)?),
        _ => None,
    };

    // Undone last, when nothing uses the address any more: what is made later is dropped before.
    let mut lease = Undo::default();
    let mut undo = Undo::default();
    let mut result = CniResult::default();
    let wants_link = ipam_wants_link(&req.call);
    if req.call.has_ipam() && !wants_link {
        // Not beside the move: a device that the host uses is not to be cut off for an address that there is not.
        result = network::ipam_add(network.as_ref(), req, &mut lease)?;
    }
    let link = match &device {
        Some(device) => Some(take(req, &mut host, device, network.as_ref(), &mut inside, &mut undo)?),
        None => None,
    };
    if let (Some(network), Some(link)) = (&network, &link) {
        network.give_addresses(&mut inside, link)?;
    }
    if wants_link {
        if let Some(link) = &link {
            inside.set_up(link)?;
        }
        result = network::ipam_add(network.as_ref(), req, &mut lease)?;
    }
    // As with the reference, whatever IPAM says.
    result.dns = if req.call.has_ipam() { req.call.conf.dns.clone() } else { Dns::default() };
    let mut interface = match link {
        Some(link) => {
            match &network {
                Some(network) => {
                    network.configure_rest(&mut inside, &link, &result)?;
                    network.give_routes(&mut inside, &link, &mut undo)?;
                    network.tell(&mut result);
                }
                None => inside.configure(&link, &result, false)?,
            }
            reported(&link, req.netns())
        }
        None => Interface {
            name: req.attachment.ifname.as_str().to_owned(),
            sandbox: Some(req.netns().to_owned()),
            ..Interface::default()
        },
    };
    interface.pci_id.clone_from(&config.pci);
    undo.commit();
    lease.commit();
    Ok(behind(prev, result, interface))
}

/// What ADD and CHECK are about. Only STATUS can do without, where the runtime names the device with each request.
fn named(config: &Option<Config>) -> Result<&Config> {
    config.as_ref().ok_or_else(config::unnamed)
}

/// The device; one that came back without a DEL gets its name again first.
fn find_at_home(host: &mut Socket, config: &Config, sysfs: &Sysfs) -> Result<Link> {
    let found = device::find(host, config, sysfs);
    let records = Records::host();
    let home = match (&found, &config.selector) {
        (Err(_), Selector::Name(name)) => {
            IfName::new(name.as_str()).ok().map(|name| by_name_only(name, &records))
        }
        (Err(_), _) => None,
        (Ok(link), _) => {
            let alias = link.alias.as_deref().filter(|alias| *alias != link.name);
            let record = alias.and_then(|alias| records.of_device(alias));
            record.map(|record| (Home::of(&record), Some(record)))
        }
    };
    let Some((home, record)) = home else { return found };
    // Of what nobody recorded it is known that it did not die with its namespace.
    let is_device = |link: &Link| match &record {
        Some(record) => record.is_of_make(link),
        None => link.kind.is_empty(),
    };
    if returned::restore(host, &home, is_device)? != Found::Restored {
        return found;
    }
    for record in records.all().iter().filter(|record| record.device == home.name) {
        kept::give_home(host, &records, &record.owner(), home.name.as_str());
        records.remove(&record.owner())?;
    }
    device::find(host, config, sysfs)
}

/// What is known of a device of which nothing but its name is.
fn by_name_only(name: IfName, records: &Records) -> (Home, Option<Record>) {
    let record = records.of_device(name.as_str());
    let alias = record.as_ref().map(|record| record.alias.clone()).unwrap_or_default();
    (Home { name, alias }, record)
}

/// Moves the device into the container, after it has been recorded.
fn take<'a>(
    req: &'a Add<Option<Config>>,
    host: &mut Socket,
    device: &Link,
    network: Option<&Network>,
    inside: &mut Container,
    undo: &mut Undo<'a>,
) -> Result<Link> {
    let owner = owner(req);
    let record = Record::new(&owner, req.netns(), device)?;
    let before = Before::of(host, device).with_context(|| format!("cannot move {}", device.name))?;
    let home = Home::of(&record);
    let records = Records::host();
    records.set(&record)?;
    if let Some(network) = network
        && let Err(error) = kept::set(&records, &owner, network)
    {
        records.remove(&owner)?;
        return Err(error);
    }
    let moved = log::step("move the device", || moving::move_in(host, device, inside, &home));
    let link = match moved {
        Ok(link) => link,
        Err(error) => {
            // Another ADD may have taken it; then it is not this one's to look after.
            let here = host.link_by_name(&device.name).is_ok();
            let restored = if here { before.restore(host, &device.name) } else { Ok(()) };
            if let Err(error) = all([restored, Records::host().remove(&owner)]) {
                log::warn(format_args!("cannot make {} again what it was: {error}", device.name));
            }
            return Err(error);
        }
    };
    let (netns, moved) = (Rc::clone(&inside.netns), link.clone());
    undo.push("move the device back", move || {
        // One that comes back under another name stays recorded.
        if moving::move_out(&mut netns.socket()?, &moved, &home)? {
            let restored = before.restore(&mut Socket::open()?, home.name.as_str());
            return all([restored, Records::host().remove(&owner)]);
        }
        Ok(())
    });
    Records::host().set(&Record { moved: Some(Moved::of(&link)), ..record })?;
    Ok(link)
}

/// The result behind that of the plugins before this one.
fn behind(prev: Option<&CniResult>, own: CniResult, interface: Interface) -> CniResult {
    let mut result = prev.cloned().unwrap_or_default();
    let index = result.interfaces.len();
    result.interfaces.push(interface);
    result.ips.extend(own.ips.into_iter().map(|mut ip| {
        ip.interface = Some(index);
        ip
    }));
    result.routes.extend(own.routes);
    if own.dns != Dns::default() {
        result.dns = own.dns;
    }
    result
}

fn check(req: &Check<Option<Config>>) -> Result<()> {
    let sysfs = Sysfs::host();
    let config = named(&req.config)?;
    let (prev, path) = (req.prev_result()?, req.netns());
    req.ipam_check()?;
    if is_in_userspace(config, &sysfs)? {
        return Ok(());
    }
    let reported = Reported::new(prev).inside(req.attachment.ifname.as_str(), path)?;
    let mut inside = Container::open(req)?;
    let link = inside.find_interface()?;
    check_mac(&link, reported)?;
    inside.check_addresses(&link, prev, false)
}

fn del(req: &Del<Wire>) -> Result<()> {
    let owner = owner(req);
    let rules = kept::take_rules(req, &owner);
    let device = remove_and_release(req, || {
        let device = log::step("give the device back", || give_back(req, &owner));
        all([device, Records::host().remove_unfinished(&owner)])
    });
    all([rules, device])
}

fn give_back(req: &Request<Wire>, owner: &Owner) -> Result<()> {
    let records = Records::host();
    let record = records.find(owner);
    if record.is_none() && was_in_userspace(&req.config) {
        return Ok(());
    }
    let mut inside = open_inside(req)?;
    if let Some((_netns, inside)) = &mut inside
        && let Some((link, home)) = moving::find_inside(inside, &owner.ifname, record.as_ref())?
        // Without a record of this attachment, another's device is not to be taken.
        && (record.is_some() || records.of_device(home.name.as_str()).is_none())
    {
        return match moving::move_out(inside, &link, &home)? {
            true => {
                kept::give_home(&mut Socket::open()?, &records, owner, home.name.as_str());
                records.remove(owner)
            }
            // Kept until it has its name again.
            false => Ok(()),
        };
    }
    match record {
        Some(record) => settle(&records, &record, inside.is_some()),
        // The reference's: without its configured name there is nothing to know it by.
        None => match req.config.device().map(IfName::new) {
            Some(Ok(name)) => {
                let (home, record) = by_name_only(name, &records);
                let is_it = |link: &Link| record.as_ref().is_none_or(|record| record.is_of_make(link));
                let is_device = |link: &Link| link.kind.is_empty() && is_it(link);
                returned::restore(&mut Socket::open()?, &home, is_device).map(drop)
            }
            _ => Ok(()),
        },
    }
}

/// Deals with a device that is not in its container any more: it gets its name again if it came back, and is forgotten then,
/// or when it died. One that may still come is kept in mind, since a namespace that ends does so some time later, and so is
/// one whose name is taken. While the container's namespace is there (`open`) it should have been found: somebody moved it on.
fn settle(records: &Records, record: &Record, open: bool) -> Result<()> {
    let mut host = Socket::open()?;
    match returned::restore(&mut host, &Home::of(record), |link| record.is_of_make(link))? {
        Found::NameTaken => return Ok(()),
        Found::Nothing if record.kind.is_empty() && open => {
            return Err(Error::failed(format!(
                "cannot give {} back: it is neither on the host nor in {}; it stays recorded",
                record.device, record.netns
            )));
        }
        Found::Nothing if record.kind.is_empty() => return Ok(()),
        Found::Restored => kept::give_home(&mut host, records, &record.owner(), record.device.as_str()),
        Found::InPlace => kept::give_home_if_same(&mut host, records, record),
        Found::Nothing => {}
    }
    records.remove(&record.owner())
}

/// Only what is recorded: the alias that the reference leaves does not tell the network.
fn gc(req: &Gc<Wire>) -> Result<()> {
    let valid = valid_owners(req);
    let records = Records::host();
    let network = req.call.conf.name.as_str();
    let mut stale = records.all();
    let valid: HashSet<Owner> = valid.into_iter().collect();
    stale.retain(|record| record.network == network && !valid.contains(&record.owner()));
    collect_and_release(&req.call, || {
        all(stale.iter().map(|record| collect(&records, record)).collect::<Vec<_>>())
    })
}

/// Takes the device out of the namespace that it was moved to, if that is still there and it is still in it.
fn collect(records: &Records, record: &Record) -> Result<()> {
    match NetNs::open(&record.netns) {
        Ok(netns) if !netns.is_same(&NetNs::current()?)? => {
            let mut inside = netns.socket()?;
            kept::take_rules_from(&mut inside, records, &record.owner())?;
            // The path may have become another container's.
            if let Some((link, home)) = moving::find_inside(&mut inside, &record.ifname, Some(record))? {
                return match moving::move_out(&mut inside, &link, &home)? {
                    true => {
                        kept::give_home(&mut Socket::open()?, records, &record.owner(), home.name.as_str());
                        records.remove(&record.owner())
                    }
                    false => Ok(()),
                };
            }
        }
        Ok(_) => {}
        Err(error) if error.is_netns_gone() => {}
        Err(error) => return Err(error.into()),
    }
    settle(records, record, false)
}

fn status(req: &Status<Option<Config>>) -> Result<()> {
    if let Some(config) = &req.config {
        expect_device(config, &Sysfs::host()).map_err(Error::unavailable)?;
    }
    req.call.ipam_status()
}

/// The device exists: on the host, or in a container that it was given to. That it is in use is no fault of the node's.
fn expect_device(config: &Config, sysfs: &Sysfs) -> Result<()> {
    let is_away = |record: &Record| match &config.selector {
        Selector::Name(name) => record.device.as_str() == name,
        Selector::Address(address) => {
            let text: Vec<String> = address.iter().map(|octet| format!("{octet:02x}")).collect();
            record.address == text.join(":")
        }
        _ => false,
    };
    let there = match &config.selector {
        Selector::KernelPath(path) => sysfs.has_path(path),
        Selector::Pci(address) => sysfs.has_pci(address),
        Selector::Auxiliary(id) => sysfs.has_auxiliary(id),
        Selector::Name(_) | Selector::Address(_) => Records::host().all().iter().any(is_away),
    };
    if there { Ok(()) } else { device::find(&mut Socket::open()?, config, sysfs).map(drop) }
}

fn is_in_userspace(config: &Config, sysfs: &Sysfs) -> Result<bool> {
    config.pci.as_deref().map_or(Ok(false), |address| sysfs.is_in_userspace(address))
}

/// For DEL, which has to go on whatever the configuration and the device have become.
fn was_in_userspace(wire: &Wire) -> bool {
    let sysfs = Sysfs::host();
    Config::new(wire, &sysfs).is_ok_and(|config| is_in_userspace(&config, &sysfs).unwrap_or(false))
}
