//! Connection tracking, with flows that are made by hand: the kernel tracks none by itself in a namespace without rules.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use cni_netlink::Conntrack;
use cni_netlink::raw::{Connection, Protocol, Writer};

use crate::support::in_netns;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// IPCTNL_MSG_CT_NEW: `conntrack -I -p PROTOCOL`, from `src` to `dst`, which `answered_by` answers.
fn track(protocol: u8, src: &str, dst: &str, answered_by: &str, zone: Option<u16>) {
    let [src, dst, answered_by] = [src, dst, answered_by].map(|end| end.parse::<SocketAddr>().unwrap());
    let mut request = Writer::default();
    let family = if src.is_ipv4() { 2 } else { 10 };
    // NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE
    request.message(1 << 8, 0x605, 0, &[family, 0, 0, 0], |request| {
        request.nest(1, |tuple| write_tuple(tuple, protocol, src, dst));
        request.nest(2, |tuple| write_tuple(tuple, protocol, answered_by, src));
        request.be32(7, 600);
        if let Some(zone) = zone {
            request.attr(18, &zone.to_be_bytes());
        }
        if protocol == TCP {
            // CTA_PROTOINFO_TCP_STATE established, without which the kernel refuses it.
            request.nest(4, |info| info.nest(1, |tcp| tcp.attr(1, &[3])));
        }
    });
    let mut connection = Connection::open(Protocol::Netfilter).unwrap();
    connection.change(&mut request.into_bytes(), &|| format!("track {src} to {dst}")).unwrap();
}

fn write_tuple(tuple: &mut Writer, protocol: u8, src: SocketAddr, dst: SocketAddr) {
    tuple.nest(1, |ip| match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            ip.attr(1, &src.octets());
            ip.attr(2, &dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            ip.attr(3, &src.octets());
            ip.attr(4, &dst.octets());
        }
        _ => panic!("two families"),
    });
    tuple.nest(2, |proto| {
        proto.attr(1, &[protocol]);
        proto.attr(2, &src.port().to_be_bytes());
        proto.attr(3, &dst.port().to_be_bytes());
    });
}

/// Who answers the flows to `dst`, sorted.
fn answerers(conntrack: &mut Conntrack, dst: &str) -> Vec<String> {
    let flows = conntrack.udp_flows_to(&[dst.parse().unwrap()]).unwrap();
    let mut found: Vec<_> = flows.iter().map(|flow| flow.answered_by.to_string()).collect();
    found.sort();
    found
}

#[test]
fn flows_are_found_by_where_they_are_sent_to() {
    in_netns(|| {
        track(UDP, "192.0.2.9:4000", "10.0.0.1:53", "10.1.0.5:5353", None);
        track(UDP, "192.0.2.9:4001", "10.0.0.2:53", "10.0.0.2:53", Some(7));
        track(UDP, "192.0.2.9:4000", "10.0.0.1:54", "10.1.0.6:53", None);
        track(UDP, "192.0.2.9:53", "10.0.0.1:4000", "10.1.0.7:53", None);
        track(TCP, "192.0.2.9:4000", "10.0.0.1:53", "10.1.0.8:53", None);
        track(UDP, "[2001:db8::9]:4000", "[2001:db8::1]:53", "[fd00::5]:53", None);
        let mut conntrack = Conntrack::open().unwrap();
        assert_eq!(answerers(&mut conntrack, "0.0.0.0:53"), ["10.0.0.2:53", "10.1.0.5:5353"]);
        assert_eq!(answerers(&mut conntrack, "10.0.0.1:53"), ["10.1.0.5:5353"]);
        assert_eq!(answerers(&mut conntrack, "[::]:53"), ["[fd00::5]:53"]);
        assert_eq!(answerers(&mut conntrack, "[2001:db8::1]:53"), ["[fd00::5]:53"]);
        assert_eq!(answerers(&mut conntrack, "[2001:db8::2]:53"), [""; 0]);
    });
}

