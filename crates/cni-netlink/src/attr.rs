//! Reading what the kernel sends: messages in a datagram, attributes in a message. Lenient on purpose: an attribute that
//! is unknown, or longer than its value needs, is passed over, and one that is cut short ends the walk. All readers of
//! answers, in this crate and through [`crate::raw`] in others, go through here.

use nix::libc::nlmsghdr;

use crate::uapi::NLA_TYPE_MASK;

/// Length of the header that each message begins with.
pub(crate) const NLMSG_HDRLEN: usize = size_of::<nlmsghdr>();

/// One netlink message of a datagram.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// NLM_F_*
    pub flags: u16,
    /// That of the request it answers.
    pub sequence: u32,
    /// What follows the netlink header: the protocol's own header, then attributes.
    pub payload: &'a [u8],
}

/// Walks the messages of a datagram; `None` in place of a message whose length makes no sense, after which it ends.
#[derive(Clone, Debug)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Option<Message<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let message = message(bytes);
        if let Some(message) = &message {
            self.0 = bytes.get(align(NLMSG_HDRLEN + message.payload.len())..).unwrap_or_default();
        }
        Some(message)
    }
}

fn message(bytes: &[u8]) -> Option<Message<'_>> {
    Some(Message {
        kind: u16_at(bytes, 4)?,
        flags: u16_at(bytes, 6)?,
        sequence: u32_at(bytes, 8)?,
        payload: bytes.get(NLMSG_HDRLEN..u32_at(bytes, 0)? as usize)?,
    })
}

/// Walks attributes: type without its encoding bits, and value.
#[derive(Clone, Debug)]
pub struct Attrs<'a>(pub &'a [u8]);

impl<'a> Attrs<'a> {
    /// The attributes behind a fixed header of `header` bytes.
    pub fn after(payload: &'a [u8], header: usize) -> Self {
        Attrs(payload.get(header..).unwrap_or_default())
    }

    /// The value of the first attribute of this type.
    pub fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, value)| (found == kind).then_some(value))
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        self.0 = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// NLMSG_ALIGN and NLA_ALIGN.
pub(crate) fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A value that is one number.
pub(crate) fn u32(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

/// A number in network byte order.
pub fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*value.first_chunk()?))
}

/// A number in network byte order.
pub fn be64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*value.first_chunk()?))
}

/// A string with or without its terminating zero. Device names may hold any byte, so what is not UTF-8 is replaced.
pub fn string(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// An IPv4 or IPv6 address, told apart by its length.
pub(crate) fn ip(value: &[u8]) -> Option<std::net::IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(value).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with this length field, and three bytes of payload when that fits.
    fn bytes(length: u32) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([0; 12]);
        bytes.extend([1, 2, 3]);
        bytes
    }

    #[test]
    fn message_of_impossible_length_ends_the_walk() {
        for length in [0, 15, 20, u32::MAX] {
            let datagram = bytes(length);
            let messages: Vec<_> = Messages(&datagram).collect();
            assert!(matches!(messages[..], [None]), "{length}");
        }
        let datagram = bytes(19);
        assert_eq!(Messages(&datagram).next().flatten().unwrap().payload, [1, 2, 3]);
        assert_eq!(Messages(&datagram).count(), 1);
        assert!(matches!(Messages(&[1, 2]).collect::<Vec<_>>()[..], [None]));
    }

    #[test]
    fn attribute_cut_short_ends_the_walk() {
        let mut attributes = vec![5, 0, 1, 0, 7, 0, 0, 0];
        if cfg!(target_endian = "big") {
            attributes = vec![0, 5, 0, 1, 7, 0, 0, 0];
        }
        assert_eq!(Attrs(&attributes).collect::<Vec<_>>(), [(1, &[7][..])]);
        assert_eq!(Attrs(&attributes[..5]).count(), 1, "padding may be missing at the end");
        assert_eq!(Attrs(&attributes[..4]).count(), 0);
        assert_eq!(Attrs(&[0, 0, 1, 0]).count(), 0, "a length below the header's must not loop");
    }

    #[test]
    fn strings_end_at_the_zero() {
        assert_eq!(string(b"eth0\0\0x"), "eth0");
        assert_eq!(string(b"eth0"), "eth0");
        assert_eq!(string(b""), "");
        assert_eq!(string(b"\xff"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_walks_end(bytes: Vec<u8>) {
            prop_assert!(Messages(&bytes).count() <= bytes.len());
            prop_assert!(Attrs(&bytes).count() <= bytes.len());
            for (_, value) in Attrs(&bytes) {
                let _ = (string(value), ip(value), u32(value), be32(value), be64(value));
            }
        }
    }
}
