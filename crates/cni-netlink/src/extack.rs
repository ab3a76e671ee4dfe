//! Acknowledgements, plain and extended: the errno and the sentence in which the kernel says what it did not like (NETLINK_EXT_ACK).

use std::io;

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR};

use crate::attr::{self, Attrs, Message, NLMSG_HDRLEN};
use crate::uapi::{NLMSGERR_ATTR_MISS_TYPE, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS};
use crate::{Error, Result};

/// An NLMSG_ERROR, which is an acknowledgement when its code is 0, or the NLMSG_DONE that ends a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The errno, positive; 0 for success.
    pub errno: i32,
    /// The kernel's sentence, empty when it gave none.
    pub sentence: String,
    /// The type of the attribute at fault, in words.
    about: Option<String>,
    /// Where in the request the attribute at fault begins, in bytes from the netlink header.
    pub offset: Option<usize>,
}

impl Acknowledgement {
    /// Reads a message of one of these two kinds; `request` is what it answers, from its netlink header. `None` when an error
    /// has no code.
    pub fn read(message: &Message<'_>, request: &[u8]) -> Option<Self> {
        let code = match message.kind {
            NLMSG_ERROR => attr::u32_at(message.payload, 0)?,
            // Since 4.14 it carries the dump's result, before that nothing.
            _ => attr::u32_at(message.payload, 0).unwrap_or(0),
        };
        let errno = code.cast_signed().min(0).saturating_neg();
        if errno == 0 || message.flags & NLM_F_ACK_TLVS == 0 {
            return Some(Self { errno, ..Self::default() });
        }
        let echoed = match message.kind {
            // Only the header of the request (NETLINK_CAP_ACK).
            NLMSG_ERROR if message.flags & NLM_F_CAPPED != 0 => NLMSG_HDRLEN,
            NLMSG_ERROR => attr::align(attr::u32_at(message.payload, 4).unwrap_or(0) as usize),
            _ => 0,
        };
        let attributes = Attrs::after(message.payload, echoed.saturating_add(4));
        Some(Self { errno, ..Self::default() }.with_attributes(attributes, request))
    }

    /// Sentence and attribute, as far as they are there.
    pub fn text(&self) -> String {
        match &self.about {
            Some(about) if self.sentence.is_empty() => about.clone(),
            Some(about) => format!("{} ({about})", self.sentence),
            None => self.sentence.clone(),
        }
    }

    /// An error for a code other than that of success. `op` completes "cannot ...".
    pub fn into_result(self, op: &dyn Fn() -> String) -> Result<()> {
        match self.errno {
            0 => Ok(()),
            errno => Err(Error::Kernel {
                op: op(),
                source: io::Error::from_raw_os_error(errno),
                text: self.text(),
            }),
        }
    }

    fn with_attributes(mut self, attributes: Attrs<'_>, request: &[u8]) -> Self {
        for (kind, value) in attributes {
            match kind {
                // Kernel texts end with and without full stop and newline.
                NLMSGERR_ATTR_MSG => {
                    self.sentence = attr::string(value).trim_end_matches(['.', '\n', ' ']).to_string();
                }
                // The offset is that of the attribute in the request; its type is what a reader can look up.
                NLMSGERR_ATTR_OFFS => {
                    self.offset = attr::u32(value).map(|offset| offset as usize);
                    let named = self.offset.and_then(|offset| Attrs::after(request, offset).next());
                    self.about = self.about.or(named.map(|(kind, _)| format!("attribute {kind}")));
                }
                NLMSGERR_ATTR_MISS_TYPE => {
                    self.about = attr::u32(value).map(|kind| format!("missing attribute {kind}"));
                }
                _ => {}
            }
        }
        self
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use netlink_packet_core::NLMSG_DONE;
    use proptest::prelude::*;

    use super::*;
    use crate::golden;

    /// The text of a whole NLMSG_ERROR, as Linux 6.18 answered `request`.
    fn read(answer: &str, request: &str) -> String {
        let datagram = golden::bytes(answer);
        let message = golden::message(&datagram);
        Acknowledgement::read(&message, &golden::bytes(request)).unwrap().text()
    }

    fn of_error(flags: u16, payload: &[u8], request: &[u8]) -> String {
        let message = Message { kind: NLMSG_ERROR, flags, sequence: 1, payload };
        Acknowledgement::read(&message, request).unwrap_or_default().text()
    }

    fn of_done(flags: u16, payload: &[u8], request: &[u8]) -> String {
        let message = Message { kind: NLMSG_DONE, flags, sequence: 1, payload };
        Acknowledgement::read(&message, request).unwrap_or_default().text()
    }

    /// ip route add 10.10.0.0/16 via 99.1.1.1 dev br0
    #[test]
    fn sentence_alone() {
        let text = read(
            "44000000 02000003 01000000 46030000 9bffffff 34000000 18000506 01000000 00000000
             20000100 4e657874 686f7020 68617320 696e7661 6c696420 67617465 77617900",
            "",
        );
        assert_eq!(text, "Nexthop has invalid gateway");
    }

    /// RTM_NEWLINK with an IFLA_IFNAME of 20 characters
    #[test]
    fn attribute_at_fault_is_named_by_its_type() {
        let text = read(
            "68000000 02000003 01000000 46030000 deffffff 3c000000 10000506 01000000 00000000
             27000100 41747472 69627574 65206661 696c6564 20706f6c 69637920 76616c69 64617469 6f6e0000
             08000200 20000000 14000480 08000700 0f000000 08000100 0b000000",
            "3c000000 10000506 01000000 00000000 00000000 00000000 00000000 00000000
             19000300 61626364 65666768 696a6b6c 6d6e6f70 71727374 00000000",
        );
        assert_eq!(text, "Attribute failed policy validation (attribute 3)");
    }

    #[test]
    fn missing_attribute_is_named_by_its_type() {
        // NLMSGERR_ATTR_MISS_TYPE 2 after the error code and the header of the request.
        let payload = golden::bytes("eaffffff 18000000 14000506 01000000 00000000 08000500 02000000");
        assert_eq!(of_error(NLM_F_ACK_TLVS | NLM_F_CAPPED, &payload, &[]), "missing attribute 2");
    }

    #[test]
    fn request_that_comes_back_whole_is_passed_over() {
        let payload =
            golden::bytes("eaffffff 18000000 14000506 01000000 00000000 02180000 02000000 08000100 4e6f2e00");
        assert_eq!(of_error(NLM_F_ACK_TLVS, &payload, &[]), "No");
    }

    #[test]
    fn failed_dump_says_why_in_its_last_message() {
        assert_eq!(of_done(NLM_F_ACK_TLVS, &golden::bytes("feffffff 08000100 4e6f2e00"), &[]), "No");
        assert_eq!(of_done(0, &golden::bytes("feffffff 08000100 4e6f2e00"), &[]), "");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(flags: u16, payload: Vec<u8>, request: Vec<u8>) {
            let _ = of_error(flags, &payload, &request);
            let _ = of_done(flags, &payload, &request);
        }

        #[test]
        fn no_attributes_panic(offset: u32, kind in 0u16..8, request: Vec<u8>) {
            let mut payload = vec![0; 20];
            payload.extend(8u16.to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(offset.to_ne_bytes());
            let _ = of_error(NLM_F_ACK_TLVS | NLM_F_CAPPED, &payload, &request);
        }
    }
}
