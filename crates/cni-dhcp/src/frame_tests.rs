//! Frames, and the filter as the kernel would run it.

use proptest::prelude::*;

use super::*;
use crate::packet::{Message, MessageType};

const MAC: [u8; 6] = [2, 0, 0, 0, 9, 2];
const DISCOVER: Path =
    Path { from_mac: MAC, to_mac: BROADCAST, from: Ipv4Addr::UNSPECIFIED, to: Ipv4Addr::BROADCAST };

/// A message from a server to the client.
fn reply(payload: &[u8]) -> Vec<u8> {
    let path = Path { from_mac: [2; 6], to_mac: MAC, from: [10, 9, 0, 1].into(), to: [10, 9, 0, 50].into() };
    let mut frame = encode(&path, payload).unwrap();
    frame[ETHERNET + IPV4..ETHERNET + IPV4 + 4].copy_from_slice(&[0, 67, 0, 68]);
    frame
}

fn message() -> Vec<u8> {
    Message::new(MessageType::Ack, 1, MAC).encode()
}

/// Puts an IPv4 option before the datagram.
fn with_ip_options(frame: &[u8]) -> Vec<u8> {
    let (before, after) = frame.split_at(ETHERNET + IPV4);
    let mut frame = [before, &[1, 1, 1, 0], after].concat();
    frame[ETHERNET] = 0x46;
    let total = u16::try_from(frame.len() - ETHERNET).unwrap();
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
    finish_header(&mut frame);
    frame
}

fn finish_header(frame: &mut [u8]) {
    let end = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let checksum = !sum(0, &frame[ETHERNET..end]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum.to_be_bytes());
}

// RFC 894; RFC 791, section 3.1; RFC 768.
#[test]
fn a_broadcast_has_its_headers() {
    let frame = encode(&DISCOVER, b"abc").unwrap();
    assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 9, 2, 8, 0]);
    assert_eq!(
        frame[14..34],
        [0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x7a, 0xcf, 0, 0, 0, 0, 255, 255, 255, 255]
    );
    assert_eq!(frame[34..40], [0, 68, 0, 67, 0, 11]);
    // 0x0011 + 0x000b of the pseudo-header, 0x0044 + 0x0043 + 0x000b, 0x6162 + 0x6300; the broadcast address adds nothing.
    assert_eq!(frame[40..], [0x3a, 0xef, b'a', b'b', b'c']);
}

#[test]
fn what_does_not_fit_is_told() {
    assert!(encode(&DISCOVER, &vec![0; MAX_PAYLOAD]).is_ok());
    assert_eq!(encode(&DISCOVER, &vec![0; MAX_PAYLOAD + 1]), Err(FrameError::TooLong(65508)));
}

#[test]
fn an_answer_is_read() {
    let payload = message();
    for frame in [reply(&payload), with_ip_options(&reply(&payload)), [reply(&payload), vec![0; 9]].concat()]
    {
        let received = decode(&frame).unwrap();
        assert_eq!(received, Received { from_mac: [2; 6], from: [10, 9, 0, 1].into(), payload: &payload });
    }
}

// RFC 768: 0 is none. Linux: the pseudo-header's sum alone is one that hardware would finish.
#[test]
fn checksums_may_be_none_or_not_finished_but_not_wrong() {
    let payload = message();
    let at = ETHERNET + IPV4 + 6;
    let with = |checksum: u16| {
        let mut frame = reply(&payload);
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        decode(&frame).map(|received| received.payload.len())
    };
    let partial = sum(pseudo_header([10, 9, 0, 1].into(), [10, 9, 0, 50].into(), UDP + payload.len()), &[]);
    assert_eq!(with(0), Ok(300));
    assert_eq!(with(partial), Ok(300));
    assert_eq!(with(partial ^ 1), Err(FrameError::Checksum("UDP")));
    let mut frame = reply(&payload);
    frame[ETHERNET + 8] = 1;
    assert_eq!(decode(&frame), Err(FrameError::Checksum("the IPv4 header")));
}

