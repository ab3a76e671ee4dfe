//! A DHCP server that does what a test says, and remembers what it was told. It has one address to give.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use cni_dhcp::packet::{Message, MessageType, Op, code};
use cni_testing::Container;

/// What is done with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requests {
    Acknowledge,
    /// A NAK for any other address than its own.
    Refuse,
    Ignore,
}

pub(crate) struct Script {
    pub(crate) address: Ipv4Addr,
    pub(crate) requests: Requests,
    pub(crate) seconds: u32,
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    /// What was received, and from where.
    pub(crate) heard: Vec<(Message, Ipv4Addr)>,
}

pub(crate) struct ScriptedServer {
    script: Arc<Mutex<Script>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// In the namespace of a machine, or on the host; `own` is its address, of a /24.
    pub(crate) fn start(machine: Option<&Container>, own: Ipv4Addr, seconds: u32) -> Self {
        let bind = || UdpSocket::bind("0.0.0.0:67").unwrap();
        let socket = machine.map_or_else(bind, |machine| machine.ns().run(bind).unwrap());
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let [a, b, c, _] = own.octets();
        let script = Arc::new(Mutex::new(Script {
            address: Ipv4Addr::new(a, b, c, 50),
            requests: Requests::Acknowledge,
            seconds,
            options: vec![(code::ROUTERS, own.octets().to_vec())],
            heard: Vec::new(),
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (script.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) else { continue };
                let Ok(message) = Message::decode(&buffer[..length]) else { continue };
                let mut script = shared.lock().unwrap();
                script.heard.push((message.clone(), *from.ip()));
                let Some(answer) = script.answer(&message, own) else { continue };
                let unicast = !message.ciaddr.is_unspecified() && answer.kind != MessageType::Nak;
                let to = if unicast { message.ciaddr } else { Ipv4Addr::new(a, b, c, 255) };
                let _ = socket.send_to(&answer.encode(), (to, 68));
            }
        });
        ScriptedServer { script, stop, thread: Some(thread) }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// How often it heard messages of a kind.
    pub(crate) fn count(&self, kind: MessageType) -> usize {
        self.script().heard.iter().filter(|(message, _)| message.kind == kind).count()
    }

    /// The last message of a kind, and where it came from.
    pub(crate) fn last(&self, kind: MessageType) -> Option<(Message, Ipv4Addr)> {
        self.script().heard.iter().rfind(|(message, _)| message.kind == kind).cloned()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Script {
    fn answer(&self, asked: &Message, own: Ipv4Addr) -> Option<Message> {
        let wanted = asked.options.address(code::REQUESTED_ADDRESS).ok().flatten();
        let wanted = wanted.or(Some(asked.ciaddr).filter(|ciaddr| !ciaddr.is_unspecified()));
        let kind = match (asked.kind, self.requests) {
            (_, Requests::Ignore) => return None,
            (MessageType::Discover, _) => MessageType::Offer,
            (MessageType::Request, Requests::Refuse) if wanted != Some(self.address) => MessageType::Nak,
            (MessageType::Request, _) => MessageType::Ack,
            _ => return None,
        };
        let mut answer = Message::new(kind, asked.xid, asked.chaddr);
        answer.op = Op::Reply;
        answer.options.set(code::SERVER_ID, own.octets());
        if kind == MessageType::Nak {
            return Some(answer);
        }
        answer.yiaddr = self.address;
        answer.options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
        answer.options.set(code::LEASE_TIME, self.seconds.to_be_bytes());
        for (code, value) in &self.options {
            answer.options.set(*code, value.clone());
        }
        Some(answer)
    }
}
