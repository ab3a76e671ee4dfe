//! Removing what attachments left: the container's side for DEL, what no attachment owns for GC.

use cni_host::Owner;
use cni_interface::{absent_is_fine, all, open_inside};
use cni_netlink::Socket;
use cni_plugin::{Request, Result};

use crate::config::Wire;

/// Deletes the pair whose far end is the container's interface, when the reference made it: its near end has a random
/// name, so only the container's namespace tells which it is. A namespace that is gone took its interfaces along.
pub(crate) fn delete_inside(req: &Request<Wire>) -> Result<()> {
    let Some((_, mut inside)) = open_inside(req)? else { return Ok(()) };
    let link = match inside.link_by_name(req.attachment.ifname.as_str()) {
        Ok(link) => link,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if link.kind == "veth" && is_unowned_pair(&mut Socket::open()?, link.index, link.peer)? {
        return absent_is_fine(inside.link_del(link.index));
    }
    Ok(())
}

/// Whether the container's interface is one end of a pair whose other end is on this host and carries no owner of
/// ours. Ours was deleted by its owner already: one that is still there is another attachment's, or not this plugin's at all.
fn is_unowned_pair(host: &mut Socket, inside: u32, near: Option<u32>) -> Result<bool> {
    let Some(near) = near else { return Ok(false) };
    match host.link_by_index(near) {
        Ok(near) => Ok(near.kind == "veth"
            && near.peer == Some(inside)
            && near.peer_netnsid.is_some()
            && near.alias.as_deref().is_none_or(str::is_empty)),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the near ends whose alias says that they are of this network, and that no valid attachment owns.
pub(crate) fn collect(network: &str, valid: &[Owner]) -> Result<()> {
    let mut host = Socket::open()?;
    let mut outcomes = Vec::new();
    for link in host.link_dump(Some("veth"))? {
        let Some(alias) = link.alias.as_deref() else { continue };
        if Owner::is_of_network(alias, network) && !valid.iter().any(|owner| owner.owns(alias)) {
            outcomes.push(absent_is_fine(host.link_del(link.index)));
        }
    }
    all(outcomes)
}
