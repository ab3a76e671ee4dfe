//! What the daemon does, turn by turn.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use cni_dhcp::client::Event;
use cni_dhcp::rpc::{Call, CmdArgs};
use cni_host::StateDir;
use cni_types::{CniResult, PluginConf, ValidAttachments};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::attachment::{Attachment, World};
use super::connection::{Connection, Method};
use super::exchange::Closing;
use super::flags::Flags;
use super::record::{self, Record, boottime, key_of};
use super::say;

/// How often it is asked whether namespaces are still there.
const SWEEP: Duration = Duration::from_secs(5);

/// The largest datagram there can be.
const BUFFER: usize = 64 << 10;

pub(super) struct Daemon {
    world: World,
    attachments: BTreeMap<Vec<u8>, Attachment>,
    /// Leases of an earlier boot, which their containers may ask for again.
    earlier: BTreeMap<Vec<u8>, Record>,
    connections: BTreeMap<u64, Connection>,
    connected: u64,
    sweep: Duration,
}

/// What has something to be read.
enum Ready {
    Signal,
    Listener,
    Connection(u64),
    Attachment(Vec<u8>),
}

impl Daemon {
    /// With all the leases that there were.
    pub(super) fn new(flags: Flags, leases: StateDir) -> Self {
        let world = World {
            flags,
            leases,
            closing: Closing::default(),
            buffer: vec![0; BUFFER],
            answers: Vec::new(),
        };
        let mut daemon = Daemon {
            world,
            attachments: BTreeMap::new(),
            earlier: BTreeMap::new(),
            connections: BTreeMap::new(),
            connected: 0,
            sweep: boottime(),
        };
        for record in record::read_all(&daemon.world.leases, |problem| say("leases", problem)) {
            daemon.resume(record);
        }
        daemon
    }

    fn resume(&mut self, record: Record) {
        if record.held.as_ref().is_some_and(|held| held.age().is_none()) {
            self.earlier.insert(record.key(), record);
            return;
        }
        let (key, name) = (record.key(), record.name());
        match Attachment::resume(&self.world, record) {
            Ok(attachment) => drop(self.attachments.insert(key, attachment)),
            Err(error) => say(&name, format_args!("cannot go on with its lease: {error}")),
        }
    }

    /// Until a signal comes.
    pub(super) fn serve(&mut self, listener: &UnixListener, signals: &SignalFd) -> Result<(), String> {
        loop {
            self.do_what_is_due();
            for ready in self.wait(listener, signals).map_err(|errno| format!("cannot wait: {errno}"))? {
                match ready {
                    Ready::Signal => return Ok(()),
                    Ready::Listener => self.accept(listener),
                    Ready::Connection(number) => self.receive(number),
                    Ready::Attachment(key) => {
                        self.with(&key, |attachment, world| attachment.receive(world));
                    }
                }
            }
        }
    }

    fn wait(&mut self, listener: &UnixListener, signals: &SignalFd) -> nix::Result<Vec<Ready>> {
        let closing = self.world.closing.go_on();
        let mut fds = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        let mut whose = vec![Ready::Signal, Ready::Listener];
        for (number, connection) in &self.connections {
            let sends = if connection.wants_to_send() { PollFlags::POLLOUT } else { PollFlags::empty() };
            fds.push(PollFd::new(connection.fd(), PollFlags::POLLIN | sends));
            whose.push(Ready::Connection(*number));
        }
        for (key, attachment) in &self.attachments {
            for fd in attachment.exchange().fds() {
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
                whose.push(Ready::Attachment(key.clone()));
            }
        }
        match poll(&mut fds, self.timeout(closing)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
        let ready = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect::<Vec<_>>();
        Ok(whose.into_iter().zip(ready).filter_map(|(whose, ready)| ready.then_some(whose)).collect())
    }

    /// Until the next thing is due, rounded up, so that the last millisecond is not spent spinning.
    fn timeout(&self, closing: Option<Duration>) -> PollTimeout {
        let due = self.attachments.values().filter_map(Attachment::due).chain([self.sweep]).min();
        let now = boottime();
        let left = due.map_or(SWEEP, |due| due.saturating_sub(now)).min(closing.unwrap_or(Duration::MAX));
        PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
    }

    fn do_what_is_due(&mut self) {
        let now = boottime();
        let due = |attachment: &Attachment| attachment.due().is_some_and(|due| due <= now);
        let keys = self.attachments.iter().filter(|(_, attachment)| due(attachment)).map(|(key, _)| key);
        for key in keys.cloned().collect::<Vec<_>>() {
            self.with(&key, |attachment, world| attachment.tick(world));
        }
        if self.sweep <= now {
            self.sweep = now + SWEEP;
            self.look_for_what_is_gone();
        }
    }

    fn look_for_what_is_gone(&mut self) {
        let gone = self.attachments.iter().filter(|(_, attachment)| attachment.is_gone());
        for key in gone.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.with(&key, |attachment, world| attachment.handle(world, Event::NamespaceGone));
        }
        let over = |record: &Record| record.held.as_ref().is_none_or(record::Held::is_over);
        let world = &self.world;
        self.earlier.retain(|_, record| {
            let keep = !over(record);
            if !keep {
                forget(world, record);
            }
            keep
        });
    }

