//! Connections from 127.0.0.1 to a container: the kernel routes them by an interface that has `route_localnet` set, and
//! then has to be kept from taking packets for 127.0.0.1 from there.

use std::net::IpAddr;

use cni_host::{sysctl_read, sysctl_write};
use cni_netlink::Socket;
use cni_nftables::{Batch, Nft};
use cni_plugin::{Context as _, Error, Result, log};

use crate::config::{Backend, Forward};
use crate::ruleset;

/// The container's address, when a mapping can be reached by one of 127.0.0.0/8.
fn concerned(forwards: &[Forward]) -> Option<IpAddr> {
    let local = |forward: &&Forward| match forward.host.ip() {
        IpAddr::V4(host) => host.is_unspecified() || host.is_loopback(),
        IpAddr::V6(_) => false,
    };
    forwards.iter().find(local).map(|forward| forward.pod.ip())
}

/// Sets `route_localnet` on the interface towards the container, after making sure that martians are dropped.
pub(crate) fn enable(nft: &mut Nft, forwards: &[Forward], backend: Backend) -> Result<()> {
    let Some(pod) = concerned(forwards) else { return Ok(()) };
    let Some(interface) = towards(pod)? else {
        log::debug(format_args!("no route to {pod}: 127.0.0.1 will not reach it"));
        return Ok(());
    };
    match drop_martians(nft) {
        // Only ip_tables is there. The reference does not drop them either.
        Err(error) if error.is_unsupported() && backend == Backend::Iptables => {
            log::warn(format_args!(
                "packets for 127.0.0.0/8 that come by {interface} are not dropped: {error}"
            ));
        }
        done => done?,
    }
    sysctl_write(&route_localnet(&interface), "1")
        .with_context(|| format!("cannot let 127.0.0.0/8 reach {pod}"))
}

/// The interface by which the host reaches the container; it may not reach one that has an interface on the host's own
/// (macvlan).
fn towards(pod: IpAddr) -> Result<Option<String>> {
    let mut socket = Socket::open()?;
    match socket.route_get(pod)?.filter(|way| !way.local) {
        Some(way) => Ok(Some(socket.link_by_index(way.index)?.name)),
        None => Ok(None),
    }
}

fn route_localnet(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/route_localnet")
}

fn drop_martians(nft: &mut Nft) -> cni_nftables::Result<()> {
    if ruleset::martians().are_there(nft)? {
        return Ok(());
    }
    let mut batch = Batch::default();
    ruleset::setup_martians(&mut batch);
    nft.commit(&batch)
}

/// Where 127.0.0.0/8 reaches the container, martians are dropped still.
pub(crate) fn check(nft: &mut Nft, forwards: &[Forward]) -> Result<()> {
    let Some(pod) = concerned(forwards) else { return Ok(()) };
    let Some(interface) = towards(pod)? else { return Ok(()) };
    if sysctl_read(&route_localnet(&interface))?.trim() != "1" {
        return Ok(());
    }
    match ruleset::martians().are_there(nft) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::failed(format!(
            "chain {} of table {} is not as it should be: packets for 127.0.0.0/8 are not dropped",
            ruleset::martians().chain,
            ruleset::TABLE
        ))),
        Err(error) if error.is_unsupported() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
