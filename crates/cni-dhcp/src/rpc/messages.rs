//! The messages: headers of net/rpc, the reference's `skel.CmdArgs`, and its `types100.Result`.
//!
//! Types have the names and numbers that the reference's programs give them, so that what is written is what they write; what Go has
//! behind a pointer has no name.

use super::gob::{Definition, GobError, Kind, StructWriter, Value, id, put_bytes, put_int};
use super::result::put_result;
use super::server::Answer;

/// What a runtime asked the plugin for, `CNI_*` and standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CmdArgs {
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_NETNS`, an absolute path.
    pub netns: String,
    /// `CNI_IFNAME`
    pub ifname: String,
    /// `CNI_ARGS`
    pub args: String,
    /// `CNI_PATH`
    pub path: String,
    /// `CNI_NETNS_OVERRIDE`
    pub netns_override: String,
    /// Standard input.
    pub stdin: Vec<u8>,
}

/// The header of a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) seq: u64,
}

/// The header of a response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) method: String,
    pub(super) seq: u64,
    pub(super) error: String,
}

/// Headers are the first type that either side defines.
const HEADER: i64 = id::FIRST;
const BODY: i64 = 65;
const INTERFACE: i64 = 66;
const INTERFACES: i64 = 67;
const IP_CONFIG: i64 = 68;
const IP_NET: i64 = 69;
const IP_CONFIGS: i64 = 70;
const ROUTE: i64 = 71;
const ROUTES: i64 = 72;
const DNS: i64 = 73;
const STRINGS: i64 = 74;
const EMPTY: i64 = 75;

const fn structure(id: i64, name: &'static str, fields: &'static [(&'static str, i64)]) -> Definition {
    Definition { id, name, kind: Kind::Struct(fields) }
}

const fn slice(id: i64, name: &'static str, element: i64) -> Definition {
    Definition { id, name, kind: Kind::Slice(element) }
}

const CALL: [Definition; 2] = [
    structure(HEADER, "Request", &[("ServiceMethod", id::STRING), ("Seq", id::UINT)]),
    structure(
        BODY,
        "CmdArgs",
        &[
            ("ContainerID", id::STRING),
            ("Netns", id::STRING),
            ("IfName", id::STRING),
            ("Args", id::STRING),
            ("Path", id::STRING),
            ("NetnsOverride", id::STRING),
            ("StdinData", id::BYTES),
        ],
    ),
];

const RESPONSE: [Definition; 1] = [structure(
    HEADER,
    "Response",
    &[("ServiceMethod", id::STRING), ("Seq", id::UINT), ("Error", id::STRING)],
)];

const NOTHING: [Definition; 1] = [structure(EMPTY, "", &[])];

const RESULT: [Definition; 10] = [
    structure(
        BODY,
        "Result",
        &[
            ("CNIVersion", id::STRING),
            ("Interfaces", INTERFACES),
            ("IPs", IP_CONFIGS),
            ("Routes", ROUTES),
            ("DNS", DNS),
        ],
    ),
    slice(INTERFACES, "[]*types100.Interface", INTERFACE),
    structure(
        INTERFACE,
        "",
        &[
            ("Name", id::STRING),
            ("Mac", id::STRING),
            ("Mtu", id::INT),
            ("Sandbox", id::STRING),
            ("SocketPath", id::STRING),
            ("PciID", id::STRING),
        ],
    ),
    slice(IP_CONFIGS, "[]*types100.IPConfig", IP_CONFIG),
    structure(IP_CONFIG, "", &[("Interface", id::INT), ("Address", IP_NET), ("Gateway", id::BYTES)]),
    structure(IP_NET, "IPNet", &[("IP", id::BYTES), ("Mask", id::BYTES)]),
    slice(ROUTES, "[]*types.Route", ROUTE),
    structure(
        ROUTE,
        "",
        &[
            ("Dst", IP_NET),
            ("GW", id::BYTES),
            ("MTU", id::INT),
            ("AdvMSS", id::INT),
            ("Priority", id::INT),
            ("Table", id::INT),
            ("Scope", id::INT),
        ],
    ),
    structure(
        DNS,
        "DNS",
        &[("Nameservers", STRINGS), ("Domain", id::STRING), ("Search", STRINGS), ("Options", STRINGS)],
    ),
    slice(STRINGS, "[]string", id::STRING),
];

/// What has been defined on a connection; each type is once.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    header: bool,
    result: bool,
    empty: bool,
}

/// A request: definitions, header, arguments.
pub(super) fn encode_call(method: &str, args: &CmdArgs) -> Vec<u8> {
    let [header, body] = &CALL;
    let mut out = Vec::new();
    define(&mut out, std::slice::from_ref(header), &mut false);
    put_message(&mut out, HEADER, |request| {
        // The number of the first request is 0, and left out.
        request.bytes(0, method.as_bytes());
    });
    define(&mut out, std::slice::from_ref(body), &mut false);
    put_message(&mut out, BODY, |writer| {
        let texts =
            [&args.container_id, &args.netns, &args.ifname, &args.args, &args.path, &args.netns_override];
        for (text, number) in texts.into_iter().zip(0..) {
            writer.bytes(number, text.as_bytes());
        }
        writer.bytes(6, &args.stdin);
    });
    out
}

/// A response: definitions that are new, header, result.
pub(super) fn encode_answer(
    defined: &mut Definitions,
    method: &str,
    seq: u64,
    answer: Answer<'_>,
) -> Vec<u8> {
    let error = match answer {
        Answer::Error("") => "unknown error",
        Answer::Error(error) => error,
        Answer::Result(_) | Answer::Empty => "",
    };
    let mut out = Vec::new();
    define(&mut out, &RESPONSE, &mut defined.header);
    put_message(&mut out, HEADER, |response| {
        response.bytes(0, method.as_bytes()).uint(1, seq).bytes(2, error.as_bytes());
    });
    if let Answer::Result(result) = answer {
        define(&mut out, &RESULT, &mut defined.result);
        put_message(&mut out, BODY, |writer| put_result(writer, result));
    } else {
        define(&mut out, &NOTHING, &mut defined.empty);
        put_message(&mut out, EMPTY, |_| {});
    }
    out
}

fn define(out: &mut Vec<u8>, definitions: &[Definition], defined: &mut bool) {
    if !std::mem::replace(defined, true) {
        definitions.iter().for_each(|definition| put_bytes(out, &definition.encode()));
    }
}

fn put_message(out: &mut Vec<u8>, id: i64, write: impl FnOnce(&mut StructWriter<'_>)) {
    let mut message = Vec::new();
    put_int(&mut message, id);
    let mut writer = StructWriter::new(&mut message);
    write(&mut writer);
    writer.end();
    put_bytes(out, &message);
}

impl Request {
    pub(super) fn read(value: &Value) -> Result<Self, GobError> {
        let fields = value.fields("Request")?;
        Ok(Request { method: fields.text("ServiceMethod")?, seq: fields.uint("Seq")? })
    }
}

impl Response {
    pub(super) fn read(value: &Value) -> Result<Self, GobError> {
        let fields = value.fields("Response")?;
        let error = String::from_utf8_lossy(fields.bytes("Error")?).into_owned();
        Ok(Response { method: fields.text("ServiceMethod")?, seq: fields.uint("Seq")?, error })
    }
}

impl CmdArgs {
    pub(super) fn read(value: &Value) -> Result<Self, GobError> {
        let fields = value.fields("CmdArgs")?;
        Ok(CmdArgs {
            container_id: fields.text("ContainerID")?,
            netns: fields.text("Netns")?,
            ifname: fields.text("IfName")?,
            args: fields.text("Args")?,
            path: fields.text("Path")?,
            netns_override: fields.text("NetnsOverride")?,
            stdin: fields.bytes("StdinData")?.to_vec(),
        })
    }
}