#[test]
fn what_is_for_another_host_or_port_is_foreign() {
    let foreign = |at: usize, value: u8| {
        let mut frame = reply(&message());
        frame[at] = value;
        finish_header(&mut frame);
        (decode(&frame).unwrap_err(), run(&filter(MAC), &frame))
    };
    assert_eq!(foreign(13, 6), (FrameError::Foreign, 0));
    assert_eq!(foreign(ETHERNET + 9, 6), (FrameError::Foreign, 0));
    assert_eq!(foreign(ETHERNET + IPV4 + 3, 67), (FrameError::Foreign, 0));
    assert_eq!(foreign(ETHERNET + 6, 0x20), (FrameError::Fragment, 0));
    assert_eq!(foreign(ETHERNET + 7, 1), (FrameError::Fragment, 0));
    // Not the filter's business: the length of a header, and the version within the type IPv4.
    assert_eq!(foreign(ETHERNET, 0x65).0, FrameError::Foreign);
    assert_eq!(foreign(ETHERNET, 0x41).0, FrameError::Foreign);
}

#[test]
fn a_frame_that_is_cut_off_is_told() {
    let frame = reply(&message());
    for length in 0..frame.len() {
        assert!(matches!(decode(&frame[..length]), Err(FrameError::Truncated(_))), "{length}");
    }
    // The datagram says more than the packet has, and less than its own header.
    for length in [[1, 255], [0, 7]] {
        let mut frame = frame.clone();
        frame[ETHERNET + IPV4 + 4..ETHERNET + IPV4 + 6].copy_from_slice(&length);
        assert_eq!(decode(&frame), Err(FrameError::Truncated("UDP datagram")));
    }
}

#[test]
fn the_filter_takes_what_is_for_the_client_and_nothing_else() {
    let frame = reply(&message());
    assert_eq!(run(&filter(MAC), &frame), u32::MAX);
    assert_eq!(run(&filter(MAC), &with_ip_options(&frame)), u32::MAX);
    for byte in 0..6 {
        let mut other = MAC;
        other[byte] ^= 1;
        assert_eq!(run(&filter(other), &frame), 0);
    }
    assert_eq!(run(&filter(MAC), &encode(&DISCOVER, &message()).unwrap()), 0);
    for length in 0..ETHERNET + IPV4 + UDP + 34 {
        assert_eq!(run(&filter(MAC), &frame[..length]), 0, "{length}");
    }
}

/// Classic BPF, as far as the filter needs it; a load beyond the frame ends it with 0 (net/core/filter.c).
fn run(program: &[Instruction], frame: &[u8]) -> u32 {
    let load = |at: u32, size: usize| {
        let bytes = frame.get(at as usize..at as usize + size)?;
        Some(bytes.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)))
    };
    let (mut a, mut x, mut pc) = (0_u32, 0_u32, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[pc];
        pc += 1;
        let loaded = match code {
            0x20 => load(k, 4),
            0x28 => load(k, 2),
            0x30 => load(k, 1),
            0x40 => load(x + k, 4),
            0x48 => load(x + k, 2),
            0xb1 => load(k, 1).inspect(|byte| x = (byte & 15) * 4).and(Some(a)),
            0x15 | 0x45 => {
                let holds = if code == 0x15 { a == k } else { a & k != 0 };
                pc += usize::from(if holds { jt } else { jf });
                Some(a)
            }
            0x06 => return k,
            _ => panic!("unknown code {code:#x}"),
        };
        match loaded {
            Some(value) => a = value,
            None => return 0,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(payload in prop::collection::vec(any::<u8>(), 0..400), from: u32, to: u32) {
        let path = Path { from: from.into(), to: to.into(), ..DISCOVER };
        let mut frame = encode(&path, &payload).unwrap();
        // To be read it must be for a client; swapping the ports leaves the sum as it is.
        frame[ETHERNET + IPV4..ETHERNET + IPV4 + 4].copy_from_slice(&[0, 67, 0, 68]);
        prop_assert_eq!(decode(&frame), Ok(Received { from_mac: MAC, from: from.into(), payload: &payload[..] }));
    }

    #[test]
    fn no_bytes_make_it_panic(change in prop::collection::vec((0..400_usize, any::<u8>()), 0..6), length in 0..400_usize) {
        let mut frame = reply(&message());
        for (at, value) in change {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(length);
        let _ = (decode(&frame), run(&filter(MAC), &frame));
    }
}
