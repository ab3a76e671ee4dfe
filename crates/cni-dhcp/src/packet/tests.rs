//! The codec: what is sent, and every way in which a server can be wrong.

use proptest::prelude::*;

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 9, 2];

/// A reply with these bytes behind the magic cookie, and `file` and `sname` as given.
fn reply(options: &[u8], file: &[u8], sname: &[u8]) -> Vec<u8> {
    let mut bytes = Message::new(MessageType::Ack, 7, MAC).encode();
    bytes[0] = 2;
    bytes.truncate(OPTIONS);
    bytes[SNAME..SNAME + sname.len()].copy_from_slice(sname);
    bytes[FILE..FILE + file.len()].copy_from_slice(file);
    bytes.extend(options);
    bytes
}

fn read(options: &[u8]) -> Result<Message, DecodeError> {
    Message::decode(&reply(options, &[], &[]))
}

// RFC 2131, section 2, figure 1; RFC 2132, sections 2 and 9.6.
#[test]
fn a_message_has_its_fields_where_the_rfc_has_them() {
    let mut message = Message::new(MessageType::Request, 0x0102_0304, MAC);
    message.secs = 0x0506;
    message.broadcast = true;
    message.ciaddr = [10, 0, 0, 1].into();
    message.options.set(code::CLIENT_ID, *b"\0c1/lan/eth0");
    let bytes = message.encode();
    assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 5, 6, 0x80, 0]);
    assert_eq!(bytes[12..28], [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[28..44], [2, 0, 0, 0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[236..243], [99, 130, 83, 99, 53, 1, 3]);
    assert_eq!(&bytes[243..258], b"\x3d\x0c\0c1/lan/eth0\xff");
    assert_eq!(Message::decode(&bytes).unwrap(), message);
}

// RFC 1542, section 2.1.
#[test]
fn a_message_has_300_bytes_at_least() {
    assert_eq!(Message::new(MessageType::Discover, 1, MAC).encode().len(), 300);
}

// RFC 2132, section 9.6.
#[test]
fn types_have_their_numbers() {
    let numbers: Vec<u8> = MessageType::ALL.into_iter().map(MessageType::number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(read(&[53, 1, 6, 255]).unwrap().kind, MessageType::Nak);
    assert_eq!(read(&[53, 1, 9, 255]), Err(DecodeError::MessageType(9)));
    assert_eq!(read(&[53, 1, 0, 255]), Err(DecodeError::MessageType(0)));
    assert_eq!(read(&[255]), Err(DecodeError::NoMessageType));
    assert!(matches!(read(&[53, 2, 5, 5, 255]), Err(DecodeError::Option(_))));
    // Twice is one of two bytes (RFC 3396).
    assert!(matches!(read(&[53, 1, 5, 53, 1, 5, 255]), Err(DecodeError::Option(_))));
}

#[test]
fn what_is_no_dhcp_over_ethernet_is_refused() {
    let good = reply(&[53, 1, 5, 255], &[], &[]);
    assert!(Message::decode(&good).is_ok());
    for length in 0..OPTIONS {
        assert_eq!(Message::decode(&good[..length]), Err(DecodeError::Short(length)));
    }
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Message::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 3), DecodeError::Op(3));
    assert_eq!(with(1, 32), DecodeError::Hardware { htype: 32, hlen: 6 });
    assert_eq!(with(2, 255), DecodeError::Hardware { htype: 1, hlen: 255 });
    assert_eq!(with(COOKIE, 0), DecodeError::Magic);
}

// RFC 2132, section 2: pad has no length, nothing follows end. A server that forgets the end is understood.
#[test]
fn pads_are_skipped_and_what_follows_the_end_is_not_read() {
    let message = read(&[0, 0, 53, 1, 5, 0, 26, 2, 5, 220, 255, 26, 200, 1]).unwrap();
    assert_eq!(message.options.u16(code::MTU), Ok(Some(1500)));
    assert!(read(&[53, 1, 5]).is_ok());
}

