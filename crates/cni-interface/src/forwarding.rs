//! Making the host a router.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use cni_host::{sysctl_read, sysctl_write};
use cni_plugin::{Context as _, Result, log};

const IPV6_FORWARDING: &str = "net/ipv6/conf/all/forwarding";

/// Lets the host pass packets on, for each family that one of these addresses is of. Host-wide, so nothing takes it back.
pub fn enable_forwarding(addresses: impl IntoIterator<Item = IpAddr>) -> Result<()> {
    let (mut v4, mut v6) = (false, false);
    for address in addresses {
        match address {
            IpAddr::V4(_) => v4 = true,
            IpAddr::V6(_) => v6 = true,
        }
    }
    if v4 {
        sysctl_write("net/ipv4/ip_forward", "1").context("cannot enable forwarding")?;
    }
    if v6 {
        keep_advertised_routes();
        sysctl_write(IPV6_FORWARDING, "1").context("cannot enable forwarding")?;
    }
    Ok(())
}

/// A router believes no other router: with forwarding the kernel drops the default routes that it has by router advertisement,
/// but for interfaces whose accept_ra is 2 (net/ipv6/addrconf.c, addrconf_fixup_forwarding; net/ipv6/route.c,
/// __rt6_purge_dflt_routers). Where one was believed until now, that goes on.
fn keep_advertised_routes() {
    if sysctl_read(IPV6_FORWARDING).is_ok_and(|value| value != "0") {
        return;
    }
    let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    for interface in advertised_defaults(&routes) {
        let key = format!("net/ipv6/conf/{interface}/accept_ra");
        if sysctl_read(&key).is_ok_and(|value| value == "1") {
            match sysctl_write(&key, "2") {
                Ok(()) => log::info(format_args!("{key} is 2 now: forwarding would end its default route")),
                Err(error) => {
                    log::warn(format_args!("the default route by {interface} may be lost: {error}"))
                }
            }
        }
    }
}

/// The interfaces of the default routes that came by advertisement, from the kernel's list (net/ipv6/ip6_fib.c,
/// ipv6_route_native_seq_show): destination, length, source, length, next hop, metric, references, uses, flags, interface.
fn advertised_defaults(routes: &str) -> BTreeSet<&str> {
    // RTF_DEFAULT and RTF_ADDRCONF of linux/ipv6_route.h.
    const ADVERTISED: u32 = 0x0001_0000 | 0x0004_0000;
    let of = |line| {
        let words: Vec<&str> = str::split_ascii_whitespace(line).collect();
        let [_, length, .., flags, interface] = words[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        (length == "00" && flags & ADVERTISED == ADVERTISED).then_some(interface)
    };
    routes.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_default_routes_that_were_advertised_count() {
        // As Linux 6.1 lists them: by advertisement, by hand, a prefix by advertisement, the null route.
        let zero = "0".repeat(32);
        let router = "fe800000000000000000000000000001";
        let routes = format!(
            "{zero} 00 {zero} 00 {router} 00000400 00000001 00000000 00450003     eth0\n\
             {zero} 00 {zero} 00 {router} 00000400 00000001 00000000 00000003     eth1\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00440001 eth2\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        );
        assert_eq!(advertised_defaults(&routes), BTreeSet::from(["eth0"]));
        assert_eq!(advertised_defaults(""), BTreeSet::new());
    }
}
