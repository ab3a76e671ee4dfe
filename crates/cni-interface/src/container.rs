//! The container's side of an ADD and a CHECK.

use std::rc::Rc;

use cni_host::{IfaceConfig, NetNs, Owner, announce, check_iface, configure_iface};
use cni_netlink::{Link, LinkChange, NewLink, Socket};
use cni_plugin::{Add, Context as _, Error, Result, Undo, log};
use cni_types::CniResult;

use crate::link::delete;
use crate::{iface_config, owner, reported_config};

/// A container's network namespace with a socket in it, and the attachment that a request is about.
pub struct Container {
    /// Whose interface it is about.
    pub owner: Owner,
    /// The namespace.
    pub netns: Rc<NetNs>,
    /// In that namespace.
    pub socket: Socket,
}

impl Container {
    /// The container of an ADD or CHECK.
    pub fn open<C>(req: &Add<C>) -> Result<Self> {
        let netns = NetNs::open(req.netns())?;
        let socket = netns.socket()?;
        Ok(Container { owner: owner(req), netns: Rc::new(netns), socket })
    }

    /// The name of the attachment's interface.
    pub fn ifname(&self) -> &str {
        &self.owner.ifname
    }

    /// Fails when the container has an interface of that name. Before IPAM: an address given out for nothing would have to be
    /// taken back.
    pub fn expect_free(&mut self) -> Result<()> {
        match self.socket.link_by_name(&self.owner.ifname) {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => {
                let (ifname, netns) = (self.ifname(), self.netns.path().display());
                Err(Error::failed(format!(
                    "cannot add {ifname} to {netns}: an interface of that name already exists"
                )))
            }
        }
    }

    /// The interface, for a CHECK.
    pub fn find_interface(&mut self) -> Result<Link> {
        let found = self.socket.link_by_name(&self.owner.ifname);
        found.with_context(|| format!("cannot find {} in {}", self.owner.ifname, self.netns.path().display()))
    }

    /// Makes a link in the namespace under its final name, down, arms its deletion, and says in its alias whose it is.
    pub fn add_link(&mut self, new: &NewLink<'_>, undo: &mut Undo<'_>) -> Result<Link> {
        let temporary = self.owner.temporary_name();
        log::step("make the interface", || self.socket.link_add_beside(new, &temporary))?;
        self.own_link(new.kind.name(), undo)
    }

    /// The rest of [`Container::add_link`] for a link of this kind that was made by other means, under its final name.
    pub fn own_link(&mut self, kind: &'static str, undo: &mut Undo<'_>) -> Result<Link> {
        let (netns, made_for) = (Rc::clone(&self.netns), self.owner.clone());
        undo.push("delete the interface", move || delete(&mut netns.socket()?, kind, &made_for));
        let link = self.socket.link_by_name(&self.owner.ifname)?;
        let alias = self.owner.alias();
        self.socket.link_change(link.index, &LinkChange { alias: Some(&alias), ..LinkChange::default() })?;
        Ok(link)
    }

    /// Sets an interface up that has no addresses yet.
    pub fn set_up(&mut self, link: &Link) -> Result<()> {
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        let what = || format!("cannot set up {} in {}", link.name, self.netns.path().display());
        self.socket.link_change(link.index, &up).with_context(what)
    }

    /// The same for one of which the index is known.
    pub fn set_up_index(&mut self, index: u32) -> Result<()> {
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        let what = || format!("in {}", self.netns.path().display());
        self.socket.link_change(index, &up).with_context(what)
    }

    /// Gives the interface the result's addresses and routes and sets it up; without addresses it is set up and that is all. With
    /// `dad` an IPv6 address that another host has is an error (RFC 4862, 5.4).
    pub fn configure(&mut self, link: &Link, result: &CniResult, dad: bool) -> Result<()> {
        if result.ips.is_empty() {
            return self.set_up(link);
        }
        self.configure_index(link.index, &iface_config(&result.ips, &result.routes, dad))?;
        // The kernel does it when a link comes up, and this one was up before it had addresses. Not every kind of link can.
        if link.up
            && let Err(error) = announce(&mut self.socket, link.index, &link.name)
        {
            log::debug(format_args!("{error}"));
        }
        Ok(())
    }

    /// Gives the attachment's interface, which has this index, addresses and routes, and sets it up.
    pub fn configure_index(&mut self, index: u32, wanted: &IfaceConfig) -> Result<()> {
        let Container { owner, netns, socket } = self;
        log::step("configure the container's interface", || {
            netns.run(|| configure_iface(socket, index, &owner.ifname, wanted))?
        })
        .with_context(|| format!("in {}", netns.path().display()))
    }

    /// The interface has all that prevResult says of it: its addresses, and the routes.
    pub fn check_addresses(&mut self, link: &Link, prev: &CniResult, dad: bool) -> Result<()> {
        let wanted = reported_config(&self.netns, prev, dad);
        self.check(link, &wanted)
    }

    /// The interface has what is wanted of it.
    pub fn check(&mut self, link: &Link, wanted: &IfaceConfig) -> Result<()> {
        let Container { netns, socket, .. } = self;
        Ok(netns.run(|| check_iface(socket, link.index, &link.name, wanted))??)
    }
}
