//! Where a container's packets are limited, and the limits there.
//!
//! On the host's end of a veth pair, out of the container's reach. An interface of any other kind (macvlan, ipvlan, a device of
//! the host, tap) has no end on the host, nor has a pair whose other end is somewhere else: then in the container itself, where
//! sending and receiving are the other way round.

use cni_host::{NetNs, Owner};
use cni_interface::{all, near_end};
use cni_netlink::{Link, Socket};
use cni_plugin::{Context as _, Error, Result, Undo, log};
use cni_types::Interface;

use crate::config::{Limit, Limits};
use crate::ifb;

/// Length of an Ethernet header, which counts towards a limit.
const ETH_HLEN: u32 = 14;

/// An interface that is limited.
pub(crate) struct Place<'a> {
    netns: &'a NetNs,
    in_container: bool,
    /// Of the namespace that the interface is in.
    socket: Socket,
    link: Link,
}

impl<'a> Place<'a> {
    /// Where the container's interface of this name is to be limited.
    pub(crate) fn find(netns: &'a NetNs, ifname: &str) -> Result<Self> {
        let mut inside = netns.socket()?;
        let container = inside
            .link_by_name(ifname)
            .with_context(|| format!("cannot find {ifname} in {}", netns.path().display()))?;
        Place::of(netns, inside, container)
    }

    /// The same for an interface that was found.
    pub(crate) fn of(netns: &'a NetNs, inside: Socket, container: Link) -> Result<Self> {
        let mut host = Socket::open()?;
        Ok(match near_end(&mut host, netns, &container)? {
            Some(near) => Place { netns, in_container: false, socket: host, link: near },
            None => Place { netns, in_container: true, socket: inside, link: container },
        })
    }

    /// The limit of what the interface sends, and that of what it receives.
    fn split(&self, limits: &Limits) -> (Option<Limit>, Option<Limit>) {
        if self.in_container { (limits.egress, limits.ingress) } else { (limits.ingress, limits.egress) }
    }

    /// Sets the limits. Returns the interface that was made for it, if one was.
    pub(crate) fn limit(
        &mut self,
        owner: &'a Owner,
        limits: &Limits,
        undo: &mut Undo<'a>,
    ) -> Result<Option<Interface>> {
        let (sends, receives) = self.split(limits);
        for limit in [sends, receives].iter().flatten() {
            self.warn_of_small(limit);
        }
        let made = match receives {
            Some(limit) => Some(self.limit_received(owner, &limit, undo)?),
            None => None,
        };
        if let Some(limit) = sends {
            let link = &self.link;
            log::step("limit what the interface sends", || self.socket.tbf_add(link.index, &limit.tbf))
                .with_context(|| format!("cannot limit {}", link.name))?;
            self.undo(undo, "remove the limit", |socket, index| socket.tbf_del(index));
        }
        Ok(made)
    }

    /// The bucket is there before the first packet comes its way.
    fn limit_received(&mut self, owner: &'a Owner, limit: &Limit, undo: &mut Undo<'a>) -> Result<Interface> {
        let Place { socket, link, netns, in_container } = self;
        let (index, netns, in_container) = (link.index, *netns, *in_container);
        let ifb = log::step("make the ifb", || ifb::make(socket, owner, link.mtu))?;
        undo.push("delete the ifb", move || ifb::remove(&mut open(netns, in_container)?, owner));
        socket.tbf_add(ifb.index, &limit.tbf).with_context(|| format!("cannot limit {}", ifb.name))?;
        let what = format!("cannot redirect {} to {}", link.name, ifb.name);
        socket.ingress_add(index).context(&what)?;
        undo.push("remove the redirection", move || {
            Ok(open(netns, in_container)?.ingress_del(index).map(drop)?)
        });
        socket.redirect_add(index, ifb.index).context(&what)?;
        Ok(Interface {
            mac: ifb.address_text(),
            name: ifb.name,
            sandbox: in_container.then(|| netns.path().display().to_string()),
            ..Interface::default()
        })
    }

    fn undo(
        &self,
        undo: &mut Undo<'a>,
        what: &'static str,
        step: fn(&mut Socket, u32) -> cni_netlink::Result<bool>,
    ) {
        let (netns, in_container, index) = (self.netns, self.in_container, self.link.index);
        undo.push(what, move || Ok(step(&mut open(netns, in_container)?, index).map(drop)?));
    }

    /// The kernel drops what does not fit into the bucket, and says so in its own log only.
    fn warn_of_small(&self, limit: &Limit) {
        let packet = self.link.mtu.saturating_add(ETH_HLEN);
        if limit.burst < packet {
            log::warn(format_args!(
                "{}: its burst of {} bytes is less than a packet of {packet} bytes, which will never pass",
                limit.key, limit.burst
            ));
        }
    }

    /// The limits are those that are wanted.
    pub(crate) fn check(&mut self, owner: &Owner, limits: &Limits) -> Result<()> {
        let (sends, receives) = self.split(limits);
        let Place { socket, link, .. } = self;
        if let Some(limit) = sends {
            check_bucket(socket, link, &limit)?;
        }
        if let Some(limit) = receives {
            let gone = || Error::failed(format!("{}: the ifb of {} is gone", limit.key, link.name));
            let ifb = ifb::find(socket, owner)?.ok_or_else(gone)?;
            cni_interface::check_up(&ifb)?;
            check_bucket(socket, &ifb, &limit)?;
            if !socket.redirects(link.index)?.contains(&ifb.index) {
                let what = format!("{}: what {} receives does not go to {}", limit.key, link.name, ifb.name);
                return Err(Error::failed(what));
            }
        }
        Ok(())
    }

    /// Takes the limits off. What leads to the ifb goes only where there is one, or else it is not ours.
    pub(crate) fn release(&mut self, owner: &Owner, has_ifb: bool) -> Result<()> {
        let Place { socket, link, in_container, .. } = self;
        let has_ifb = if *in_container { ifb::find(socket, owner)?.is_some() } else { has_ifb };
        let redirection = if has_ifb { socket.ingress_del(link.index).map(drop) } else { Ok(()) };
        let bucket = socket.tbf_del(link.index).map(drop);
        let ifb = if *in_container { ifb::remove(socket, owner) } else { Ok(()) };
        all([redirection.map_err(Error::from), bucket.map_err(Error::from), ifb])
    }
}

fn open(netns: &NetNs, in_container: bool) -> Result<Socket> {
    Ok(if in_container { netns.socket()? } else { Socket::open()? })
}

fn check_bucket(socket: &mut Socket, link: &Link, limit: &Limit) -> Result<()> {
    let (key, name) = (limit.key, &link.name);
    match socket.tbf_get(link.index)? {
        Some(found) if limit.is(&found) => Ok(()),
        Some(found) => {
            let words = |tbf: &cni_netlink::Tbf| {
                format!("{} bytes/s, buffer {} ticks, limit {} bytes", tbf.rate, tbf.buffer, tbf.limit)
            };
            Err(Error::failed(format!("{key}: {name} has {}, not {}", words(&found), words(&limit.tbf))))
        }
        None => Err(Error::failed(format!("{key}: {name} has no token bucket"))),
    }
}
