//! Waiting until nothing that was deleted can still be seen; the only module of this crate with unsafe code.
//!
//! After a transaction that deletes, the kernel frees what was deleted once no packet can still see it, after a grace period of RCU
//! (net/netfilter/nf_tables_api.c, nf_tables_trans_destroy_work). Whoever closes a netlink socket of netfilter before waits for that
//! with the lock of all transactions held (nft_rcv_nl_event): of many processes that delete at once each then waits for the grace
//! periods of all before it, and so does whoever deletes a link, with the lock of all links held. So the wait comes first, where it
//! holds nobody up and is one for all.

#![allow(unsafe_code)]

use nix::libc;

/// Waits for a grace period: membarrier(2). Where that is not to be had, the closing of the socket does.
pub(crate) fn wait() {
    // SAFETY: MEMBARRIER_CMD_GLOBAL takes two more numbers, which are to be zero, and touches no memory of the process.
    unsafe {
        libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0);
    }
}
