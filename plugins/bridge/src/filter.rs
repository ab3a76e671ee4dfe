//! What an attachment has in the packet filter: masquerading of its addresses (`ipMasq`), and on its port the check for
//! spoofed MAC addresses (`macspoofchk`).

use cni_host::{Owner, masquerade_add, masquerade_check, masquerade_del, masquerade_gc, masquerade_status};
use cni_host::{spoof_check_add, spoof_check_check, spoof_check_del, spoof_check_gc, spoof_check_status};
use cni_netlink::MacAddr;
use cni_plugin::{Error, Request, Result, Undo, environment, log};
use cni_types::{CniResult, ErrorCode};
use ipnet::IpNet;

use crate::config::{Config, Wire};
use crate::leftovers;

/// Checks what the container sends from now on.
pub(crate) fn add_spoof_check(
    owner: &Owner,
    mac: MacAddr,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<()> {
    if !config.spoof_check {
        return Ok(());
    }
    log::step("check for spoofed MAC addresses", || match spoof_check_add(owner, mac) {
        Err(error @ cni_host::Error::NoBridgeFilter(_)) => {
            Err(Error::new(ErrorCode::UNSUPPORTED_FIELD, format!("macspoofchk: {error}")))
        }
        outcome => Ok(outcome?),
    })?;
    let owner = owner.clone();
    undo.push("stop checking for spoofed MAC addresses", move || Ok(spoof_check_del(&owner, Some(mac))?));
    Ok(())
}

/// Masquerades all addresses of the result.
pub(crate) fn add_masquerade(
    owner: &Owner,
    result: &CniResult,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<()> {
    let Some(masquerade) = &config.masquerade else { return Ok(()) };
    let (addresses, path) = (addresses(result), environment("PATH"));
    let undone = (owner.clone(), addresses.clone(), path.clone());
    // Armed first: one family can be done before the other fails.
    undo.push("stop masquerading", move || Ok(masquerade_del(&undone.0, &undone.1, &undone.2)?));
    Ok(log::step("masquerade", || masquerade_add(owner, &addresses, masquerade.backend, &path))?)
}

/// Removes both, whatever the configuration says now: it may have been another one then. Looking where nothing is costs
/// next to nothing.
pub(crate) fn delete(req: &Request<Wire>, owner: &Owner) -> Result<()> {
    let prev = req.call.conf.prev_result().ok().flatten();
    let mac = prev.and_then(|prev| mac_in(prev, &owner.ifname));
    let spoof_check =
        log::step("stop checking for spoofed MAC addresses", || Ok(spoof_check_del(owner, mac)?));
    // Without IPAM there never were addresses.
    let masquerade = if req.call.has_ipam() {
        let addresses = prev.map(addresses).unwrap_or_default();
        log::step("stop masquerading", || Ok(masquerade_del(owner, &addresses, &environment("PATH"))?))
    } else {
        Ok(())
    };
    leftovers::all([spoof_check, masquerade])
}

/// Compares with what ADD made; `mac` is the container's.
pub(crate) fn check(owner: &Owner, prev: &CniResult, mac: Option<MacAddr>, config: &Config) -> Result<()> {
    if let Some(masquerade) = &config.masquerade {
        masquerade_check(owner, &addresses(prev), masquerade.backend, &environment("PATH"))?;
    }
    match mac {
        Some(mac) if config.spoof_check => Ok(spoof_check_check(owner, mac)?),
        _ => Ok(()),
    }
}

/// Removes what is of this network and of no valid attachment.
pub(crate) fn collect(network: &str, valid: &[Owner]) -> Result<()> {
    let masquerade = masquerade_gc(network, valid, &environment("PATH")).map_err(Error::from);
    leftovers::all([masquerade, spoof_check_gc(network, valid).map_err(Error::from)])
}

/// Whether an ADD could do what is configured.
pub(crate) fn status(config: &Config) -> Result<()> {
    let masquerade = config
        .masquerade
        .as_ref()
        .map_or(Ok(()), |masquerade| masquerade_status(masquerade.backend, &environment("PATH")));
    let spoof_check = if config.spoof_check { spoof_check_status() } else { Ok(()) };
    masquerade
        .and(spoof_check)
        .map_err(|error| Error::new(ErrorCode::PLUGIN_NOT_AVAILABLE, error.to_string()))
}

fn addresses(result: &CniResult) -> Vec<IpNet> {
    result.ips.iter().map(|ip| ip.address).collect()
}

/// The MAC address of the container's interface.
fn mac_in(prev: &CniResult, ifname: &str) -> Option<MacAddr> {
    let of_container = |interface: &&cni_types::Interface| {
        interface.name == ifname && interface.sandbox.as_deref().is_some_and(|sandbox| !sandbox.is_empty())
    };
    prev.interfaces.iter().find(of_container)?.mac.as_deref()?.parse().ok()
}
