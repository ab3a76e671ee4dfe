//! Traffic control: `tc`. As much of it as limiting the bandwidth of an interface takes: a token bucket at its root for what it
//! sends, and for what it receives a filter that sends that through another interface's token bucket.

mod build;
pub(crate) mod parse;

use nix::libc;

use crate::{Error, Result, Socket};

/// A token bucket filter: `tc qdisc ... tbf` (net/sched/sch_tbf.c).
///
/// Packets larger than what the bucket holds are dropped, but for those that segmentation offload has made: they are split
/// first, and then each part counts (tbf_enqueue).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tbf {
    /// Bytes per second, headers of the link layer included.
    pub rate: u64,
    /// What the bucket holds, as the time it takes to fill, in units of [`Tbf::TICK_NANOS`].
    pub buffer: u32,
    /// Bytes that may wait for tokens; what comes on top is dropped.
    pub limit: u32,
}

impl Tbf {
    /// Nanoseconds of the unit of [`Tbf::buffer`] (PSCHED_SHIFT of include/net/pkt_sched.h; /proc/net/psched tells it too).
    pub const TICK_NANOS: u32 = 64;
}

impl Socket {
    /// Puts a token bucket, with the handle `1:`, on what the link sends. EEXIST when it has a queueing discipline that is not
    /// the kernel's own.
    pub fn tbf_add(&mut self, link: u32, tbf: &Tbf) -> Result<()> {
        self.connection.change(&mut build::tbf_add(link, tbf), &|| on("add a token bucket", link))
    }

    /// The token bucket on what the link sends; `None` when something else is there, or nothing.
    pub fn tbf_get(&mut self, link: u32) -> Result<Option<Tbf>> {
        let op = || on("read the queueing discipline", link);
        let found = self.connection.read(&mut build::root_get(link), &op, parse::tbf)?;
        Ok(found.into_iter().next())
    }

    /// Removes a token bucket with the handle `1:` and nothing else. Whether there was one.
    pub fn tbf_del(&mut self, link: u32) -> Result<bool> {
        let op = || on("remove the token bucket", link);
        found(self.connection.change(&mut build::tbf_del(link), &op))
    }

    /// Makes a place for filters on what the link receives. EEXIST when there is one, with whatever filters.
    pub fn ingress_add(&mut self, link: u32) -> Result<()> {
        self.connection.change(&mut build::ingress_add(link), &|| on("add an ingress discipline", link))
    }

    /// Removes that place, with all filters in it. Whether there was one.
    pub fn ingress_del(&mut self, link: u32) -> Result<bool> {
        let op = || on("remove the ingress discipline", link);
        found(self.connection.change(&mut build::ingress_del(link), &op))
    }

    /// Sends all that the link receives through what another one of this namespace sends, from where an intermediate functional
    /// block gives it back. Needs [`Socket::ingress_add`].
    pub fn redirect_add(&mut self, link: u32, to: u32) -> Result<()> {
        let op = || format!("{} to the one with index {to}", on("add a redirecting filter", link));
        self.connection.change(&mut build::redirect_add(link, to), &op)
    }

    /// The links to which filters send what the link receives.
    pub fn redirects(&mut self, link: u32) -> Result<Vec<u32>> {
        let op = || on("list the filters", link);
        let redirects = self.connection.read(&mut build::filter_dump(link), &op, parse::redirect);
        match redirects {
            // Without a place for filters.
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EINVAL)) => Ok(Vec::new()),
            redirects => redirects,
        }
    }
}

fn on(op: &str, link: u32) -> String {
    format!("{op} on the link with index {link}")
}

/// What a deletion found, where the answer to one that is for something else is not an error: EINVAL for a discipline with another
/// name or handle, ENOENT for none (net/sched/sch_api.c, tc_get_qdisc).
fn found(deleted: std::result::Result<(), Error>) -> Result<bool> {
    match deleted {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) => Ok(false),
        Err(error) => Err(error),
    }
}
