//! Stale UDP flows. Connection tracking goes on translating a flow as its first packet was, so a client that keeps its port
//! would talk to the container of yesterday, or to none. Nothing here fails a request: a flow ends by itself once nobody
//! has sent for some minutes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use cni_netlink::{Conntrack, Flow, Result, Socket};
use cni_plugin::log;

use crate::config::{Forward, Protocol};

/// Removes the flows to a mapped port that somebody else than its container answers.
pub(crate) fn redirect(forwards: &[Forward]) {
    let mut local: HashMap<IpAddr, bool> = HashMap::new();
    remove(forwards, |forward, flow, routes| {
        if flow.answered_by == forward.pod {
            return Ok(false);
        }
        // A mapping for all addresses is for all of this host's. What only passes through is not concerned.
        if !forward.host.ip().is_unspecified() {
            return Ok(true);
        }
        let dst = flow.dst.ip();
        if let Some(local) = local.get(&dst) {
            return Ok(*local);
        }
        let is_local = routes.route_get(dst)?.is_some_and(|way| way.local);
        local.insert(dst, is_local);
        Ok(is_local)
    });
}

/// Removes the flows that a container was to answer whose mappings are gone.
pub(crate) fn forget(forwards: &[Forward]) {
    remove(forwards, |forward, flow, _| Ok(flow.answered_by == forward.pod));
}

/// Removes the flows to the forwards' ports that are stale. Whose port it is: that of the flow's very address first.
fn remove(forwards: &[Forward], mut is_stale: impl FnMut(&Forward, &Flow, &mut Socket) -> Result<bool>) {
    let udp = forwards.iter().filter(|forward| forward.protocol == Protocol::Udp);
    let by_port: HashMap<SocketAddr, &Forward> = udp.map(|forward| (forward.host, forward)).collect();
    if by_port.is_empty() {
        return;
    }
    let removed = log::step("remove stale UDP flows", || {
        let (mut conntrack, mut routes) = (Conntrack::open()?, Socket::open()?);
        let ports: Vec<SocketAddr> = by_port.keys().copied().collect();
        for flow in conntrack.udp_flows_to(&ports)? {
            let forward = by_port.get(&flow.dst).or_else(|| by_port.get(&any(flow.dst)));
            if let Some(forward) = forward
                && is_stale(forward, &flow, &mut routes)?
            {
                conntrack.delete(&flow)?;
            }
        }
        Ok::<_, cni_netlink::Error>(())
    });
    if let Err(error) = removed {
        log::warn(format_args!("UDP clients may still reach the wrong container: {error}"));
    }
}

/// The same port of any address of its family.
fn any(dst: SocketAddr) -> SocketAddr {
    let any: IpAddr = if dst.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    SocketAddr::new(any, dst.port())
}
