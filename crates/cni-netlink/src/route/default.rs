//! The default route: `ip route show default`.

use ipnet::IpNet;
use nix::libc::RTM_GETROUTE;

use super::{RouteSpec, build, parse, table_id};
use crate::socket::Request;
use crate::{Result, Socket};

impl Socket {
    /// The index of the link that the default route of the main table leaves by: IPv4's before IPv6's, and among several that
    /// of the lowest metric; `None` when there is none.
    pub fn route_default(&mut self) -> Result<Option<u32>> {
        let main = table_id(None);
        let routes = self.dump(
            // The kernel filters by table (since 4.20), not by destination.
            Request::of(RTM_GETROUTE, &build::dump(None, None, main)),
            || "find the default route".to_owned(),
            |payload| {
                let found = parse::route(payload)?;
                (found.route.dst.prefix_len() == 0 && found.is_of(main)).then_some(found.route)
            },
        )?;
        Ok(first_way(&routes))
    }
}

fn first_way(routes: &[RouteSpec]) -> Option<u32> {
    let order = |route: &&RouteSpec| (matches!(route.dst, IpNet::V6(_)), route.metric.unwrap_or(0));
    let with_way = routes.iter().filter(|route| !route.next_hops.is_empty());
    with_way.min_by_key(order)?.next_hops.first().map(|hop| hop.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NextHop;

    fn route(dst: &str, indices: &[u32], metric: Option<u32>) -> RouteSpec {
        RouteSpec {
            dst: dst.parse().unwrap(),
            next_hops: indices.iter().map(|&index| NextHop { index, gateway: None }).collect(),
            metric,
            table: Some(254),
            scope: None,
            mtu: None,
            advmss: None,
        }
    }

    #[test]
    fn ipv4_goes_before_ipv6_and_a_lower_metric_before_a_higher_one() {
        let v6 = route("::/0", &[2], Some(1));
        let far = route("0.0.0.0/0", &[3], Some(600));
        let near = route("0.0.0.0/0", &[4, 5], Some(100));
        let best = route("0.0.0.0/0", &[6], None);
        let later = route("0.0.0.0/0", &[7], Some(0));
        assert_eq!(first_way(&[]), None);
        assert_eq!(first_way(std::slice::from_ref(&v6)), Some(2));
        assert_eq!(first_way(&[v6.clone(), far.clone()]), Some(3));
        assert_eq!(first_way(&[v6.clone(), far.clone(), near.clone()]), Some(4));
        assert_eq!(first_way(&[best, v6, far, near, later]), Some(6), "the first of equals");
    }

    #[test]
    fn a_route_that_leads_nowhere_is_passed_over() {
        assert_eq!(first_way(&[route("0.0.0.0/0", &[], None), route("::/0", &[2], None)]), Some(2));
    }
}
