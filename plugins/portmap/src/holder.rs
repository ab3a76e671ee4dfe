//! Who holds a port that a container asks for. Within one network the latest ADD has it, since that is a pod that has restarted. A
//! container of another network keeps what it holds for as long as it lives; what carries no network, as the reference's rules
//! in nf_tables, is no holder.

use std::collections::HashSet;

use cni_host::{AddressRecord, AddressRecords, NetNs, Owner};
use cni_netlink::Socket;
use cni_nftables::{Batch, Element, Nft, Set};
use cni_plugin::{Error, Result, log};

use crate::config::Forward;
use crate::iptables;
use crate::nftables::{self, tell_displaced};
use crate::ruleset::Scope;

/// What a container asks for.
pub(crate) struct Claim<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) forwards: &'a [Forward],
    scopes: Vec<Scope>,
    /// `PATH`, where chains of iptables are looked at.
    chains: Option<&'a str>,
}

/// An element that somebody else has for a port that is asked for.
pub(crate) struct Held {
    pub(crate) set: Set,
    pub(crate) element: Element,
    pub(crate) forward: Forward,
}

impl<'a> Claim<'a> {
    /// Of a container that nf_tables is to map, under its conditions.
    pub(crate) fn by_nftables(
        owner: &'a Owner,
        forwards: &'a [Forward],
        scopes: &[Scope],
        path: &'a str,
    ) -> Self {
        Claim { owner, forwards, scopes: scopes.to_vec(), chains: Some(path) }
    }

    /// Of one that iptables is to map. Among its own chains the first one wins; nf_tables' mappings it comes before, and what
    /// conditions of iptables mean to them cannot be told.
    pub(crate) fn by_iptables(owner: &'a Owner, forwards: &'a [Forward]) -> Self {
        let scopes = [false, true].map(|v6| Scope::new(v6, Vec::new())).to_vec();
        Claim { owner, forwards, scopes, chains: None }
    }

    /// Fails when a holder lives.
    pub(crate) fn expect_free(&self, nft: &mut Nft) -> Result<()> {
        self.judge(nft)?.map(|_| ())
    }

    /// As [`Nft::update`], for a plan that is told what holders that are gone have; fails without it when one lives.
    pub(crate) fn update(
        &self,
        nft: &mut Nft,
        op: &str,
        mut plan: impl FnMut(&mut Nft, Vec<Held>) -> cni_nftables::Result<Batch>,
    ) -> Result<()> {
        let mut outcome = Ok(());
        nft.update(op, None, |nft| match self.judge(nft)? {
            Ok(gone) => plan(nft, gone),
            Err(error) => {
                outcome = Err(error);
                Ok(Batch::default())
            }
        })?;
        outcome
    }

    /// Takes the elements of holders that are gone; fails when one lives.
    pub(crate) fn take(&self, nft: &mut Nft) -> Result<()> {
        let mut displaced = Vec::new();
        self.update(nft, "take ports from containers that are gone", |_, gone| {
            displaced.clear();
            let mut batch = Batch::default();
            for Held { set, element, forward } in gone {
                batch.delete_element(&set, element.key);
                displaced.push((forward, element.comment.unwrap_or_default()));
            }
            Ok(batch)
        })?;
        for (forward, holder) in displaced {
            tell_displaced(&forward, &describe(&holder), self.owner);
        }
        Ok(())
    }

    /// What holders that are gone have in nf_tables, or an error that names one that lives.
    fn judge(&self, nft: &mut Nft) -> cni_nftables::Result<Result<Vec<Held>>> {
        let held = self.elements(nft)?;
        let mut holders: Vec<(Holder, Forward)> = Vec::new();
        for held in &held {
            let comment = held.element.comment.clone().unwrap_or_default();
            holders.push((Holder::Element { comment }, held.forward));
        }
        if let Some(path) = self.chains {
            match iptables::holders(nft, self.forwards, self.owner, path) {
                Ok(chained) => holders.extend(chained.into_iter().map(|chained| {
                    let iptables::Chained { network, container_id, forward } = chained;
                    (Holder::Chain { network, container_id }, forward)
                })),
                Err(cni_iptables::Error::Nftables(error)) if !error.is_unsupported() => return Err(error),
                Err(error) => {
                    log::warn(format_args!("iptables may have another container's mapping: {error}"));
                }
            }
        }
        Ok(self.first_alive(&holders).map(|()| held))
    }

    fn first_alive(&self, holders: &[(Holder, Forward)]) -> Result<()> {
        let mut gone = HashSet::new();
        for (holder, held) in holders {
            if gone.contains(holder) {
                continue;
            }
            let Some(sign) = holder.sign_of_life()? else {
                gone.insert(holder);
                continue;
            };
            let wanted = self.forwards.iter().find(|wanted| wanted.overlaps(held)).unwrap_or(held);
            let whose = sign.owner.map_or_else(|| holder.describe(), |owner| named(&owner));
            let what = if wanted.host == held.host { "it".to_owned() } else { held.to_string() };
            let seen = sign.text;
            return Err(Error::config(format!(
                "cannot map {wanted}: {whose} has {what}, and lives, since {seen} is there"
            )));
        }
        Ok(())
    }

