//! The intermediate functional block: the interface through which packets are sent that come from the limited one. It says
//! in its alias whose it is.

use cni_host::Owner;
use cni_netlink::{Link, LinkChange, LinkKind, NewLink, Socket};
use cni_plugin::Result;
use sha2::{Digest, Sha512};

/// The reference's name: it knows networks and containers, not their interfaces.
fn shared_name(owner: &Owner) -> String {
    let digest = Sha512::digest(format!("{}{}", owner.network, owner.container_id));
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("bwp{hex}")
}

/// For a second interface of a container in one network.
fn own_name(owner: &Owner) -> String {
    format!("bwp{}", owner.digest(12))
}

/// Makes it, up, under the reference's name unless another interface of the container has that. One that an earlier ADD of
/// the same attachment left behind is replaced; when a step fails nothing stays.
pub(crate) fn make(socket: &mut Socket, owner: &Owner, mtu: u32) -> Result<Link> {
    let shared = shared_name(owner);
    let made = match create(socket, &shared, mtu) {
        Err(error) if error.is_exists() => {
            remove_own(socket, owner)?;
            match create(socket, &shared, mtu) {
                Err(error) if error.is_exists() => create(socket, &own_name(owner), mtu)?,
                made => made?,
            }
        }
        made => made?,
    };
    let alias = owner.alias();
    let set_up = LinkChange { up: Some(true), alias: Some(&alias), ..LinkChange::default() };
    if let Err(error) = socket.link_change(made.index, &set_up) {
        // The first error tells more than one about cleaning up after it.
        let _ = socket.link_del(made.index);
        return Err(error.into());
    }
    Ok(made)
}

fn create(socket: &mut Socket, name: &str, mtu: u32) -> cni_netlink::Result<Link> {
    socket.link_add(&NewLink { mtu: Some(mtu), ..NewLink::new(name, LinkKind::Ifb) })?;
    socket.link_by_name(name)
}

/// The attachment's own, or the one that the reference made for it, which carries no alias.
pub(crate) fn find(socket: &mut Socket, owner: &Owner) -> Result<Option<Link>> {
    let shared = by_name(socket, &shared_name(owner))?;
    if shared.as_ref().is_some_and(|link| is_of(link, owner)) {
        return Ok(shared);
    }
    let own = by_name(socket, &own_name(owner))?.filter(|link| is_of(link, owner));
    Ok(own.or(shared.filter(|link| !link.alias.as_deref().is_some_and(Owner::is_alias))))
}

/// Deletes what [`find`] finds.
pub(crate) fn remove(socket: &mut Socket, owner: &Owner) -> Result<()> {
    match find(socket, owner)? {
        Some(link) => delete(socket, &link),
        None => Ok(()),
    }
}

/// Deletes all that carry the owner's alias.
fn remove_own(socket: &mut Socket, owner: &Owner) -> Result<()> {
    for name in [shared_name(owner), own_name(owner)] {
        if let Some(link) = by_name(socket, &name)?.filter(|link| is_of(link, owner)) {
            delete(socket, &link)?;
        }
    }
    Ok(())
}

fn delete(socket: &mut Socket, link: &Link) -> Result<()> {
    cni_interface::absent_is_fine(socket.link_del(link.index))
}

fn is_of(link: &Link, owner: &Owner) -> bool {
    link.alias.as_deref().is_some_and(|alias| owner.owns(alias))
}

fn by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    match socket.link_by_name(name) {
        Ok(link) => Ok(Some(link).filter(|link| link.kind == LinkKind::Ifb.name())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// For GC: deletes those of this network that no valid attachment owns. What says nothing of its owner is kept.
pub(crate) fn collect(network: &str, valid: &[Owner]) -> Result<()> {
    let mut host = Socket::open()?;
    let (valid, mut outcomes) = (Owner::tags(valid), Vec::new());
    for link in host.link_dump(Some(LinkKind::Ifb.name()))? {
        let Some(alias) = link.alias.as_deref() else { continue };
        if Owner::is_of_network(alias, network) && !valid.contains(alias) {
            outcomes.push(delete(&mut host, &link));
        }
    }
    cni_interface::all(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(network: &str, id: &str, ifname: &str) -> Owner {
        Owner { network: network.into(), container_id: id.into(), ifname: ifname.into() }
    }

    /// The digits are those of `printf netc1 | sha512sum`, and what the reference made for network net and container c1.
    #[test]
    fn the_shared_name_is_the_references() {
        assert_eq!(shared_name(&owner("net", "c1", "eth0")), "bwp623e1c388032");
        assert_eq!(shared_name(&owner("net", "c1", "eth1")), "bwp623e1c388032");
    }

    #[test]
    fn the_own_name_knows_the_interface_and_fits() {
        let [eth0, eth1] = ["eth0", "eth1"].map(|ifname| own_name(&owner("net", "c1", ifname)));
        assert_ne!(eth0, eth1);
        assert_eq!(eth0.len(), 15);
    }
}
