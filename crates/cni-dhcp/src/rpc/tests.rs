//! Both sides against what the reference sent, and against what it never would.

use cni_types::{Route, SpecVersion};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::gob::{Definition, Kind, id, put_bytes, put_int};
use super::*;

macro_rules! capture {
    ($name:literal) => {
        include_bytes!(concat!("../../../../testdata/cni-dhcp/", $name)).as_slice()
    };
}

const CONF: &str = r#"{"cniVersion":"1.0.0","name":"lan","type":"macvlan","ipam":{"type":"dhcp","daemonSocketPath":"/run/dhcp.sock","request":[{"option":"33"}]}}"#;

fn args(container_id: &str, netns: &str, args: &str) -> CmdArgs {
    CmdArgs {
        container_id: container_id.to_owned(),
        netns: netns.to_owned(),
        ifname: "eth0".to_owned(),
        args: args.to_owned(),
        path: "/opt/cni/bin".to_owned(),
        netns_override: String::new(),
        stdin: format!("{CONF}\n").into_bytes(),
    }
}

/// All calls of what a plugin sent, fed in pieces of this many bytes.
fn calls(sent: &[u8], piece: usize) -> Result<Vec<Call>, RpcError> {
    let (mut server, mut calls) = (Server::new(), Vec::new());
    for bytes in sent.chunks(piece) {
        server.received(bytes)?;
        while let Some(call) = server.next_call()? {
            calls.push(call);
        }
    }
    Ok(calls)
}

/// How a call of this method ends with what a daemon sent.
fn outcome(method: &str, sent: &[u8], piece: usize) -> Result<Step, RpcError> {
    let mut client = Client::new(method, &CmdArgs::default());
    // A daemon says nothing before it is asked.
    let (greeting, rest) = sent.split_at(CONNECTED.len().min(sent.len()));
    let mut step = client.received(greeting)?;
    for bytes in rest.chunks(piece) {
        step = client.received(bytes)?;
    }
    Ok(step)
}

fn json(step: Step) -> Json {
    let Step::Done(Ok(result)) = step else { panic!("{step:?}") };
    result.to_json(SpecVersion::V1_1_0).unwrap()
}

#[test]
fn the_reference_s_plugin_is_understood_and_imitated() {
    let cases = [
        (
            capture!("rpc/add.plugin"),
            ALLOCATE,
            args("c1", "/run/netns/pod", "IgnoreUnknown=1;K8S_POD_NAME=web"),
        ),
        (capture!("rpc/del.plugin"), RELEASE, args("c1", "/run/netns/pod", "")),
        (capture!("rpc/del-without-netns.plugin"), RELEASE, args("c9", "/", "")),
        (capture!("rpc/add-error.plugin"), ALLOCATE, args("c3", "/run/netns/none", "")),
    ];
    for (sent, method, args) in cases {
        let call = Call { method: method.to_owned(), seq: 0, args };
        for piece in [1, 7, sent.len()] {
            assert_eq!(calls(sent, piece), Ok(vec![call.clone()]));
        }
        let mut client = Client::new(method, &call.args);
        let Ok(Step::Send(request)) = client.received(CONNECTED) else { panic!() };
        assert_eq!([HELLO, &request].concat(), sent);
    }
    for sent in [capture!("rpc/check.plugin"), capture!("rpc/add-classless.plugin")] {
        assert_eq!(calls(sent, 100).unwrap()[0].method, ALLOCATE);
    }
}

#[test]
fn the_reference_s_daemon_is_understood_and_imitated() {
    let routes =
        json!([{ "dst": "192.168.7.0/24", "gw": "10.9.0.3" }, { "dst": "0.0.0.0/0", "gw": "10.9.0.1" }]);
    let classless = json!([
        { "dst": "0.0.0.0/0", "gw": "10.9.0.2", "priority": 100 },
        { "dst": "172.20.0.0/16", "gw": "0.0.0.0", "priority": 100, "scope": 253 }
    ]);
    let cases = [
        (capture!("rpc/add.daemon"), "10.9.0.50/24", &routes),
        (capture!("rpc/check.daemon"), "10.9.0.50/24", &routes),
        (capture!("rpc/add-classless.daemon"), "10.9.0.51/24", &classless),
    ];
    for (sent, address, routes) in cases {
        let ips = json!([{ "address": address, "gateway": "10.9.0.1" }]);
        let expected = json!({ "cniVersion": "1.1.0", "ips": ips, "routes": routes });
        for piece in [1, 13, sent.len()] {
            assert_eq!(json(outcome(ALLOCATE, sent, piece).unwrap()), expected);
        }
        let Ok(Step::Done(Ok(result))) = outcome(ALLOCATE, sent, 100) else { panic!() };
        assert_eq!(answered(ALLOCATE, Answer::Result(&result)), sent);
    }
    let text = "failed to Statfs \"/run/netns/none\": no such file or directory";
    let sent = capture!("rpc/add-error.daemon");
    assert_eq!(outcome(ALLOCATE, sent, 9), Ok(Step::Done(Err(text.to_owned()))));
    // It was the daemon's first error after results, so its empty struct has the number that comes after theirs.
    assert_eq!(answered(ALLOCATE, Answer::Error(text)), sent);
    for sent in [capture!("rpc/del.daemon"), capture!("rpc/del-without-netns.daemon")] {
        assert_eq!(outcome(RELEASE, sent, 9), Ok(Step::Done(Ok(cni_types::CniResult::default()))));
        assert_eq!(answered(RELEASE, Answer::Empty), sent);
    }
}

