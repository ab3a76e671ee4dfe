//! An echo service over TCP and UDP: what proves that packets arrive, and whose address they carry.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use crate::service::{Door, Service};

/// A running echo server; stops when dropped.
#[derive(Debug)]
pub struct EchoServer {
    _service: Service,
}

impl EchoServer {
    /// Starts to listen, in the calling thread's namespace. Ready when it returns.
    pub fn start(addr: SocketAddr) -> Self {
        let tcp =
            TcpListener::bind(addr).unwrap_or_else(|error| panic!("cannot listen on tcp {addr}: {error}"));
        let udp =
            UdpSocket::bind(addr).unwrap_or_else(|error| panic!("cannot listen on udp {addr}: {error}"));
        EchoServer { _service: Service::start(vec![Box::new(tcp), Box::new(udp)]) }
    }
}

impl Door for TcpListener {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn answer(&self) -> io::Result<()> {
        let (mut stream, peer) = self.accept()?;
        stream.set_read_timeout(Some(crate::PATIENCE))?;
        let mut message = Vec::new();
        stream.read_to_end(&mut message)?;
        stream.write_all(&answer(peer, &message))
    }
}

impl Door for UdpSocket {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn answer(&self) -> io::Result<()> {
        let mut buffer = [0; 65536];
        let (length, peer) = self.recv_from(&mut buffer)?;
        self.send_to(&answer(peer, &buffer[..length]), peer)?;
        Ok(())
    }
}

fn answer(peer: SocketAddr, message: &[u8]) -> Vec<u8> {
    [format!("{peer} ").as_bytes(), message].concat()
}

/// Sends a message from the calling thread's namespace and returns the answer.
pub(crate) fn tcp(to: SocketAddr, message: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, crate::PATIENCE)?;
    stream.set_read_timeout(Some(crate::PATIENCE))?;
    stream.write_all(message.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The same over UDP.
pub(crate) fn udp(to: SocketAddr, message: &str) -> io::Result<String> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(crate::PATIENCE))?;
    // Connected, so that a port where nobody listens is an error at once, and strangers are not heard.
    socket.connect(to)?;
    socket.send(message.as_bytes())?;
    let mut buffer = [0; 65536];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
