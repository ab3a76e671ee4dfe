//! The `dummy` plugin: gives a container an interface that leads nowhere: what is sent there is dropped. It is for addresses
//! that must be the container's whatever happens to its other interfaces, a service's address for one. First in its
//! chain; without IPAM it would be of no use, and is refused.
//!
//! All there is of an attachment is the link in the container's namespace, whose alias says whose it is, and the lease.
//! So nothing can be left on the host, and GC has nothing to collect but IPAM's.

use cni_interface::{Container, add_interface, check_link, link_del};
use cni_netlink::{LinkKind, NewLink};
use cni_plugin::{Add, Call, Check, Del, Error, Gc, Plugin, Result, Status, Undo};
use cni_types::{CniResult, SpecVersion};

/// The plugin's table of functions. It has no configuration of its own.
pub const PLUGIN: Plugin<(), ()> = Plugin {
    name: KIND,
    versions: SpecVersion::ALL,
    read: |_| Ok(()),
    validate: |(), call| expect_ipam(call),
    add,
    check,
    del,
    gc,
    status,
};

/// The link's kind, by the kernel's name for it.
const KIND: &str = "dummy";

fn add(req: &Add<()>) -> Result<CniResult> {
    let mut container = Container::open(req)?;
    container.expect_free()?;
    let make = |container: &mut Container, undo: &mut Undo<'_>| {
        let name = &container.owner.ifname.clone();
        container.add_link(&NewLink::new(name, LinkKind::Dummy), undo)
    };
    add_interface(req, &mut container, None, make, |leased| leased)
}

fn check(req: &Check<()>) -> Result<()> {
    check_link(req, KIND).map(drop)
}

fn del(req: &Del<()>) -> Result<()> {
    link_del(req, KIND)
}

fn gc(req: &Gc<()>) -> Result<()> {
    req.call.ipam_gc()
}

fn status(req: &Status<()>) -> Result<()> {
    req.call.ipam_status()
}

fn expect_ipam(call: &Call) -> Result<()> {
    if call.has_ipam() {
        return Ok(());
    }
    Err(Error::config("ipam.type is missing: a dummy interface is of no use without addresses"))
}
