//! The network of a device that is away, on record beside the device itself: a DEL takes the copied rules out of the container,
//! and gives the host its addresses and routes back.

use std::fs;

use cni_host::Owner;
use cni_interface::{absent_is_fine, all, open_inside};
use cni_netlink::{FoundAddr, FoundRoute, Link, LinkChange, Socket, WholeRule};
use cni_plugin::{Request, Result, log};
use serde::{Deserialize, Serialize};

use crate::device::routes_of;
use crate::network::Network;
use crate::records::{Record, Records};

/// As it is written: what the kernel said, in hexadecimal digits.
#[derive(Debug, Serialize, Deserialize)]
struct Wire {
    up: bool,
    addresses: Vec<String>,
    routes: Vec<String>,
    rules: Vec<String>,
}

/// Writes down what goes along. Before the device leaves.
pub(crate) fn set(records: &Records, owner: &Owner, network: &Network) -> Result<()> {
    if records.is_read_only() {
        return Ok(());
    }
    let wire = Wire {
        up: network.up,
        addresses: network.addresses.iter().map(|found| digits(&found.to_bytes())).collect(),
        routes: network.routes.iter().map(|found| digits(&found.to_bytes())).collect(),
        rules: network.rules.iter().map(|found| digits(&found.to_bytes())).collect(),
    };
    records.write(&records.network_of(owner), &wire)
}

/// What went along; what cannot be read is nothing.
fn find(records: &Records, owner: &Owner) -> Option<Network> {
    let wire: Wire = serde_json::from_slice(&fs::read(records.network_of(owner)).ok()?).ok()?;
    let read = |text: &String| bytes(text).ok_or(());
    let each = |texts: &[String]| texts.iter().map(read).collect::<std::result::Result<Vec<_>, ()>>().ok();
    Some(Network {
        up: wire.up,
        addresses: each(&wire.addresses)?
            .iter()
            .map(|found| FoundAddr::from_bytes(found))
            .collect::<Option<_>>()?,
        routes: each(&wire.routes)?
            .iter()
            .map(|found| FoundRoute::from_bytes(found))
            .collect::<Option<_>>()?,
        rules: each(&wire.rules)?.iter().map(|found| WholeRule::from_bytes(found)).collect::<Option<_>>()?,
    })
}

/// Takes the copied rules out of the request's container, if that is still there. They lead to tables that the device's routes
/// were in, and somebody else's may be soon.
pub(crate) fn take_rules<C>(req: &Request<C>, owner: &Owner) -> Result<()> {
    let records = Records::host();
    if find(&records, owner).is_none_or(|network| network.rules.is_empty()) {
        return Ok(());
    }
    match open_inside(req)? {
        Some((_netns, mut inside)) => take_rules_from(&mut inside, &records, owner),
        None => Ok(()),
    }
}

/// The same from a namespace that is known.
pub(crate) fn take_rules_from(inside: &mut Socket, records: &Records, owner: &Owner) -> Result<()> {
    let rules = find(records, owner).map(|network| network.rules).unwrap_or_default();
    all(rules.iter().map(|rule| absent_is_fine(inside.rule_take(rule))).collect::<Vec<_>>())
}

/// Gives the device, which is on the host again, its addresses and routes back, all or none: whatever else has come to the host
/// meanwhile, it is its owner's wish. Says so then, and fails nothing: the device itself is there.
pub(crate) fn give_home(host: &mut Socket, records: &Records, owner: &Owner, name: &str) {
    let Some(network) = find(records, owner) else { return };
    let restored = match host.link_by_name(name) {
        Ok(link) => restore(host, &link, &network),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = restored {
        log::warn(format_args!("{name} does not get its addresses and routes back: {why}"));
    }
}

/// The same where the device may have come home without a word, unless it is a stranger with its name.
pub(crate) fn give_home_if_same(host: &mut Socket, records: &Records, record: &Record) {
    let name = record.device.as_str();
    let is_it =
        |link: &Link| link.kind == record.kind && link.address_text().unwrap_or_default() == record.address;
    if host.link_by_name(name).is_ok_and(|link| is_it(&link)) {
        give_home(host, records, &record.owner(), name);
    }
}

fn restore(host: &mut Socket, link: &Link, network: &Network) -> std::result::Result<(), String> {
    let there = host.addr_dump(link.index).map_err(|error| error.to_string())?;
    let is_there = |found: &FoundAddr| there.iter().any(|addr| addr.address == found.addr.address);
    let missing: Vec<FoundAddr> =
        network.addresses.iter().filter(|found| !is_there(found)).map(|found| found.on(link.index)).collect();
    for found in &missing {
        let address = found.addr.address.addr();
        if host.route_get(address).is_ok_and(|way| way.is_some_and(|way| way.local)) {
            return Err(format!("the host has {address} elsewhere by now"));
        }
    }
    let outcome = put_back(host, link, network, &missing);
    if outcome.is_err() {
        for found in &missing {
            let _ = host.addr_take(found);
        }
        let _ = host.link_change(link.index, &LinkChange { up: Some(link.up), ..LinkChange::default() });
    }
    outcome
}

fn put_back(
    host: &mut Socket,
    link: &Link,
    network: &Network,
    missing: &[FoundAddr],
) -> std::result::Result<(), String> {
    for found in missing {
        host.addr_put(found).map_err(|error| error.to_string())?;
    }
    if network.up {
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        host.link_change(link.index, &up).map_err(|error| error.to_string())?;
    }
    for route in network.routes.iter().map(|route| route.on(link.index)) {
        let put = match host.route_put_new(&route) {
            // Reached by what the kernel or a router will make again in a moment.
            Err(error) if !error.is_exists() => host.route_put_new(&route.on_link()).map_err(|_| error),
            put => put,
        };
        match put {
            Err(error) if error.is_exists() => {
                let own = routes_of(host, link.index).map_err(|error| error.to_string())?;
                if !own.iter().any(|own| own.spec == route.spec) {
                    return Err(format!("the host has another {} by now", route.spec));
                }
            }
            put => put.map_err(|error| error.to_string())?,
        }
    }
    Ok(())
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_were_written() {
        for given in [&[][..], &[0, 1, 0xff]] {
            assert_eq!(bytes(&digits(given)).as_deref(), Some(given));
        }
        assert_eq!(bytes("0g"), None);
        assert_eq!(bytes("€"), None);
    }
}
