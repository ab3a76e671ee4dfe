//! The `portmap` plugin: forwards ports of the host to a container. Chained after the plugin that gives the container its
//! address, whose result it passes on; the runtime says which ports (capability `portMappings`).
//!
//! Two backends: nftables with elements in maps of a table of its own, in which the latest ADD of a port wins within a network, and
//! iptables with the reference's rules. Whatever is made carries its owner, so that DEL and GC need neither the container's
//! namespace nor the list of ports.

use std::collections::HashSet;
use std::net::IpAddr;

use cni_host::{AddressRecord, AddressRecords, Owner};
use cni_interface::{all, io_failure, owner, valid_owners};
use cni_nftables::Nft;
use cni_plugin::{Add, Call, Check, Del, Error, Gc, Plugin, Result, Status, Undo, environment, log};
use cni_types::{CniResult, ErrorCode, SpecVersion};
use ipnet::IpNet;

mod config;
mod flows;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod holder;
mod iptables;
mod leftovers;
mod localnet;
mod nftables;
mod ruleset;

use config::{Backend, Forward, Masquerade, Protocol};
pub use config::{Config, Wire};
use holder::Claim;
use iptables::Attachment;
use nftables::Wanted;

/// Its name, and that of its folder in `/run/cni-plugins-rs`.
const NAME: &str = "portmap";

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: NAME,
    versions: SpecVersion::ALL,
    read: Call::read,
    validate: |wire, _| Config::new(wire),
    add,
    check,
    del,
    gc,
    status,
};

/// A container as seen from the host.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) owner: Owner,
    /// With the length of its subnet's prefix; at most one of each family.
    pub(crate) addresses: Vec<IpNet>,
}

fn add(req: &Add<Config>) -> Result<CniResult> {
    let config = &req.config;
    let result = req.prev_result()?;
    let nft = &mut Nft::new();
    log::step("see that 127.0.0.0/8 is guarded", || localnet::guard(nft, result))?;
    if config.mappings.is_empty() {
        return Ok(result.clone());
    }
    let pod = Pod { owner: owner(req), addresses: addresses(result, req.attachment.ifname.as_str()) };
    let forwards = forwards(config, &pod);
    if forwards.is_empty() {
        return Ok(result.clone());
    }
    let path = environment("PATH");
    let backend = backend(config, &path)?;
    let wanted = match backend {
        Backend::Nftables => Some(Wanted::new(config, &pod, &forwards)?),
        Backend::Iptables => None,
    };
    let claim = match &wanted {
        Some(wanted) => Claim::by_nftables(&pod.owner, &forwards, wanted.scopes(), &path),
        None => Claim::by_iptables(&pod.owner, &forwards),
    };
    log::step("see who has the ports", || claim.expect_free(nft))?;
    let records = AddressRecords::new(NAME);
    let attachment = Attachment::new(&pod.owner, &records, &hosts(&pod.addresses));
    let mut undo = Undo::default();
    remember(&pod, req.netns(), &mut undo)?;
    if config.masquerade != Masquerade::Nobody {
        log::step("let 127.0.0.0/8 reach the container", || {
            localnet::enable(nft, &forwards, backend, &pod.owner, &path, &mut undo)
        })?;
    }
    match &wanted {
        // One transaction, and nothing after it fails the ADD: what another container loses to this one need not be given back.
        Some(wanted) => {
            log::step("map the ports in nf_tables", || nftables::add(nft, wanted, &claim))?;
            let displaced = log::step("take the ports from iptables", || {
                iptables::displace(nft, &forwards, &pod.owner, &path)
            });
            if let Err(error) = displaced {
                log::warn(format_args!("iptables may still have another container's mapping: {error}"));
            }
        }
        None => {
            log::step("map the ports with iptables", || {
                iptables::add(nft, config, &pod, &attachment, &path)
            })?;
            undo.push("remove the container's iptables rules", || {
                iptables::del(&mut Nft::new(), &attachment, &path, &mut Vec::new())
            });
            // Once more: of an ADD by nftables at the same time, one sees what the other has made.
            log::step("take the ports from nf_tables", || claim.take(nft))?;
        }
    }
    undo.commit();
    flows::redirect(&forwards);
    Ok(result.clone())
}

/// Records whose rules are for which addresses, and where the container is; both are told by no rule of iptables.
fn remember<'a>(pod: &'a Pod, netns: &str, undo: &mut Undo<'a>) -> Result<()> {
    let records = AddressRecords::new(NAME);
    let record =
        AddressRecord { owner: pod.owner.clone(), netns: netns.to_owned(), addresses: pod.addresses.clone() };
    let before = records.find(&pod.owner);
    if before.as_ref() == Some(&record) {
        return Ok(());
    }
    undo.push("put the record of addresses back", move || match before {
        Some(before) => AddressRecords::new(NAME).set(&before).map_err(io_failure),
        None => AddressRecords::new(NAME).remove(&pod.owner).map_err(io_failure),
    });
    records.set(&record).map_err(io_failure)
}

fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    let result = req.prev_result()?;
    let pod = Pod { owner: owner(req), addresses: addresses(result, req.attachment.ifname.as_str()) };
    let forwards = forwards(config, &pod);
    if forwards.is_empty() {
        return Ok(());
    }
    let path = environment("PATH");
    let nft = &mut Nft::new();
    match backend(config, &path)? {
        // A container of the reference's plugin keeps its mappings until it goes.
        Backend::Nftables if leftovers::holds(nft, &pod.owner.container_id, &forwards)? => Ok(()),
        Backend::Nftables => {
            nftables::check(nft, &Wanted::new(config, &pod, &forwards)?, &pod.owner)?;
            if config.masquerade == Masquerade::Nobody { Ok(()) } else { localnet::check(nft, &forwards) }
        }
        Backend::Iptables => {
            nftables::expect_undisplaced(nft, &pod.owner, &forwards)?;
            iptables::check(nft, config, &pod, &path)
        }
    }
}

/// Looks at every backend and at what the reference's plugin may have left, since the configuration may have chosen
/// otherwise at the time of the ADD. Where nothing is, that takes some questions to the kernel and runs no program.
fn del(req: &Del<Wire>) -> Result<()> {
    let owner = owner(req);
    let path = environment("PATH");
    let ((forwards, told), nft) = (told(req), &mut Nft::new());
    let records = AddressRecords::new(NAME);
    let attachment = Attachment::new(&owner, &records, &told_addresses(req));
    let mut gone: Vec<Forward> = Vec::new();
    let outcomes = [
        log::step("remove the mappings from nf_tables", || {
            nftables::del(nft, &owner, told.as_ref(), &mut gone)
        }),
        log::step("remove the reference's nf_tables rules", || {
            leftovers::del(nft, &owner.container_id, &mut gone)
        }),
        log::step("remove the iptables rules", || iptables::del(nft, &attachment, &path, &mut gone)),
    ];
    let unmapped = forwards.into_iter().filter(|told| !gone.contains(told) && is_unmapped(nft, told, &path));
    gone.extend(unmapped.collect::<Vec<_>>());
    flows::forget(&gone);
    all(outcomes)?;
    // The last, since by it whoever comes next tells whose the rules were.
    all([
        log::step("turn route_localnet off", || localnet::release(nft, &owner, &path)),
        records.remove(&owner).map_err(io_failure),
    ])
}

/// What the request says that its ADD made; it may say anything.
fn told(req: &Del<Wire>) -> (Vec<Forward>, Option<Wanted>) {
    let (Ok(config), Ok(result)) = (Config::new(&req.config), req.prev_result()) else {
        return (Vec::new(), None);
    };
    let pod = Pod { owner: owner(req), addresses: addresses(result, req.attachment.ifname.as_str()) };
    let forwards = forwards(&config, &pod);
    let wanted = Wanted::new(&config, &pod, &forwards).ok();
    (forwards, wanted)
}

/// The addresses that the request tells of, whatever else of it cannot be read.
fn told_addresses(req: &Del<Wire>) -> Vec<IpAddr> {
    let result = req.call.conf.prev_result().ok().flatten();
    hosts(&result.map(|result| addresses(result, req.attachment.ifname.as_str())).unwrap_or_default())
}

fn hosts(addresses: &[IpNet]) -> Vec<IpAddr> {
    addresses.iter().map(IpNet::addr).collect()
}

/// Whether a mapping that this request tells of leads nowhere any more: somebody has flushed the rules, or this is not the
/// first DEL. Its flows go on all the same. When another container has both the address and the port by now, they are that one's.
fn is_unmapped(nft: &mut Nft, told: &Forward, path: &str) -> bool {
    if told.protocol != Protocol::Udp {
        return false;
    }
    let mut is_mapped =
        || Ok(nftables::maps(nft, told)? || leftovers::maps(nft, told)? || iptables::maps(nft, told, path)?);
    is_mapped().map(|mapped| !mapped).unwrap_or_else(|error: Error| {
        log::warn(format_args!("UDP clients may still reach the container at {told}: {error}"));
        false
    })
}

fn gc(req: &Gc<Wire>) -> Result<()> {
    let valid = valid_owners(req);
    let nft = &mut Nft::new();
    let guarded = log::step("see that 127.0.0.0/8 is guarded", || localnet::guard_all(nft));
    let (network, path) = (req.call.conf.name.as_str(), environment("PATH"));
    let mut gone: Vec<Forward> = Vec::new();
    let owners: HashSet<String> = valid.iter().map(Owner::comment).collect();
    // The reference's rules know containers, not their interfaces.
    let containers: HashSet<&str> = valid.iter().map(|valid| valid.container_id.as_str()).collect();
    let collected = all([
        log::step("collect nf_tables mappings", || nftables::gc(nft, network, &owners, &mut gone)),
        log::step("collect iptables rules", || iptables::gc(nft, network, &containers, &path, &mut gone)),
    ]);
    flows::forget(&gone);
    // As with DEL.
    let forgotten = collected.and_then(|()| {
        all([
            log::step("turn route_localnet off", || localnet::collect(nft, network, &owners, &path)),
            AddressRecords::new(NAME).retain(network, &valid).map_err(io_failure),
        ])
    });
    all([guarded, forgotten])
}

