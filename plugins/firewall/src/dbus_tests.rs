use super::*;

/// A message of a bus: kind, fields as written by hand, body.
fn message(little: bool, kind: u8, fields: &[u8], body: &[u8]) -> Vec<u8> {
    let number = |number: usize| {
        let number = number as u32;
        if little { number.to_le_bytes() } else { number.to_be_bytes() }
    };
    let mut bytes = vec![if little { b'l' } else { b'B' }, kind, 1, 1];
    bytes.extend(number(body.len()));
    bytes.extend(number(9));
    bytes.extend(number(fields.len()));
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

/// Each line of fields is one, with what aligns the next.
#[test]
fn a_call_has_its_fields_aligned() {
    let object = Object { destination: "a.b", path: "/c", interface: "d.e" };
    let expected = [
        &b"l\x01\0\x01\x06\0\0\0\x07\0\0\0\x47\0\0\0"[..],
        b"\x01\x01o\0\x02\0\0\0/c\0\0\0\0\0\0",
        b"\x02\x01s\0\x03\0\0\0d.e\0\0\0\0\0",
        b"\x03\x01s\0\x01\0\0\0f\0\0\0\0\0\0\0",
        b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0",
        b"\x08\x01g\0\x01s\0\0",
        b"\x01\0\0\0x\0",
    ];
    let mut expected = expected.concat();
    // The last field ends a byte before the body begins.
    expected[12] = 0x47;
    assert_eq!(call(7, object, "f", &["x"]), expected);
}

#[test]
fn an_answer_is_read_in_either_order_of_bytes() {
    let little = message(true, 2, b"\x05\x01u\0\x07\0\0\0\x08\x01g\0\x01b\0", b"\x01\0\0\0");
    let reply = Reply::read(&*little).unwrap();
    assert_eq!((reply.kind, reply.to, reply.truth().unwrap()), (METHOD_RETURN, 7, true));
    let big = message(false, 2, b"\x05\x01u\0\0\0\0\x07\x08\x01g\0\x01b\0", b"\0\0\0\0");
    let reply = Reply::read(&*big).unwrap();
    assert_eq!((reply.kind, reply.to, reply.truth().unwrap()), (METHOD_RETURN, 7, false));
}

#[test]
fn an_error_has_its_name_and_its_text() {
    let fields = b"\x04\x01s\0\x03\0\0\0a.B\0\0\0\0\0\x05\x01u\0\x07\0\0\0\x08\x01g\0\x01s\0";
    let reply = Reply::read(&*message(true, 3, fields, b"\x03\0\0\0why\0")).unwrap();
    assert_eq!((reply.kind, reply.to, reply.refusal().as_str()), (ERROR, 7, "a.B: why"));
    let reply = Reply::read(&*message(true, 3, &fields[..24], b"")).unwrap();
    assert_eq!(reply.refusal(), "a.B");
    let wrong = reply.truth().unwrap_err().to_string();
    assert_eq!(wrong, "an answer of type \"\" in place of a boolean");
}

#[test]
fn what_is_cut_short_or_too_long_is_an_error() {
    let whole = message(true, 2, b"\x05\x01u\0\x07\0\0\0\x08\x01g\0\x01b\0", b"\x01\0\0\0");
    for length in 0..whole.len() {
        assert!(Reply::read(&whole[..length]).is_err(), "{length}");
    }
    let endless = message(true, 2, &[], &[]).into_iter().enumerate();
    let endless: Vec<u8> = endless.map(|(at, byte)| if at == 7 { 0x7f } else { byte }).collect();
    let error = Reply::read(&*endless).err().unwrap().to_string();
    assert_eq!(error, "an answer of 2130706432 bytes");
}

#[test]
fn no_bytes_panic() {
    let whole = message(true, 3, b"\x04\x01s\0\x03\0\0\0a.B\0\0\0\0\0\x08\x01g\0\x01s\0", b"\x03\0\0\0why\0");
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            if let Ok(reply) = Reply::read(&*damaged) {
                let _ = (reply.refusal(), reply.truth());
            }
        }
    }
}

#[test]
fn sockets_are_found_in_addresses() {
    let path = |address: &str| {
        let found = place(address)?.ok()?;
        Some(found.path().unwrap().to_str().unwrap().to_owned())
    };
    assert_eq!(path("unix:path=/run/a%20b,guid=12").as_deref(), Some("/run/a b"));
    assert_eq!(path("unix:guid=12,path=/run/bus").as_deref(), Some("/run/bus"));
    assert_eq!(path("tcp:host=localhost,port=1"), None);
    assert!(place("unix:path=/run/%2").unwrap().is_err());
    let unnamed = place("unix:abstract=/tmp/bus").unwrap().unwrap();
    assert_eq!(unnamed.as_abstract(), Some(&b"/tmp/bus"[..]));
    let error = Connection::open("tcp:host=a", Duration::ZERO, Duration::ZERO).err().unwrap().to_string();
    assert_eq!(error, "there is no socket in its address \"tcp:host=a\"");
}

/// As many as the bus's queue takes connect to one that takes none; nobody may wait for ever for a place in it.
#[test]
fn a_bus_that_takes_no_connection_any_more_is_given_up() {
    let name = format!("cni-firewall-{}", std::process::id());
    let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
    let flags = SockFlag::SOCK_CLOEXEC;
    let bus = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    socket::bind(bus.as_raw_fd(), &address).unwrap();
    socket::listen(&bus, socket::Backlog::new(0).unwrap()).unwrap();
    let patience = Duration::from_millis(50);
    let waiting: Vec<_> = std::iter::repeat_with(|| connect(&address, patience)).take(3).collect();
    assert!(waiting[0].is_ok());
    assert_eq!(waiting[2].as_ref().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let addresses = format!("unix:abstract={name}");
    let error = Connection::open(&addresses, patience, patience).err().unwrap().to_string();
    assert_eq!(error, "it has not answered for 0 seconds");
}