/// All that a server sends for a greeting and one call.
fn answered(method: &str, answer: Answer<'_>) -> Vec<u8> {
    let mut server = Server::new();
    let hello = server.received(HELLO).unwrap();
    let call = Call { method: method.to_owned(), seq: 0, args: CmdArgs::default() };
    [hello, server.answer(&call, answer)].concat()
}

#[test]
fn go_s_own_clients_may_say_more_and_less() {
    let calls = calls(capture!("go/peer.client"), 1000).unwrap();
    let shown: Vec<_> =
        calls.iter().map(|call| (call.method.as_str(), call.seq, call.args.container_id.as_str())).collect();
    let allocate = |seq, container| (ALLOCATE, seq, container);
    assert_eq!(
        shown,
        [
            allocate(0, "c1"),
            allocate(1, "c2"),
            allocate(2, "c3"),
            allocate(3, ""),
            allocate(4, "c2"),
            (RELEASE, 5, "c1"),
            ("DHCP.GC", 6, "")
        ]
    );
    assert_eq!(
        (calls[0].args.args.as_str(), calls[0].args.netns_override.as_str()),
        ("IgnoreUnknown=1", "1")
    );
    for later in [&calls[1].args, &calls[4].args] {
        assert_eq!((later.netns.as_str(), later.ifname.as_str()), ("/run/netns/pod", "eth0"));
        assert_eq!(later.stdin, br#"{"name":"lan"}"#);
    }
    assert_eq!(calls[2].args.stdin.len(), 3000);
}

#[test]
fn several_calls_on_a_connection_define_each_type_once() {
    let mut server = Server::new();
    server.received(HELLO).unwrap();
    let result = cni_types::CniResult {
        routes: vec![Route::new("10.0.0.0/8".parse().unwrap(), None)],
        ..Default::default()
    };
    let mut lengths = Vec::new();
    let mut sent = CONNECTED.to_vec();
    for (seq, answer) in [Answer::Result(&result), Answer::Empty, Answer::Error("x")]
        .into_iter()
        .cycle()
        .take(6)
        .zip(0..)
        .map(|(answer, seq)| (seq, answer))
    {
        let call = Call { method: ALLOCATE.to_owned(), seq, args: CmdArgs::default() };
        let bytes = server.answer(&call, answer);
        lengths.push(bytes.len());
        sent.extend(bytes);
    }
    assert!(lengths[3] < 100 && lengths[4] < 40 && lengths[5] < 40, "{lengths:?}");
    // A client makes one call; a second answer was not asked for.
    let first = CONNECTED.len() + lengths[0];
    assert_eq!(
        json(outcome(ALLOCATE, &sent[..first], 50).unwrap())["routes"],
        json!([{ "dst": "10.0.0.0/8" }])
    );
    let mut client = Client::new(ALLOCATE, &CmdArgs::default());
    client.received(CONNECTED).unwrap();
    client.received(&sent[CONNECTED.len()..]).unwrap();
    assert_eq!(client.received(&[]), Err(RpcError::Answer(ALLOCATE.to_owned())));
}

#[test]
fn an_error_without_a_text_is_one_still() {
    let sent = answered(ALLOCATE, Answer::Error(""));
    assert_eq!(outcome(ALLOCATE, &sent, 100), Ok(Step::Done(Err("unknown error".to_owned()))));
}

#[test]
fn whoever_speaks_something_else_is_told_apart() {
    for hello in ["GET /_goRPC_ HTTP/1.0\n\n", "CONNECT /other HTTP/1.0\n\n", "\n", "CONNECT\r\n\r\n"] {
        let line = hello.trim_end().to_owned();
        assert_eq!(Server::new().received(hello.as_bytes()), Err(RpcError::Greeting(line)));
    }
    let with_headers = b"CONNECT /_goRPC_ HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(Server::new().received(with_headers).unwrap(), CONNECTED);
    assert_eq!(Server::new().received(&[b'x'; 8000]), Ok(Vec::new()));
    assert_eq!(Server::new().received(&[b'x'; 9000]), Err(RpcError::TooLong));
    assert_eq!(Server::new().received(&[b'\n', b'x'].repeat(9000)), Err(RpcError::Greeting(String::new())));
    assert_eq!(Server::new().received(&b"x\n".repeat(9000)), Err(RpcError::TooLong));

    let client = |status: &str| Client::new(ALLOCATE, &CmdArgs::default()).received(status.as_bytes());
    for status in ["HTTP/1.0 404 Not Found\r\n\r\n", "200 Connected to Go RPC\n\n", "HTTP/1.0\n\n"] {
        assert_eq!(client(status), Err(RpcError::Greeting(status.trim_end().to_owned())));
    }
    assert!(matches!(client("HTTP/1.1 200 Connected to Go RPC\r\nX: y\r\n\r\n"), Ok(Step::Send(_))));
    assert_eq!(outcome(RELEASE, capture!("rpc/add.daemon"), 10), Err(RpcError::Answer(ALLOCATE.to_owned())));
}

#[test]
fn an_unknown_method_is_told_as_go_tells_it() {
    assert_eq!(unknown_method("DHCP.GC"), "rpc: can't find method DHCP.GC");
    assert_eq!(unknown_method("Other.GC"), "rpc: can't find service Other.GC");
    assert_eq!(unknown_method("GC"), "rpc: service/method request ill-formed: GC");
    assert!(is_unknown_method(&unknown_method("DHCP.GC")) && !is_unknown_method("no lease"));
}

/// A message's contents: a value of this type.
fn value(number: i64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_int(&mut out, number);
    out.extend(bytes);
    out
}

fn definition(number: i64, fields: &'static [(&'static str, i64)]) -> Vec<u8> {
    Definition { id: number, name: "T", kind: Kind::Struct(fields) }.encode()
}

