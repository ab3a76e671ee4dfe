//! Settings of tun and tap devices. They can only be read here: netlink makes none, ioctls of /dev/net/tun do
//! (drivers/net/tun.c, tun_validate).

use nix::libc::IFLA_INFO_DATA;

use crate::attr::{self, Attrs};
use crate::uapi::*;

/// A device of kind "tun", whose frames go to and come from whoever has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tun {
    /// It carries Ethernet frames (tap) rather than IP packets (tun).
    pub tap: bool,
    /// It has a queue for each descriptor that is attached.
    pub multi_queue: bool,
    /// It stays when no process has it open.
    pub persist: bool,
    /// The user who may attach without being the administrator, by ID; `None` for any.
    pub owner: Option<u32>,
    /// The same for a group.
    pub group: Option<u32>,
}

/// Reads IFLA_LINKINFO of a link of kind "tun"; `None` before Linux 4.20, which tells nothing of it.
pub(super) fn read(info: &[u8]) -> Option<Tun> {
    let data = Attrs(info).find(IFLA_INFO_DATA)?;
    let u8_of = |key| Attrs(data).find(key).and_then(|value| attr::u8_at(value, 0));
    let u32_of = |key| Attrs(data).find(key).and_then(attr::u32);
    Some(Tun {
        tap: u8_of(IFLA_TUN_TYPE)? == IFF_TAP,
        multi_queue: u8_of(IFLA_TUN_MULTI_QUEUE) == Some(1),
        persist: u8_of(IFLA_TUN_PERSIST) == Some(1),
        owner: u32_of(IFLA_TUN_OWNER),
        group: u32_of(IFLA_TUN_GROUP),
    })
}
