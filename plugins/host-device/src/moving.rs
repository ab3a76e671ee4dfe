//! Moving the device between the host and a container.
//!
//! While it is away its alias is its name on the host, in the reference's way, so that either plugin's DEL finds it.

use std::os::fd::AsFd;

use cni_host::NetNs;
use cni_netlink::{Link, LinkChange, Socket};
use cni_plugin::{Context as _, Result, log};
use cni_types::IfName;

use crate::records::Record;

/// What the device is to be again on the host.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) name: IfName,
    /// Empty for none.
    pub(crate) alias: String,
}

impl Home {
    pub(crate) fn of(record: &Record) -> Self {
        Home { name: record.device.clone(), alias: record.alias.clone() }
    }
}

/// The container's namespace, with a socket in it.
pub(crate) struct Inside<'a> {
    pub(crate) netns: &'a NetNs,
    pub(crate) socket: Socket,
}

/// Moves the device in, under its name there and with its alias, in one message: of two ADDs for one device the later one finds
/// nothing at this index. It arrives down. A failure leaves it on the host.
pub(crate) fn move_in(
    host: &mut Socket,
    device: &Link,
    inside: &mut Inside<'_>,
    ifname: &str,
    home: &Home,
) -> Result<Link> {
    let change = LinkChange {
        netns: Some(inside.netns.as_fd()),
        name: Some(ifname),
        alias: Some(&device.name),
        ..LinkChange::default()
    };
    let what = || format!("cannot move {} to {}", device.name, inside.netns.path().display());
    match host.link_change(device.index, &change) {
        Ok(()) => inside.socket.link_by_name(ifname).with_context(what),
        Err(error) => {
            // The name was taken after it had been looked at, and the device arrived under its old one.
            let left = host.link_by_index(device.index).is_err_and(|error| error.is_not_found());
            if left
                && let Ok(link) = inside.socket.link_by_name(&device.name)
                && link.address == device.address
                && let Err(error) = move_out(&mut inside.socket, &link, home)
            {
                log::warn(format_args!("cannot take back {}: {error}", device.name));
            }
            Err(error).with_context(what)
        }
    }
}

/// Moves the device to the host, down, under its own name and with the alias it had; false when that name is taken, and it had
/// to be given another. A failure leaves it where it was.
pub(crate) fn move_out(inside: &mut Socket, link: &Link, home: &Home) -> Result<bool> {
    let host = NetNs::current()?;
    let name = home.name.as_str();
    // Renamed before it is moved, so that nobody on the host, udev least of all, sees it under the container's name. Before
    // Linux 6.2 only what is down can be renamed. A name that another interface inside has is got on the host instead.
    let down = LinkChange { up: Some(false), ..LinkChange::default() };
    match inside.link_change(link.index, &down) {
        // The container, or another DEL, was faster.
        Err(error) if error.is_not_found() => return Ok(true),
        outcome => outcome?,
    }
    let renamed = LinkChange { name: Some(name), ..LinkChange::default() };
    let _ = inside.link_change(link.index, &renamed);
    let back = LinkChange {
        netns: Some(host.as_fd()),
        name: Some(name),
        alias: Some(&home.alias),
        ..LinkChange::default()
    };
    let moved = match inside.link_change(link.index, &back) {
        Err(error) if error.is_exists() => {
            // As the kernel does it for a namespace that ends (net/core/dev.c, default_device_exit_net). The alias stays, and
            // with it the way to the right name.
            let other = format!("dev{}", link.index);
            let back = LinkChange { name: Some(&other), alias: Some(name), ..back };
            inside.link_change(link.index, &back).map(|()| {
                log::warn(format_args!("{name} is taken on the host: the device came back as {other}"));
                false
            })
        }
        moved => moved.map(|()| true),
    };
    moved
        .inspect_err(|_| {
            let as_before =
                LinkChange { name: Some(&link.name), up: link.up.then_some(true), ..LinkChange::default() };
            let _ = inside.link_change(link.index, &as_before);
        })
        .with_context(|| format!("cannot move {} to the host as {name}", link.name))
}

/// The device in the container, and what it was on the host. With a record it is the link that the record knows, whatever the
/// container calls it now and has written on it. Without one the reference has moved it, and its alias is all that tells: that is
/// not believed of a link that has a kind, which anybody in the container can make.
pub(crate) fn find_inside(
    inside: &mut Socket,
    ifname: &str,
    record: Option<&Record>,
) -> Result<Option<(Link, Home)>> {
    if let Some(record) = record {
        let found = inside.link_dump(None)?.into_iter().find(|link| record.is_inside(link));
        return Ok(found.map(|link| (link, Home::of(record))));
    }
    let link = match inside.link_by_name(ifname) {
        Ok(link) => link,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(name) = link.alias.as_deref().and_then(|alias| IfName::new(alias).ok()) else {
        return Ok(None);
    };
    if !link.kind.is_empty() {
        log::warn(format_args!(
            "{ifname} is left in the container: its alias says that it is {name} of the host, which is not believed of a {} \
             without a record",
            link.kind
        ));
        return Ok(None);
    }
    Ok(Some((link, Home { name, alias: String::new() })))
}
