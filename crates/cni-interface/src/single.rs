//! The container's interface where it is all that a plugin makes (macvlan, ipvlan, vlan, dummy, tap): ADD and CHECK.

use cni_netlink::{Link, OperState};
use cni_plugin::{Add, Check, Result, Undo};
use cni_types::CniResult;

use crate::{Container, Reported, check_mac, check_mtu, check_up, expect_kind};
use crate::{inside, ipam_wants_link, link_and_ipam};

/// The whole of an ADD after the container has been opened: `make` makes the interface, down; IPAM is asked meanwhile, or after
/// the interface is up if it wants that; `result` is made of its answer; the interface gets what the result says.
///
/// The network of an interface on a `master` is shared with others, who may have an IPv6 address already: while the master runs
/// they are asked, by duplicate address detection, and an address that somebody has is an error.
pub fn add_interface<'a, C>(
    req: &'a Add<C>,
    container: &mut Container,
    master: Option<&Link>,
    make: impl FnOnce(&mut Container, &mut Undo<'a>) -> Result<Link>,
    result: impl FnOnce(CniResult) -> CniResult,
) -> Result<CniResult> {
    // Undone last, when nothing uses the address any more: what is made later is dropped before.
    let mut lease = Undo::default();
    let mut undo = Undo::default();
    let (leased, link) = link_and_ipam(req, &mut lease, || {
        let mut link = make(container, &mut undo)?;
        if ipam_wants_link(&req.call) {
            container.set_up(&link)?;
            link.up = true;
        }
        Ok(link)
    })?;
    let mut result = result(leased);
    // Drivers that know nothing of carriers leave it unknown (Documentation/networking/operstates.rst).
    let runs = |master: &Link| master.up && matches!(master.operstate, OperState::Up | OperState::Unknown);
    container.configure(&link, &result, master.is_some_and(runs))?;
    result.ips.iter_mut().for_each(|ip| ip.interface = Some(0));
    result.interfaces = vec![inside(&link, req.netns())];
    undo.commit();
    lease.commit();
    Ok(result)
}

/// CHECK: IPAM's own, then that the container's interface is of this kind, up, and as prevResult says: MAC address, MTU,
/// addresses, routes. The configured MTU does not count: tuning may have set another since, which results before 1.0.0 do not
/// tell. Returns the interface and its container, for what the kind has beyond that.
pub fn check_link<C>(req: &Check<C>, kind: &str) -> Result<(Link, Container)> {
    let prev = req.prev_result()?;
    let reported = Reported::new(prev).inside(req.attachment.ifname.as_str(), req.netns())?;
    req.ipam_check()?;
    let mut container = Container::open(req)?;
    let link = container.find_interface()?;
    expect_kind(&link, kind)?;
    check_mac(&link, reported)?;
    check_mtu(&link, reported, None)?;
    check_up(&link)?;
    container.check_addresses(&link, prev, false)?;
    Ok((link, container))
}