#[test]
fn an_option_beyond_the_end_is_told() {
    let truncated = |area| Err(DecodeError::Truncated { option: 26, area });
    assert_eq!(read(&[53, 1, 5, 26]), truncated("options"));
    assert_eq!(read(&[53, 1, 5, 26, 2, 1]), truncated("options"));
    assert_eq!(read(&[53, 1, 5, 26, 255]), truncated("options"));
    let mut file = [0; 128];
    file[125..].copy_from_slice(&[26, 9, 1]);
    assert_eq!(Message::decode(&reply(&[53, 1, 5, 52, 1, 1, 255], &file, &[])), truncated("file"));
    let mut sname = [0; 64];
    sname[63] = 26;
    assert_eq!(Message::decode(&reply(&[53, 1, 5, 52, 1, 2, 255], &[], &sname)), truncated("sname"));
}

// RFC 2131, section 4.1; RFC 2132, section 9.3; the order is RFC 3396's, section 5.
#[test]
fn options_go_on_in_file_and_sname_where_option_52_says_so() {
    let (file, sname) = (*b"\x0f\x02b.\xff", *b"\x0f\x01c\xff");
    let domain = |overload: &[u8]| {
        let options = [&[53, 1, 5], overload, b"\x0f\x02a.\xff"].concat();
        let message = Message::decode(&reply(&options, &file, &sname)).unwrap();
        assert_eq!(message.options.get(code::OVERLOAD), None);
        String::from_utf8(message.options.get(code::DOMAIN_NAME).unwrap().to_vec()).unwrap()
    };
    assert_eq!(domain(&[]), "a.");
    assert_eq!(domain(&[52, 1, 1]), "a.b.");
    assert_eq!(domain(&[52, 1, 2]), "a.c");
    assert_eq!(domain(&[52, 1, 3]), "a.b.c");
    // The type may be in there, too, and an overload in there means nothing.
    let message = Message::decode(&reply(&[52, 1, 1, 255], &[53, 1, 5, 52, 1, 3, 255], &[26]));
    assert_eq!(message.unwrap().kind, MessageType::Ack);
}

#[test]
fn an_overload_of_neither_is_told() {
    for overload in [&[52, 1, 0][..], &[52, 1, 4], &[52, 0], &[52, 2, 1, 1], &[52, 1, 1, 52, 1, 1]] {
        let bytes = [&[53, 1, 5], overload, &[255]].concat();
        assert!(matches!(read(&bytes), Err(DecodeError::Option(_))), "{overload:?}");
    }
}

// RFC 3396, sections 5 and 7.
#[test]
fn a_long_option_is_split_and_put_together_again() {
    let mut message = Message::new(MessageType::Discover, 1, MAC);
    let value: Vec<u8> = (0..600).map(|n| (n % 251) as u8).collect();
    message.options.set(code::VENDOR_CLASS, value.clone());
    let bytes = message.encode();
    assert_eq!(bytes[243..245], [60, 255]);
    assert_eq!(bytes[500..502], [60, 255]);
    assert_eq!(bytes[757..759], [60, 90]);
    assert_eq!(Message::decode(&bytes).unwrap().options.get(code::VENDOR_CLASS), Some(&value[..]));
    // Pieces need not be beside each other, nor full.
    let message = read(b"\x0f\x02ab\x35\x01\x05\x0f\x00\x0f\x01c\xff").unwrap();
    assert_eq!(message.options.get(code::DOMAIN_NAME), Some(&b"abc"[..]));
}

#[test]
fn an_empty_option_is_there() {
    let mut message = Message::new(MessageType::Discover, 1, MAC);
    message.options.set(80, Vec::new()).set(code::PAD, [1]).set(code::END, [1]);
    let again = Message::decode(&message.encode()).unwrap();
    assert_eq!(again.options.iter().collect::<Vec<_>>(), [(80, &[][..])]);
}

