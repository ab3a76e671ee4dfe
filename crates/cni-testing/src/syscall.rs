//! A system call of a plugin that is traced, and whether it changes anything that outlives the plugin.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::libc::{self, c_long, user_regs_struct};
use nix::unistd::Pid;

/// A system call, before or after it is carried out.
#[derive(Clone, Debug)]
pub struct Syscall {
    /// SYS_* of libc.
    pub number: c_long,
    /// As the kernel gets them.
    pub args: [u64; 6],
    /// The task that makes it.
    pub task: i32,
    /// How many processes there are: the plugin and what it has started.
    pub processes: usize,
    /// What it returned, an error as its negative number; `None` before it is carried out.
    pub returned: Option<i64>,
}

impl Syscall {
    pub(crate) fn at(pid: Pid, regs: &user_regs_struct, processes: usize, returned: Option<i64>) -> Self {
        Syscall {
            number: regs.orig_rax.cast_signed(),
            args: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9],
            task: pid.as_raw(),
            processes,
            returned,
        }
    }

    /// Whether it may change something that stays when the plugin is gone: files, links, rules, locks. When in doubt it
    /// does. Requests that only read, and what goes to standard output and error, do not.
    pub fn changes(&self) -> bool {
        match self.number {
            libc::SYS_open => self.args[1] & CREATE != 0,
            libc::SYS_openat => self.args[2] & CREATE != 0,
            libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 => self.args[0] > 2,
            libc::SYS_sendto => !self.asks_only(self.args[1]),
            libc::SYS_sendmsg => !self.asks_only(self.first_part(self.args[1])),
            libc::SYS_ioctl => changes_by_ioctl(self.args[1]),
            number => CHANGING.iter().any(|(known, _)| *known == number),
        }
    }

    /// The text that an argument points to, such as a path.
    pub fn text(&self, argument: usize) -> String {
        let bytes = self.memory(self.args[argument], 255);
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// Up to `size` bytes at an address of the caller's.
    pub fn memory(&self, address: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        let read =
            File::open(format!("/proc/{}/mem", self.task)).and_then(|mem| mem.read_at(&mut bytes, address));
        bytes.truncate(read.unwrap_or(0));
        bytes
    }

    /// Where the first part of a message is that sendmsg(2) is given: `msg_iov` of a msghdr, and `iov_base` of that.
    fn first_part(&self, message: u64) -> u64 {
        self.word(self.word(message + 16))
    }

    fn word(&self, address: u64) -> u64 {
        self.memory(address, 8).try_into().map_or(0, u64::from_ne_bytes)
    }

    /// Whether what is sent is a request of netlink that only reads: a dump, one of rtnetlink's RTM_GET*, which are every
    /// fourth kind (net/core/rtnetlink.c, rtnetlink_rcv_msg), or one of nf_tables' NFT_MSG_GET*, which are every third up to
    /// NFT_MSG_GETOBJ (include/uapi/linux/netfilter/nf_tables.h).
    fn asks_only(&self, address: u64) -> bool {
        let header = self.memory(address, 8);
        let half = |at: usize| header.get(at..at + 2).map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]));
        let (kind, flags) = (half(4), half(6));
        let dump = libc::NLM_F_DUMP.cast_unsigned() as u16;
        let asks = match (kind >> 8, kind & 0xff) {
            (0, kind) => kind >= libc::RTM_NEWLINK && kind % 4 == 2,
            (10, message) => message <= 19 && message % 3 == 1,
            // NFNL_SUBSYS_NFT_COMPAT has questions alone.
            (subsystem, _) => subsystem == 11,
        };
        asks || flags & dump == dump
    }

    /// The call and what it is about, in short.
    fn name(&self) -> String {
        let known = CHANGING.iter().chain(OTHERS).find(|(number, _)| *number == self.number);
        known.map_or_else(|| format!("system call {}", self.number), |(_, name)| (*name).to_owned())
    }
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = std::fs::read_to_string(format!("/proc/{}/comm", self.task)).unwrap_or_default();
        write!(f, "{} of {}", self.name(), program.trim())?;
        match self.number {
            libc::SYS_open | libc::SYS_mkdir | libc::SYS_unlink | libc::SYS_rename | libc::SYS_execve => {
                write!(f, " ({})", self.text(0))
            }
            libc::SYS_openat
            | libc::SYS_unlinkat
            | libc::SYS_mkdirat
            | libc::SYS_linkat
            | libc::SYS_renameat => {
                write!(f, " ({})", self.text(1))
            }
            libc::SYS_write | libc::SYS_flock => {
                let file = std::fs::read_link(format!("/proc/{}/fd/{}", self.task, self.args[0]));
                write!(f, " ({})", file.unwrap_or_default().display())
            }
            libc::SYS_sendto => write!(f, " (kind {:?})", self.memory(self.args[1] + 4, 2)),
            _ => Ok(()),
        }
    }
}

const CREATE: u64 = (libc::O_CREAT | libc::O_TRUNC).cast_unsigned() as u64;

/// Those that change something whatever their arguments are.
const CHANGING: &[(c_long, &str)] = &[
    (libc::SYS_creat, "creat"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlink, "symlink"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_truncate, "truncate"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_chmod, "chmod"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_chown, "chown"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_utimensat, "utimensat"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_execve, "execve"),
];

/// Those of which some do.
const OTHERS: &[(c_long, &str)] = &[
    (libc::SYS_open, "open"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_write, "write"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_ioctl, "ioctl"),
];

/// Those of sockets (SIOC*, 0x89..), and those of tun devices that carry an argument (include/uapi/linux/if_tun.h), not the
/// questions about terminals, which have the same letter and no direction.
fn changes_by_ioctl(request: u64) -> bool {
    let (kind, direction) = ((request >> 8) & 0xff, (request >> 30) & 3);
    kind == 0x89 || (kind == u64::from(b'T') && direction != 0)
}
