//! The protocol between the dhcp plugin and its daemon, spoken with Go's own net/rpc: testdata/cni-dhcp/go/peer.go.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cni_dhcp::rpc::{self, ALLOCATE, Answer, Client, CmdArgs, HELLO, RELEASE, Server, Step};
use cni_types::{CniResult, SpecVersion};
use serde_json::{Value, json};

/// Ends with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's peer")]
fn peer(role: &str, socket: &Path) -> Peer {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/cni-dhcp/go/peer.go");
    let program = socket.with_extension("peer");
    let built = Command::new("go").arg("build").arg("-o").arg(&program).arg(source).status().unwrap();
    assert!(built.success());
    Peer(Command::new(&program).arg(role).arg(socket).stdout(Stdio::piped()).spawn().unwrap())
}

fn lines(peer: &mut Peer) -> impl Iterator<Item = String> {
    BufReader::new(peer.0.stdout.take().unwrap()).lines().map(Result::unwrap)
}

fn socket(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("dhcp.sock")
}

/// What the peer's server gives, in the form of 1.1.0; index 0 is lost, as gob leaves out what is zero.
fn full() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": "eth0", "mac": "02:00:00:00:09:02", "mtu": 1400, "sandbox": "/run/netns/pod", "pciID": "0000:00:01.0" },
            { "name": "" }
        ],
        "ips": [{ "interface": 1, "address": "10.9.0.50/24", "gateway": "10.9.0.1" }, { "address": "fd00::5/64" }],
        "routes": [
            { "dst": "0.0.0.0/0", "gw": "10.9.0.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 1, "scope": 253 },
            { "dst": "fd00::/64", "gw": "fd00::1" }
        ],
        "dns": { "nameservers": ["10.9.0.1", "fd00::1"], "domain": "lan", "search": ["a", "b"], "options": ["ndots:1"] }
    })
}

#[test]
#[ignore = "needs Go: it has the other side"]
fn go_s_client_understands_our_server() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket(&folder)).unwrap();
    let mut peer = peer("client", &socket(&folder));
    let (mut connection, _) = listener.accept().unwrap();

    let result = CniResult::from_json(&full(), SpecVersion::V1_1_0).unwrap();
    let (mut server, mut bytes, mut asked) = (Server::new(), [0; 4096], Vec::new());
    loop {
        let count = connection.read(&mut bytes).unwrap();
        if count == 0 {
            break;
        }
        connection.write_all(&server.received(&bytes[..count]).unwrap()).unwrap();
        while let Some(call) = server.next_call().unwrap() {
            let unknown = rpc::unknown_method(&call.method);
            let answer = match call.method.as_str() {
                ALLOCATE if call.args.container_id == "c3" => Answer::Error("no lease"),
                ALLOCATE => Answer::Result(&result),
                RELEASE => Answer::Empty,
                _ => Answer::Error(&unknown),
            };
            let response = server.answer(&call, answer);
            connection.write_all(&response).unwrap();
            asked.push(call.args.container_id);
        }
    }
    assert_eq!(asked, ["c1", "c2", "c3", "", "c2", "c1", ""]);

    let told: Vec<String> = lines(&mut peer).collect();
    for (line, number) in told.iter().zip(0..5) {
        let told: Value = serde_json::from_str(line).unwrap();
        let error = if number == 2 { "no lease" } else { "<nil>" };
        assert_eq!(told["error"], error);
        if number != 2 {
            assert_eq!(told["result"], as_go_prints());
        }
    }
    assert_eq!(told[5..], ["<nil>", "rpc: can't find method DHCP.GC"]);
}

/// The same, with the names of fields and the base64 of masks.
fn as_go_prints() -> Value {
    let (mask4, mask6) = ("////AA==", "//////////8AAAAAAAAAAA==");
    json!({
        "CNIVersion": "",
        "Interfaces": [
            { "Name": "eth0", "Mac": "02:00:00:00:09:02", "Mtu": 1400, "Sandbox": "/run/netns/pod", "SocketPath": "", "PciID": "0000:00:01.0" },
            { "Name": "", "Mac": "", "Mtu": 0, "Sandbox": "", "SocketPath": "", "PciID": "" }
        ],
        "IPs": [
            { "Interface": 1, "Address": { "IP": "10.9.0.50", "Mask": mask4 }, "Gateway": "10.9.0.1" },
            { "Interface": null, "Address": { "IP": "fd00::5", "Mask": mask6 }, "Gateway": "" }
        ],
        "Routes": [
            { "Dst": { "IP": "0.0.0.0", "Mask": "AAAAAA==" }, "GW": "10.9.0.1", "MTU": 1400, "AdvMSS": 1360, "Priority": 100, "Table": 1, "Scope": 253 },
            { "Dst": { "IP": "fd00::", "Mask": mask6 }, "GW": "fd00::1", "MTU": 0, "AdvMSS": 0, "Priority": 0, "Table": null, "Scope": null }
        ],
        "DNS": { "Nameservers": ["10.9.0.1", "fd00::1"], "Domain": "lan", "Search": ["a", "b"], "Options": ["ndots:1"] }
    })
}

#[test]
#[ignore = "needs Go: it has the other side"]
fn our_client_understands_go_s_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut peer = peer("server", &socket(&folder));
    let mut lines = lines(&mut peer);
    assert_eq!(lines.next().as_deref(), Some("listening"));
    let args = CmdArgs {
        container_id: "c1".into(),
        netns: "/run/netns/pod".into(),
        ifname: "eth0".into(),
        args: "A=1".into(),
        path: "/opt/cni/bin".into(),
        netns_override: "1".into(),
        stdin: vec![b'x'; 300],
    };
    let call = |method: &str, args: &CmdArgs| call(&socket(&folder), method, args);
    let json = |result: CniResult| result.to_json(SpecVersion::V1_1_0).unwrap();

    assert_eq!(call(ALLOCATE, &args).map(json), Ok(full()));
    let later = json!({
        "cniVersion": "1.1.0",
        "ips": [{ "address": "10.9.0.50/24", "gateway": "10.9.0.1" }],
        "routes": [{ "dst": "10.9.0.0/24", "gw": "10.9.0.1" }]
    });
    assert_eq!(call("DHCP.Later", &args).map(json), Ok(later));
    let bad = CmdArgs { container_id: "bad".into(), ..args.clone() };
    assert_eq!(call(ALLOCATE, &bad), Err("no lease for \"/run/netns/pod\"".to_owned()));
    assert!(rpc::is_unknown_method(&call("DHCP.GC", &args).unwrap_err()));

    assert_eq!(call(RELEASE, &args), Ok(CniResult::default()));
    let seen: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(
        seen,
        json!({
            "ContainerID": "c1", "Netns": "/run/netns/pod", "IfName": "eth0", "Args": "A=1", "Path": "/opt/cni/bin",
            "NetnsOverride": "1", "StdinData": "eHh4".repeat(100)
        })
    );
}

fn call(socket: &Path, method: &str, args: &CmdArgs) -> Result<CniResult, String> {
    let mut connection = UnixStream::connect(socket).unwrap();
    let mut client = Client::new(method, args);
    connection.write_all(HELLO).unwrap();
    let mut bytes = [0; 100];
    loop {
        let count = connection.read(&mut bytes).unwrap();
        assert!(count > 0, "the server has closed the connection");
        match client.received(&bytes[..count]).unwrap() {
            Step::More => {}
            Step::Send(request) => connection.write_all(&request).unwrap(),
            Step::Done(outcome) => return outcome,
        }
    }
}