#[test]
fn a_message_as_long_as_a_datagram_can_be_is_read() {
    let mut options = vec![53, 1, 5];
    for option in (1..255).filter(|option| !matches!(option, 52 | 53)).cycle().take(250) {
        options.extend([option, 255]);
        options.resize(options.len() + 255, option);
    }
    let message = read(&options).unwrap();
    assert_eq!(message.options.iter().map(|(_, value)| value.len()).sum::<usize>(), 250 * 255);
}

// RFC 2132, sections 3.5 (lists of addresses), 9.2 (numbers).
#[test]
fn values_have_the_length_of_what_they_are() {
    let options =
        read(b"\x35\x01\x05\x03\x05abcde\x36\x03abc\x33\x05abcde\x1a\x01a\x06\x00\xff").unwrap().options;
    let wrong = |option, length, wanted| OptionError::Length { option, length, wanted };
    assert_eq!(options.addresses(3), Err(wrong(3, 5, "a multiple of 4")));
    assert_eq!(options.addresses(6), Err(wrong(6, 0, "a multiple of 4")));
    assert_eq!(options.address(54), Err(wrong(54, 3, "4 bytes")));
    assert_eq!(options.u32(51), Err(wrong(51, 5, "4 bytes")));
    assert_eq!(options.u16(26), Err(wrong(26, 1, "2 bytes")));
    assert_eq!((options.address(28), options.addresses(33)), (Ok(None), Ok(Vec::new())));
}

fn settings(provide: &[Provide], request: &[Request], args: &str) -> Result<Message, SettingsError> {
    let settings = Settings::new(&lease_key("c1", "lan", "eth0"), provide, request, args)?;
    let mut message = Message::new(MessageType::Discover, 1, MAC);
    settings.ask(&mut message);
    assert!(message.encode().len() <= 1472);
    Ok(message)
}

fn provide(option: &str, value: &str, from_arg: &str) -> Provide {
    Provide { option: option.to_owned(), value: value.to_owned(), from_arg: from_arg.to_owned() }
}

fn request(option: &str, skip_default: bool) -> Request {
    Request { option: option.to_owned(), skip_default }
}

#[test]
fn names_are_those_of_the_reference() {
    let names = [
        ("dhcp-client-identifier", 61),
        ("subnet-mask", 1),
        ("routers", 3),
        ("host-name", 12),
        ("user-class", 77),
        ("vendor-class-identifier", 60),
        ("0", 0),
        ("0121", 121),
        ("255", 255),
    ];
    for (name, code) in names {
        assert_eq!(option_code(name), Ok(code), "{name}");
    }
    for name in ["", "256", "-1", "+1", "0x3", "3 ", "domain-name"] {
        assert_eq!(option_code(name), Err(SettingsError::Unknown(name.to_owned())));
    }
}

#[test]
fn routers_and_mask_are_requested_behind_what_the_configuration_requests() {
    let codes = |request: &[Request]| settings(&[], request, "").unwrap().options.get(55).unwrap().to_vec();
    assert_eq!(codes(&[]), [3, 1]);
    assert_eq!(codes(&[request("121", false), request("1", false), request("121", false)]), [121, 1, 3]);
    assert_eq!(codes(&[request("33", false), request("", true)]), [33]);
    assert_eq!(codes(&[request("", true)]), [1, 3, 15, 6]);
}

#[test]
fn values_come_from_the_configuration_or_from_cni_args() {
    let name = |provide: Provide, args: &str| {
        settings(&[provide], &[], args).unwrap().options.get(12).map(<[u8]>::to_vec)
    };
    let args = "IgnoreUnknown=1;K8S_POD_NAME=old;K8S_POD_NAME=a=b;broken";
    assert_eq!(name(provide("host-name", "web", ""), ""), Some(b"web".to_vec()));
    assert_eq!(name(provide("12", "", "K8S_POD_NAME"), args), Some(b"a=b".to_vec()));
    assert_eq!(name(provide("12", "web", "K8S_POD_NAME"), args), Some(b"a=b".to_vec()));
    assert_eq!(name(provide("12", "web", "OTHER"), args), Some(b"web".to_vec()));
    assert_eq!(name(provide("12", "", "OTHER"), args), None);
}

