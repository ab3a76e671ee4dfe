//! A client's states (RFC 2131, section 4.4) without sockets and without a clock: what happened goes in, what is to be done comes
//! out.
//!
//! The times are the caller's, since any moment, and best of CLOCK_BOOTTIME, which counts while the machine sleeps. Where they
//! go backwards, none has passed. After every event [`Client::deadline`] says when [`Event::Time`] is due.

mod acquire;
mod event;
mod exchange;
#[cfg(test)]
mod held_tests;
mod hold;
mod messages;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
mod time;

use std::net::Ipv4Addr;
use std::time::Duration;

pub use event::{Action, Event, Failure, Ignored, Loss, Missing};
use exchange::Exchange;
use time::{Clock, Random};

use crate::packet::{Lease, Message, Settings};

/// How a client behaves. The last three are the flags of the reference's daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// The hardware address of the interface.
    pub mac: [u8; 6],
    /// The options that are sent.
    pub settings: Settings,
    /// Draws transaction numbers and what keeps clients apart in time.
    pub seed: u64,
    /// Ask for answers by broadcast: `-broadcast`.
    pub broadcast: bool,
    /// Before an address is taken, ask for this long whether another host has it, and decline it then.
    pub probe: Option<Duration>,
    /// How long an offer or a stored lease is asked for before the client starts over with a DISCOVER: `-timeout`.
    pub timeout: Duration,
    /// The longest pause between two messages to a server that does not answer: `-resendmax`.
    pub resend_max: Duration,
    /// How long is tried to get the first lease: `-resendtimeout`. One that was had once and is lost is tried for without an end.
    pub resend_timeout: Duration,
}

impl Config {
    /// With the reference's flags as they are by default.
    pub fn new(mac: [u8; 6], settings: Settings, seed: u64) -> Self {
        Config {
            mac,
            settings,
            seed,
            broadcast: false,
            probe: None,
            timeout: Duration::from_secs(10),
            resend_max: Duration::from_secs(62),
            resend_timeout: Duration::from_secs(208),
        }
    }
}

/// A lease, and since when: since it was first asked for (RFC 2131, section 4.4.1).
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    since: Duration,
    /// T1, brought forward a little, so that clients which began together do not stay together (RFC 2131, section 4.4.5).
    renew_at: Duration,
}

/// Names after RFC 2131, figure 5.
#[derive(Clone, Debug)]
enum State {
    /// Waiting for an offer; `wanted` is the address to ask for.
    Selecting {
        exchange: Exchange,
        wanted: Option<Ipv4Addr>,
    },
    /// Waiting for the acknowledgement of an offer.
    Requesting {
        exchange: Exchange,
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    /// Waiting for the acknowledgement of a lease of before a reboot.
    Rebooting {
        exchange: Exchange,
        address: Ipv4Addr,
    },
    /// Waiting whether another host has the address.
    Probing {
        lease: Lease,
        since: Duration,
        until: Duration,
    },
    Bound(Held),
    /// Asking the lease's server.
    Renewing(Held, Exchange),
    /// Asking all servers.
    Rebinding(Held, Exchange),
    Ended,
}

/// A client of one interface.
#[derive(Clone, Debug)]
pub struct Client {
    config: Config,
    clock: Clock,
    random: Random,
    carrier: bool,
    state: State,
    /// When asking began, from which `secs` counts.
    began: Duration,
    /// When trying to get a first lease ends.
    give_up: Option<Duration>,
    /// How many refusals there were since there last was a lease.
    refusals: u32,
    /// What is missing for a lease.
    missing: Missing,
}

impl Client {
    /// A client without a lease (INIT), which waits for carrier.
    pub fn new(config: Config, now: Duration) -> Self {
        let (mut random, clock) = (Random(config.seed), Clock::new(now));
        let now = clock.now();
        let exchange = Exchange::new(random.xid(), now);
        let state = State::Selecting { exchange, wanted: None };
        let give_up = Some(now.saturating_add(config.resend_timeout));
        Client {
            config,
            clock,
            random,
            carrier: false,
            state,
            began: now,
            give_up,
            refusals: 0,
            missing: Missing::Carrier,
        }
    }

    /// A client with the lease of an interface that has been set up again (INIT-REBOOT), which waits for carrier.
    pub fn reboot(config: Config, lease: &Lease, now: Duration) -> Self {
        let mut client = Client::new(config, now);
        let exchange = Exchange::new(client.random.xid(), client.clock.now());
        client.state = State::Rebooting { exchange, address: lease.address.addr() };
        client
    }

