//! One container's interface and its DHCP client: carries out what the client wants done.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use cni_dhcp::client::{Action, Client, Config, Event, Ignored, Loss};
use cni_dhcp::frame;
use cni_dhcp::packet::Lease;
use cni_dhcp::rpc::{Call, CmdArgs};
use cni_host::StateDir;
use cni_types::CniResult;

use super::exchange::{Closing, Exchange};
use super::flags::Flags;
use super::inside::{Seen, find};
use super::record::{self, Held, Record, Wanted, boottime};
use super::say;

/// How soon carrier is looked for again, at first and at last: until there is a lease somebody waits, and then nobody.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK_WHILE_HELD: Duration = Duration::from_secs(5);

/// What all attachments share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) flags: Flags,
    pub(super) leases: StateDir,
    pub(super) closing: Closing,
    /// For what is received.
    pub(super) buffer: Vec<u8>,
    /// To be sent: the connection's number, the call, and what is said to it.
    pub(super) answers: Vec<(u64, Call, Result<CniResult, String>)>,
}

/// An interface.
pub(super) struct Attachment {
    pub(super) record: Record,
    wanted: Wanted,
    client: Client,
    exchange: Exchange,
    /// Calls that wait for the lease.
    waiting: Vec<(u64, Call)>,
    carrier: bool,
    /// When carrier is looked for again, and how long was waited the last time.
    look: Option<(Duration, Duration)>,
    /// Of the link.
    mtu: u32,
    /// Where the last message came from.
    from_mac: Option<[u8; 6]>,
    /// Whether the container was given a lease: then changes are ours to make.
    told: bool,
    /// What could not be sent last, so that it is said once.
    unsent: Option<String>,
}

impl Attachment {
    /// One that a plugin asks for. A lease of before a reboot is asked for again.
    pub(super) fn new(world: &World, args: &CmdArgs, before: Option<&Held>) -> Result<Self, String> {
        let netns = format!("{}{}", world.flags.hostprefix, args.netns);
        let record = Record::new(args, find(Path::new(&netns), &args.ifname)?)?;
        let wanted = record.wanted()?;
        let config = config(&world.flags, &record, &wanted);
        let client = match before.filter(|held| !held.is_over()) {
            Some(held) => Client::reboot(config, &held.lease, boottime()),
            None => Client::new(config, boottime()),
        };
        Ok(Self::of(record, wanted, client, false))
    }

    /// One that was there when the daemon ended: its lease goes on, or without one the asking does.
    pub(super) fn resume(world: &World, record: Record) -> Result<Self, String> {
        let wanted = record.wanted()?;
        let mut config = config(&world.flags, &record, &wanted);
        let client = match record.held.as_ref().and_then(|held| Some((held.lease.clone(), held.age()?))) {
            Some((lease, age)) => Client::resume(config, lease, age, boottime()),
            None => {
                config.resend_timeout = Duration::MAX;
                Client::new(config, boottime())
            }
        };
        Ok(Self::of(record, wanted, client, true))
    }

    fn of(record: Record, wanted: Wanted, client: Client, told: bool) -> Self {
        Attachment {
            record,
            wanted,
            client,
            exchange: Exchange::default(),
            waiting: Vec::new(),
            carrier: told,
            // After a restart too: the interface may have gone meanwhile.
            look: Some((Duration::ZERO, Duration::ZERO)),
            mtu: 0,
            from_mac: None,
            told,
            unsent: None,
        }
    }

    /// Whether it is the interface that a call is about, and not one of the same name that came after it.
    pub(super) fn is_of(&self, world: &World, args: &CmdArgs) -> Result<bool, String> {
        let netns = format!("{}{}", world.flags.hostprefix, args.netns);
        let found = find(Path::new(&netns), &args.ifname)?;
        Ok((found.netns_id, found.index) == (self.record.place.netns_id, self.record.place.index))
    }

    /// What it can be told now.
    pub(super) fn result(&mut self) -> Option<CniResult> {
        let lease = self.client.lease()?.clone();
        if self.mtu == 0
            && let Ok(Seen::There { mtu, .. }) = self.record.place.look()
        {
            self.mtu = mtu;
        }
        Some(self.wanted.result(&lease, self.mtu))
    }

