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