    /// A client that goes on with a lease (BOUND), which was first asked for `age` ago. It has carrier until it is told otherwise.
    pub fn resume(config: Config, lease: Lease, age: Duration, now: Duration) -> Self {
        let mut client = Client::new(config, now);
        (client.clock, client.carrier, client.give_up) = (Clock::ahead(now, age), true, None);
        let since = client.clock.now().saturating_sub(age);
        client.state = State::Bound(client.held(lease, since));
        client
    }

    /// The lease that is held. While an address is only probed for, none is.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(held) | State::Renewing(held, _) | State::Rebinding(held, _) => Some(&held.lease),
            _ => None,
        }
    }

    /// How long ago the lease that is held was asked for; what [`Client::resume`] wants after a restart.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        let (State::Bound(held) | State::Renewing(held, _) | State::Rebinding(held, _)) = &self.state else {
            return None;
        };
        Some(self.clock.read(now).saturating_sub(held.since))
    }

    /// Whether nothing will come of it any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// When [`Event::Time`] is due by the caller's clock, if ever.
    pub fn deadline(&self) -> Option<Duration> {
        self.due().map(|at| self.clock.to_caller(at))
    }

    /// Goes on by one event. Whatever is due by now happens first, so a timer may be late.
    pub fn handle(&mut self, now: Duration, event: Event<'_>) -> Vec<Action> {
        let now = self.clock.advance(now);
        let mut actions = Vec::new();
        self.pass(now, &mut actions);
        match event {
            Event::Time => {}
            Event::Carrier(carrier) => self.carrier(carrier, now),
            Event::Received(bytes) => self.received(bytes, now, &mut actions),
            Event::Conflict => self.conflict(now, &mut actions),
            Event::Release => self.end(Loss::Released, &mut actions),
            Event::NamespaceGone => self.end(Loss::NamespaceGone, &mut actions),
        }
        self.pass(now, &mut actions);
        actions
    }

    /// Does what is due. Each step either ends the client or puts its next one into the future.
    fn pass(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while self.due().is_some_and(|at| at <= now) {
            match &self.state {
                State::Bound(_) | State::Renewing(..) | State::Rebinding(..) => {
                    self.time_while_held(now, actions);
                }
                _ => self.time_while_acquiring(now, actions),
            }
        }
    }

    fn due(&self) -> Option<Duration> {
        let next = |exchange: &Exchange| exchange.next.filter(|_| self.carrier);
        let earlier = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
        match &self.state {
            State::Selecting { exchange, .. } => earlier(next(exchange), self.give_up),
            State::Requesting { exchange, .. } | State::Rebooting { exchange, .. } => {
                let over = exchange.over(self.config.timeout);
                earlier(earlier(next(exchange), over), self.give_up)
            }
            State::Probing { until, .. } => Some(*until),
            State::Bound(held) => held.ends(held.renew_at),
            State::Renewing(held, exchange) => earlier(next(exchange), held.rebinds()),
            State::Rebinding(held, exchange) => earlier(next(exchange), held.expires()),
            State::Ended => None,
        }
    }

    /// What was not sent for want of carrier is sent when it comes.
    fn carrier(&mut self, carrier: bool, now: Duration) {
        let gained = carrier && !self.carrier;
        self.carrier = carrier;
        match &mut self.state {
            // After a refusal is waited for a purpose; what was never sent is due anyway.
            State::Selecting { exchange, .. }
            | State::Requesting { exchange, .. }
            | State::Rebooting { exchange, .. }
            | State::Renewing(_, exchange)
            | State::Rebinding(_, exchange)
                if gained && exchange.first.is_some() =>
            {
                exchange.next = Some(now);
            }
            _ => {}
        }
    }

    fn received(&mut self, bytes: &[u8], now: Duration, actions: &mut Vec<Action>) {
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => return actions.push(Action::Ignored(error.into())),
        };
        if let Err(ignored) = self.is_answer(&message) {
            return actions.push(Action::Ignored(ignored));
        }
        match &self.state {
            State::Renewing(..) | State::Rebinding(..) => self.received_while_held(&message, now, actions),
            _ => self.received_while_acquiring(&message, now, actions),
        }
    }

    /// Gives back what the server has given, and ends. Nothing is sent for what was only asked for.
    fn end(&mut self, loss: Loss, actions: &mut Vec<Action>) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Bound(Held { lease, .. })
            | State::Renewing(Held { lease, .. }, _)
            | State::Rebinding(Held { lease, .. }, _) => {
                actions.push(self.release(&lease));
                actions.push(Action::Lost(lease, loss));
            }
            State::Probing { lease, .. } => actions.push(self.release(&lease)),
            _ => {}
        }
    }
}
