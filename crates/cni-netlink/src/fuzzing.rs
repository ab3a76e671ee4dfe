//! For the fuzz targets: everything that reads an answer, over bytes that no kernel sent.

use crate::attr::Messages;
use crate::extack::Acknowledgement;
use crate::{FoundAddr, FoundRoute, addr, conntrack, link, route, rule, tc, vlan};

/// Reads each message of a datagram as every kind of answer, and makes the requests that repeat what was read.
pub fn answers(datagram: &[u8]) {
    for message in Messages(datagram).flatten() {
        let _ = Acknowledgement::read(&message, datagram).map(|read| read.text());
        let payload = message.payload;
        let _ = (link::parse::link(payload), vlan::parse(payload));
        let _ = (addr::parse(payload), FoundAddr::read(payload).map(|found| found.message()));
        let _ = (route::parse::route(payload), route::parse::way(payload));
        if let Some(found) = FoundRoute::read(payload) {
            let index = found.spec.next_hops.first().map_or(1, |hop| hop.index);
            let _ = found.only_by(index).map(|found| found.message(0, 0, 1000));
        }
        let _ = (rule::parse(payload), tc::parse::tbf(payload), tc::parse::redirect(payload));
        let _ = conntrack::flow(payload).map(|flow| conntrack::delete(&flow));
    }
}
