//! The states one by one, against RFC 2131 (sections in the tests) and what the reference's flags mean.

use super::*;
use crate::packet::{LeaseError, MessageType, Op, Provide, code, lease_key};

pub(super) const MAC: [u8; 6] = [2, 0, 0, 0, 9, 2];
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

pub(super) fn config() -> Config {
    let provide = Provide { option: "host-name".into(), value: "web".into(), from_arg: String::new() };
    let settings = Settings::new(&lease_key("c1", "lan", "eth0"), &[provide], &[], "").unwrap();
    Config::new(MAC, settings, 1)
}

pub(super) fn lease() -> Lease {
    Lease::from_ack(&reply(MessageType::Ack, 0), None).unwrap().0
}

/// An answer of the server's: 10.9.0.50/24 for 1000 seconds.
pub(super) fn reply(kind: MessageType, xid: u32) -> Message {
    let mut reply = Message::new(kind, xid, MAC);
    reply.op = Op::Reply;
    reply.options.set(code::SERVER_ID, SERVER.octets());
    if kind != MessageType::Nak {
        reply.yiaddr = ADDRESS;
        reply.options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
        reply.options.set(code::LEASE_TIME, 1000_u32.to_be_bytes());
    }
    reply
}

/// A client and its time in milliseconds.
pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) now: Duration,
}

impl Bench {
    pub(super) fn new(config: Config) -> Self {
        Bench { client: Client::new(config, Duration::ZERO), now: Duration::ZERO }
    }

    /// With a lease since the time 0.
    pub(super) fn bound(config: Config) -> Self {
        let client = Client::resume(config, lease(), Duration::ZERO, Duration::ZERO);
        Bench { client, now: Duration::ZERO }
    }

    pub(super) fn on(&mut self, event: Event<'_>) -> Vec<Action> {
        self.client.handle(self.now, event)
    }

    pub(super) fn get(&mut self, message: &Message) -> Vec<Action> {
        self.on(Event::Received(&message.encode()))
    }

    /// Goes to this time, in seconds.
    pub(super) fn at(&mut self, seconds: f64) -> Vec<Action> {
        self.now = Duration::from_secs_f64(seconds);
        self.on(Event::Time)
    }

    /// Goes to the next deadline.
    pub(super) fn next(&mut self) -> Vec<Action> {
        self.now = self.client.deadline().unwrap();
        self.on(Event::Time)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.now.as_secs_f64()
    }

    /// A client in REQUESTING, and its REQUEST.
    pub(super) fn requesting(&mut self) -> Message {
        let (_, discover) = broadcast(&self.on(Event::Carrier(true)));
        let (_, request) = broadcast(&self.get(&reply(MessageType::Offer, discover.xid)));
        request
    }
}

/// The one action, a broadcast.
pub(super) fn broadcast(actions: &[Action]) -> (Ipv4Addr, Message) {
    let [Action::Broadcast { from, message }] = actions else { panic!("{actions:?}") };
    (*from, Message::decode(message).unwrap())
}

pub(super) fn unicast(actions: &[Action]) -> (Ipv4Addr, Ipv4Addr, Message) {
    let [Action::Unicast { from, to, message }, ..] = actions else { panic!("{actions:?}") };
    (*from, *to, Message::decode(message).unwrap())
}

pub(super) fn address(message: &Message, code: u8) -> Option<Ipv4Addr> {
    message.options.address(code).unwrap()
}

// RFC 2131, section 4.4.1, table 5; the example of section 3.1.
#[test]
fn a_lease_is_asked_for_offered_requested_and_gained() {
    let mut bench = Bench::new(config());
    let (from, discover) = broadcast(&bench.on(Event::Carrier(true)));
    assert_eq!(
        (from, discover.kind, discover.chaddr, discover.ciaddr),
        (NONE, MessageType::Discover, MAC, NONE)
    );
    assert_eq!((discover.secs, discover.broadcast), (0, false));
    assert_eq!(discover.options.get(code::CLIENT_ID), Some(&b"\0c1/lan/eth0"[..]));
    assert_eq!(discover.options.get(code::HOST_NAME), Some(&b"web"[..]));
    assert_eq!(discover.options.get(code::PARAMETER_LIST), Some(&[3, 1][..]));
    assert_eq!(address(&discover, code::REQUESTED_ADDRESS), None);

    let (from, request) = broadcast(&bench.get(&reply(MessageType::Offer, discover.xid)));
    assert_eq!(
        (from, request.kind, request.xid, request.ciaddr),
        (NONE, MessageType::Request, discover.xid, NONE)
    );
    assert_eq!(address(&request, code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(address(&request, code::SERVER_ID), Some(SERVER));
    assert_eq!(request.options.get(code::HOST_NAME), Some(&b"web"[..]));

    assert_eq!(bench.get(&reply(MessageType::Ack, request.xid)), [Action::Gained(lease())]);
    assert_eq!(bench.client.lease(), Some(&lease()));
}

#[test]
fn the_first_discover_waits_for_carrier() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.at(100.0), []);
    assert_eq!(bench.client.deadline(), Some(Duration::from_secs(208)));
    let (_, discover) = broadcast(&bench.on(Event::Carrier(true)));
    assert_eq!((discover.kind, discover.secs), (MessageType::Discover, 100));
}

