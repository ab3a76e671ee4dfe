//! What an attachment has in the packet filter: masquerading of its addresses (`ipMasq`), and on its port the check for
//! spoofed MAC addresses (`macspoofchk`).

use cni_host::Owner;
use cni_host::SpoofCheck;
use cni_interface::{Masquerade, all, not_ready};
use cni_netlink::MacAddr;
use cni_plugin::{Error, Request, Result};
use cni_types::{CniResult, ErrorCode};

use crate::config::{Config, Wire};

/// Why the port could not be made, where that is the check for spoofed MAC addresses.
pub(crate) fn explained(error: cni_host::Error) -> Error {
    match error {
        error @ cni_host::Error::NoBridgeFilter(_) => {
            Error::new(ErrorCode::UNSUPPORTED_FIELD, format!("macspoofchk: {error}"))
        }
        error => error.into(),
    }
}

/// Removes both, whatever the configuration says now: it may have been another one then. Looking where nothing is costs
/// next to nothing.
pub(crate) fn delete(req: &Request<Wire>, owner: &Owner) -> Result<()> {
    let prev = req.call.conf.prev_result().ok().flatten();
    let mac = prev.and_then(|prev| mac_in(prev, &owner.ifname));
    Masquerade::del_with_spoof_check(req, owner, mac)
}

/// Compares with what ADD made; `mac` is the container's.
pub(crate) fn check(owner: &Owner, prev: &CniResult, mac: Option<MacAddr>, config: &Config) -> Result<()> {
    if let Some(masquerade) = &config.masquerade {
        masquerade.check(owner, prev)?;
    }
    match mac {
        Some(mac) if config.spoof_check => Ok(SpoofCheck::check(owner, mac)?),
        _ => Ok(()),
    }
}

/// Removes what is of this network and of no valid attachment.
pub(crate) fn collect(network: &str, valid: &[Owner]) -> Result<()> {
    all([Masquerade::gc(network, valid), SpoofCheck::gc(network, valid).map_err(Error::from)])
}

/// Whether an ADD could do what is configured.
pub(crate) fn status(config: &Config) -> Result<()> {
    config.masquerade.as_ref().map_or(Ok(()), Masquerade::status)?;
    let spoof_check = if config.spoof_check { SpoofCheck::status() } else { Ok(()) };
    spoof_check.map_err(not_ready)
}

/// The MAC address of the container's interface.
fn mac_in(prev: &CniResult, ifname: &str) -> Option<MacAddr> {
    let of_container = |interface: &&cni_types::Interface| {
        interface.name == ifname && interface.sandbox.as_deref().is_some_and(|sandbox| !sandbox.is_empty())
    };
    prev.interfaces.iter().find(of_container)?.mac.as_deref()?.parse().ok()
}
