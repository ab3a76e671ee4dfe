//! What becomes of a lease: a server of the test's own does what real ones do seldom, and quickly.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use cni_dhcp::packet::{Message, MessageType, Op, code};
use cni_netlink::{LinkChange, Socket};
use cni_testing::Container;
use serde_json::json;

use crate::bridge::net::{link_in, set};
use crate::dhcp::net::{Network, addresses_of, wait_for};
use crate::dhcp::server::{Requests, ScriptedServer};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 254);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 50);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 77);

fn scene(seconds: u32) -> (Network, ScriptedServer) {
    let network = Network::new("macvlan");
    let server = ScriptedServer::start(network.outside.as_ref(), SERVER, seconds);
    (network, server)
}

/// A container with the interface of a network without addresses, for whom dhcp is run alone.
fn interface(network: &Network) -> Container {
    let container = network.net.host.container("one");
    let mut conf = network.net.conf.clone();
    conf.as_object_mut().unwrap().remove("ipam");
    network.run("ADD", &container, &conf).ok();
    container
}

fn has(container: &Container, address: Ipv4Addr) -> bool {
    addresses_of(container) == [IpAddr::from(address)]
}

fn default_routes(container: &Container) -> Vec<Option<IpAddr>> {
    let mut socket = container.ns().socket().unwrap();
    let index = socket.link_by_name("eth0").unwrap().index;
    let routes = socket.route_dump(index, None).unwrap().into_iter();
    routes.filter(|route| route.dst.prefix_len() == 0).map(|route| route.next_hops[0].gateway).collect()
}

#[test]
fn issue_16_a_renewal_comes_from_the_address_to_the_server() {
    let (network, server) = scene(8);
    let _daemon = network.daemon(&[]);
    let container = network.net.host.container("one");
    let (result, _) = network.add(&container);
    let before = server.count(MessageType::Request);
    wait_for("the renewal", || server.count(MessageType::Request) > before);
    let (renewal, from) = server.last(MessageType::Request).unwrap();
    assert_eq!((from, renewal.ciaddr), (FIRST, FIRST));
    assert!(renewal.options.get(code::SERVER_ID).is_none());
    let id = [&[0][..], b"one/net/eth0"].concat();
    assert_eq!(renewal.options.get(code::CLIENT_ID), Some(&id[..]));
    std::thread::sleep(Duration::from_secs(8));
    network.check(&container, &result).ok();
    assert_eq!(server.count(MessageType::Discover), 1);
}

/// Its server is silent, so that all are asked, and then the address goes; when there is a server again, it comes back.
#[test]
fn issue_16_an_address_whose_lease_has_ended_is_removed_and_comes_back() {
    let (network, server) = scene(4);
    let _daemon = network.daemon(&[]);
    let container = network.net.host.container("one");
    let (result, _) = network.add(&container);
    assert_eq!(default_routes(&container), [Some(IpAddr::from(SERVER))]);
    server.script().requests = Requests::Ignore;
    wait_for("the end of the lease", || addresses_of(&container).is_empty());
    let broadcast =
        server.script().heard.iter().any(|(message, from)| {
            (message.kind, message.ciaddr, *from) == (MessageType::Request, FIRST, FIRST)
        });
    assert!(broadcast, "nobody was asked to go on");
    let start = Instant::now();
    let (_, msg) = network.check(&container, &result).err();
    assert!(msg.contains("there is no lease"), "{msg}");
    assert!(start.elapsed() < Duration::from_secs(1), "CHECK waited");

    server.script().requests = Requests::Acknowledge;
    wait_for("another lease", || has(&container, FIRST));
    assert_eq!(default_routes(&container), [Some(IpAddr::from(SERVER))]);
    network.check(&container, &result).ok();
    assert!(container.ping(SERVER.into()));
}