/// Cheap, since it is asked every few seconds: no program is run.
fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    let path = environment("PATH");
    let backend = backend(config, &path)?;
    let usable = match backend {
        Backend::Nftables => nftables::is_usable(),
        Backend::Iptables => iptables::is_usable(&path),
    };
    usable.map_err(Error::unavailable)?;
    match backend {
        // The next ADD puts them back; until then nobody reaches the ports of the containers that are there.
        Backend::Nftables => nftables::emptied(config)?.map_or(Ok(()), |chain| {
            let what = format!("chain {chain} of table {} does not have its rules", ruleset::TABLE);
            Err(Error::new(ErrorCode::LIMITED_CONNECTIVITY, what))
        }),
        Backend::Iptables => Ok(()),
    }
}

/// The backend that is configured, or else as the reference chooses: iptables, unless only nf_tables can be used.
fn backend(config: &Config, path: &str) -> Result<Backend> {
    let backend = match config.backend {
        Some(backend) => return Ok(backend),
        None if iptables::is_usable(path).is_err() && nftables::is_usable().is_ok() => Backend::Nftables,
        None => Backend::Iptables,
    };
    config.expect_fit(backend)?;
    Ok(backend)
}

/// The container's first address of each family. An address that is said to be on some other interface, or on one of the
/// host, is not its own; one that is said to be nowhere is.
fn addresses(result: &CniResult, ifname: &str) -> Vec<IpNet> {
    let mut addresses: Vec<IpNet> = Vec::new();
    for ip in &result.ips {
        let interface = ip.interface.and_then(|index| result.interfaces.get(index));
        let elsewhere = interface.is_some_and(|interface| {
            interface.name != ifname || interface.sandbox.as_ref().is_none_or(String::is_empty)
        });
        let taken = addresses.iter().any(|other| other.addr().is_ipv4() == ip.address.addr().is_ipv4());
        if !elsewhere && !taken {
            addresses.push(ip.address);
        }
    }
    addresses
}

fn forwards(config: &Config, pod: &Pod) -> Vec<Forward> {
    let of_address = |address: &IpNet| {
        let address = *address;
        config.mappings.iter().filter_map(move |mapping| mapping.forward(address))
    };
    // `hostIP` 0.0.0.0 and none at all are one port.
    let mut ports = HashSet::new();
    let forwards = pod.addresses.iter().flat_map(of_address);
    forwards.filter(|forward| ports.insert((forward.protocol, forward.host))).collect()
}

#[cfg(test)]
mod tests {
    use cni_types::{Interface, IpConfig};

    use super::*;

    fn result(ips: &[(&str, Option<usize>)]) -> CniResult {
        let interface = |name: &str, sandbox: Option<&str>| Interface {
            name: name.to_owned(),
            sandbox: sandbox.map(str::to_owned),
            ..Interface::default()
        };
        CniResult {
            interfaces: vec![
                interface("eth0", None),
                interface("eth0", Some("/run/netns/a")),
                interface("eth1", Some("/run/netns/a")),
                interface("eth0", Some("")),
            ],
            ips: ips
                .iter()
                .map(|(address, interface)| IpConfig {
                    interface: *interface,
                    address: address.parse().unwrap(),
                    gateway: None,
                })
                .collect(),
            ..CniResult::default()
        }
    }

    fn of(ips: &[(&str, Option<usize>)]) -> Vec<String> {
        addresses(&result(ips), "eth0").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_address_of_each_family_on_the_containers_interface_counts() {
        assert_eq!(
            of(&[
                ("10.0.0.1/24", Some(0)),
                ("10.0.0.2/24", Some(2)),
                ("10.0.0.3/24", Some(3)),
                ("10.0.0.4/24", Some(1)),
                ("10.0.0.5/24", Some(1)),
                ("fd00::4/64", Some(1)),
                ("fd00::5/64", None),
            ]),
            ["10.0.0.4/24", "fd00::4/64"]
        );
    }

    #[test]
    fn an_address_of_no_known_interface_is_the_containers() {
        assert_eq!(of(&[("10.0.0.4/24", None)]), ["10.0.0.4/24"]);
        assert_eq!(of(&[("10.0.0.4/24", Some(9))]), ["10.0.0.4/24"]);
        assert!(of(&[]).is_empty());
    }
}
