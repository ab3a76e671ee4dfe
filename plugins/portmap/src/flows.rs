//! Stale UDP flows. Connection tracking goes on translating a flow as its first packet was, so a client that keeps its port
//! would talk to the container of yesterday, or to none. Nothing here fails a request: a flow ends by itself once nobody
//! has sent for some minutes.

use cni_netlink::{Conntrack, Flow, Result, Socket};
use cni_plugin::log;

use crate::config::{Forward, Protocol};

/// Removes the flows to a mapped port that somebody else than its container answers.
pub(crate) fn redirect(forwards: &[Forward]) {
    remove(forwards, |forward, flow, routes| {
        let stale = flow.answered_by != forward.pod;
        // A mapping for all addresses is for all of this host's. What only passes through is not concerned.
        Ok(stale && (!forward.host.ip().is_unspecified() || is_local(flow, routes)?))
    });
}

/// Removes the flows that a container was to answer whose mappings are gone.
pub(crate) fn forget(forwards: &[Forward]) {
    remove(forwards, |forward, flow, _| Ok(flow.answered_by == forward.pod));
}

fn remove(forwards: &[Forward], is_stale: impl Fn(&Forward, &Flow, &mut Socket) -> Result<bool>) {
    let udp: Vec<_> = forwards.iter().filter(|forward| forward.protocol == Protocol::Udp).collect();
    if udp.is_empty() {
        return;
    }
    let removed = log::step("remove stale UDP flows", || {
        let (mut conntrack, mut routes) = (Conntrack::open()?, Socket::open()?);
        for forward in udp {
            for flow in conntrack.udp_flows_to(forward.host)? {
                if is_stale(forward, &flow, &mut routes)? {
                    conntrack.delete(&flow)?;
                }
            }
        }
        Ok::<_, cni_netlink::Error>(())
    });
    if let Err(error) = removed {
        log::warn(format_args!("UDP clients may still reach the wrong container: {error}"));
    }
}

fn is_local(flow: &Flow, routes: &mut Socket) -> Result<bool> {
    Ok(routes.route_get(flow.dst.ip())?.is_some_and(|way| way.local))
}
