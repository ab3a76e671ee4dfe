//! The container's interface where it is all that a plugin makes (macvlan, ipvlan, vlan, dummy, tap): its set-up in ADD, and CHECK.

use cni_host::{NetNs, announce, configure_iface};
use cni_netlink::{Link, LinkChange, OperState, Socket};
use cni_plugin::{Check, Context as _, Request, Result, Undo, log};
use cni_types::CniResult;

use crate::{Reported, check_addresses, check_mac, check_mtu, check_up, expect_kind};
use crate::{iface_config, ipam_wants_link, link_and_ipam};

/// [`link_and_ipam`] for an interface that `make` makes: it is up already when IPAM wants it.
pub fn single_and_ipam<'a, C>(
    req: &'a Request<C>,
    lease: &mut Undo<'a>,
    inside: &mut Socket,
    make: impl FnOnce(&mut Socket) -> Result<Link>,
) -> Result<(CniResult, Link)> {
    link_and_ipam(req, lease, || {
        let mut link = make(inside)?;
        if ipam_wants_link(&req.call) {
            set_link_up(inside, &link)?;
            link.up = true;
        }
        Ok(link)
    })
}

/// Sets an interface up that has no addresses yet.
pub fn set_link_up(inside: &mut Socket, link: &Link) -> Result<()> {
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    inside.link_change(link.index, &up).with_context(|| format!("cannot set up {}", link.name))
}

/// Gives the interface the result's addresses and routes and sets it up; without addresses it is set up and that is all.
pub fn configure(netns: &NetNs, inside: &mut Socket, link: &Link, result: &CniResult) -> Result<()> {
    set_up(netns, inside, link, result, false)
}

/// The same for an interface on a master. Its network is shared with others, who may have an IPv6 address already: while
/// the master runs they are asked, by duplicate address detection, and an address that somebody has is an error.
pub fn configure_on(
    master: &Link,
    netns: &NetNs,
    inside: &mut Socket,
    link: &Link,
    result: &CniResult,
) -> Result<()> {
    // Drivers that know nothing of carriers leave it unknown (Documentation/networking/operstates.rst).
    let runs = master.up && matches!(master.operstate, OperState::Up | OperState::Unknown);
    set_up(netns, inside, link, result, runs)
}

fn set_up(netns: &NetNs, inside: &mut Socket, link: &Link, result: &CniResult, dad: bool) -> Result<()> {
    let what = || format!("in {}", netns.path().display());
    if result.ips.is_empty() {
        return set_link_up(inside, link).with_context(what);
    }
    let wanted = iface_config(&result.ips, &result.routes, dad);
    log::step("configure the container's interface", || {
        netns.run(|| configure_iface(inside, link.index, &link.name, &wanted))?
    })
    .with_context(what)?;
    // The kernel does it when a link comes up, and this one was up before it had addresses. Not every kind of link can.
    if link.up
        && let Err(error) = announce(inside, link.index, &link.name)
    {
        log::debug(format_args!("{error}"));
    }
    Ok(())
}

/// CHECK: IPAM's own, then that the container's interface is of this kind, up, and as prevResult says: MAC address, MTU,
/// addresses, routes. The configured MTU does not count: tuning may have set another since, which results before 1.0.0 do not
/// tell. Returns the interface, with the socket it was found by, for what the kind has beyond that.
pub fn check_link<C>(req: &Check<C>, kind: &str) -> Result<(Link, Socket)> {
    let (prev, path) = (req.prev_result()?, req.netns());
    let ifname = req.attachment.ifname.as_str();
    let reported = Reported::new(prev).inside(ifname, path)?;
    req.ipam_check()?;
    let netns = NetNs::open(path)?;
    let mut inside = netns.socket()?;
    let link = inside.link_by_name(ifname).with_context(|| format!("cannot find {ifname} in {path}"))?;
    expect_kind(&link, kind)?;
    check_mac(&link, reported)?;
    check_mtu(&link, reported, None)?;
    check_up(&link)?;
    check_addresses(&netns, &mut inside, &link, prev, false)?;
    Ok((link, inside))
}
