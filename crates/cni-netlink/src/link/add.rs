//! Making links of all kinds that stand in one namespace, perhaps on a parent in another.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::kind;
use super::{LinkChange, NewLink};
use crate::{Result, Socket};

impl Socket {
    /// Makes a link of another kind than veth or bridge, down, in the socket's namespace; nothing is left after an error.
    pub fn link_add(&mut self, new: &NewLink<'_>) -> Result<()> {
        self.create(new, new.name)
    }

    /// The same with a parent in another namespace, where the name may be taken already.
    ///
    /// Before Linux 6.15 a link is born in its parent's namespace, under its name, and only then moved (net/core/rtnetlink.c,
    /// rtnl_newlink_create): there, and only where the name is taken, it is made under the temporary one and renamed, which
    /// takes two messages more. A process that is killed in between leaves it under that name, so it should be one to know it by.
    pub fn link_add_beside(&mut self, new: &NewLink<'_>, temporary: &str) -> Result<()> {
        match self.create(new, new.name) {
            Err(error) if error.is_exists() && new.parent.is_some_and(|parent| parent.netnsid.is_some()) => {
                // For a VLAN that its parent has already, say, the name makes no difference.
                self.create(new, temporary)?;
                match self.rename(temporary, new.name) {
                    // It was this namespace that has the name.
                    Err(renaming) if renaming.is_exists() => Err(error),
                    renamed => renamed,
                }
            }
            made => made,
        }
    }

    fn create(&mut self, new: &NewLink<'_>, name: &str) -> Result<()> {
        let request = kind::add(&NewLink { name, ..*new });
        self.change(request, NLM_F_CREATE | NLM_F_EXCL, || format!("add {} {}", new.kind.name(), new.name))
    }

    /// Renames a link that was just made, or deletes it.
    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let index = self.link_by_name(from)?.index;
        let renamed = self.link_change(index, &LinkChange { name: Some(to), ..LinkChange::default() });
        if renamed.is_err() {
            // The first error tells more than one about cleaning up after it.
            let _ = self.link_del(index);
        }
        renamed
    }
}
