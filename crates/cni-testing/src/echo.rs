//! An echo service over TCP and UDP: what proves that packets arrive, and whose address they carry.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A running echo server; stops when dropped.
#[derive(Debug)]
pub struct EchoServer {
    /// Closing it wakes the thread up for the last time.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Starts to listen, in the calling thread's namespace. Ready when it returns.
    pub(crate) fn start(addr: SocketAddr) -> Self {
        let tcp =
            TcpListener::bind(addr).unwrap_or_else(|error| panic!("cannot listen on tcp {addr}: {error}"));
        let udp =
            UdpSocket::bind(addr).unwrap_or_else(|error| panic!("cannot listen on udp {addr}: {error}"));
        let (stop, stopped) = UnixStream::pair().expect("cannot make a socket pair");
        // Sockets stay in the namespace they were made in; where the thread is does not matter.
        let thread = std::thread::spawn(move || serve(&tcp, &udp, &stopped));
        EchoServer { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It never panics, and a second panic during a first would only hide that one.
            let _ = thread.join();
        }
    }
}

fn serve(tcp: &TcpListener, udp: &UdpSocket, stopped: &UnixStream) {
    loop {
        let mut ready = [
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            PollFd::new(tcp.as_fd(), PollFlags::POLLIN),
            PollFd::new(udp.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return,
        }
        let [stop, stream, datagram] = ready.map(|fd| fd.any().unwrap_or(true));
        if stop {
            return;
        }
        // A client that goes away is the client's failure, which it reports itself.
        if stream {
            let _ = answer_stream(tcp);
        }
        if datagram {
            let _ = answer_datagram(udp);
        }
    }
}

fn answer_stream(tcp: &TcpListener) -> io::Result<()> {
    let (mut stream, peer) = tcp.accept()?;
    stream.set_read_timeout(Some(crate::PATIENCE))?;
    let mut message = Vec::new();
    stream.read_to_end(&mut message)?;
    stream.write_all(&answer(peer, &message))
}

fn answer_datagram(udp: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 65536];
    let (length, peer) = udp.recv_from(&mut buffer)?;
    udp.send_to(&answer(peer, &buffer[..length]), peer)?;
    Ok(())
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