#[test]
fn issue_16_a_refusal_replaces_the_address_at_once() {
    let (network, server) = scene(6);
    let _daemon = network.daemon(&[]);
    let container = network.net.host.container("one");
    let (result, _) = network.add(&container);
    {
        let mut script = server.script();
        (script.address, script.requests) = (SECOND, Requests::Refuse);
        script.options = vec![(code::ROUTERS, vec![10, 88, 0, 253])];
    }
    wait_for("the other address", || has(&container, SECOND));
    assert_eq!(default_routes(&container), [Some("10.88.0.253".parse().unwrap())]);
    assert!(container.ping(SERVER.into()));
    let (_, msg) = network.check(&container, &result).err();
    assert!(msg.contains("the lease of eth0 is 10.88.0.77/24 and prevResult has 10.88.0.50/24"), "{msg}");
}

/// The daemon is killed with a lease, and with none while it asks for one.
#[test]
fn issue_16_a_killed_daemon_goes_on_where_it_was() {
    let (network, server) = scene(6);
    let daemon = network.daemon(&[]);
    let container = network.net.host.container("one");
    network.add(&container);
    daemon.kill();
    let daemon = network.daemon(&[]);
    let before = server.count(MessageType::Request);
    wait_for("the renewal", || server.count(MessageType::Request) > before);
    assert_eq!((server.count(MessageType::Discover), has(&container, FIRST)), (1, true));

    server.script().requests = Requests::Ignore;
    wait_for("the end of the lease", || addresses_of(&container).is_empty());
    daemon.kill();
    server.script().requests = Requests::Acknowledge;
    let daemon = network.daemon(&[]);
    wait_for("another lease", || has(&container, FIRST));

    // It ends while nobody looks after it.
    daemon.kill();
    server.script().requests = Requests::Ignore;
    std::thread::sleep(Duration::from_secs(7));
    let _daemon = network.daemon(&[]);
    wait_for("the end of the lease", || addresses_of(&container).is_empty());
}

/// As it is after a reboot: the record is of another boot, and the container is made again.
#[test]
fn issue_16_after_a_reboot_the_same_address_is_asked_for() {
    let (network, server) = scene(600);
    let daemon = network.daemon(&[]);
    let container = network.net.host.container("one");
    network.add(&container);
    daemon.kill();
    let name = network.socket().display().to_string().trim_start_matches('/').replace('/', "-");
    let folder = std::path::Path::new("/var/lib/cni/dhcp").join(name);
    let record = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&record).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()));
    std::fs::write(&record, text.replace(boot.trim(), "another")).unwrap();

    let again = network.net.host.container("one");
    let _daemon = network.daemon(&[]);
    let (_, address) = network.add(&again);
    assert_eq!(address, IpAddr::from(FIRST));
    assert_eq!(server.count(MessageType::Discover), 1);
    let (request, _) = server.last(MessageType::Request).unwrap();
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS).unwrap(), Some(FIRST));
    assert!(request.options.get(code::SERVER_ID).is_none());
}

/// RELEASE from the address; where the container has removed that, in a frame.
#[test]
fn issue_16_a_release_is_sent_with_and_without_the_address() {
    let (network, server) = scene(600);
    let _daemon = network.daemon(&[]);
    for (count, removed) in [(1, false), (2, true)] {
        let container = network.net.host.container("one");
        network.add(&container);
        if removed {
            let mut socket = container.ns().socket().unwrap();
            let index = socket.link_by_name("eth0").unwrap().index;
            socket.addr_del(index, "10.88.0.50/24".parse().unwrap()).unwrap();
        }
        network.del(&container).ok();
        wait_for("the release", || server.count(MessageType::Release) == count);
        let (release, from) = server.last(MessageType::Release).unwrap();
        assert_eq!((release.ciaddr, from), (FIRST, FIRST));
        assert_eq!(release.options.address(code::SERVER_ID).unwrap(), Some(SERVER));
    }
}

