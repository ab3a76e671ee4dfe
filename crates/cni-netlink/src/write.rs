//! Writing requests by hand, for protocols without a message crate.

/// Length of `struct nlmsghdr`.
pub(crate) const NLMSG_HDR: usize = 16;

/// NLA_F_NESTED
const NESTED: u16 = 0x8000;

/// Writes netlink messages, one after the other, and their attributes. Lengths and padding are its work; numbers of netlink's own
/// headers are in the machine's byte order, as netlink has them.
///
/// An attribute holds at most 65531 bytes, nested ones included: the length field has 16 bits. Writing a longer one panics,
/// so a list of any length is split by its writer.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A message of this `nlmsg_type` with NLM_F_* flags, the protocol's own fixed header, and what `attributes` writes.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        header: &[u8],
        attributes: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        // The kernel fills in the sender's port.
        self.bytes.extend([0; 4]);
        self.bytes.extend(header);
        self.pad();
        attributes(self);
        let length = u32::try_from(self.bytes.len() - start).expect("a message below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute with these bytes.
    pub fn attr(&mut self, kind: u16, value: &[u8]) {
        self.enclose(kind, |writer| writer.bytes.extend(value));
    }

    /// An attribute that is a string with its terminating zero.
    pub fn string(&mut self, kind: u16, value: &str) {
        self.enclose(kind, |writer| {
            writer.bytes.extend(value.as_bytes());
            writer.bytes.push(0);
        });
    }

    /// An attribute that is a number in the machine's byte order.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// An attribute that is a number in network byte order.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// An attribute that is a number in network byte order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// An attribute that holds those that `attributes` writes.
    pub fn nest(&mut self, kind: u16, attributes: impl FnOnce(&mut Self)) {
        self.enclose(kind | NESTED, attributes);
    }

    /// Bytes as they are, to the next multiple of four: a fixed header within an attribute.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.pad();
    }

    /// How many bytes were written, which is where the next message or attribute begins.
    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The same as [`Writer::nest`] without the bit that says so: tc does not set it.
    pub(crate) fn enclose(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        value(self);
        let length = u16::try_from(self.bytes.len() - start).expect("an attribute of at most 65535 bytes");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    /// To the next multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(crate::attr::align(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attr::{Attrs, Messages, be32, be64, string};

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = Writer::default();
        for sequence in [7, 8] {
            writer.message(0xa10, 5, sequence, &[1, 2, 3], |writer| {
                writer.nest(9, |writer| {
                    writer.string(1, "eth0");
                    writer.be32(2, 0x0102_0304);
                });
                writer.be64(3, 5);
            });
        }
        assert_eq!(writer.position(), 112);
        let bytes = writer.into_bytes();
        let messages: Vec<_> = Messages(&bytes).map(Option::unwrap).collect();
        assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(
            (messages[1].kind, messages[1].flags, &messages[1].payload[..4]),
            (0xa10, 5, &[1, 2, 3, 0][..])
        );
        let attributes = Attrs::after(messages[1].payload, 4);
        let nested = Attrs(attributes.clone().find(9).unwrap());
        assert_eq!(nested.clone().find(1).map(string).as_deref(), Some("eth0"));
        assert_eq!(nested.find(2).and_then(be32), Some(0x0102_0304));
        assert_eq!(attributes.find(3).and_then(be64), Some(5));
    }

    proptest! {
        #[test]
        fn attributes_come_back(values: Vec<(u8, Vec<u8>)>) {
            let mut writer = Writer::default();
            for (kind, value) in &values {
                writer.attr(u16::from(*kind), value);
            }
            let bytes = writer.into_bytes();
            let read: Vec<_> = Attrs(&bytes).map(|(kind, value)| (kind as u8, value.to_vec())).collect();
            prop_assert_eq!(read, values);
        }
    }
}