/// What a server says to these messages.
fn hostile(messages: &[Vec<u8>]) -> Result<Option<Call>, RpcError> {
    let mut bytes = HELLO.to_vec();
    messages.iter().for_each(|message| put_bytes(&mut bytes, message));
    let mut server = Server::new();
    server.received(&bytes)?;
    server.next_call()
}

fn gob_error(messages: &[Vec<u8>]) -> GobError {
    match hostile(messages) {
        Err(RpcError::Gob(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn types_may_have_any_numbers_and_come_in_any_order() {
    let header = definition(1000, &[("Seq", id::UINT), ("Other", 2000), ("ServiceMethod", id::STRING)]);
    let inner = definition(2000, &[("More", 2000)]);
    let body = definition(70, &[("StdinData", id::STRING)]);
    let messages = [
        body,
        header,
        inner,
        // Seq 7, Other { More {} }, ServiceMethod "M".
        value(1000, &[1, 7, 1, 1, 0, 0, 1, 1, b'M', 0]),
        value(70, &[1, 2, b'{', b'}', 0]),
    ];
    let args = CmdArgs { stdin: b"{}".to_vec(), ..CmdArgs::default() };
    assert_eq!(hostile(&messages), Ok(Some(Call { method: "M".to_owned(), seq: 7, args })));
}

#[test]
fn what_is_no_gob_is_told() {
    let header = || definition(64, &[("ServiceMethod", id::STRING), ("Seq", id::UINT)]);
    assert_eq!(gob_error(&[value(64, &[0])]), GobError::UnknownType(64));
    assert_eq!(gob_error(&[vec![]]), GobError::Truncated);
    assert_eq!(gob_error(&[header(), value(64, &[1, 5, b'x'])]), GobError::Truncated);
    assert_eq!(gob_error(&[header(), value(64, &[])]), GobError::Truncated);
    assert_eq!(gob_error(&[header(), value(64, &[0, 0])]), GobError::Extra);
    assert_eq!(gob_error(&[header(), value(64, &[3, 1])]), GobError::Field);
    assert_eq!(
        gob_error(&[header(), value(64, &[0xf8, 255, 255, 255, 255, 255, 255, 255, 255])]),
        GobError::Field
    );
    assert_eq!(gob_error(&[header(), header()]), GobError::Definition(64));
    assert_eq!(gob_error(&[definition(63, &[])]), GobError::Definition(63));
    assert_eq!(gob_error(&[value(-64, &[0])]), GobError::Definition(64));
    assert_eq!(gob_error(&[value(-64, &[3, 1, 0, 0])]), GobError::Truncated);
    assert_eq!(gob_error(&[value(id::INT, &[0, 2])]), GobError::Mismatch("Request"));
    assert_eq!(gob_error(&[value(id::INT, &[1, 2])]), GobError::Field);
    let wrong = definition(64, &[("ServiceMethod", id::INT)]);
    assert_eq!(gob_error(&[wrong, value(64, &[1, 2, 0])]), GobError::Mismatch("ServiceMethod"));
    assert_eq!(gob_error(&[header(), value(64, &[1, 1, 255, 0])]), GobError::Mismatch("ServiceMethod"));
}

#[test]
fn nothing_that_is_small_becomes_large() {
    // A list of lists of itself, and a struct of itself.
    let recursive = Definition { id: 64, name: "L", kind: Kind::Slice(64) }.encode();
    let deep = value(64, &[&[0][..], &[1; 100]].concat());
    assert_eq!(gob_error(&[recursive, deep]), GobError::TooMany { what: "values within values", most: 32 });
    let nested = definition(64, &[("More", 64)]);
    let deep = value(64, &[1; 100]);
    assert_eq!(gob_error(&[nested, deep]), GobError::TooMany { what: "values within values", most: 32 });

    let list = Definition { id: 64, name: "L", kind: Kind::Slice(id::UINT) }.encode();
    let wide = [&[0, 0xfd, 1, 0x11, 0x70][..], &[1; 70_000]].concat();
    assert_eq!(
        gob_error(&[list.clone(), value(64, &wide)]),
        GobError::TooMany { what: "values", most: 1 << 16 }
    );
    // A count of more than there is.
    assert_eq!(gob_error(&[list, value(64, &[0, 0xfc, 255, 255, 255, 255, 1])]), GobError::Truncated);

    let types: Vec<_> = (64..400).map(|number| definition(number, &[])).collect();
    assert_eq!(gob_error(&types), GobError::TooMany { what: "types", most: 256 });
    let fields = &[("F", id::INT); 500];
    let types: Vec<_> = (64..80).map(|number| definition(number, fields)).collect();
    assert_eq!(gob_error(&types), GobError::TooMany { what: "fields", most: 4096 });

    let mut server = Server::new();
    server.received(HELLO).unwrap();
    server.received(&[0xfc, 1, 0, 0, 0]).unwrap();
    assert_eq!(server.next_call(), Err(RpcError::TooLong));
    assert_eq!(Server::new().received(&vec![0; MAX_MESSAGE + 100]), Err(RpcError::TooLong));
}

#[test]
fn a_result_that_is_none_is_told() {
    let sent = capture!("rpc/add.daemon");
    let address = sent.windows(4).position(|bytes| bytes == [10, 9, 0, 50]).unwrap();
    let mask = address + 6;
    let mut holes = sent.to_vec();
    holes[mask + 1] = 0;
    assert_eq!(outcome(ALLOCATE, &holes, 100), Err(RpcError::Gob(GobError::Mismatch("Address"))));
}

proptest! {
    #[test]
    fn no_bytes_make_a_server_panic(changes in prop::collection::vec((20..4000_usize, any::<u8>()), 0..6), piece in 1..500_usize, end in 0..6000_usize) {
        for sent in [capture!("rpc/add.plugin"), capture!("go/peer.client")] {
            let mut sent = sent[..sent.len().min(end)].to_vec();
            changes.iter().for_each(|(at, value)| if let Some(byte) = sent.get_mut(*at) { *byte = *value });
            let _ = calls(&sent, piece);
        }
    }

    #[test]
    fn no_bytes_make_a_client_panic(changes in prop::collection::vec((34..800_usize, any::<u8>()), 0..6), piece in 1..500_usize) {
        let mut sent = capture!("rpc/add-classless.daemon").to_vec();
        changes.iter().for_each(|(at, value)| if let Some(byte) = sent.get_mut(*at) { *byte = *value });
        let _ = outcome(ALLOCATE, &sent, piece);
    }

    #[test]
    fn what_is_cut_off_is_not_done(end in 0..707_usize) {
        prop_assert_ne!(calls(&capture!("rpc/add.plugin")[..end.min(419)], 1000).map(|calls| calls.len()), Ok(1));
        prop_assert!(!matches!(outcome(ALLOCATE, &capture!("rpc/add.daemon")[..end.min(706)], 1000), Ok(Step::Done(_))));
    }

    #[test]
    fn arguments_arrive_as_they_were_sent(texts in prop::collection::vec(".{0,200}", 6), stdin: Vec<u8>, method in "[A-Z.]{1,20}") {
        let [container_id, netns, ifname, args, path, netns_override] = texts.try_into().unwrap();
        let args = CmdArgs { container_id, netns, ifname, args, path, netns_override, stdin };
        let Ok(Step::Send(request)) = Client::new(&method, &args).received(CONNECTED) else { panic!() };
        prop_assert_eq!(calls(&[HELLO, &request].concat(), 1000), Ok(vec![Call { method, seq: 0, args }]));
    }
}
