//! `ipMasq` and `ipMasqBackend`, which bridge and ptp have.

use cni_host::{MasqueradeBackend, Owner, SpoofCheck};
use cni_netlink::MacAddr;
use cni_plugin::{Error, Request, Result, Undo, environment, log};
use cni_types::{CniResult, ErrorCode};
use ipnet::IpNet;

use crate::io_failure;

/// How the container's addresses are masqueraded.
#[derive(Debug, PartialEq, Eq)]
pub struct Masquerade {
    /// `None` for the host's own.
    pub backend: Option<MasqueradeBackend>,
}

impl Masquerade {
    /// `ipMasq` with `ipMasqBackend`, which says nothing without it; `None` for packets that keep the container's address.
    pub fn new(ip_masq: bool, backend: Option<&str>) -> Result<Option<Self>> {
        if !ip_masq {
            return Ok(None);
        }
        let backend = match backend {
            None => None,
            Some("iptables") => Some(MasqueradeBackend::Iptables),
            Some("nftables") => Some(MasqueradeBackend::Nftables),
            Some(other) => {
                let known = "is neither \"iptables\" nor \"nftables\"";
                return Err(Error::config(format!("ipMasqBackend: {other:?} {known}")));
            }
        };
        Ok(Some(Masquerade { backend }))
    }

    /// Masquerades all addresses of the result.
    pub fn add(&self, owner: &Owner, result: &CniResult, undo: &mut Undo<'_>) -> Result<()> {
        let (addresses, path) = (addresses(result), environment("PATH"));
        let undone = (owner.clone(), addresses.clone(), path.clone());
        // Armed first: one family can be done before the other fails.
        undo.push("stop masquerading", move || {
            Ok(cni_host::Masquerade::new(None, &undone.2).del(&undone.0, &undone.1)?)
        });
        let added =
            log::step("masquerade", || cni_host::Masquerade::new(self.backend, &path).add(owner, &addresses));
        // The record of what iptables' rules do not tell is a file.
        added.map_err(io_failure)
    }

    /// Compares with what ADD made.
    pub fn check(&self, owner: &Owner, prev: &CniResult) -> Result<()> {
        Ok(cni_host::Masquerade::new(self.backend, &environment("PATH")).check(owner, &addresses(prev))?)
    }

    /// Stops masquerading for the request's attachment, whatever the configuration says now: it may have been another one
    /// then. Looking where nothing is costs next to nothing.
    pub fn del<C>(req: &Request<C>, owner: &Owner) -> Result<()> {
        let Some(addresses) = told(req) else { return Ok(()) };
        log::step("stop masquerading", || {
            Ok(cni_host::Masquerade::new(None, &environment("PATH")).del(owner, &addresses)?)
        })
    }

    /// The same, and stops the check of the attachment's port for spoofed MAC addresses; `mac` is the container's if it is known.
    pub fn del_with_spoof_check<C>(req: &Request<C>, owner: &Owner, mac: Option<MacAddr>) -> Result<()> {
        let path = environment("PATH");
        log::step("stop masquerading and checking for spoofed MAC addresses", || match told(req) {
            Some(addresses) => {
                Ok(cni_host::Masquerade::new(None, &path).del_with_spoof_check(owner, &addresses, mac)?)
            }
            None => Ok(SpoofCheck::del(owner, mac)?),
        })
    }

    /// Stops masquerading for what is of this network and of no valid attachment.
    pub fn gc(network: &str, valid: &[Owner]) -> Result<()> {
        Ok(cni_host::Masquerade::new(None, &environment("PATH")).gc(network, valid)?)
    }

    /// Whether an ADD could do it, code 50 when not, and whether it is done for the containers that are there, code 51 when not.
    pub fn status(&self) -> Result<()> {
        cni_host::Masquerade::new(self.backend, &environment("PATH")).status().map_err(not_ready)
    }
}

/// STATUS's answer to what is wrong: rules that somebody flushed keep no ADD from being made, which puts them back, but containers
/// that are there are without them.
pub fn not_ready(error: cni_host::Error) -> Error {
    let code = match error {
        cni_host::Error::Mismatch(_) => ErrorCode::LIMITED_CONNECTIVITY,
        _ => ErrorCode::PLUGIN_NOT_AVAILABLE,
    };
    Error::new(code, error.to_string())
}

/// The addresses that DEL knows of; `None` when there never were any, since there is no IPAM. There was one, whatever the
/// configuration says now, where the result has addresses.
fn told<C>(req: &Request<C>) -> Option<Vec<IpNet>> {
    let prev = req.call.conf.prev_result().ok().flatten();
    let addresses = prev.map(addresses).unwrap_or_default();
    (req.call.has_ipam() || !addresses.is_empty()).then_some(addresses)
}

fn addresses(result: &CniResult) -> Vec<IpNet> {
    result.ips.iter().map(|ip| ip.address).collect()
}
