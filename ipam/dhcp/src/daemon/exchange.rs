//! The sockets of one exchange with servers. They are open from the first message to the answer, or as long as one may come, and
//! then neither they nor the container's namespace are held.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::JoinHandle;
use std::time::Duration;

use cni_dhcp::frame::{self, CLIENT_PORT, Path, SERVER_PORT};
use cni_host::{BpfInstruction, PacketSocket};

use super::record::Place;

/// How many messages are read at a time from one interface, so that a flood on one keeps no other from its turn.
const AT_A_TIME: usize = 16;

/// What is open.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// For a client without an address, and for all servers.
    frames: Option<PacketSocket>,
    /// From the address that is held, to its server.
    datagrams: Option<UdpSocket>,
    /// When no answer is waited for any more.
    pub(super) until: Duration,
}

/// A message, and the hardware address that it came from where that is known.
pub(super) type Message = (Vec<u8>, Option<[u8; 6]>);

impl Exchange {
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let frames = self.frames.as_ref().map(AsFd::as_fd);
        frames.into_iter().chain(self.datagrams.as_ref().map(AsFd::as_fd))
    }

    pub(super) fn is_open(&self) -> bool {
        self.fds().next().is_some()
    }

    /// Sends a frame on a link that is in the namespace of `place`.
    pub(super) fn send_frame(
        &mut self,
        place: &Place,
        to_mac: [u8; 6],
        from: Ipv4Addr,
        to: Ipv4Addr,
        message: &[u8],
    ) -> Result<(), String> {
        let frame = encode(place, to_mac, from, to, message)?;
        let socket = match &mut self.frames {
            Some(socket) => socket,
            none => {
                let Some(ns) = place.open()? else { return Err("its namespace is gone".to_owned()) };
                let open = || PacketSocket::open(place.index, &filter(place.mac));
                let opened = ns.run(open).map_err(|error| error.to_string())?;
                none.insert(opened.map_err(|error| format!("cannot open a packet socket: {error}"))?)
            }
        };
        socket.send(&frame).map_err(|error| error.to_string())
    }

    /// Sends a frame of an interface that is no more by the daemon's own link to the same network. No answer can come.
    pub(super) fn send_outside(
        &mut self,
        place: &Place,
        to_mac: [u8; 6],
        from: Ipv4Addr,
        to: Ipv4Addr,
        message: &[u8],
    ) -> Result<(), String> {
        let index = place.outside.ok_or("no other link leads there")?;
        let frame = encode(place, to_mac, from, to, message)?;
        let socket = PacketSocket::open(index, &filter(place.mac)).map_err(|error| error.to_string())?;
        let sent = socket.send(&frame).map_err(|error| error.to_string());
        self.frames = Some(socket);
        sent
    }

    /// Sends a datagram from an address that the interface has, by the container's routes.
    pub(super) fn send_datagram(
        &mut self,
        place: &Place,
        from: Ipv4Addr,
        to: Ipv4Addr,
        message: &[u8],
    ) -> Result<(), String> {
        let socket = match &mut self.datagrams {
            Some(socket) => socket,
            none => {
                let Some(ns) = place.open()? else { return Err("its namespace is gone".to_owned()) };
                let bind = || UdpSocket::bind(SocketAddrV4::new(from, CLIENT_PORT));
                let bound = ns.run(bind).map_err(|error| error.to_string())?;
                let bound = bound.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
                none.insert(bound.map_err(|error| format!("cannot bind to {from}: {error}"))?)
            }
        };
        let sent = socket.send_to(message, SocketAddrV4::new(to, SERVER_PORT));
        sent.map(drop).map_err(|error| format!("cannot send to {to}: {error}"))
    }

    /// Some of what has arrived. What is no message for a client is nothing.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for _ in 0..AT_A_TIME {
            match self.frames.as_ref().map(|socket| socket.receive(buffer)) {
                Some(Ok(Some(frame))) => {
                    let received = frame::decode(frame).ok();
                    messages.extend(received.map(|got| (got.payload.to_vec(), Some(got.from_mac))));
                }
                None | Some(Ok(None)) => break,
                // The link went down or away; the next message finds out.
                Some(Err(_)) => break,
            }
        }
        for _ in 0..AT_A_TIME {
            match self.datagrams.as_ref().map(|socket| socket.recv_from(buffer)) {
                Some(Ok((length, _))) => messages.push((buffer[..length].to_vec(), None)),
                Some(Err(error)) if is_refusal(&error) => {}
                None | Some(Err(_)) => break,
            }
        }
        messages
    }

    /// Closes what is open.
    pub(super) fn end(&mut self, closing: &mut Closing) {
        closing.sockets.extend(self.frames.take());
        self.datagrams = None;
    }
}

/// An answer of ICMP to something sent earlier.
fn is_refusal(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::WouldBlock)
}

fn encode(
    place: &Place,
    to_mac: [u8; 6],
    from: Ipv4Addr,
    to: Ipv4Addr,
    message: &[u8],
) -> Result<Vec<u8>, String> {
    let path = Path { from_mac: place.mac, to_mac, from, to };
    frame::encode(&path, message).map_err(|error| error.to_string())
}

fn filter(mac: [u8; 6]) -> Vec<BpfInstruction> {
    let instruction =
        |step: frame::Instruction| BpfInstruction { code: step.code, jt: step.jt, jf: step.jf, k: step.k };
    frame::filter(mac).into_iter().map(instruction).collect()
}

/// Packet sockets that are to be closed. Each close waits for a grace period of the kernel, for which nobody else should wait: a
/// thread does it, while there are any.
#[derive(Debug, Default)]
pub(super) struct Closing {
    sockets: Vec<PacketSocket>,
    thread: Option<JoinHandle<()>>,
}

impl Closing {
    /// Goes on with it; how soon that is to be done again.
    pub(super) fn go_on(&mut self) -> Option<Duration> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            let _ = self.thread.take().map(JoinHandle::join);
        }
        if self.sockets.is_empty() {
            return None;
        }
        if self.thread.is_none() {
            let sockets = std::mem::take(&mut self.sockets);
            // Without a thread they are closed here, by being dropped with it.
            let close = move || drop(sockets);
            self.thread = std::thread::Builder::new().stack_size(64 << 10).spawn(close).ok();
        }
        (!self.sockets.is_empty()).then_some(Duration::from_millis(20))
    }
}