    /// What other containers in other networks have in nf_tables of these ports, where packets can be for both.
    fn elements(&self, nft: &mut Nft) -> cni_nftables::Result<Vec<Held>> {
        let mut found = Vec::new();
        for scope in Scope::found(nft)? {
            let mut held = self.elements_of(nft, &scope)?;
            for own in &self.scopes {
                if !held.is_empty() && own.meets(&scope, nft)? {
                    found.append(&mut held);
                }
            }
        }
        Ok(found)
    }

    /// Those that were mapped under one set of conditions.
    fn elements_of(&self, nft: &mut Nft, scope: &Scope) -> cni_nftables::Result<Vec<Held>> {
        let wanted: Vec<&Forward> =
            self.forwards.iter().filter(|wanted| wanted.host.is_ipv6() == scope.is_v6()).collect();
        let mut there: Vec<(Set, Element)> = Vec::new();
        for wanted in &wanted {
            let of_all = wanted.of_all_addresses();
            let own = Some(**wanted).filter(|own| *own != of_all);
            for port in own.into_iter().chain([of_all]) {
                let set = scope.map_of(port.host.ip());
                let element = nft.element(&set, &nftables::key(&port))?;
                there.extend(element.map(|element| (set, element)));
            }
        }
        if wanted.iter().any(|wanted| wanted.host.ip().is_unspecified()) {
            // No key tells which addresses have a port of their own.
            let set = scope.host_ip();
            there.extend(nft.elements(&set)?.into_iter().map(|element| (set.clone(), element)));
        }
        let mut found: Vec<Held> = Vec::new();
        for (set, element) in there {
            let is_wanted = |held: &Forward| wanted.iter().any(|wanted| wanted.overlaps(held));
            let Some(forward) = nftables::forward(&element).filter(is_wanted) else { continue };
            let is_held = self.is_others(element.comment.as_deref().unwrap_or_default());
            // Of two ports that are asked for one may be of all addresses.
            if is_held && !found.iter().any(|held| held.set == set && held.element.key == element.key) {
                found.push(Held { set, element, forward });
            }
        }
        Ok(found)
    }

    fn is_others(&self, comment: &str) -> bool {
        Owner::is_alias(comment)
            && !Owner::is_of_network(comment, &self.owner.network)
            && !Owner::is_of_container(comment, &self.owner.container_id)
    }
}

/// Who has a port, as far as its mapping tells.
#[derive(PartialEq, Eq, Hash)]
enum Holder {
    Element { comment: String },
    Chain { network: String, container_id: String },
}

/// By what a holder is known to live.
struct Sign {
    /// `None` where names are too long to be read back.
    owner: Option<Owner>,
    text: String,
}

impl Holder {
    /// An interface of the host's that is the holder's, or its namespace.
    fn sign_of_life(&self) -> Result<Option<Sign>> {
        for link in Socket::open()?.link_dump(None)? {
            if let Some(alias) = link.alias.filter(|alias| self.is_of(alias)) {
                let text = format!("its interface {}", link.name);
                return Ok(Some(Sign { owner: Owner::from_alias(&alias), text }));
            }
        }
        let host = NetNs::current()?;
        for record in self.records() {
            let AddressRecord { owner, netns, .. } = record;
            // A path that leads to the host's own says nothing of a container.
            if let Ok(found) = NetNs::open(&netns)
                && !found.is_same(&host)?
            {
                return Ok(Some(Sign { owner: Some(owner), text: format!("its namespace {netns}") }));
            }
        }
        Ok(None)
    }

    fn is_of(&self, alias: &str) -> bool {
        match self {
            // What fits into an alias may not fit into a comment.
            Holder::Element { comment } => {
                alias == comment || Owner::from_alias(alias).is_some_and(|owner| owner.comment() == *comment)
            }
            Holder::Chain { network, container_id } => {
                Owner::is_of_network(alias, network) && Owner::is_of_container(alias, container_id)
            }
        }
    }

    fn records(&self) -> Vec<AddressRecord> {
        let records = AddressRecords::new(crate::NAME);
        match self {
            Holder::Element { comment } => records.of_comment(comment).into_iter().collect(),
            Holder::Chain { network, container_id } => records.of_container(network, container_id),
        }
    }

    fn describe(&self) -> String {
        match self {
            Holder::Element { comment } => describe(comment),
            Holder::Chain { network, container_id } => {
                format!("container {container_id} (network {network})")
            }
        }
    }
}

/// Whose an element is, for people.
pub(crate) fn describe(comment: &str) -> String {
    match Owner::from_alias(comment) {
        Some(owner) => named(&owner),
        None => format!("container {comment}"),
    }
}

fn named(Owner { network, container_id, ifname }: &Owner) -> String {
    format!("container {container_id} ({ifname}, network {network})")
}
