//! Masquerading (`ipMasq`): what a container sends to other networks carries the host's address. For the plugins that make
//! the container's interface (bridge, ptp).
//!
//! Not for packets within the address's own subnet, and not for multicast, by which containers find each other. Each
//! address has its own family's rules, and a family without addresses is not touched, so that a kernel without it does.
//! State is keyed by (network, container ID, interface): whose address it is now decides, not who had it before.
//!
//! Two backends, as in the reference: [`nftables`], and [`iptables`] with the reference's chains and comments. Removing
//! looks at both, and at what the reference's plugins left ([`reference`]), whatever the configuration says now.

mod iptables;
mod nftables;
mod records;
mod reference;

pub(crate) use nftables::unless_unsupported;

use std::net::IpAddr;

use cni_netlink::MacAddr;
use cni_nftables::Nft;
use ipnet::IpNet;

use crate::{Error, Owner, Result, SpoofCheck};

/// What carries out masquerading, `ipMasqBackend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasqueradeBackend {
    /// As iptables' rules.
    Iptables,
    /// By netlink.
    Nftables,
}

/// Masquerading of containers' addresses: by which backend, and where its programs are.
#[derive(Clone, Copy, Debug)]
pub struct Masquerade<'a> {
    backend: Option<MasqueradeBackend>,
    path: &'a str,
}

impl<'a> Masquerade<'a> {
    /// Without a `backend` it is iptables where that can be used, else nftables, as the reference chooses. `path` is `PATH`,
    /// where the iptables programs are looked for.
    pub fn new(backend: Option<MasqueradeBackend>, path: &'a str) -> Self {
        Masquerade { backend, path }
    }

    /// Masquerades these addresses of a container, each with the prefix of its own subnet. The latest owner of an address
    /// wins.
    pub fn add(&self, owner: &Owner, addresses: &[IpNet]) -> Result<()> {
        let nft = &mut Nft::new();
        match self.backend {
            Some(MasqueradeBackend::Nftables) => nftables::add(nft, owner, addresses),
            Some(MasqueradeBackend::Iptables) => iptables::add(nft, owner, addresses, self.path),
            None => match iptables::add(nft, owner, addresses, self.path) {
                // Not installed, or of the variant that this kernel has not got.
                Err(Error::Iptables(error))
                    if error.is_unusable() && status(MasqueradeBackend::Nftables, self.path).is_ok() =>
                {
                    nftables::add(nft, owner, addresses)
                }
                outcome => outcome,
            },
        }
    }

    /// Removes what masquerades this owner's addresses, in both backends and whichever plugin made it, be it told of all of them
    /// (`addresses`, those of the result) or not: that only makes it quicker. What is not there is not a failure.
    pub fn del(&self, owner: &Owner, addresses: &[IpNet]) -> Result<()> {
        let nft = &mut Nft::new();
        both(del_nftables(nft, owner, addresses), iptables::del(nft, owner, addresses, self.path))
    }

    /// The same and [`SpoofCheck::del`]. What is in nf_tables goes by one socket and in one transaction: each transaction has
    /// those of all others planned anew that are not through yet.
    pub fn del_with_spoof_check(
        &self,
        owner: &Owner,
        addresses: &[IpNet],
        mac: Option<MacAddr>,
    ) -> Result<()> {
        let plan = |nft: &mut Nft| {
            let mut batch = nftables::plan_del(nft, owner, addresses)?;
            batch.append(SpoofCheck::plan_del(nft, owner, mac)?);
            Ok(batch)
        };
        let op = "stop masquerading and checking for spoofed MAC addresses";
        let nft = &mut Nft::new();
        let removed = match unless_unsupported(nft.update(op, None, plan)) {
            // Neither failure keeps the other from being tried.
            Err(_) => both(del_nftables(nft, owner, addresses), SpoofCheck::del(owner, mac)),
            done => done,
        };
        both(removed, iptables::del(nft, owner, addresses, self.path))
    }

    /// Compares with what [`Masquerade::add`] made, or the reference's plugins.
    pub fn check(&self, owner: &Owner, addresses: &[IpNet]) -> Result<()> {
        let nft = &mut Nft::new();
        match self.backend {
            Some(MasqueradeBackend::Nftables) => nftables::check(nft, owner, addresses),
            Some(MasqueradeBackend::Iptables) => iptables::check(nft, owner, addresses, self.path),
            // Which one it was may have been decided otherwise then.
            None => nftables::check(nft, owner, addresses)
                .or_else(|_| iptables::check(nft, owner, addresses, self.path)),
        }
    }

    /// Removes what masquerades addresses of the network's attachments that are not among the valid ones, and nothing of other
    /// networks. Also the nftables chains of subnets that have no address any more, which DEL leaves to it unless the subnet was
    /// a single address: whether others are in use only shows by reading all elements.
    pub fn gc(&self, network: &str, valid: &[Owner]) -> Result<()> {
        let nft = &mut Nft::new();
        both(nftables::gc(nft, network, valid), iptables::gc(nft, network, valid, self.path))
    }

    /// Whether an ADD could masquerade, as far as can be told cheaply.
    pub fn status(&self) -> Result<()> {
        match self.backend {
            Some(backend) => status(backend, self.path),
            None => status(MasqueradeBackend::Iptables, self.path)
                .or_else(|error| status(MasqueradeBackend::Nftables, self.path).map_err(|_| error)),
        }
    }
}

fn del_nftables(nft: &mut Nft, owner: &Owner, addresses: &[IpNet]) -> Result<()> {
    let plan = |nft: &mut Nft| nftables::plan_del(nft, owner, addresses);
    unless_unsupported(nft.update("stop masquerading", None, plan))
}

fn status(backend: MasqueradeBackend, path: &str) -> Result<()> {
    match backend {
        MasqueradeBackend::Iptables => {
            cni_iptables::Iptables::find(&[cni_iptables::Family::Ipv4], path)?;
        }
        MasqueradeBackend::Nftables => {
            nftables::status(&mut Nft::new())?;
        }
    }
    Ok(())
}

/// The addresses of one family.
fn of_family(addresses: &[IpNet], v4: bool) -> Vec<IpNet> {
    addresses.iter().copied().filter(|address| address.addr().is_ipv4() == v4).collect()
}

/// Neither failure keeps the other from being tried.
fn both(first: Result<()>, second: Result<()>) -> Result<()> {
    match (first, second) {
        (Err(first), Err(second)) => Err(Error::Several(vec![first, second])),
        (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(()),
    }
}

fn not_masqueraded(address: IpAddr, why: &str) -> Error {
    Error::Mismatch(format!("{address} is not masqueraded: {why}"))
}
