//! The container's interface where it is a link of its own, without a near end on the host: made and deleted by its owner.

use cni_host::{NetNs, Owner};
use cni_netlink::{Link, LinkChange, NewLink, Socket};
use cni_plugin::{Request, Result, Undo, log};

use crate::{absent_is_fine, all, open_inside, owner, remove_and_release};

/// Makes the link in the container's namespace under its final name, down, arms its deletion, and says in its alias whose it
/// is.
pub fn link_add<'a>(
    netns: &'a NetNs,
    inside: &mut Socket,
    new: &NewLink<'_>,
    owner: &Owner,
    undo: &mut Undo<'a>,
) -> Result<Link> {
    log::step("make the interface", || inside.link_add_beside(new, &owner.temporary_name()))?;
    link_own(netns, inside, new.kind.name(), owner, undo)
}

/// The rest of [`link_add`] for a link that was made by other means, under its final name.
pub fn link_own<'a>(
    netns: &'a NetNs,
    inside: &mut Socket,
    kind: &'static str,
    owner: &Owner,
    undo: &mut Undo<'a>,
) -> Result<Link> {
    let made_for = owner.clone();
    undo.push("delete the interface", move || delete(&mut netns.socket()?, kind, &made_for));
    let link = inside.link_by_name(&owner.ifname)?;
    let alias = owner.alias();
    inside.link_change(link.index, &LinkChange { alias: Some(&alias), ..LinkChange::default() })?;
    Ok(link)
}

/// DEL: deletes the attachment's link of this kind, also when somebody has renamed it, or an ADD was killed before it had its
/// name, and releases its lease. A link that carries no owner is the reference's, when it has the interface's name. A namespace
/// that is gone took its links along.
pub fn link_del<C>(req: &Request<C>, kind: &str) -> Result<()> {
    remove_and_release(req, || {
        log::step("delete the interface", || match open_inside(req)? {
            Some((_, mut inside)) => delete(&mut inside, kind, &owner(req)),
            None => Ok(()),
        })
    })
}

fn delete(inside: &mut Socket, kind: &str, owner: &Owner) -> Result<()> {
    let links = inside.link_dump(Some(kind))?;
    let ours = links.iter().filter(|link| is_of(link, owner));
    all(ours.map(|link| absent_is_fine(inside.link_del(link.index))).collect::<Vec<_>>())
}

fn is_of(link: &Link, owner: &Owner) -> bool {
    match link.alias.as_deref() {
        Some(alias) if owner.owns(alias) => true,
        // Another attachment's keeps away; what people write there does not.
        Some(alias) if Owner::from_alias(alias).is_some() => false,
        _ => link.name == owner.ifname || link.name == owner.temporary_name(),
    }
}