/// Nothing holds the namespace while the lease is bound, and with it goes the lease.
#[test]
fn issue_16_a_namespace_that_is_gone_ends_its_lease() {
    let (network, server) = scene(600);
    let _daemon = network.daemon(&[]);
    let mut container = network.net.host.container("one");
    network.add(&container);
    container.kill();
    let name = network.socket().display().to_string().trim_start_matches('/').replace('/', "-");
    let folder = std::path::Path::new("/var/lib/cni/dhcp").join(name);
    let records = || std::fs::read_dir(&folder).unwrap().count();
    wait_for("the end of the record", || records() == 0);
    wait_for("the release", || server.count(MessageType::Release) == 1);
    network.del(&container).ok();
}

#[test]
fn issue_16_a_renamed_interface_keeps_its_lease() {
    let (network, server) = scene(6);
    let _daemon = network.daemon(&[]);
    let container = network.net.host.container("one");
    network.add(&container);
    let index = link_in(&container, "eth0").index;
    let change = LinkChange { name: Some("lan0"), ..LinkChange::default() };
    let mut socket = container.ns().socket().unwrap();
    let down = LinkChange { up: Some(false), ..LinkChange::default() };
    let _ = socket.link_change(index, &change).or_else(|_| {
        socket.link_change(index, &down)?;
        socket.link_change(index, &change)?;
        socket.link_change(index, &LinkChange { up: Some(true), ..LinkChange::default() })
    });
    assert_eq!(link_in(&container, "lan0").index, index);
    server.script().requests = Requests::Refuse;
    server.script().address = SECOND;
    wait_for("the other address", || {
        let addresses = socket.addr_dump(index).unwrap();
        addresses.iter().any(|addr| addr.address.addr() == IpAddr::from(SECOND))
    });
}

/// Messages that are none, and answers to others, change nothing and cost nobody his lease.
#[test]
fn issue_16_hostile_packets_change_nothing() {
    let (network, server) = scene(8);
    let daemon = network.daemon(&[]);
    let container = network.net.host.container("one");
    server.script().requests = Requests::Ignore;
    let outside = network.outside.as_ref().unwrap();
    let flood = std::sync::atomic::AtomicBool::new(true);
    let (address, pid) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = outside.ns().run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
            socket.set_broadcast(true).unwrap();
            let mut noise = 0_u32;
            while flood.load(std::sync::atomic::Ordering::Relaxed) {
                // With the container's own hardware address, once it is known, so that the filter lets it through.
                let heard = server.last(MessageType::Discover).map(|(message, _)| message);
                let chaddr = heard.as_ref().map_or([2; 6], |heard| heard.chaddr);
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let kind = [MessageType::Offer, MessageType::Nak, MessageType::Ack][noise as usize % 3];
                let mut message = Message::new(kind, noise, chaddr);
                message.op = Op::Reply;
                message.yiaddr = Ipv4Addr::new(10, 88, 0, 66);
                message.options.set(code::SERVER_ID, [10, 88, 0, 66]);
                let mut bytes = message.encode();
                let cut = noise as usize % (bytes.len() + 1);
                if noise.is_multiple_of(2) {
                    bytes.truncate(cut);
                }
                let _ = socket.send_to(&bytes, "10.88.0.255:68");
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let waited = scope.spawn(|| network.add(&container).1);
        std::thread::sleep(Duration::from_millis(700));
        server.script().requests = Requests::Acknowledge;
        let address = waited.join().unwrap();
        // Over a renewal.
        let before = server.count(MessageType::Request);
        wait_for("the renewal", || server.count(MessageType::Request) > before);
        flood.store(false, std::sync::atomic::Ordering::Relaxed);
        (address, daemon.0.id())
    });
    assert_eq!(address, IpAddr::from(FIRST));
    assert!(has(&container, FIRST));
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(server.count(MessageType::Release), 0);
}

