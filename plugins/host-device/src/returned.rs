//! Devices that came back to the host without a DEL.
//!
//! When a namespace ends the kernel moves what is in it to the initial one, but for what has a kind of link of its own (veth,
//! macvlan, VLANs), which is deleted (net/core/dev.c, default_device_exit_net). The device keeps its alias, and the name that
//! it had in the container, or `dev<index>` where that is taken.

use cni_netlink::{Link, LinkChange, Socket};
use cni_plugin::{Context as _, Result};

use crate::moving::Home;

/// What was found on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A link has the name, and no other claims it: the device as it was, or a stranger.
    InPlace,
    /// The device, under another name, since a stranger has its own.
    NameTaken,
    /// The device, which has its name and alias again.
    Restored,
    /// Nothing.
    Nothing,
}

/// Gives the device its name and alias again if it came back: a link that can be the device, with that name as
/// its alias.
pub(crate) fn restore(host: &mut Socket, home: &Home, is_device: impl Fn(&Link) -> bool) -> Result<Found> {
    let name = home.name.as_str();
    let is_it = |link: &Link| is_device(link) && link.alias.as_deref() == Some(name);
    let link = match host.link_by_name(name) {
        // Under the same name in the container as on the host.
        Ok(link) if is_it(&link) && link.name == name => {
            let alias = LinkChange { alias: Some(&home.alias), ..LinkChange::default() };
            host.link_change(link.index, &alias)?;
            return Ok(Found::Restored);
        }
        // udev found it under another name, and gave it its own as an alternative.
        Ok(link) if is_it(&link) => {
            host.link_altname_del(link.index, name)?;
            Some(link)
        }
        Ok(_) => {
            let away = host.link_dump(None)?.iter().any(is_it);
            return Ok(if away { Found::NameTaken } else { Found::InPlace });
        }
        Err(error) if error.is_not_found() => host.link_dump(None)?.into_iter().find(is_it),
        Err(error) => return Err(error.into()),
    };
    let Some(link) = link else { return Ok(Found::Nothing) };
    let what = || format!("cannot give {} its name {name} again", link.name);
    if link.up {
        // Before Linux 6.2 only what is down can be renamed.
        let down = LinkChange { up: Some(false), ..LinkChange::default() };
        host.link_change(link.index, &down).with_context(what)?;
    }
    let change = LinkChange {
        name: Some(name),
        alias: Some(&home.alias),
        up: link.up.then_some(true),
        ..LinkChange::default()
    };
    host.link_change(link.index, &change).with_context(what)?;
    Ok(Found::Restored)
}
