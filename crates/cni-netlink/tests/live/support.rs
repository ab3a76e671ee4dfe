//! Private network namespaces for these tests, one per thread. `cni-testing` has fixtures for more, but depends on this
//! crate.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;

use nix::sched::CloneFlags;

use cni_netlink::{Link, MacAddr, NewBridge, NewVeth, Socket};

/// Runs a test on a thread of its own in a fresh network namespace, or says why not.
pub(crate) fn in_netns(test: impl FnOnce() + Send + 'static) {
    let worker = thread::Builder::new().name(thread::current().name().unwrap_or("test").to_string());
    let worker = worker.spawn(move || match unshare_net() {
        Ok(()) => test(),
        Err(errno) => skipped(&format!("needs root to make a network namespace ({errno}): sudo cargo test")),
    });
    if let Err(panic) = worker.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// Says that a test did not run, past the test harness, which keeps what passing tests print to itself.
pub(crate) fn skipped(why: &str) {
    let line = format!("skipped: {} {why}\n", thread::current().name().unwrap_or("a test"));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[allow(clippy::disallowed_methods, reason = "the test's own thread, which ends with the test")]
fn unshare_net() -> nix::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)
}

/// A second namespace, with a socket in it. It lives as long as something holds `netns`.
pub(crate) struct Container {
    pub(crate) netns: File,
    pub(crate) socket: Socket,
}

impl Container {
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare_net().unwrap();
            Self { netns: File::open("/proc/thread-self/ns/net").unwrap(), socket: Socket::open().unwrap() }
        });
        made.join().unwrap()
    }
}

/// A veth pair `veth0` here and `eth0` in the container.
pub(crate) fn veth(socket: &mut Socket, container: &Container, master: Option<u32>) -> Link {
    let veth = NewVeth {
        name: "veth0",
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        master,
        peer_name: "eth0",
        peer_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        peer_netns: Some(container.netns.as_fd()),
        mtu: Some(1450),
    };
    socket.link_add_veth(&veth).unwrap();
    socket.link_by_name("veth0").unwrap()
}

/// A bridge `br0` here.
pub(crate) fn bridge(socket: &mut Socket) -> Link {
    let bridge = NewBridge { name: "br0", mac: None, mtu: None, vlan_filtering: false };
    socket.link_add_bridge(&bridge).unwrap();
    socket.link_by_name("br0").unwrap()
}

/// Runs `work` on another thread in the caller's namespace until the guard is dropped.
pub(crate) fn meanwhile(mut work: impl FnMut() + Send + 'static) -> impl Drop {
    struct Guard(Option<(mpsc::Sender<()>, thread::JoinHandle<()>)>);
    impl Drop for Guard {
        fn drop(&mut self) {
            let (stop, worker) = self.0.take().unwrap();
            drop(stop);
            worker.join().unwrap();
        }
    }
    let (stop, stopped) = mpsc::channel();
    let worker = thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            work();
        }
    });
    Guard(Some((stop, worker)))
}

/// `ip link property add dev INDEX altname NAME`, which plugins have no use for.
pub(crate) fn add_altname(index: u32, name: &str) {
    use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
    use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::{LinkAttribute, LinkMessage, Prop};

    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::PropList(vec![Prop::AltIfName(name.to_string())])];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND;
    let payload = NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLinkProp(link));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
    socket.send_to(&bytes, &netlink_sys::SocketAddr::new(0, 0), 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    assert_eq!(answer[16..20], [0; 4], "an errno");
}
