//! Deleting the container's interface where it is a link of its own, without a near end on the host.

use cni_host::Owner;
use cni_netlink::{Link, Socket};
use cni_plugin::{Del, Result, log};

use crate::{absent_is_fine, all, open_inside, owner, remove_and_release};

/// DEL: deletes the attachment's link of this kind, also when somebody has renamed it, or an ADD was killed before it had its
/// name, and releases its lease. A link that carries no owner is the reference's, when it has the interface's name. A namespace
/// that is gone took its links along.
pub fn link_del<W>(req: &Del<W>, kind: &str) -> Result<()> {
    remove_and_release(req, || {
        log::step("delete the interface", || match open_inside(req)? {
            Some((_, mut inside)) => delete(&mut inside, kind, &owner(req)),
            None => Ok(()),
        })
    })
}

/// Deletes what is the owner's of the links of this kind.
pub(crate) fn delete(inside: &mut Socket, kind: &str, owner: &Owner) -> Result<()> {
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