/// Nothing is sent before the link can carry it, and the first message goes as soon as it can.
#[test]
fn issue_16_the_first_message_waits_for_carrier() {
    let (network, server) = scene(600);
    let _daemon = network.daemon(&[]);
    let master = Socket::open().unwrap().link_by_name("eth0").unwrap();
    let outside = network.outside.as_ref().unwrap();
    let mut there = outside.ns().socket().unwrap();
    let far = there.link_by_name("eth0").unwrap().index;
    there.link_change(far, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    wait_for("the loss of carrier", || {
        Socket::open().unwrap().link_by_index(master.index).unwrap().operstate != cni_netlink::OperState::Up
    });
    let container = network.net.host.container("one");
    std::thread::scope(|scope| {
        let added = scope.spawn(|| network.add(&container));
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(server.count(MessageType::Discover), 0);
        there.link_change(far, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
        let start = Instant::now();
        added.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    });
    assert_eq!(server.count(MessageType::Discover), 1);
}

#[test]
fn issue_16_what_is_asked_for_is_in_the_result() {
    let (mut network, server) = scene(600);
    let keys = json!({
        "provide": [
            {"option": "host-name", "value": "web"},
            {"option": "12", "fromArg": "NAME"},
            {"option": "user-class", "value": "cni"},
        ],
        "request": [{"option": "6"}, {"option": "15"}, {"option": "119"}, {"option": "26"}, {"option": "121"}],
        "priority": 77,
        "routes": [{"dst": "198.51.100.0/24", "gw": "10.88.0.9"}],
        "suppress": ["gateway"],
    });
    set(&mut network.net.conf["ipam"], &keys);
    server.script().options = vec![
        (code::ROUTERS, SERVER.octets().to_vec()),
        (code::DNS_SERVERS, vec![10, 88, 0, 53]),
        (code::DOMAIN_NAME, b"example.org".to_vec()),
        (code::MTU, vec![0x05, 0x14]),
        // 192.0.2.0/24 by the server, and the default route.
        (code::CLASSLESS_ROUTES, [&[24, 192, 0, 2][..], &SERVER.octets(), &[0], &SERVER.octets()].concat()),
    ];
    let _daemon = network.daemon(&["-broadcast"]);
    let container = interface(&network);
    let run = network.net.host.plugin("dhcp").env("CNI_ARGS", "IgnoreUnknown=1;NAME=db");
    let result = run.add(&container, "eth0", &network.net.conf).ok();
    assert_eq!(result["dns"], json!({"nameservers": ["10.88.0.53"], "domain": "example.org"}));
    assert_eq!(result["ips"][0].get("gateway"), None);
    let expected = json!([
        {"dst": "192.0.2.0/24", "gw": "10.88.0.254", "mtu": 1300, "priority": 77},
        {"dst": "198.51.100.0/24", "gw": "10.88.0.9"},
    ]);
    assert_eq!(result["routes"], expected);
    let (discover, _) = server.last(MessageType::Discover).unwrap();
    assert!(discover.broadcast);
    assert_eq!(discover.options.get(code::HOST_NAME), Some(&b"db"[..]));
    assert_eq!(discover.options.get(code::USER_CLASS), Some(&b"\x03cni"[..]));
    assert_eq!(discover.options.get(code::PARAMETER_LIST), Some(&[6, 15, 119, 26, 121, 3, 1][..]));
}

/// A plugin that a runtime killed leaves nobody asking for it, and an interface that is there no more no lease.
#[test]
fn issue_16_nobody_asks_for_who_has_gone() {
    let (network, server) = scene(600);
    server.script().requests = Requests::Ignore;
    let _daemon = network.daemon(&["-resendmax", "250ms"]);
    let container = interface(&network);
    #[allow(clippy::disallowed_methods, reason = "the runtime, which kills the plugin")]
    let mut add = std::process::Command::new(network.net.host.bin_dir().join("dhcp"));
    let env = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "one"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", container.netns()),
        ("CNI_PATH", "/nonexistent"),
    ];
    add.env_clear().envs(env).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut add = add.spawn().unwrap();
    std::io::Write::write_all(&mut add.stdin.take().unwrap(), network.net.conf.to_string().as_bytes())
        .unwrap();
    wait_for("the first message", || server.count(MessageType::Discover) > 1);
    add.kill().unwrap();
    add.wait().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let before = server.count(MessageType::Discover);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.count(MessageType::Discover), before);
}
