//! For the fuzz targets: what reads the files of a network's folder, and what the configuration comes to.

use cni_plugin::Result;

use crate::lease::{Contents, Holder};
use crate::{Plan, index, resolv_conf};

/// How many addresses of a set are looked at: the ranges of IPv6 have no end.
const MANY: usize = 100;

/// A lease. What somebody is said to hold is theirs when it is asked for.
pub fn lease(text: &[u8]) {
    if let Contents::Held { id, ifname } = Contents::parse(text) {
        let holder = Holder { id: &id, ifname: &ifname };
        let again = Contents::parse(holder.text().as_bytes());
        assert!(again.is_of(holder), "{again:?}");
    }
}

/// An entry of the index. What is written for it is read as the same.
pub fn index(key: &str, target: &str) {
    if let Some(leases) = index::parse(key, target) {
        let again = index::parse(key, &index::text(&leases));
        assert_eq!(again, Some(leases));
    }
}

/// The file that `ipam.resolvConf` names.
pub fn resolv_conf(text: &str) {
    let _ = resolv_conf::parse(text);
}

/// The plan of an ADD, with the round robin standing where a file says. Each address is one of the set's, and none comes twice.
pub fn plan(plan: &Plan, last_reserved: &str) -> Result<()> {
    let last = last_reserved.parse().ok();
    for set in &plan.sets {
        let addresses: Vec<_> = set.round_robin(last).take(MANY).collect();
        let capacity = usize::try_from(set.capacity()).unwrap_or(usize::MAX);
        assert_eq!(addresses.len(), capacity.min(MANY), "{set}");
        for (at, address) in addresses.iter().enumerate() {
            assert!(set.range_of(*address).is_some() && !set.is_gateway(*address), "{address} of {set}");
            assert!(!addresses[..at].contains(address), "{address} comes twice in {set}");
        }
    }
    Ok(())
}
