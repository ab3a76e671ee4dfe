//! A container: an identity and a network namespace.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use cni_host::NetNs;

use crate::{EchoServer, HttpServer, Snapshot, echo, http, namespace, ping};

/// A container of a private host; its namespace goes when it is dropped, and links in it with it.
#[derive(Debug)]
pub struct Container {
    id: String,
    path: String,
    /// Both keep the namespace alive; both are gone after [`Container::kill`].
    alive: Option<(File, NetNs)>,
}

impl Container {
    /// `names` is the folder in which the namespace gets its name.
    pub(crate) fn new(id: &str, names: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let file = namespace::fresh();
        // A name of its own and not `/proc/<pid>/fd/<n>` itself: a descriptor's number is given away again once it is
        // closed, and a DEL after `kill` would then find some other test's container under it.
        let name = names.join(format!("{id}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let target = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        std::os::unix::fs::symlink(&target, &name)
            .unwrap_or_else(|error| panic!("cannot link {} to {target}: {error}", name.display()));
        let ns = NetNs::open(&name).expect("cannot open the namespace just made");
        let path = name.to_str().expect("temporary folders have names in UTF-8").to_owned();
        Container { id: id.to_owned(), path, alive: Some((file, ns)) }
    }

    /// CNI_CONTAINERID
    pub fn id(&self) -> &str {
        &self.id
    }

    /// CNI_NETNS: a link to /proc/PID/fd/N, which the plugins, as children of this process, can open.
    pub fn netns(&self) -> &str {
        &self.path
    }

    /// Its namespace. Panics after [`Container::kill`].
    pub fn ns(&self) -> &NetNs {
        let (_, ns) = self.alive.as_ref().expect("the container has been killed");
        ns
    }

    /// Closes the namespace, so that CNI_NETNS names nothing any more; the identity stays for DEL. The kernel takes
    /// the links inside down on its own time, some milliseconds later.
    pub fn kill(&mut self) {
        if self.alive.take().is_some() {
            std::fs::remove_file(&self.path)
                .unwrap_or_else(|error| panic!("cannot remove {}: {error}", self.path));
        }
    }

    /// Links, addresses, routes inside.
    pub fn snapshot(&self) -> Snapshot {
        self.run(Snapshot::of_network)
    }

    /// Answers TCP and UDP on this address inside, echoing each message once with the peer's address before it
    /// (`10.1.0.2:40000 hello`), until dropped.
    pub fn serve(&self, addr: SocketAddr) -> EchoServer {
        self.run(|| EchoServer::start(addr))
    }

    /// Sends a message over TCP from inside and returns the echo, or what went wrong. Waits some seconds at most.
    pub fn echo_tcp(&self, to: SocketAddr, message: &str) -> Result<String, String> {
        self.run(|| echo::tcp(to, message)).map_err(|error| format!("tcp {to}: {error}"))
    }

    /// Sends a message over UDP from inside and returns the echo, or what went wrong. Waits some seconds at most.
    pub fn echo_udp(&self, to: SocketAddr, message: &str) -> Result<String, String> {
        self.run(|| echo::udp(to, message)).map_err(|error| format!("udp {to}: {error}"))
    }

    /// Serves HTTP on this address inside until dropped: each GET is answered with a page that says `<name> answers
    /// <the client's address>`.
    pub fn serve_http(&self, addr: SocketAddr, name: &str) -> HttpServer {
        self.run(|| HttpServer::start(addr, name))
    }

    /// Fetches a page from inside, and returns the status line and the page, or what went wrong. Waits some seconds at
    /// most.
    pub fn http_get(&self, to: SocketAddr, path: &str) -> Result<(String, String), String> {
        self.run(|| http::get(to, path)).map_err(|error| format!("http://{to}{path}: {error}"))
    }

    /// Whether one ICMP echo of an own raw socket is answered within some seconds.
    pub fn ping(&self, to: IpAddr) -> bool {
        self.run(|| ping::ping(to))
    }

    /// Tells the host with this link-local address, by the link with this index inside, that the container is its router.
    pub fn advertise_router(&self, to: std::net::Ipv6Addr, index: u32) {
        self.run(|| crate::advertisement::advertise(to, index));
    }

    fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.ns().run(f).expect("cannot enter the container's namespace")
    }
}
