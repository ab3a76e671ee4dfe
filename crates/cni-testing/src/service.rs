//! Servers of the fixtures, which answer on a thread of their own until they are dropped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A socket that waits for clients, and what it says to one.
pub(crate) trait Door: Send + 'static {
    /// Readable when there is a client.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Serves one client. A client that goes away is the client's failure, which it reports itself.
    fn answer(&self) -> io::Result<()>;
}

/// Doors being kept.
#[derive(Debug)]
pub(crate) struct Service {
    /// Closing it wakes the thread up for the last time.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Sockets stay in the namespace they were made in; where the thread is does not matter.
    pub(crate) fn start(doors: Vec<Box<dyn Door>>) -> Self {
        let (stop, stopped) = UnixStream::pair().expect("cannot make a socket pair");
        let thread = std::thread::spawn(move || serve(&doors, &stopped));
        Service { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It never panics, and a second panic during a first would only hide that one.
            let _ = thread.join();
        }
    }
}

fn serve(doors: &[Box<dyn Door>], stopped: &UnixStream) {
    loop {
        let fds = doors.iter().map(|door| door.fd()).chain([stopped.as_fd()]);
        let mut ready: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        }
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        if ready.last().is_none_or(is_ready) {
            return;
        }
        for (door, fd) in doors.iter().zip(&ready) {
            if is_ready(fd) {
                let _ = door.answer();
            }
        }
    }
}
