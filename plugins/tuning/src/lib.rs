//! The `tuning` plugin: changes attributes of a container's interface (MAC address, MTU, promiscuous and all-multicast mode,
//! transmit queue) and kernel settings of its namespace. Chained after the plugin that makes the interface, whose result it
//! passes on.
//!
//! What the attributes were before is kept in a file, and DEL gives it back: an interface that is moved back to the host goes
//! as it came. Kernel settings belong to the namespace and go with it, so DEL leaves them; only a failed ADD sets them back.
//!
//! podman and nerdctl put this plugin into every network without a key. Then it looks at nothing and changes nothing.

use cni_host::{NetNs, Owner, sysctl_read, sysctl_write};
use cni_interface::{open_inside, owner, valid_owners};
use cni_netlink::Socket;
use cni_plugin::{
    Add, Call, Check, Context as _, Del, Error, Gc, Plugin, Request, Result, Status, Undo, log,
};
use cni_types::{CniResult, Interface, SpecVersion};

mod allow_list;
mod attributes;
mod backup;
mod config;
mod duplicates;
mod sysctl;

use attributes::Attributes;
use backup::{Backup, BackupFile};
pub use config::{Config, Wire};
use sysctl::Sysctl;

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: "tuning",
    versions: SpecVersion::ALL,
    read: Call::read,
    validate: Config::new,
    add,
    check,
    del,
    gc,
    status,
};

fn add(req: &Add<Config>) -> Result<CniResult> {
    let prev = req.prev_result()?;
    let config = &req.config;
    if config.is_empty() {
        return Ok(prev.clone());
    }
    let owner = owner(req);
    let sysctls = config.sysctls(&owner.ifname)?;
    allow_list::check(&sysctls)?.into_iter().for_each(log::warn);
    let netns = NetNs::open(req.netns())?;
    let what = || format!("cannot tune {} in {}", owner.ifname, netns.path().display());
    let file = BackupFile::of(&config.data_dir, &owner);
    netns.run(|| tune(&config.attributes, &sysctls, &owner, file))?.with_context(what)?;
    Ok(tuned(prev, &owner.ifname, &config.attributes))
}

fn check(req: &Check<Config>) -> Result<()> {
    req.prev_result()?;
    let config = &req.config;
    if config.is_empty() {
        return Ok(());
    }
    let (path, ifname) = (req.netns(), req.attachment.ifname.as_str());
    let sysctls = config.sysctls(ifname)?;
    NetNs::open(path)?.run(|| {
        if !config.attributes.is_empty() {
            let found = Socket::open()?.link_by_name(ifname);
            config.attributes.check(&found.with_context(|| format!("cannot find {ifname} in {path}"))?)?;
        }
        sysctls.iter().try_for_each(Sysctl::check)
    })?
}

