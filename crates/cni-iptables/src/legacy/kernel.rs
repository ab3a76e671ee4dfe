//! The calls by which a table is read: getsockopt(2) of any socket of the family.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::legacy::layout::{entries, info, u32_at};
use crate::uapi::*;
use crate::{Error, Family, Result, sockopt};

const GET_INFO: &str = "IPT_SO_GET_INFO";
/// What errors of reading entries name.
pub(super) const GET_ENTRIES: &str = "IPT_SO_GET_ENTRIES";

/// The chains of the hooks, in their order (enum nf_inet_hooks).
const HOOK_CHAINS: [&str; NF_INET_NUMHOOKS] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// What the kernel tells about a table apart from its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// Its name.
    pub(super) table: String,
    pub(super) hooks: Vec<Hook>,
    /// How many entries it has.
    pub(super) entries: usize,
    /// How many bytes they are.
    pub(super) bytes: usize,
}

/// A chain that the kernel itself has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) chain: &'static str,
    /// Where its first entry begins, in bytes from the first of all.
    pub(super) entry: usize,
    /// Where the last one begins, which is its policy.
    pub(super) underflow: usize,
}

impl Info {
    /// Reads struct ipt_getinfo. `None` when it is too short for one.
    pub(super) fn parse(table: &str, bytes: &[u8]) -> Option<Info> {
        let number = |at| u32_at(bytes, at).map(|number| number as usize);
        let valid = number(info::VALID_HOOKS)?;
        let mut hooks = Vec::new();
        for (hook, chain) in HOOK_CHAINS.into_iter().enumerate() {
            if valid & 1 << hook != 0 {
                let at = |table| table + hook * size_of::<u32>();
                let (entry, underflow) = (number(at(info::HOOK_ENTRY))?, number(at(info::UNDERFLOW))?);
                hooks.push(Hook { chain, entry, underflow });
            }
        }
        let (entries, bytes) = (number(info::ENTRIES)?, number(info::BYTES)?);
        Some(Info { table: table.to_owned(), hooks, entries, bytes })
    }
}

/// How the kernel is asked for one table.
pub(super) struct Kernel<'t> {
    socket: OwnedFd,
    level: libc::c_int,
    table: &'t str,
}

impl<'t> Kernel<'t> {
    /// Opens the socket that iptables opens.
    pub(super) fn open(family: Family, table: &'t str) -> Result<Self> {
        let (domain, level) = match family {
            Family::Ipv4 => (AddressFamily::Inet, libc::IPPROTO_IP),
            Family::Ipv6 => (AddressFamily::Inet6, libc::IPPROTO_IPV6),
        };
        match socket(domain, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw) {
            Ok(socket) => Ok(Kernel { socket, level, table }),
            Err(errno) => Err(failed(table, "a raw socket", errno)),
        }
    }

    /// The table as it is. `None` when it was changed meanwhile.
    pub(super) fn read(&self) -> Result<Option<(Info, Vec<u8>)>> {
        let before = self.info()?;
        let Some(answer) = self.entries(&before)? else { return Ok(None) };
        // The kernel itself only sees a change that makes the table longer or shorter.
        Ok((self.info()? == before).then_some((before, answer)))
    }

    pub(super) fn info(&self) -> Result<Info> {
        let mut buffer = vec![0; info::SIZE];
        self.name(&mut buffer)?;
        self.get(IPT_SO_GET_INFO, GET_INFO, &mut buffer)?;
        Info::parse(self.table, &buffer).ok_or_else(|| failed(self.table, GET_INFO, Errno::EBADMSG))
    }

    /// The answer with its head, before [`start_of_entries`].
    fn entries(&self, info: &Info) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; entries::SIZE + info.bytes];
        self.name(&mut buffer)?;
        // It is from four bytes of the kernel.
        let size = (info.bytes as u32).to_ne_bytes();
        buffer[entries::BYTES..][..size.len()].copy_from_slice(&size);
        match self.get(IPT_SO_GET_ENTRIES, GET_ENTRIES, &mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(Error::Read { source, .. }) if source.raw_os_error() == Some(libc::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts the table's name where both calls want it: first, with a NUL.
    fn name(&self, buffer: &mut [u8]) -> Result<()> {
        let name = self.table.as_bytes();
        if name.len() >= XT_TABLE_MAXNAMELEN {
            return Err(failed(self.table, GET_INFO, Errno::ENAMETOOLONG));
        }
        buffer[..name.len()].copy_from_slice(name);
        Ok(())
    }

    fn get(&self, option: libc::c_int, call: &'static str, buffer: &mut [u8]) -> Result<usize> {
        sockopt::get(&self.socket, self.level, option, buffer)
            .map_err(|errno| failed(self.table, call, errno))
    }
}

/// Where in the kernel's answer the entries begin.
pub(super) fn start_of_entries() -> usize {
    entries::TABLE
}

fn failed(table: &str, call: &'static str, errno: Errno) -> Error {
    Error::Read { table: table.to_owned(), call, source: errno.into() }
}
