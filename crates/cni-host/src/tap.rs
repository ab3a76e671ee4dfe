//! Tap devices: a link in a network namespace on one side, a file that reads and writes Ethernet frames on the other. What the
//! tap plugin makes, and how those that use one attach to it.
//!
//! Netlink makes none; ioctls of /dev/net/tun do. A device is made in the namespace of the thread that opens that file
//! (drivers/net/tun.c, tun_chr_open), and carries the security label of the task that names it (tun_set_iff).

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use nix::errno::Errno;

use crate::{Error, Result, sys};

const DEVICE: &str = "/dev/net/tun";

/// A tap device to be made: [`NewTap::new`] with what is to be otherwise.
#[derive(Clone, Copy, Debug)]
pub struct NewTap<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// Several descriptors can attach, each to a queue of its own.
    pub multi_queue: bool,
    /// The user who may attach without CAP_NET_ADMIN; `None` for any, if the group fits.
    pub owner: Option<u32>,
    /// The group that may; `None` for any, if the user fits.
    pub group: Option<u32>,
}

impl<'a> NewTap<'a> {
    /// A device of one queue to which any user may attach.
    pub const fn new(name: &'a str) -> Self {
        NewTap { name, multi_queue: false, owner: None, group: None }
    }
}

/// Tap devices, of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct Tap;

impl Tap {
    /// Makes a tap device, down, that stays until it is deleted. Call inside the namespace that gets it. On failure nothing stays.
    pub fn add(new: &NewTap<'_>) -> Result<()> {
        let failed =
            |op| move |errno: Errno| Error::Tap { op, ifname: new.name.to_owned(), source: errno.into() };
        let tun = open()?;
        sys::tun_set_iff(&tun, new.name, new.multi_queue, true).map_err(failed("add"))?;
        if let Some(owner) = new.owner {
            sys::tun_set_owner(&tun, owner).map_err(failed("set the owner of"))?;
        }
        if let Some(group) = new.group {
            sys::tun_set_group(&tun, group).map_err(failed("set the group of"))?;
        }
        // Last: until then the device goes when the file is closed.
        sys::tun_set_persist(&tun).map_err(failed("keep"))
    }

    /// Attaches to a tap device that is there. Each read and each write of the file is a frame. Call inside its namespace.
    pub fn attach(name: &str, multi_queue: bool) -> Result<File> {
        let tun = open()?;
        let failed =
            |errno: Errno| Error::Tap { op: "attach to", ifname: name.to_owned(), source: errno.into() };
        sys::tun_set_iff(&tun, name, multi_queue, false).map_err(failed)?;
        Ok(tun)
    }

    /// Whether tap devices can be made here at all. The kernel loads the module when it has to.
    pub fn status() -> Result<()> {
        open().map(drop)
    }
}

fn open() -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.map_err(|source| Error::Io { op: "open", path: PathBuf::from(DEVICE), source })
}