// RFC 2131, section 4.1, with shorter pauses; -resendmax is the longest.
#[test]
fn discovers_are_repeated_ever_later_and_jitter_keeps_clients_apart() {
    let pauses = |seed: u64| {
        let mut bench = Bench::new(Config { seed, ..config() });
        let (_, first) = broadcast(&bench.on(Event::Carrier(true)));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let before = bench.seconds();
            let (_, again) = broadcast(&bench.next());
            assert_eq!((again.kind, again.xid), (MessageType::Discover, first.xid));
            assert_eq!(f64::from(again.secs), bench.seconds().floor());
            pauses.push(bench.seconds() - before);
        }
        pauses
    };
    let plain = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 62.0];
    for (pause, plain) in pauses(1).into_iter().zip(plain) {
        assert!((pause / plain - 1.0).abs() <= 0.1, "{pause} for {plain}");
    }
    assert_eq!(pauses(1), pauses(1));
    assert_ne!(pauses(1), pauses(2));
}

#[test]
fn a_longest_pause_of_nothing_is_no_loop() {
    let mut bench = Bench::new(Config { resend_max: Duration::ZERO, ..config() });
    bench.on(Event::Carrier(true));
    for _ in 0..3 {
        let before = bench.seconds();
        bench.next();
        assert!(bench.seconds() - before > 0.2);
    }
}

#[test]
fn what_was_never_sent_has_no_answer() {
    let mut bench = Bench::new(config());
    let State::Selecting { exchange, .. } = &bench.client.state else { panic!() };
    let offer = reply(MessageType::Offer, exchange.xid);
    assert_eq!(bench.get(&offer), [Action::Ignored(Ignored::Foreign("xid"))]);
}

#[test]
fn trying_ends_after_the_resend_timeout_and_says_what_was_missing() {
    let failure = |bench: &mut Bench| {
        loop {
            if let [Action::Failed(failure)] = &bench.next()[..] {
                assert!(bench.client.has_ended() && bench.client.deadline().is_none());
                return (bench.seconds(), failure.to_string());
            }
        }
    };
    let mut dark = Bench::new(config());
    assert_eq!(
        failure(&mut dark),
        (208.0, "no lease within 208 seconds: the interface has no carrier".into())
    );

    let short = Config { resend_timeout: Duration::from_secs(5), ..config() };
    let mut silent = Bench::new(short.clone());
    silent.on(Event::Carrier(true));
    assert_eq!(failure(&mut silent), (5.0, "no lease within 5 seconds: no server made an offer".into()));

    let mut offered = Bench::new(short.clone());
    offered.requesting();
    let why = "no lease within 5 seconds: server 10.9.0.1 does not acknowledge what it offered";
    assert_eq!(failure(&mut offered), (5.0, why.into()));

    let mut refused = Bench::new(short);
    let request = refused.requesting();
    let mut nak = reply(MessageType::Nak, request.xid);
    nak.options.set(code::MESSAGE, *b"pool is full");
    refused.get(&nak);
    assert_eq!(failure(&mut refused).1, "no lease within 5 seconds: a server refused it: pool is full");
}

// RFC 2131, section 3.1, point 5: a client that gets no answer starts over. -timeout says when.
#[test]
fn an_offer_is_asked_for_again_and_after_the_timeout_the_client_starts_over() {
    let mut bench = Bench::new(config());
    let request = bench.requesting();
    let mut requests = 1;
    let discover = loop {
        let (_, message) = broadcast(&bench.next());
        if message.kind == MessageType::Discover {
            break message;
        }
        assert_eq!((message.xid, message.secs), (request.xid, request.secs));
        requests += 1;
    };
    assert_eq!((bench.seconds(), requests), (10.0, 6));
    assert_ne!(discover.xid, request.xid);
}

// RFC 2131, sections 3.1, point 4, and 4.4.1.
#[test]
fn after_a_refusal_the_client_starts_over_at_once_and_after_more_ever_later() {
    let mut bench = Bench::new(config());
    let request = bench.requesting();
    let (_, discover) = broadcast(&bench.get(&reply(MessageType::Nak, request.xid)));
    assert_eq!((discover.kind, address(&discover, code::REQUESTED_ADDRESS)), (MessageType::Discover, None));
    assert_ne!(discover.xid, request.xid);
    let (_, request) = broadcast(&bench.get(&reply(MessageType::Offer, discover.xid)));
    assert_eq!(bench.get(&reply(MessageType::Nak, request.xid)), []);
    let wait = bench.client.deadline().unwrap();
    assert!(wait > Duration::from_millis(200) && wait < Duration::from_millis(300), "{wait:?}");
    assert_eq!(broadcast(&bench.next()).1.kind, MessageType::Discover);
}

