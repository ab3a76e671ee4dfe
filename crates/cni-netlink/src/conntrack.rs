//! Connection tracking (ctnetlink): finding UDP flows whose address translation is out of date, and removing just those. A
//! flow keeps the translation of its first packet for as long as packets come, whatever the rules say by then.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use nix::libc;

use crate::Result;
use crate::raw::{Attrs, Connection, Protocol, Writer};
use crate::uapi::*;

/// Types of messages, which have the subsystem in their upper byte.
const GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
const DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;

/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

/// A netlink socket for connection tracking of the calling thread's network namespace.
pub struct Conntrack {
    connection: Connection,
}

/// A tracked flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where its sender sends to.
    pub dst: SocketAddr,
    /// Who answers: the destination after translation.
    pub answered_by: SocketAddr,
    /// CTA_TUPLE_ORIG, CTA_ZONE and CTA_ID as they came, which name it to the kernel.
    key: Vec<(u16, Vec<u8>)>,
}

impl Conntrack {
    /// Opens the socket.
    pub fn open() -> Result<Self> {
        Ok(Self { connection: Connection::open(Protocol::Netfilter)? })
    }

    /// The UDP flows that are sent to one of these addresses and ports; an unspecified address is any of its family. None on a
    /// kernel without ctnetlink. The kernel walks through all flows whatever is asked for, so this asks once per family. Kernels
    /// before 5.8 list all flows of the family, of which the others are left out here.
    pub fn udp_flows_to(&mut self, dsts: &[SocketAddr]) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        for v6 in [false, true] {
            let dsts: HashSet<SocketAddr> = dsts.iter().copied().filter(|dst| dst.is_ipv6() == v6).collect();
            if !dsts.is_empty() {
                flows.extend(self.udp_flows(v6, &dsts)?);
            }
        }
        Ok(flows)
    }

    /// Of one family.
    fn udp_flows(&mut self, v6: bool, dsts: &HashSet<SocketAddr>) -> Result<Vec<Flow>> {
        let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let wanted =
            |flow: &Flow| dsts.contains(&flow.dst) || dsts.contains(&SocketAddr::new(any, flow.dst.port()));
        let only = dsts.iter().next().filter(|_| dsts.len() == 1).copied();
        let op = || match only {
            Some(dst) => format!("list the UDP flows to {dst}"),
            None => format!("list the UDP flows to {} addresses and ports", dsts.len()),
        };
        let mut request = list(only.unwrap_or(SocketAddr::new(any, 0)));
        match self.connection.read(&mut request, &op, |payload| flow(payload).filter(wanted)) {
            // What an unknown subsystem is answered (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg).
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(Vec::new()),
            found => found,
        }
    }

    /// Removes a flow, whose next packet starts a new one. It may be gone by now.
    pub fn delete(&mut self, flow: &Flow) -> Result<()> {
        let op = || format!("remove the flow to {} that {} answers", flow.dst, flow.answered_by);
        match self.connection.change(&mut delete(flow), &op) {
            Err(error) if error.is_not_found() => Ok(()),
            done => done,
        }
    }
}

fn nfgenmsg(address: IpAddr) -> [u8; NFGENMSG] {
    [if address.is_ipv4() { AF_INET } else { AF_INET6 }, 0, 0, 0]
}

/// `conntrack -L -f FAMILY -p udp [--orig-port-dst PORT] [-d ADDRESS]`: port 0 is any, and so is an unspecified address. An
/// address of IPv6 is not compared by the kernel, which leaves out just the flows that have it (6.18,
/// net/netfilter/nf_conntrack_netlink.c, ctnetlink_filter_match_tuple).
fn list(dst: SocketAddr) -> Vec<u8> {
    // Which parts of CTA_TUPLE_ORIG the kernel compares.
    let mut compared = CTA_FILTER_F_CTA_PROTO_NUM;
    if dst.port() != 0 {
        compared |= CTA_FILTER_F_CTA_PROTO_DST_PORT;
    }
    if dst.is_ipv4() && !dst.ip().is_unspecified() {
        compared |= CTA_FILTER_F_CTA_IP_DST;
    }
    let mut request = Writer::default();
    request.message(GET, NLM_F_REQUEST | NLM_F_DUMP, 0, &nfgenmsg(dst.ip()), |request| {
        request.nest(CTA_TUPLE_ORIG, |tuple| {
            tuple.nest(CTA_TUPLE_IP, |ip| match dst.ip() {
                IpAddr::V4(address) => ip.attr(CTA_IP_V4_DST, &address.octets()),
                IpAddr::V6(address) => ip.attr(CTA_IP_V6_DST, &address.octets()),
            });
            tuple.nest(CTA_TUPLE_PROTO, |proto| {
                proto.attr(CTA_PROTO_NUM, &[IPPROTO_UDP]);
                proto.attr(CTA_PROTO_DST_PORT, &dst.port().to_be_bytes());
            });
        });
        request.nest(CTA_FILTER, |filter| filter.attr(CTA_FILTER_ORIG_FLAGS, &compared.to_ne_bytes()));
    });
    request.into_bytes()
}

/// `conntrack -D` of one flow
pub(crate) fn delete(flow: &Flow) -> Vec<u8> {
    let mut request = Writer::default();
    request.message(DELETE, NLM_F_REQUEST | NLM_F_ACK, 0, &nfgenmsg(flow.dst.ip()), |request| {
        for (kind, value) in &flow.key {
            let nested = if *kind == CTA_TUPLE_ORIG { NLA_F_NESTED } else { 0 };
            request.attr(kind | nested, value);
        }
    });
    request.into_bytes()
}

/// Reads a UDP flow; `None` for one of another protocol, and for what is cut short.
pub(crate) fn flow(payload: &[u8]) -> Option<Flow> {
    let attributes = Attrs::after(payload, NFGENMSG);
    let original = attributes.clone().find(CTA_TUPLE_ORIG)?;
    let reply = attributes.clone().find(CTA_TUPLE_REPLY)?;
    let protocol = Attrs(original).find(CTA_TUPLE_PROTO).and_then(|proto| Attrs(proto).find(CTA_PROTO_NUM));
    if protocol != Some(&[IPPROTO_UDP]) {
        return None;
    }
    let key = attributes.filter(|(kind, _)| [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID].contains(kind));
    Some(Flow {
        dst: end(original, [CTA_IP_V4_DST, CTA_IP_V6_DST], CTA_PROTO_DST_PORT)?,
        answered_by: end(reply, [CTA_IP_V4_SRC, CTA_IP_V6_SRC], CTA_PROTO_SRC_PORT)?,
        key: key.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}

/// One end of a tuple.
fn end(tuple: &[u8], address: [u16; 2], port: u16) -> Option<SocketAddr> {
    let addresses = Attrs(tuple).find(CTA_TUPLE_IP)?;
    let ip = Attrs(addresses).find(address[0]).or_else(|| Attrs(addresses).find(address[1]))?;
    let port = Attrs(Attrs(tuple).find(CTA_TUPLE_PROTO)?).find(port)?;
    Some(SocketAddr::new(crate::attr::ip(ip)?, u16::from_be_bytes(*port.first_chunk()?)))
}