#[test]
fn what_cannot_be_provided_is_refused() {
    let refused = |option: &str, value: &str| settings(&[provide(option, value, "")], &[], "").unwrap_err();
    for own in ["0", "50", "52", "53", "54", "255"] {
        assert_eq!(refused(own, "x"), SettingsError::Reserved(own.to_owned()));
    }
    let long = SettingsError::TooLong { option: "60".to_owned(), length: 256 };
    assert_eq!(refused("60", &"x".repeat(256)), long);
    let many: Vec<_> = (100..105).map(|code| provide(&code.to_string(), &"x".repeat(255), "")).collect();
    assert_eq!(settings(&many, &[], "").unwrap_err(), SettingsError::TooMany(1275));
    assert!(settings(&many[..4], &[], "").is_ok());
    assert!(settings(&[], &[request("x", false)], "").is_err());
}

// RFC 2132, section 9.14; RFC 4361, section 6.1 keeps type 0 for what is neither hardware address nor DUID.
#[test]
fn the_client_identifier_is_of_type_0_and_names_the_attachment() {
    let id = |provide: &[Provide]| settings(provide, &[], "").unwrap().options.get(61).unwrap().to_vec();
    assert_eq!(id(&[]), b"\0c1/lan/eth0");
    assert_eq!(id(&[provide("61", "mine", "")]), b"\0mine");
    assert_eq!(id(&[provide("61", "\u{1}mine", "")]), b"\x01mine");
    assert_eq!(id(&[provide("61", "\u{1}", "")]), b"\0\x01");
    let key = lease_key(&"c".repeat(300), "lan", "eth0");
    assert_eq!((key.len(), key[253]), (254, b'c'));
}

// RFC 3004, section 4.
#[test]
fn a_user_class_has_its_length_before_it() {
    let class = |value: &str| {
        let message = settings(&[provide("user-class", value, "")], &[], "").unwrap();
        message.options.get(77).unwrap().to_vec()
    };
    assert_eq!(class("pods"), b"\x04pods");
    assert_eq!(class("\u{4}pods\u{1}x"), b"\x04pods\x01x");
    assert_eq!(class("\u{5}pods"), b"\x05\x05pods");
    // The length and 255 bytes are two pieces (RFC 3396).
    assert_eq!(class(&"x".repeat(255))[0], 255);
}

fn any_options() -> impl Strategy<Value = Options> {
    let entries = prop::collection::btree_map(1..255_u8, prop::collection::vec(any::<u8>(), 0..600), 0..8);
    entries.prop_map(|entries| {
        let mut options = Options::default();
        for (code, value) in entries {
            if !matches!(code, code::OVERLOAD | code::MESSAGE_TYPE) {
                options.set(code, value);
            }
        }
        options
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(options in any_options(), xid: u32, secs: u16, broadcast: bool, chaddr: [u8; 6], addresses: [u32; 4]) {
        let [ciaddr, yiaddr, siaddr, giaddr] = addresses.map(Ipv4Addr::from);
        let message = Message {
            secs, broadcast, ciaddr, yiaddr, siaddr, giaddr, options,
            ..Message::new(MessageType::Ack, xid, chaddr)
        };
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn no_bytes_make_it_panic_nor_take_more_than_they_are(options in prop::collection::vec(any::<u8>(), 0..700), overload in 0..4_u8) {
        let mut bytes = reply(&[53, 1, 5, 52, 1, overload], &[], &[]);
        bytes.extend(options);
        if let Ok(message) = Message::decode(&bytes) {
            let taken: usize = message.options.iter().map(|(_, value)| value.len()).sum();
            prop_assert!(taken <= bytes.len());
            let _ = Lease::from_ack(&message, None);
        }
    }
}