    /// Answers a call when there is a lease.
    pub(super) fn wait(&mut self, connection: u64, call: Call) {
        self.waiting.push((connection, call));
    }

    /// Forgets who has hung up; true when nobody wants the lease any more.
    pub(super) fn hung_up(&mut self, connection: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != connection);
        before > 0 && self.waiting.is_empty() && !self.told
    }

    /// Makes room for another of its name, which goes on with its record.
    pub(super) fn end(&mut self, world: &mut World) {
        self.exchange.end(&mut world.closing);
        self.answer(world, &Err("another interface of its name has come".to_owned()));
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(super) fn has_ended(&self) -> bool {
        self.client.has_ended()
    }

    /// When it has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        let look = self.look.map(|(at, _)| at);
        let end = self.exchange.is_open().then_some(self.exchange.until);
        [look, end, self.client.deadline()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, world: &mut World) {
        let now = boottime();
        if self.exchange.is_open() && self.exchange.until <= now {
            self.exchange.end(&mut world.closing);
        }
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if !is_due(self.look.map(|(at, _)| at)) && !is_due(self.client.deadline()) {
            return;
        }
        match self.record.place.look() {
            Ok(Seen::Gone) => self.handle(world, Event::NamespaceGone),
            Ok(Seen::There { carrier, mtu }) => {
                self.mtu = mtu;
                self.look(carrier, now);
                self.handle(world, Event::Carrier(carrier));
            }
            Err(error) => {
                say(&self.record.name(), format_args!("cannot look at its interface: {error}"));
                self.look(false, now);
                self.handle(world, Event::Carrier(false));
            }
        }
    }

    fn look(&mut self, carrier: bool, now: Duration) {
        self.carrier = carrier;
        let last = if self.told { LAST_LOOK_WHILE_HELD } else { LAST_LOOK };
        self.look = (!carrier).then(|| {
            let waited = self.look.map_or(Duration::ZERO, |(_, waited)| waited);
            let pause = (waited * 2).clamp(FIRST_LOOK, last);
            (now + pause, pause)
        });
    }

    /// Whether its namespace is still there, which costs little to ask.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.record.place.open(), Ok(None))
    }

    /// Takes what has arrived.
    pub(super) fn receive(&mut self, world: &mut World) {
        let mut buffer = std::mem::take(&mut world.buffer);
        let messages = self.exchange.receive(&mut buffer);
        world.buffer = buffer;
        for (message, from_mac) in messages {
            self.from_mac = from_mac;
            self.handle(world, Event::Received(&message));
        }
    }

    pub(super) fn handle(&mut self, world: &mut World, event: Event<'_>) {
        for action in self.client.handle(boottime(), event) {
            self.carry_out(world, action);
        }
        if self.client.has_ended() {
            self.exchange.end(&mut world.closing);
            // Whoever still waits does so for nothing.
            self.answer(world, &Err("the lease was released before there was one".to_owned()));
        }
    }

    fn carry_out(&mut self, world: &mut World, action: Action) {
        match action {
            Action::Broadcast { from, message } => {
                self.exchange.until = boottime() + world.flags.timeout;
                let to = Ipv4Addr::BROADCAST;
                let sent = self.exchange.send_frame(&self.record.place, frame::BROADCAST, from, to, &message);
                self.sent(sent);
            }
            Action::Unicast { from, to, message } => {
                self.exchange.until = boottime() + world.flags.timeout;
                let sent = self.unicast(from, to, &message);
                self.sent(sent);
            }
            Action::Gained(lease) => {
                say(&self.record.name(), format_args!("has {} for {}", lease.address, time(&lease)));
                if self.told {
                    self.replace(None, Some(&lease));
                }
                self.hold(world, lease);
                self.told = true;
                if let Some(result) = self.result() {
                    self.answer(world, &Ok(result));
                }
            }
            Action::Renewed(lease) => self.hold(world, lease),
            Action::Changed { old, new } => {
                say(&self.record.name(), format_args!("has {} for {} now", new.address, time(&new)));
                self.replace(Some(&old), Some(&new));
                self.hold(world, new);
            }
            Action::Lost(lease, loss) => self.lost(world, &lease, loss),
            Action::Failed(failure) => {
                say(&self.record.name(), &failure);
                self.answer(world, &Err(failure.to_string()));
            }
            Action::Ignored(ignored @ (Ignored::Lease(_) | Ignored::Option(_))) => {
                say(&self.record.name(), format_args!("a server's answer: {ignored}"));
            }
            // Anybody on the link can send more of these than a log holds.
            Action::Ignored(_) | Action::Probe(_) => {}
        }
    }

    /// From the address, as servers want it; or where that is gone, in a frame; a RELEASE even where the interface is.
    fn unicast(&mut self, from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Result<(), String> {
        let place = &self.record.place;
        let Err(error) = self.exchange.send_datagram(place, from, to, message) else { return Ok(()) };
        let to_mac = self.record.held.as_ref().and_then(|held| held.server_mac).unwrap_or(frame::BROADCAST);
        let sent = self.exchange.send_frame(place, to_mac, from, to, message);
        let Err(second) = sent else { return Ok(()) };
        // Only what wants no answer can go another way.
        let third = match self.client.has_ended() {
            true => self.exchange.send_outside(place, to_mac, from, to, message),
            false => Err("nothing else is left".to_owned()),
        };
        third.map_err(|third| format!("{error}; {second}; {third}"))
    }

    fn sent(&mut self, sent: Result<(), String>) {
        let error = sent.err();
        if let Some(error) = error.as_ref().filter(|error| self.unsent.as_ref() != Some(*error)) {
            say(&self.record.name(), format_args!("cannot send: {error}"));
        }
        self.unsent = error;
    }

    /// On disk first, and then nothing more is open.
    fn hold(&mut self, world: &mut World, lease: Lease) {
        let age = self.client.age(boottime()).unwrap_or_default();
        self.record.hold(lease, age, self.from_mac.take());
        self.write(world);
        self.exchange.end(&mut world.closing);
    }

    fn lost(&mut self, world: &mut World, lease: &Lease, loss: Loss) {
        let why = match loss {
            Loss::Expired => "nobody renewed it",
            Loss::Refused => "a server refused it",
            Loss::Released => "it was released",
            Loss::NamespaceGone => "its interface is gone",
        };
        say(&self.record.name(), format_args!("has {} no longer: {why}", lease.address));
        if self.client.has_ended() {
            return;
        }
        self.replace(Some(lease), None);
        self.record.held = None;
        self.write(world);
    }

    fn write(&self, world: &World) {
        if let Err(error) = record::write(&world.leases, &self.record) {
            say(&self.record.name(), format_args!("a restart will forget its lease: {error}"));
        }
    }

    fn replace(&self, old: Option<&Lease>, new: Option<&Lease>) {
        let result = |lease: &Lease| self.wanted.shape.apply(self.wanted.result(lease, self.mtu));
        let (old, new) = (old.map(result), new.map(result));
        if let Err(error) = self.record.place.replace(old.as_ref(), new.as_ref()) {
            say(&self.record.name(), format_args!("cannot change its addresses: {error}"));
        }
    }

    fn answer(&mut self, world: &mut World, answer: &Result<CniResult, String>) {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        world.answers.extend(waiting.map(|(connection, call)| (connection, call, answer.clone())));
    }
}

fn config(flags: &Flags, record: &Record, wanted: &Wanted) -> Config {
    let mut config = Config::new(record.place.mac, wanted.settings.clone(), super::seed());
    config.broadcast = flags.broadcast;
    config.timeout = flags.timeout;
    config.resend_max = flags.resend_max;
    config.resend_timeout = flags.resend_timeout;
    config
}

fn time(lease: &Lease) -> String {
    match lease.lease_time {
        cni_dhcp::packet::FOREVER => "ever".to_owned(),
        seconds => format!("{seconds} s"),
    }
}
