//! A client and a model of a server, over a network that loses, repeats and brings what is others', with a clock that may go
//! backwards.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{ADDRESS, MAC, SERVER, config};
use super::*;
use crate::packet::{MessageType, Op, code};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, and the client's timers come, each late by so much, both in milliseconds.
    Pass {
        time: u64,
        late: u64,
    },
    /// The caller's clock goes backwards.
    Back(u64),
    /// From now on the network loses what the client sends, what it is sent, both, or nothing.
    Lose {
        sent: bool,
        answers: bool,
    },
    /// The last answer comes again.
    Repeat,
    /// The last answer comes again, with something changed: another's.
    Foreign(usize, u8),
    /// The server forgets its leases, and then refuses.
    Forget,
    Carrier(bool),
}

fn steps(with_back: bool) -> impl Strategy<Value = Vec<Step>> {
    let back = if with_back { 1_u64..100_000 } else { 0..1 };
    let step = prop_oneof![
        6 => (1_u64..20_000, 0_u64..2_000).prop_map(|(time, late)| Step::Pass { time, late }),
        1 => back.prop_map(Step::Back),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(sent, answers)| Step::Lose { sent, answers }),
        1 => Just(Step::Repeat),
        1 => (0..600_usize, 1..=255_u8).prop_map(|(at, bits)| Step::Foreign(at, bits)),
        1 => Just(Step::Forget),
        1 => any::<bool>().prop_map(Step::Carrier),
    ];
    prop::collection::vec(step, 1..40)
}

struct World {
    client: Client,
    /// The server's clock, and by how much the caller's is behind it.
    true_time: u64,
    behind: u64,
    /// Until when an address is leased, by the server's clock.
    leased: BTreeMap<Ipv4Addr, u64>,
    lease_time: u32,
    lose: (bool, bool),
    last_answer: Option<Vec<u8>>,
    /// What the client says that it has.
    held: Option<Lease>,
    /// The server has forgotten what the client has.
    forgotten: bool,
}

