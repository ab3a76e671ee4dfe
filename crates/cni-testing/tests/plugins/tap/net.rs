//! What the tests of the tap plugin share: a network of taps, and who is attached to them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use cni_host::Tap;
use cni_testing::{Container, Host};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::bridge::net::{Net, set};

/// A private host and a network of taps with both families, and `keys` above that.
pub(crate) fn net(keys: &Value) -> Net {
    let host = Host::new();
    let mut conf = json!({
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "tap",
        "ipam": {
            "type": "host-local",
            "dataDir": host.dir().join("leases"),
            "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
        },
    });
    set(&mut conf, keys);
    Net { host, conf }
}

/// The same without IPAM.
pub(crate) fn layer2(keys: &Value) -> Net {
    let mut net = net(keys);
    net.conf.as_object_mut().unwrap().remove("ipam");
    net
}

/// A program that is attached to the taps of two containers and carries frames from each to the other, until dropped.
pub(crate) struct Cable {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cable {
    pub(crate) fn between(one: &Container, two: &Container, multi_queue: bool) -> Self {
        let ends = [one, two]
            .map(|container| container.ns().run(|| Tap::attach("eth0", multi_queue)).unwrap().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || carry(ends, &stopped)));
        Cable { stop, thread }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn carry([mut one, mut two]: [File; 2], stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        let mut ready =
            [PollFd::new(one.as_fd(), PollFlags::POLLIN), PollFd::new(two.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::from(20_u8)).unwrap();
        let [from_one, from_two] = ready.map(|fd| fd.any().unwrap_or(false));
        if from_one {
            pass(&mut one, &mut two);
        }
        if from_two {
            pass(&mut two, &mut one);
        }
    }
}

/// A device that goes away meanwhile is the test's affair.
fn pass(from: &mut File, to: &mut File) {
    let mut frame = [0; 65536];
    if let Ok(length) = from.read(&mut frame) {
        let _ = to.write(&frame[..length]);
    }
}