#[test]
fn an_acknowledgement_that_gives_no_lease_counts_as_a_refusal() {
    let mut bench = Bench::new(config());
    let request = bench.requesting();
    let mut ack = reply(MessageType::Ack, request.xid);
    ack.options.remove(code::SUBNET_MASK);
    let actions = bench.get(&ack);
    assert_eq!(actions[0], Action::Ignored(Ignored::Lease(LeaseError::NoSubnetMask)));
    assert_eq!(broadcast(&actions[1..]).1.kind, MessageType::Discover);
}

#[test]
fn options_that_a_lease_can_do_without_are_told() {
    let mut bench = Bench::new(config());
    let request = bench.requesting();
    let mut ack = reply(MessageType::Ack, request.xid);
    ack.options.set(code::MTU, [1]);
    let actions = bench.get(&ack);
    assert!(matches!(actions[..], [Action::Ignored(Ignored::Option(_)), Action::Gained(_)]), "{actions:?}");
}

#[test]
fn what_is_not_for_this_client_or_not_waited_for_is_told_and_changes_nothing() {
    let mut bench = Bench::new(config());
    let (_, discover) = broadcast(&bench.on(Event::Carrier(true)));
    let good = reply(MessageType::Offer, discover.xid);
    let ignored = |bench: &mut Bench, message: &Message| match &bench.get(message)[..] {
        [Action::Ignored(ignored)] => ignored.clone(),
        other => panic!("{other:?}"),
    };
    let foreign = |what| Ignored::Foreign(what);
    assert_eq!(ignored(&mut bench, &Message { op: Op::Request, ..good.clone() }), foreign("op"));
    assert_eq!(ignored(&mut bench, &Message { xid: good.xid ^ 1, ..good.clone() }), foreign("xid"));
    assert_eq!(ignored(&mut bench, &Message { chaddr: [2; 6], ..good.clone() }), foreign("chaddr"));
    let mut other = good.clone();
    other.options.set(code::CLIENT_ID, *b"\0other");
    assert_eq!(ignored(&mut bench, &other), foreign("client identifier"));
    for kind in [MessageType::Ack, MessageType::Nak, MessageType::Inform] {
        assert_eq!(ignored(&mut bench, &Message { kind, ..good.clone() }), Ignored::Unexpected);
    }
    assert_eq!(ignored(&mut bench, &Message { yiaddr: NONE, ..good.clone() }), Ignored::Offer);
    let mut nameless = good.clone();
    nameless.options.remove(code::SERVER_ID);
    assert_eq!(ignored(&mut bench, &nameless), Ignored::Offer);
    assert!(matches!(bench.on(Event::Received(b"x"))[..], [Action::Ignored(Ignored::Malformed(_))]));

    // RFC 6842: a server may name the client.
    let mut named = good;
    named.options.set(code::CLIENT_ID, *b"\0c1/lan/eth0");
    let (_, request) = broadcast(&bench.get(&named));
    // Another server answers for the offer of the first.
    for kind in [MessageType::Ack, MessageType::Nak] {
        let mut other = reply(kind, request.xid);
        other.options.set(code::SERVER_ID, [10, 9, 0, 2]);
        assert_eq!(ignored(&mut bench, &other), foreign("server identifier"));
    }
    assert_eq!(bench.get(&reply(MessageType::Ack, request.xid)), [Action::Gained(lease())]);
    // An acknowledgement that comes twice.
    assert_eq!(ignored(&mut bench, &reply(MessageType::Ack, request.xid)), Ignored::Unexpected);
}

// RFC 2131, section 4.1.
#[test]
fn the_broadcast_flag_is_set_until_there_is_an_address() {
    let mut bench = Bench::new(Config { broadcast: true, ..config() });
    assert!(bench.requesting().broadcast);
    let mut bound = Bench::bound(Config { broadcast: true, ..config() });
    assert!(!unicast(&bound.at(500.0)).2.broadcast);
}

// RFC 2131, section 4.4.1: counted from the request.
#[test]
fn the_lease_time_counts_from_the_first_request() {
    let mut bench = Bench::new(config());
    bench.now = Duration::from_secs(50);
    bench.on(Event::Time);
    let request = bench.requesting();
    bench.at(57.0);
    bench.get(&reply(MessageType::Ack, request.xid));
    assert_eq!(bench.client.age(bench.now), Some(Duration::from_secs(7)));
    bench.at(1049.9);
    assert!(bench.client.lease().is_some());
    assert!(matches!(bench.at(1050.0)[0], Action::Lost(_, Loss::Expired)));
}
