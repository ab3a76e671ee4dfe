//! Helpers of the byte tests: messages as hexadecimal text, next to the command that makes the same bytes.
//!
//! To see those bytes: `strace -e trace=sendmsg -e write=all ip ...`. iproute2 6.1 was asked; its sequence number is
//! zeroed here, and unlike it the message crate ends the strings in IFLA_INFO_KIND with a zero, as the kernel does.

use crate::attr::{Message, Messages};
use crate::socket::Request;

/// Flags of a change as iproute2's hexadecimal digits show them: request, acknowledge, and these.
pub(crate) const CHANGE: u16 = 0x5;
pub(crate) const CREATE_EXCL: u16 = 0x605;

/// Bytes of hexadecimal text; white space and lines that start with `#` do not count.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let lines = hex.lines().filter(|line| !line.trim_start().starts_with('#'));
    let digits: Vec<char> = lines.flat_map(str::chars).filter(|char| !char.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// The single message in hexadecimal text.
pub(crate) fn message(datagram: &[u8]) -> Message<'_> {
    let messages: Vec<_> = Messages(datagram).collect();
    assert_eq!(messages.len(), 1);
    messages[0].unwrap()
}

/// Fails with both byte strings in words of four when the message is encoded otherwise.
#[track_caller]
pub(crate) fn assert_request(request: Request, flags: u16, expected: &str) {
    assert_bytes(&request.with(flags), expected);
}

/// The same for a message that is encoded already.
#[track_caller]
pub(crate) fn assert_bytes(message: &[u8], expected: &str) {
    assert_eq!(words(message), words(&bytes(expected)));
}

fn words(bytes: &[u8]) -> String {
    let word = |word: &[u8]| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(4).map(word).collect::<Vec<_>>().join(" ")
}
