//! Keeping a lease: BOUND, RENEWING, REBINDING (RFC 2131, section 4.4.5).

use std::time::Duration;

use super::exchange::Exchange;
use super::messages::is_by;
use super::{Action, Client, Held, Ignored, Loss, State};
use crate::packet::{FOREVER, Lease, Message, MessageType};

/// T1 comes earlier by up to this part of it.
const EARLIER: f64 = 1.0 / 32.0;

/// The least pause between two requests, of a lease long enough: a minute. A shorter one has an eighth of its time, or a lost
/// message would cost it.
const MIN_PAUSE: Duration = Duration::from_secs(60);

impl Held {
    /// A moment of the lease, if it ends at all.
    pub(super) fn ends(&self, at: Duration) -> Option<Duration> {
        (self.lease.lease_time != FOREVER).then_some(at)
    }

    pub(super) fn rebinds(&self) -> Option<Duration> {
        self.ends(self.after(self.lease.rebinding_time))
    }

    pub(super) fn expires(&self) -> Option<Duration> {
        self.ends(self.after(self.lease.lease_time))
    }

    fn after(&self, seconds: u32) -> Duration {
        self.since.saturating_add(Duration::from_secs(seconds.into()))
    }
}

impl Client {
    pub(super) fn held(&mut self, lease: Lease, since: Duration) -> Held {
        let early = 1.0 - EARLIER * self.random.fraction();
        let renewal = Duration::from_secs(lease.renewal_time.into()).mul_f64(early);
        Held { since, renew_at: since.saturating_add(renewal), lease }
    }

    pub(super) fn time_while_held(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let (held, exchange) = match self.state.clone() {
            State::Bound(held) => (held, None),
            State::Renewing(held, exchange) => (held, Some((exchange, false))),
            State::Rebinding(held, exchange) => (held, Some((exchange, true))),
            _ => return,
        };
        let has_come = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if has_come(held.expires()) {
            self.began = now;
            self.select(now, Some(held.lease.address.addr()));
            return actions.push(Action::Lost(held.lease, Loss::Expired));
        }
        let all = has_come(held.rebinds());
        // A new request each for its server and for all of them.
        let exchange = exchange.filter(|(_, to_all)| *to_all == all).map(|(exchange, _)| exchange);
        let mut exchange = exchange.unwrap_or_else(|| {
            self.began = now;
            Exchange::new(self.random.xid(), now)
        });
        if self.carrier && has_come(exchange.next) {
            exchange.secs = self.secs(now);
            exchange.send(now);
            exchange.next = Some(now.saturating_add(pause(&held, all, now)));
            actions.push(self.extend(exchange.xid, exchange.secs, &held.lease, all));
        }
        self.state = if all { State::Rebinding(held, exchange) } else { State::Renewing(held, exchange) };
    }

    pub(super) fn received_while_held(
        &mut self,
        message: &Message,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let (held, exchange, checked) = match self.state.clone() {
            State::Renewing(held, exchange) => {
                let checked = is_by(message, held.lease.server);
                (held, exchange, checked)
            }
            State::Rebinding(held, exchange) => (held, exchange, Ok(())),
            _ => return,
        };
        match (checked, message.kind) {
            (Err(ignored), _) => actions.push(Action::Ignored(ignored)),
            (Ok(()), MessageType::Ack) => self.extended(held, &exchange, message, now, actions),
            (Ok(()), MessageType::Nak) => {
                self.began = now;
                self.select_after_refusal(now);
                actions.push(Action::Lost(held.lease, Loss::Refused));
            }
            _ => actions.push(Action::Ignored(Ignored::Unexpected)),
        }
    }

    fn extended(
        &mut self,
        held: Held,
        exchange: &Exchange,
        ack: &Message,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let (lease, problems) = match Lease::from_ack(ack, Some(held.lease.server)) {
            Ok(usable) => usable,
            Err(error) => return actions.push(Action::Ignored(error.into())),
        };
        actions.extend(problems.into_iter().map(|problem| Action::Ignored(problem.into())));
        self.refusals = 0;
        let since = exchange.first.unwrap_or(now);
        actions.push(if lease.is_same_but_for_times(&held.lease) {
            Action::Renewed(lease.clone())
        } else {
            Action::Changed { old: held.lease, new: lease.clone() }
        });
        self.state = State::Bound(self.held(lease, since));
    }
}

/// Half of what is left until all servers are asked, or until the lease is over, but no less than the least.
fn pause(held: &Held, all: bool, now: Duration) -> Duration {
    let until = if all { held.expires() } else { held.rebinds() };
    let left = until.unwrap_or(now).saturating_sub(now);
    let least = MIN_PAUSE.min(Duration::from_secs(held.lease.lease_time.into()) / 8);
    (left / 2).max(least)
}
