//! IDs by which one network namespace speaks of another: `ip netns set`, `ip netns list-id`.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use nix::libc::{RTM_GETNSID, RTM_NEWNSID};

use crate::attr::{self, Attrs};
use crate::socket::Request;
use crate::uapi::{NETNSA_NSID, NETNSA_NSID_NOT_ASSIGNED};
use crate::{Error, Result, Socket};

/// Length of `struct rtgenmsg`, padded.
const RTGENMSG: usize = 4;

impl Socket {
    /// The ID of another namespace in the socket's, which is given one where it has none: what IFLA_LINK_NETNSID takes. The
    /// kernel gives one itself as soon as a link of one namespace stands on one of the other, so nothing is left that
    /// would not be there anyway.
    pub fn netnsid(&mut self, netns: BorrowedFd<'_>) -> Result<i32> {
        if let Some(id) = self.assigned(netns)? {
            return Ok(id);
        }
        let message = Request::of(RTM_NEWNSID, &message(netns, Some(NETNSA_NSID_NOT_ASSIGNED)));
        match self.change(message, 0, || "give a network namespace an ID".to_owned()) {
            // Another process was faster.
            Err(error) if !error.is_exists() => Err(error),
            // The acknowledgement does not tell which it is.
            _ => self.assigned(netns)?.ok_or_else(|| Error::Malformed {
                op: "give a network namespace an ID".to_owned(),
                reason: "it has none afterwards",
            }),
        }
    }

    fn assigned(&mut self, netns: BorrowedFd<'_>) -> Result<Option<i32>> {
        let message = Request::of(RTM_GETNSID, &message(netns, None));
        let id = self.get(
            message,
            || "find a network namespace's ID".to_owned(),
            |payload| Attrs::after(payload, RTGENMSG).find(NETNSA_NSID).and_then(attr::u32),
        )?;
        Ok(Some(id.cast_signed()).filter(|id| *id != NETNSA_NSID_NOT_ASSIGNED))
    }
}

fn message(netns: BorrowedFd<'_>, id: Option<i32>) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(netns.as_raw_fd().cast_unsigned()));
    message.attributes.extend(id.map(NsidAttribute::Id));
    message
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::golden::{CHANGE, assert_request};

    /// ip netns list, ip netns set NAME auto. Standard input is in place of the namespace, since its number is always 0.
    #[test]
    fn an_id_is_asked_for_and_given_by_descriptor() {
        let stdin = std::io::stdin();
        assert_request(
            Request::of(RTM_GETNSID, &message(stdin.as_fd(), None)),
            1,
            "1c000000 5a000100 00000000 00000000 00000000 08000300 00000000",
        );
        assert_request(
            Request::of(RTM_NEWNSID, &message(stdin.as_fd(), Some(NETNSA_NSID_NOT_ASSIGNED))),
            CHANGE,
            "24000000 58000500 00000000 00000000 00000000 08000300 00000000 08000100 ffffffff",
        );
    }
}