impl World {
    fn new(lease_time: u32, seed: u64) -> Self {
        let config = Config { seed, resend_max: Duration::from_secs(4), ..config() };
        World {
            client: Client::new(config, Duration::from_secs(1000)),
            true_time: 1_000_000,
            behind: 0,
            leased: BTreeMap::new(),
            lease_time,
            lose: (false, false),
            last_answer: None,
            held: None,
            forgotten: false,
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.true_time.saturating_sub(self.behind))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Pass { time, late } => self.pass(*time, *late),
            Step::Back(by) => {
                self.behind += by;
                self.event(Event::Time);
            }
            Step::Lose { sent, answers } => self.lose = (*sent, *answers),
            Step::Repeat => self.deliver(self.last_answer.clone()),
            Step::Foreign(at, bits) => {
                let mut answer = self.last_answer.clone();
                if let Some(byte) = answer.as_mut().and_then(|answer| answer.get_mut(*at)) {
                    *byte ^= bits;
                }
                // The transaction's number says that it is another's.
                if let Some(answer) = &mut answer {
                    answer[4] ^= 0x55;
                }
                self.deliver(answer);
            }
            Step::Forget => {
                self.leased.clear();
                self.forgotten = true;
            }
            Step::Carrier(carrier) => self.event(Event::Carrier(*carrier)),
        }
    }

    fn pass(&mut self, time: u64, late: u64) {
        let end = self.true_time + time;
        for _ in 0..10_000 {
            let due = self.client.deadline().map(|at| at.saturating_sub(self.now()));
            // The next whole millisecond.
            let due =
                due.map(|due| self.true_time + u64::try_from(due.as_millis()).unwrap_or(time) + 1 + late);
            match due.filter(|due| *due < end) {
                Some(due) => self.true_time = due,
                None => {
                    self.true_time = end;
                    return self.event(Event::Time);
                }
            }
            self.event(Event::Time);
        }
        panic!("the client does not come to rest within {time} ms");
    }

    fn deliver(&mut self, answer: Option<Vec<u8>>) {
        if let Some(answer) = answer {
            self.event(Event::Received(&answer));
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let now = self.now();
        let actions = self.client.handle(now, event);
        let sent = self.look_at(&actions);
        assert!(self.client.deadline().is_none_or(|at| at > now), "{:?}", self.client);
        assert_eq!(self.client.lease(), self.held.as_ref());
        let arrives = !self.lose.0;
        for message in sent.into_iter().filter(|_| arrives) {
            let Some(answer) = self.serve(&Message::decode(&message).unwrap()) else { continue };
            self.last_answer = Some(answer.encode());
            if !self.lose.1 {
                self.deliver(self.last_answer.clone());
            }
        }
    }

    /// Follows what the client says, and returns what it sends.
    fn look_at(&mut self, actions: &[Action]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for action in actions {
            match action {
                Action::Broadcast { from, message } => {
                    let own = self.held.as_ref().map(|lease| lease.address.addr());
                    assert!(from.is_unspecified() || own == Some(*from));
                    sent.push(message.clone());
                }
                Action::Unicast { from, to, message } => {
                    let held = self.held.as_ref().map(|lease| (lease.address.addr(), lease.server));
                    assert_eq!(held, Some((*from, *to)));
                    sent.push(message.clone());
                }
                Action::Gained(lease) => assert_eq!(self.held.replace(lease.clone()), None),
                Action::Renewed(lease) => {
                    assert!(self.held.replace(lease.clone()).unwrap().is_same_but_for_times(lease));
                }
                Action::Changed { old, new } => {
                    assert_eq!(self.held.replace(new.clone()).as_ref(), Some(old))
                }
                Action::Lost(lease, _) => assert_eq!(self.held.take().as_ref(), Some(lease)),
                Action::Probe(_) => panic!("probing is not configured"),
                Action::Failed(_) | Action::Ignored(_) => {}
            }
        }
        // An answer may be asked for once, and once more after a loss.
        assert!(sent.len() <= 2, "{actions:?}");
        sent
    }

    /// A server with one address (RFC 2131, section 4.3).
    fn serve(&mut self, request: &Message) -> Option<Message> {
        self.leased.retain(|_, until| *until > self.true_time);
        let asked = request.options.address(code::REQUESTED_ADDRESS).unwrap();
        let of_offer = request.options.address(code::SERVER_ID).unwrap().is_some();
        let known = |address: Ipv4Addr| self.leased.contains_key(&address);
        let kind = match request.kind {
            MessageType::Discover => MessageType::Offer,
            MessageType::Request if of_offer && asked == Some(ADDRESS) => MessageType::Ack,
            MessageType::Request if known(asked.unwrap_or(request.ciaddr)) => MessageType::Ack,
            MessageType::Request => MessageType::Nak,
            _ => return None,
        };
        let mut answer = Message::new(kind, request.xid, MAC);
        answer.op = Op::Reply;
        answer.options.set(code::SERVER_ID, SERVER.octets());
        if kind != MessageType::Nak {
            answer.yiaddr = ADDRESS;
            answer.options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
            answer.options.set(code::LEASE_TIME, self.lease_time.to_be_bytes());
        }
        if kind == MessageType::Ack {
            self.leased.insert(ADDRESS, self.true_time + u64::from(self.lease_time) * 1000);
            self.forgotten = false;
        }
        Some(answer)
    }

    /// With a network that loses nothing, and carrier, the client ends with a lease, unless it has given up before.
    fn comes_to_a_lease(&mut self) {
        self.lose = (false, false);
        self.event(Event::Carrier(true));
        self.pass(30_000, 0);
        assert!(self.held.is_some() || self.client.has_ended(), "{:?}", self.client);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_client_has_only_what_the_server_has_given(lease_time in 2..200_u32, seed: u64, steps in steps(false)) {
        let mut world = World::new(lease_time, seed);
        for step in &steps {
            world.step(step);
            if let Some(lease) = &world.held {
                let until = world.leased.get(&lease.address.addr());
                prop_assert!(world.forgotten || until.is_some_and(|until| *until >= world.true_time));
            }
        }
        world.comes_to_a_lease();
    }

    #[test]
    fn a_clock_that_goes_backwards_does_no_harm(lease_time in 1..200_u32, seed: u64, steps in steps(true)) {
        let mut world = World::new(lease_time, seed);
        for step in &steps {
            world.step(step);
        }
        if lease_time > 1 {
            world.comes_to_a_lease();
        }
    }

    #[test]
    fn no_times_and_no_bytes_make_it_panic(
        times in prop::collection::vec(any::<(u64, u32)>(), 1..20),
        bytes: Vec<u8>,
        age: u64,
        timeouts: [u64; 3],
    ) {
        let [timeout, resend_max, resend_timeout] = timeouts.map(Duration::from_secs);
        let config = Config { timeout, resend_max, resend_timeout, ..config() };
        let mut world = World::new(60, 1);
        world.client = Client::new(config.clone(), Duration::MAX);
        world.pass(100, 0);
        let lease = Lease::from_ack(&world.serve(&Message::new(MessageType::Discover, 1, MAC)).unwrap(), None).unwrap().0;
        for client in [
            &mut Client::new(config.clone(), Duration::ZERO),
            &mut Client::reboot(config.clone(), &lease, Duration::MAX),
            &mut Client::resume(config.clone(), lease.clone(), Duration::from_secs(age), Duration::ZERO),
        ] {
            for (seconds, nanos) in &times {
                let now = Duration::new(*seconds, nanos % 1_000_000_000);
                client.handle(now, Event::Carrier(nanos % 2 == 0));
                client.handle(now, Event::Received(&bytes));
                client.handle(Duration::MAX, Event::Time);
                let _ = (client.deadline(), client.age(now));
            }
        }
    }
}
