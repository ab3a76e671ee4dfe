//! What a lease file says. Its name is the address, its text the holder, as the reference writes them.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cni_types::{ContainerId, IfName};

/// Who holds an address of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder<'a> {
    pub(crate) id: &'a str,
    pub(crate) ifname: &'a str,
}

impl Holder<'_> {
    /// The text of a lease file.
    pub(crate) fn text(&self) -> String {
        format!("{}\r\n{}", self.id, self.ifname)
    }
}

/// The text of a lease file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing, or nothing but NUL bytes: what a crash or a power loss leaves of a write (containernetworking/plugins#498).
    /// Nobody holds the address.
    Leftover,
    /// Container ID and interface name.
    Held { id: String, ifname: String },
    /// Only a container ID, as host-local wrote before 0.7: held by any interface of that container.
    HeldByContainer { id: String },
    /// Not of host-local's making; the address stays taken until somebody removes the file.
    Unknown,
}

/// A lease is an ID, two bytes and an interface name; what is longer is none.
const MAX_LEN: u64 = 4096;

impl Contents {
    /// Reads a lease file; `None` when there is none. What cannot be read is unknown, and no reason to give up on all others.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut text = Vec::with_capacity(128);
        // A FIFO would be waited for.
        let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
        match opened.and_then(|file| file.take(MAX_LEN).read_to_end(&mut text)) {
            Ok(_) => Some(Contents::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(Contents::Unknown),
        }
    }

    /// Whether this is a lease of `holder`.
    pub(crate) fn is_of(&self, holder: Holder<'_>) -> bool {
        match self {
            Contents::Held { id, ifname } => id == holder.id && ifname == holder.ifname,
            Contents::HeldByContainer { id } => id == holder.id,
            Contents::Leftover | Contents::Unknown => false,
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Self {
        if text.iter().all(|&byte| byte == 0) {
            return Contents::Leftover;
        }
        // White space at the ends means nothing to the reference when it looks for a holder. But a note that somebody
        // wrote by hand to keep an address free ends in a newline: that is no container ID.
        let Ok(text) = std::str::from_utf8(text) else { return Contents::Unknown };
        let is_id = |id: &str| ContainerId::new(id).is_ok();
        match text.trim_start().split_once("\r\n") {
            Some((id, ifname)) if is_id(id) && IfName::new(ifname.trim_end()).is_ok() => {
                Contents::Held { id: id.to_owned(), ifname: ifname.trim_end().to_owned() }
            }
            None if is_id(text) => Contents::HeldByContainer { id: text.to_owned() },
            _ => Contents::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart() {
        let held = Contents::Held { id: "dummy".to_owned(), ifname: "eth0".to_owned() };
        assert_eq!(Contents::parse(Holder { id: "dummy", ifname: "eth0" }.text().as_bytes()), held);
        assert_eq!(Contents::parse(b" dummy\r\neth0\n"), held);
        assert_eq!(Contents::parse(b"dummy"), Contents::HeldByContainer { id: "dummy".to_owned() });
        for leftover in [&b""[..], &[0; 40]] {
            assert_eq!(Contents::parse(leftover), Contents::Leftover);
        }
        for unknown in [
            &b"kept for the printer\n"[..],
            b"printer\n",
            b"\n",
            b"a\r\nb\r\nc d",
            b"\xff\xfe",
            b"x\r\n",
            b"\r\neth0",
        ] {
            assert_eq!(Contents::parse(unknown), Contents::Unknown, "{unknown:?}");
        }
    }
}