/// Never fails for what cannot be given back: the runtime would not ask the plugins before this one then, and the interface
/// that they delete needs nothing any more. The file stays, for a DEL to come.
fn del(req: &Del<Wire>) -> Result<()> {
    let owner = owner(req);
    let file = BackupFile::of(&req.config.data_dir(), &owner);
    let restored = match file.read() {
        Ok(Some(backup)) if backup.is_of(&owner) => {
            log::step("restore the interface", || restore_inside(req, &backup)).and_then(|()| file.remove())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    file.remove_unfinished();
    if let Err(error) = restored {
        log::warn(format_args!("cannot restore {}: {error}", owner.ifname));
    }
    Ok(())
}

/// Nothing of an attachment is on the host but its file.
fn gc(req: &Gc<Wire>) -> Result<()> {
    let valid = valid_owners(req);
    backup::collect(&req.config.data_dir(), req.call.conf.name.as_str(), &valid)
}

fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    allow_list::check(&config.sysctls(sysctl::IFNAME)?)?;
    if config.attributes.is_empty() {
        return Ok(());
    }
    backup::is_usable(&config.data_dir).map_err(Error::unavailable)
}

/// All of an ADD that is done inside the container's namespace, taking it back included.
fn tune(attributes: &Attributes, sysctls: &[Sysctl], owner: &Owner, file: BackupFile) -> Result<()> {
    let mut undo = Undo::default();
    if !attributes.is_empty() {
        set_attributes(attributes, owner, file, &mut undo)?;
    }
    // After the MTU, which sets the interface's IPv6 settings anew (net/ipv6/addrconf.c, addrconf_notify).
    for sysctl in sysctls {
        log::step("set a sysctl", || sysctl.set(&mut undo))?;
    }
    undo.commit();
    Ok(())
}

/// Changes the interface in one message, after its present attributes have been written down.
fn set_attributes(wanted: &Attributes, owner: &Owner, file: BackupFile, undo: &mut Undo<'_>) -> Result<()> {
    let mut socket = Socket::open()?;
    let link = socket.link_by_name(&owner.ifname)?;
    let present = wanted.of(&link);
    let before = file.read()?;
    // An earlier ADD of this attachment, that of the same plugin twice in a chain, knows the attributes from before it.
    let known = before.iter().filter(|before| owner.owns(&before.owner)).map(|before| before.attributes);
    let attributes = known.fold(present, |present, known| known.or(&present));
    file.write(&Backup { attributes, owner: owner.alias() })?;
    undo.push("put the backup back", move || file.put_back(before.as_ref()));

    let missing = wanted.missing(&link);
    if missing.is_empty() {
        return Ok(());
    }
    let index = link.index;
    undo.push("restore the interface", move || restore(&mut Socket::open()?, index, &present));
    log::step("change the interface", || match missing.mac {
        Some(_) => announcing(&owner.ifname, || socket.link_change(index, &missing.change())),
        None => socket.link_change(index, &missing.change()),
    })?;
    Ok(())
}

/// Has the kernel tell the neighbours of a new MAC address, in both families (net/ipv4/devinet.c, inetdev_event; net/ipv6/ndisc.c,
/// ndisc_netdev_event), also where nobody has set that. Where it cannot be set they find out by themselves, later.
fn announcing<T>(ifname: &str, change: impl FnOnce() -> T) -> T {
    let keys = [format!("net/ipv4/conf/{ifname}/arp_notify"), format!("net/ipv6/conf/{ifname}/ndisc_notify")];
    let before = keys.map(|key| {
        let before = sysctl_read(&key).ok().filter(|before| before.trim() == "0");
        before.map(|before| (sysctl_write(&key, "1"), key, before))
    });
    let changed = change();
    for (_, key, before) in before.into_iter().flatten() {
        if let Err(error) = sysctl_write(&key, before.trim()) {
            log::debug(error);
        }
    }
    changed
}

/// Gives the attributes back as far as there still is an interface to have them.
fn restore_inside(req: &Request<Wire>, backup: &Backup) -> Result<()> {
    let Some((_, mut inside)) = open_inside(req)? else { return Ok(()) };
    match inside.link_by_name(req.attachment.ifname.as_str()) {
        Ok(link) => restore(&mut inside, link.index, &backup.attributes),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sets the attributes, one by one when they do not go together, so that one that is refused keeps no other.
fn restore(socket: &mut Socket, index: u32, attributes: &Attributes) -> Result<()> {
    let missing = attributes.missing(&socket.link_by_index(index)?);
    if missing.is_empty() || socket.link_change(index, &missing.change()).is_ok() {
        return Ok(());
    }
    let outcomes = missing.each().map(|one| Ok(socket.link_change(index, &one.change())?));
    cni_interface::all(outcomes.collect::<Vec<_>>())
}

/// The result of the plugins before this one, with what has changed about the container's interface.
fn tuned(prev: &CniResult, ifname: &str, attributes: &Attributes) -> CniResult {
    let mut result = prev.clone();
    for interface in result.interfaces.iter_mut().filter(|interface| is_containers(interface, ifname)) {
        if let Some(mac) = attributes.mac {
            interface.mac = Some(mac.to_string());
        }
        // Who told no MTU, as the reference's plugins do, tells none now.
        if interface.mtu.is_some() {
            interface.mtu = attributes.mtu.or(interface.mtu);
        }
    }
    result
}

fn is_containers(interface: &Interface, ifname: &str) -> bool {
    interface.name == ifname && interface.sandbox.as_deref().is_some_and(|sandbox| !sandbox.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> CniResult {
        let interface = |name: &str, sandbox: Option<&str>, mtu| Interface {
            name: name.to_owned(),
            mac: Some("02:00:00:00:00:01".to_owned()),
            sandbox: sandbox.map(str::to_owned),
            mtu,
            ..Interface::default()
        };
        let ip = |address: &str, interface| cni_types::IpConfig {
            interface,
            address: address.parse().unwrap(),
            gateway: None,
        };
        CniResult {
            interfaces: vec![
                interface("eth0", None, Some(1500)),
                interface("eth0", Some("/run/netns/a"), Some(1500)),
                interface("eth1", Some("/run/netns/a"), Some(1500)),
                interface("eth0", Some("/run/netns/a"), None),
            ],
            ips: vec![
                ip("10.0.0.1/24", Some(0)),
                ip("10.0.0.2/24", Some(1)),
                ip("10.0.0.3/24", Some(2)),
                ip("fd00::4/64", None),
                ip("10.0.0.5/24", Some(9)),
            ],
            ..CniResult::default()
        }
    }

    #[test]
    fn only_the_containers_interface_is_told_anew() {
        let attributes = Attributes {
            mac: Some("02:00:00:00:00:02".parse().unwrap()),
            mtu: Some(1400),
            ..Attributes::default()
        };
        let told = tuned(&result(), "eth0", &attributes);
        let told: Vec<_> =
            told.interfaces.iter().map(|told| (told.mac.as_deref().unwrap(), told.mtu)).collect();
        let (old, new) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
        assert_eq!(told, [(old, Some(1500)), (new, Some(1400)), (old, Some(1500)), (new, None)]);
        assert_eq!(tuned(&result(), "eth0", &Attributes::default()), result());
    }
}
