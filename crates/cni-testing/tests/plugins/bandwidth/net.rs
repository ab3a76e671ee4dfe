//! What the tests of the bandwidth plugin share: a container behind the bridge plugin, its limits, and a measure of what
//! passes.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use cni_host::Owner;
use cni_netlink::{Link, LinkChange, LinkKind, NewLink, Socket, Tbf};
use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{Net, port, set, theirs};

/// Where in a namespace: on the host, or in a container.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    Host,
    In(&'a Container),
}

impl At<'_> {
    fn run<T: Send>(self, f: impl FnOnce() -> T + Send) -> T {
        match self {
            At::Host => f(),
            At::In(container) => container.ns().run(f).unwrap(),
        }
    }
}

/// Both directions, by different amounts.
pub(crate) fn both() -> Value {
    json!({"ingressRate": 30_000_000, "ingressBurst": 4_000_000, "egressRate": 20_000_000, "egressBurst": 3_200_000})
}

/// A host with the bridge plugin's network, and the bandwidth plugin behind it.
pub(crate) struct Site {
    pub(crate) net: Net,
    pub(crate) conf: Value,
}

/// A container on it.
pub(crate) struct Pod {
    pub(crate) container: Container,
    /// The bridge plugin's.
    pub(crate) result: Value,
}

impl Site {
    pub(crate) fn new(keys: &Value) -> Self {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"});
        set(&mut conf, keys);
        Site { net: Net::new(json!({})), conf }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.net.host
    }

    /// A container behind the bridge, not limited yet.
    pub(crate) fn pod(&self, id: &str) -> Pod {
        let container = self.net.host.container(id);
        let result = self.net.add(&container);
        Pod { container, result }
    }

    /// The configuration with the bridge plugin's result.
    pub(crate) fn conf(&self, pod: &Pod) -> Value {
        let mut conf = self.conf.clone();
        conf["prevResult"] = pod.result.clone();
        conf
    }

    pub(crate) fn add(&self, pod: &Pod) -> Outcome {
        self.host().plugin("bandwidth").add(&pod.container, "eth0", &self.conf(pod))
    }

    pub(crate) fn check(&self, pod: &Pod) -> Outcome {
        self.host().plugin("bandwidth").check(&pod.container, "eth0", &self.conf(pod))
    }

    pub(crate) fn del(&self, pod: &Pod) -> Outcome {
        self.host().plugin("bandwidth").del(&pod.container, "eth0", &self.conf)
    }

    /// ADD, and CHECK of what it made.
    pub(crate) fn limit(&self, pod: &Pod) -> Value {
        let result = self.add(pod).ok();
        self.check(pod).ok();
        result
    }

    /// By ours or the reference's plugin.
    pub(crate) fn by(&self, ours: bool, command: &str, pod: &Pod, conf: &Value) -> Outcome {
        let plugin = || self.host().plugin("bandwidth");
        match (ours, command) {
            (false, _) => theirs("bandwidth", command, &pod.container, conf),
            (true, "ADD") => plugin().add(&pod.container, "eth0", conf),
            (true, "CHECK") => plugin().check(&pod.container, "eth0", conf),
            (true, _) => plugin().del(&pod.container, "eth0", conf),
        }
    }
}

/// What is on a link: its bucket, and where what it receives is sent.
pub(crate) fn limits_of(socket: &mut Socket, link: &Link) -> (Option<Tbf>, Vec<u32>) {
    (socket.tbf_get(link.index).unwrap(), socket.redirects(link.index).unwrap())
}

/// Nothing of a limit is on the container's port of the bridge, and no ifb on the host.
#[track_caller]
pub(crate) fn assert_unlimited(pod: &Pod) {
    let mut socket = Socket::open().unwrap();
    let port = port(&pod.result);
    assert_eq!(limits_of(&mut socket, &port), (None, vec![]));
    assert!(!socket.ingress_del(port.index).unwrap(), "an ingress discipline was left behind");
    assert_eq!(ifbs(), [""; 0]);
}

/// The host's ifbs by name.
pub(crate) fn ifbs() -> Vec<String> {
    let links = Socket::open().unwrap().link_dump(Some("ifb")).unwrap();
    links.into_iter().map(|link| link.name).collect()
}

/// An ifb that somebody else made.
pub(crate) fn make_ifb(name: &str, owner: Option<&Owner>) {
    let mut socket = Socket::open().unwrap();
    let new = NewLink { name, kind: LinkKind::Ifb, parent: None, mac: None, mtu: None };
    socket.link_add(&new).unwrap();
    if let Some(owner) = owner {
        let index = socket.link_by_name(name).unwrap().index;
        let alias = owner.alias();
        socket.link_change(index, &LinkChange { alias: Some(&alias), ..LinkChange::default() }).unwrap();
    }
}

/// Bits that one TCP connection carries in that time, without headers, and the seconds that it took.
fn carried(from: At<'_>, to: At<'_>, address: IpAddr, during: Duration) -> (f64, f64) {
    let listener = to.run(|| TcpListener::bind((address, 0)).unwrap());
    let address: SocketAddr = listener.local_addr().unwrap();
    let mut sender = from.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap());
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let since = Instant::now();
    let sending = std::thread::spawn(move || {
        let data = [0; 64 * 1024];
        loop {
            match sender.write_all(&data) {
                Ok(()) => {}
                Err(end) if matches!(end.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return;
                }
                Err(error) => panic!("cannot send: {error}"),
            }
        }
    });
    let (mut buffer, mut bytes) = (vec![0; 256 * 1024], 0);
    while since.elapsed() < during {
        bytes += receiver.read(&mut buffer).unwrap();
    }
    let seconds = since.elapsed().as_secs_f64();
    drop(receiver);
    sending.join().unwrap();
    (bytes as f64 * 8.0, seconds)
}

/// Where there is no limit, far more passes than the limits of these tests.
#[track_caller]
pub(crate) fn assert_free(from: At<'_>, to: At<'_>, address: IpAddr) {
    let (bits, seconds) = carried(from, to, address, Duration::from_millis(500));
    assert!(bits / seconds > 100e6, "{:.0} bit/s to {address}", bits / seconds);
}

/// What passes beside the burst is within 10 % of the rate. From the first byte on, since a receiver that did not get to run
/// for a while finds more than the rate waiting; and a burst of a tenth of a second, since the bucket forgets how long a
/// sender did not get to run beyond that.
#[track_caller]
pub(crate) fn assert_limited(from: At<'_>, to: At<'_>, address: IpAddr, limits: &Value, direction: &str) {
    let bits_of = |key: &str| limits[format!("{direction}{key}")].as_f64().unwrap();
    let (bits, seconds) = carried(from, to, address, Duration::from_millis(2500));
    // With the headers of IP and of TCP with its timestamps, for an MTU of 1500.
    let wire = bits * 1514.0 / (1500.0 - if address.is_ipv4() { 52.0 } else { 72.0 });
    let part = (wire - bits_of("Burst")) / seconds / bits_of("Rate");
    assert!((0.9..=1.02).contains(&part), "{direction} to {address}: {part:.3} of the limit");
}
