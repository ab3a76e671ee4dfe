//! Extended acknowledgements: the sentence in which the kernel says what it did not like (NETLINK_EXT_ACK).

use crate::attr::{self, Attrs, HEADER};

/// The acknowledgement holds only the header of the request (NETLINK_CAP_ACK).
const NLM_F_CAPPED: u16 = 0x100;
/// Attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;

/// enum nlmsgerr_attrs of linux/netlink.h
const MSG: u16 = 1;
const OFFS: u16 = 2;
const MISS_TYPE: u16 = 5;

/// The text of an NLMSG_ERROR with these flags; empty when the kernel gave none. `request` is what it answers.
pub(crate) fn of_error(flags: u16, payload: &[u8], request: &[u8]) -> String {
    if flags & NLM_F_ACK_TLVS == 0 {
        return String::new();
    }
    let echoed = if flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        attr::align(attr::u32_at(payload, 4).unwrap_or(0) as usize)
    };
    text(Attrs::after(payload, echoed.saturating_add(4)), request)
}

/// The text of an NLMSG_DONE that ends a failed dump.
pub(crate) fn of_done(flags: u16, payload: &[u8], request: &[u8]) -> String {
    if flags & NLM_F_ACK_TLVS == 0 {
        return String::new();
    }
    text(Attrs::after(payload, 4), request)
}

fn text(attributes: Attrs<'_>, request: &[u8]) -> String {
    let (mut sentence, mut about) = (String::new(), None);
    for (kind, value) in attributes {
        match kind {
            MSG => sentence = attr::string(value),
            // The offset is that of the attribute in the request; its type is what a reader can look up.
            OFFS => {
                let named = attr::u32(value).and_then(|offset| Attrs::after(request, offset as usize).next());
                about = about.or(named.map(|(kind, _)| format!("attribute {kind}")));
            }
            MISS_TYPE => about = attr::u32(value).map(|kind| format!("missing attribute {kind}")),
            _ => {}
        }
    }
    // Kernel texts end with and without full stop and newline.
    let sentence = sentence.trim_end_matches(['.', '\n', ' ']);
    match about {
        Some(about) if sentence.is_empty() => about,
        Some(about) => format!("{sentence} ({about})"),
        None => sentence.to_string(),
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden;

    /// The text of a whole NLMSG_ERROR, as Linux 6.18 answered `request`.
    fn read(answer: &str, request: &str) -> String {
        let datagram = golden::bytes(answer);
        let message = golden::message(&datagram);
        of_error(message.flags, message.payload, &golden::bytes(request))
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
