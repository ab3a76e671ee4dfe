//! Frames that were on a wire: testdata/cni-dhcp/README.md.

use std::net::Ipv4Addr;

use crate::frame;
use crate::packet::{Lease, Message, MessageType, Op, Request, Settings, code, lease_key};

const MAC: [u8; 6] = [2, 0, 0, 0, 9, 3];

macro_rules! captured {
    ($name:literal) => {
        include_bytes!(concat!("../../../testdata/cni-dhcp/frames/", $name)).as_slice()
    };
}

fn message(captured: &[u8]) -> Message {
    let received = frame::decode(captured).unwrap();
    assert_eq!(received.from, Ipv4Addr::new(10, 9, 0, 1));
    Message::decode(received.payload).unwrap()
}

#[test]
fn a_server_s_answers_are_read_though_their_checksums_are_not_finished() {
    let (offer, ack) = (message(captured!("offer")), message(captured!("ack")));
    assert_eq!((offer.op, offer.kind, offer.chaddr), (Op::Reply, MessageType::Offer, MAC));
    assert_eq!((ack.kind, ack.xid, ack.chaddr), (MessageType::Ack, offer.xid, MAC));
    assert_eq!(offer.options.get(code::ROUTERS), ack.options.get(code::ROUTERS));
    // Finished, the sum would be another: this is that of the pseudo-header.
    assert_eq!(captured!("ack")[40..42], [0x15, 0xc1]);
}

#[test]
fn a_lease_has_what_the_server_was_told_to_give() {
    let (lease, problems) = Lease::from_ack(&message(captured!("ack")), None).unwrap();
    assert_eq!(problems, []);
    assert_eq!((lease.address.to_string().as_str(), lease.mtu), ("10.9.0.51/24", Some(1400)));
    assert_eq!((lease.lease_time, lease.renewal_time, lease.rebinding_time), (3600, 1800, 3150));
    let routes: Vec<String> =
        lease.routes.iter().map(|route| format!("{} {}", route.dst, route.gateway)).collect();
    assert_eq!(routes, ["0.0.0.0/0 10.9.0.2", "172.20.0.0/16 0.0.0.0"]);
    assert_eq!(
        (lease.domain.as_deref(), lease.dns_servers),
        (Some("lan.example"), vec![[10, 9, 0, 1].into()])
    );
    assert_eq!(lease.search, ["eng.example.com", "marketing.example.com"]);

    let (lease, _) = Lease::from_ack(&message(captured!("ack-classful")), None).unwrap();
    let routes: Vec<String> =
        lease.routes.iter().map(|route| format!("{} {}", route.dst, route.gateway)).collect();
    assert_eq!(routes, ["192.168.7.0/24 10.9.0.3", "0.0.0.0/0 10.9.0.1"]);
}

#[test]
fn options_are_those_that_the_reference_sends() {
    let theirs = Message::decode(&captured!("request")[42..]).unwrap();
    let request =
        ["121", "6", "15", "119", "26"].map(|option| Request { option: option.into(), skip_default: false });
    let settings = Settings::new(&lease_key("c2", "lan", "eth0"), &[], &request, "").unwrap();
    let mut ours = Message::new(MessageType::Request, theirs.xid, MAC);
    settings.ask(&mut ours);
    ours.options.set(code::REQUESTED_ADDRESS, [10, 9, 0, 51]).set(code::SERVER_ID, [10, 9, 0, 1]);
    // They count the headers of IPv4 and UDP in.
    ours.options.set(code::MAX_MESSAGE_SIZE, 1500_u16.to_be_bytes());
    assert_eq!(ours, theirs);
}
