//! A container: an identity and a network namespace.

use std::net::{IpAddr, SocketAddr};

use cni_host::NetNs;

use crate::Snapshot;

/// A container of a private host; its namespace goes when it is dropped, and links in it with it.
pub struct Container {}

impl Container {
    /// CNI_CONTAINERID
    pub fn id(&self) -> &str {
        todo!()
    }
    /// CNI_NETNS: /proc/PID/fd/N, which the plugins, as children of this process, can open.
    pub fn netns(&self) -> &str {
        todo!()
    }
    /// Its namespace.
    pub fn ns(&self) -> &NetNs {
        todo!()
    }
    /// Closes the namespace, so that CNI_NETNS names nothing any more; the identity stays for DEL.
    pub fn kill(&mut self) {
        todo!()
    }
    /// Links, addresses, routes inside.
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }
    /// Answers TCP and UDP on this address inside, echoing each message once with the peer's address before it, until dropped.
    pub fn serve(&self, addr: SocketAddr) -> EchoServer {
        let _ = addr;
        todo!()
    }
    /// Sends a message over TCP from inside and returns the echo, or what went wrong. Waits a second at most.
    pub fn echo_tcp(&self, to: SocketAddr, message: &str) -> Result<String, String> {
        let _ = (to, message);
        todo!()
    }
    /// Whether one ICMP echo of an own raw socket is answered within a second.
    pub fn ping(&self, to: IpAddr) -> bool {
        let _ = to;
        todo!()
    }
}

/// A running echo server.
pub struct EchoServer {}