    /// Does something with an attachment, and what follows from it.
    fn with(&mut self, key: &[u8], work: impl FnOnce(&mut Attachment, &mut World)) {
        let Some(attachment) = self.attachments.get_mut(key) else { return };
        work(attachment, &mut self.world);
        if attachment.has_ended() {
            forget(&self.world, &attachment.record);
            self.attachments.remove(key);
        }
        self.send_answers();
    }

    fn send_answers(&mut self) {
        for (number, call, answer) in std::mem::take(&mut self.world.answers) {
            let Some(connection) = self.connections.get_mut(&number) else { continue };
            if !connection.answer(&call, &answer) {
                self.hang_up(number);
            }
        }
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            self.connected += 1;
            let connection = Connection::new(stream);
            self.connections.extend(connection.map(|connection| (self.connected, connection)));
        }
    }

    fn receive(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.receive(&mut self.world.buffer) {
            None => self.hang_up(number),
            Some(calls) => calls.into_iter().for_each(|call| self.answer(number, call)),
        }
    }

    /// A plugin that went away while it waited for its first lease does not want it any more.
    fn hang_up(&mut self, number: u64) {
        self.connections.remove(&number);
        let mut unwanted = Vec::new();
        for (key, attachment) in &mut self.attachments {
            if attachment.hung_up(number) {
                unwanted.push(key.clone());
            }
        }
        for key in unwanted {
            self.with(&key, |attachment, world| attachment.handle(world, Event::Release));
        }
    }

    fn answer(&mut self, number: u64, call: Call) {
        let answer = match Method::of(&call) {
            Err(error) => Err(error),
            Ok(Method::Allocate) => match self.allocate(number, &call) {
                Ok(None) => return,
                Ok(Some(result)) => Ok(result),
                Err(error) => Err(error),
            },
            Ok(Method::Check) => self.check(&call.args),
            Ok(Method::Release) => self.release(&call.args),
            Ok(Method::Gc) => self.collect(&call.args),
        };
        self.world.answers.push((number, call, answer));
        self.send_answers();
    }

    /// The lease that there is, or none when it has to be asked for first.
    fn allocate(&mut self, number: u64, call: &Call) -> Result<Option<CniResult>, String> {
        let key = key_of(&call.args)?;
        if let Some(attachment) = self.attachments.get_mut(&key)
            && attachment.is_of(&self.world, &call.args)?
        {
            return match attachment.result() {
                Some(result) => Ok(Some(result)),
                // The reference's plugin has no other word for CHECK, which must not wait; it has a result before it.
                None if has_prev_result(&call.args) => Err(NO_LEASE.to_owned()),
                None => {
                    attachment.wait(number, call.clone());
                    Ok(None)
                }
            };
        }
        // One of the same name that is no more: its address is asked for again.
        let before = self.attachments.get(&key).map(|attachment| &attachment.record);
        let held = before.or(self.earlier.get(&key)).and_then(|record| record.held.as_ref());
        let mut attachment = Attachment::new(&self.world, &call.args, held)?;
        attachment.wait(number, call.clone());
        self.earlier.remove(&key);
        if let Some(mut before) = self.attachments.insert(key.clone(), attachment) {
            before.end(&mut self.world);
        }
        self.with(&key, |attachment, world| attachment.tick(world));
        Ok(None)
    }

    /// Never waits.
    fn check(&mut self, args: &CmdArgs) -> Result<CniResult, String> {
        let Some(attachment) = self.attachments.get_mut(&key_of(args)?) else {
            return Err(NO_LEASE.to_owned());
        };
        if !attachment.is_of(&self.world, args)? {
            return Err(NO_LEASE.to_owned());
        }
        attachment.result().ok_or_else(|| NO_LEASE.to_owned())
    }

    fn release(&mut self, args: &CmdArgs) -> Result<CniResult, String> {
        let key = key_of(args)?;
        self.with(&key, |attachment, world| attachment.handle(world, Event::Release));
        if let Some(record) = self.earlier.remove(&key) {
            forget(&self.world, &record);
        }
        Ok(CniResult::default())
    }

    /// Releases what a network has for none of the valid attachments.
    fn collect(&mut self, args: &CmdArgs) -> Result<CniResult, String> {
        let conf = PluginConf::for_gc(&args.stdin).map_err(|error| error.to_string())?;
        let ValidAttachments::Known(valid) = &conf.valid_attachments else { return Ok(CniResult::default()) };
        let valid: HashSet<_> =
            valid.iter().map(|valid| (valid.container_id.as_str(), valid.ifname.as_str())).collect();
        let is_left = |record: &Record| {
            record.network == conf.name.as_str()
                && !valid.contains(&(record.container_id.as_str(), record.ifname.as_str()))
        };
        let left = self.attachments.values().map(|attachment| &attachment.record);
        let left: Vec<_> = left.chain(self.earlier.values()).filter(|record| is_left(record)).collect();
        for key in left.into_iter().map(Record::key).collect::<Vec<_>>() {
            self.with(&key, |attachment, world| attachment.handle(world, Event::Release));
            if let Some(record) = self.earlier.remove(&key) {
                forget(&self.world, &record);
            }
        }
        Ok(CniResult::default())
    }
}

const NO_LEASE: &str = "there is no lease";

fn has_prev_result(args: &CmdArgs) -> bool {
    record::configuration(args).is_ok_and(|conf| matches!(conf.prev_result(), Ok(Some(_)) | Err(_)))
}

fn forget(world: &World, record: &Record) {
    if let Err(error) = record::remove(&world.leases, record) {
        say(&record.name(), format_args!("cannot forget its lease: {error}"));
    }
}