#[test]
fn flows_to_several_addresses_of_both_families_are_found_at_once() {
    in_netns(|| {
        track(UDP, "192.0.2.9:4000", "10.0.0.1:53", "10.1.0.5:53", None);
        track(UDP, "192.0.2.9:4001", "10.0.0.2:53", "10.1.0.6:53", None);
        track(UDP, "192.0.2.9:4000", "10.0.0.2:54", "10.1.0.7:54", None);
        track(UDP, "192.0.2.9:4000", "10.0.0.2:55", "10.1.0.8:55", None);
        track(UDP, "[2001:db8::9]:4000", "[2001:db8::1]:53", "[fd00::5]:53", None);
        track(UDP, "[2001:db8::9]:4000", "[2001:db8::1]:54", "[fd00::6]:54", None);
        let dsts = ["10.0.0.1:53", "0.0.0.0:54", "[::]:54"].map(|dst| dst.parse().unwrap());
        let flows = Conntrack::open().unwrap().udp_flows_to(&dsts).unwrap();
        let mut found: Vec<_> = flows.iter().map(|flow| flow.answered_by.to_string()).collect();
        found.sort();
        assert_eq!(found, ["10.1.0.5:53", "10.1.0.7:54", "[fd00::6]:54"]);
        assert_eq!(Conntrack::open().unwrap().udp_flows_to(&[]).unwrap(), []);
    });
}

#[test]
fn one_flow_is_removed_and_no_other() {
    in_netns(|| {
        for zone in [None, Some(7)] {
            for (src, answered_by) in
                [("192.0.2.9:4000", "10.1.0.5:5353"), ("192.0.2.9:4001", "10.1.0.6:5353")]
            {
                track(UDP, src, "10.0.0.1:53", answered_by, zone);
            }
        }
        let mut conntrack = Conntrack::open().unwrap();
        let flows = conntrack.udp_flows_to(&["10.0.0.1:53".parse().unwrap()]).unwrap();
        let old = |flow: &&cni_netlink::Flow| flow.answered_by.to_string() == "10.1.0.5:5353";
        assert_eq!(flows.iter().filter(old).count(), 2);
        for flow in flows.iter().filter(old) {
            conntrack.delete(flow).unwrap();
        }
        assert_eq!(answerers(&mut conntrack, "10.0.0.1:53"), ["10.1.0.6:5353", "10.1.0.6:5353"]);
        // Gone already.
        conntrack.delete(&flows.into_iter().find(|flow| old(&flow)).unwrap()).unwrap();
    });
}

/// On a kernel from 5.8 on: else a node with a million flows would send them all.
#[test]
fn the_kernel_leaves_out_the_other_flows() {
    in_netns(|| {
        for port in 1000..3000 {
            track(UDP, "192.0.2.9:4000", &format!("10.0.0.1:{port}"), &format!("10.1.0.5:{port}"), None);
        }
        let mut conntrack = Conntrack::open().unwrap();
        // The same without CTA_FILTER, which counts what comes.
        let mut request = Writer::default();
        request.message(1 << 8 | 1, 0x301, 0, &[2, 0, 0, 0], |_| {});
        let mut request = request.into_bytes();
        let mut connection = Connection::open(Protocol::Netfilter).unwrap();
        let all = best_of(|| {
            let all = connection.read(&mut request, &|| "list all flows".into(), |_| Some(())).unwrap();
            assert_eq!(all.len(), 2000);
        });
        let filtered = best_of(|| assert_eq!(answerers(&mut conntrack, "0.0.0.0:2000"), ["10.1.0.5:2000"]));
        assert!(filtered < all, "{filtered:?}, {all:?}");
    });
}

/// The shortest of several times, which is what it takes when nothing else runs.
fn best_of(mut f: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        f();
        start.elapsed()
    };
    (0..20).map(time).min().unwrap()
}
