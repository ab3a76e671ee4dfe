//! Getting a lease: SELECTING, REQUESTING, REBOOTING, and probing.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::exchange::{Exchange, pause};
use super::messages::is_by;
use super::{Action, Client, Failure, Ignored, Missing, State};
use crate::packet::{Lease, Message, MessageType, code, is_host};

/// How long is waited after a DECLINE, so that a server with nothing else to give is not asked in a loop (RFC 2131, section 3.1.5).
const AFTER_DECLINE: Duration = Duration::from_secs(10);

impl Client {
    /// Starts over with a DISCOVER, asking for an address that was had if there is one.
    pub(super) fn select(&mut self, at: Duration, wanted: Option<Ipv4Addr>) {
        let exchange = Exchange::new(self.random.xid(), at);
        self.state = State::Selecting { exchange, wanted };
    }

    pub(super) fn time_while_acquiring(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let probing = matches!(self.state, State::Probing { .. });
        if !probing && self.give_up.is_some_and(|at| at <= now) {
            self.state = State::Ended;
            let failure = Failure { within: self.config.resend_timeout, why: self.missing.clone() };
            return actions.push(Action::Failed(failure));
        }
        let timeout = self.config.timeout;
        let is_over = |exchange: &Exchange| exchange.over(timeout).is_some_and(|at| at <= now);
        match self.state.clone() {
            State::Selecting { mut exchange, wanted } => {
                exchange.secs = self.secs(now);
                self.sent(&mut exchange, now);
                actions.push(self.discover(exchange.xid, exchange.secs, wanted));
                if self.missing == Missing::Carrier {
                    self.missing = Missing::Offer;
                }
                self.state = State::Selecting { exchange, wanted };
            }
            State::Requesting { exchange, .. } if is_over(&exchange) => self.select(now, None),
            State::Rebooting { exchange, address } if is_over(&exchange) => self.select(now, Some(address)),
            State::Requesting { mut exchange, address, server } => {
                self.sent(&mut exchange, now);
                actions.push(self.request(exchange.xid, exchange.secs, address, Some(server)));
                self.state = State::Requesting { exchange, address, server };
            }
            State::Rebooting { mut exchange, address } => {
                exchange.secs = self.secs(now);
                self.sent(&mut exchange, now);
                actions.push(self.request(exchange.xid, exchange.secs, address, None));
                if self.missing == Missing::Carrier {
                    self.missing = Missing::Offer;
                }
                self.state = State::Rebooting { exchange, address };
            }
            State::Probing { lease, since, .. } => self.gain(lease, since, actions),
            State::Bound(_) | State::Renewing(..) | State::Rebinding(..) | State::Ended => {}
        }
    }

    fn sent(&mut self, exchange: &mut Exchange, now: Duration) {
        exchange.send(now);
        exchange.back_off(now, self.config.resend_max, &mut self.random);
    }

    pub(super) fn received_while_acquiring(
        &mut self,
        message: &Message,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let outcome = match (self.state.clone(), message.kind) {
            (State::Selecting { exchange, .. }, MessageType::Offer) => self.offered(message, &exchange, now),
            (State::Requesting { exchange, server, .. }, MessageType::Ack) => is_by(message, server)
                .map(|()| self.acknowledged(message, Some(server), &exchange, now, actions)),
            (State::Rebooting { exchange, .. }, MessageType::Ack) => {
                self.acknowledged(message, None, &exchange, now, actions);
                Ok(())
            }
            (State::Requesting { server, .. }, MessageType::Nak) => {
                is_by(message, server).map(|()| self.refused(message, now))
            }
            (State::Rebooting { .. }, MessageType::Nak) => {
                self.refused(message, now);
                Ok(())
            }
            _ => Err(Ignored::Unexpected),
        };
        if let Err(ignored) = outcome {
            actions.push(Action::Ignored(ignored));
        }
    }

    /// The first offer that can be asked for is.
    fn offered(&mut self, offer: &Message, exchange: &Exchange, now: Duration) -> Result<(), Ignored> {
        let server = offer.options.address(code::SERVER_ID)?.filter(|server| is_host(*server));
        let (Some(server), true) = (server, is_host(offer.yiaddr)) else { return Err(Ignored::Offer) };
        self.missing = Missing::Ack(server);
        self.state = State::Requesting { exchange: exchange.go_on(now), address: offer.yiaddr, server };
        Ok(())
    }

    fn acknowledged(
        &mut self,
        ack: &Message,
        server: Option<Ipv4Addr>,
        exchange: &Exchange,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let since = exchange.first.unwrap_or(now);
        let (lease, problems) = match Lease::from_ack(ack, server) {
            Ok(usable) => usable,
            Err(error) => {
                self.missing = Missing::Usable(error.clone());
                self.select_after_refusal(now);
                return actions.push(Action::Ignored(error.into()));
            }
        };
        actions.extend(problems.into_iter().map(|problem| Action::Ignored(problem.into())));
        match self.config.probe {
            Some(probe) => {
                actions.push(Action::Probe(lease.address.addr()));
                self.state = State::Probing { lease, since, until: now.saturating_add(probe) };
            }
            None => self.gain(lease, since, actions),
        }
    }

    fn gain(&mut self, lease: Lease, since: Duration, actions: &mut Vec<Action>) {
        (self.give_up, self.refusals) = (None, 0);
        actions.push(Action::Gained(lease.clone()));
        self.state = State::Bound(self.held(lease, since));
    }

    fn refused(&mut self, nak: &Message, now: Duration) {
        let text = nak.options.get(code::MESSAGE).unwrap_or_default();
        self.missing = Missing::Agreement(String::from_utf8_lossy(text).into_owned());
        self.select_after_refusal(now);
    }

    /// At once after the first refusal, and ever later after more of them, so that a server which offers and refuses is not asked in
    /// a loop.
    pub(super) fn select_after_refusal(&mut self, now: Duration) {
        let wait = match self.refusals {
            0 => Duration::ZERO,
            n => pause(n, self.config.resend_max, &mut self.random),
        };
        self.refusals = self.refusals.saturating_add(1);
        self.select(now.saturating_add(wait), None);
    }

    pub(super) fn conflict(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let State::Probing { lease, .. } = self.state.clone() else { return };
        actions.push(self.decline(&lease));
        self.missing = Missing::Unused(lease.address.addr());
        self.select(now.saturating_add(AFTER_DECLINE), None);
    }
}
