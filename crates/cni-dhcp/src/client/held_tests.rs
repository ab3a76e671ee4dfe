//! A lease that is held, lost, given back, asked for again after a reboot, or declined.

use super::tests::{ADDRESS, Bench, SERVER, address, broadcast, config, lease, reply, unicast};
use super::*;
use crate::packet::{FOREVER, LeaseError, MessageType, code};

const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

// RFC 2131, sections 4.3.2 and 4.4.5, table 5.
#[test]
fn at_t1_its_server_is_asked_by_unicast() {
    let mut bench = Bench::bound(config());
    let t1 = bench.client.deadline().unwrap().as_secs_f64();
    assert!((484.375..=500.0).contains(&t1), "{t1}");
    let (from, to, request) = unicast(&bench.next());
    assert_eq!((from, to, request.kind, request.ciaddr), (ADDRESS, SERVER, MessageType::Request, ADDRESS));
    assert_eq!(address(&request, code::REQUESTED_ADDRESS), None);
    assert_eq!(address(&request, code::SERVER_ID), None);
    assert_eq!(request.options.get(code::HOST_NAME), Some(&b"web"[..]));
    // A second later, the answer; the time counts from the request.
    let asked = bench.seconds();
    bench.at(asked + 1.0);
    assert_eq!(bench.get(&reply(MessageType::Ack, request.xid)), [Action::Renewed(lease())]);
    assert_eq!(bench.client.age(bench.now), Some(Duration::from_secs(1)));
    assert!(bench.at(asked + 999.9).iter().all(|action| !matches!(action, Action::Lost(..))));
}

#[test]
fn clients_that_begin_together_do_not_renew_together() {
    let renewal = |seed| Bench::bound(Config { seed, ..config() }).client.deadline();
    assert_ne!(renewal(1), renewal(2));
}

// RFC 2131, section 4.4.5: half of what is left until T2, then until the end, a minute at least.
#[test]
fn at_t2_all_servers_are_asked_and_at_the_end_the_lease_is_lost() {
    let mut bench = Bench::bound(config());
    let (mut unicasts, mut broadcasts) = (Vec::new(), Vec::new());
    let lost = loop {
        match &bench.next()[..] {
            [Action::Unicast { .. }] => unicasts.push(bench.seconds()),
            [Action::Broadcast { from, message }] => {
                let request = Message::decode(message).unwrap();
                assert_eq!((*from, request.ciaddr, request.kind), (ADDRESS, ADDRESS, MessageType::Request));
                broadcasts.push(bench.seconds());
            }
            [] => {}
            other => break other.to_vec(),
        }
    };
    assert_eq!((broadcasts[0], bench.seconds()), (875.0, 1000.0));
    let pauses = |times: &[f64]| times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<f64>>();
    assert!(pauses(&unicasts).iter().all(|pause| *pause >= 60.0) && unicasts.len() > 2, "{unicasts:?}");
    assert_eq!(pauses(&broadcasts), [62.5, 60.0]);

    // Asking goes on, for the same address, without an end.
    let [Action::Lost(was, Loss::Expired), discover] = &lost[..] else { panic!("{lost:?}") };
    assert_eq!(*was, lease());
    let (_, discover) = broadcast(std::slice::from_ref(discover));
    assert_eq!((discover.kind, discover.ciaddr, discover.secs), (MessageType::Discover, NONE, 0));
    assert_eq!(address(&discover, code::REQUESTED_ADDRESS), Some(ADDRESS));
    for _ in 0..100 {
        assert_eq!(broadcast(&bench.next()).1.kind, MessageType::Discover);
    }
}

#[test]
fn a_lease_of_seconds_survives_a_lost_message() {
    let short = Lease { lease_time: 20, renewal_time: 10, rebinding_time: 17, ..lease() };
    let mut client = Client::resume(config(), short, Duration::ZERO, Duration::ZERO);
    let mut sent = Vec::new();
    while client.lease().is_some() {
        let now = client.deadline().unwrap();
        sent.extend(client.handle(now, Event::Time));
    }
    let unicasts = sent.iter().filter(|action| matches!(action, Action::Unicast { .. })).count();
    assert!(unicasts >= 2, "{sent:?}");
}

#[test]
fn another_server_may_answer_only_when_all_are_asked() {
    let mut bench = Bench::bound(config());
    let other = |bench: &mut Bench, xid| {
        let mut ack = reply(MessageType::Ack, xid);
        ack.options.set(code::SERVER_ID, [10, 9, 0, 2]);
        bench.get(&ack)
    };
    let (_, _, renewal) = unicast(&bench.at(500.0));
    assert_eq!(other(&mut bench, renewal.xid), [Action::Ignored(Ignored::Foreign("server identifier"))]);
    let (_, rebinding) = broadcast(&bench.at(875.0));
    assert_ne!(renewal.xid, rebinding.xid);
    // What it gives is another lease, as its server is another.
    let new = Lease { server: [10, 9, 0, 2].into(), ..lease() };
    assert_eq!(other(&mut bench, rebinding.xid), [Action::Changed { old: lease(), new }]);
}

#[test]
fn what_changes_with_a_renewal_is_told() {
    let mut bench = Bench::bound(config());
    let (_, _, request) = unicast(&bench.at(500.0));
    let mut ack = reply(MessageType::Ack, request.xid);
    ack.options.set(code::ROUTERS, SERVER.octets());
    let actions = bench.get(&ack);
    let [Action::Changed { old, new }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((old.gateway, new.gateway), (None, Some(SERVER)));
}

// RFC 2131, section 3.2, point 3, and figure 5.
#[test]
fn a_refused_renewal_loses_the_lease_and_the_client_starts_over_at_once() {
    let mut bench = Bench::bound(config());
    let (_, _, request) = unicast(&bench.at(500.0));
    let actions = bench.get(&reply(MessageType::Nak, request.xid));
    assert_eq!(actions[0], Action::Lost(lease(), Loss::Refused));
    let (_, discover) = broadcast(&actions[1..]);
    assert_eq!(address(&discover, code::REQUESTED_ADDRESS), None);
    let (_, request) = broadcast(&bench.get(&reply(MessageType::Offer, discover.xid)));
    let mut ack = reply(MessageType::Ack, request.xid);
    ack.yiaddr = [10, 9, 0, 77].into();
    let actions = bench.get(&ack);
    assert!(
        matches!(&actions[..], [Action::Gained(lease)] if lease.address.to_string() == "10.9.0.77/24"),
        "{actions:?}"
    );
}

#[test]
fn a_useless_renewal_is_told_and_asking_goes_on() {
    let mut bench = Bench::bound(config());
    let (_, _, request) = unicast(&bench.at(500.0));
    let mut ack = reply(MessageType::Ack, request.xid);
    ack.options.remove(code::SUBNET_MASK);
    assert_eq!(bench.get(&ack), [Action::Ignored(Ignored::Lease(LeaseError::NoSubnetMask))]);
    assert_eq!(unicast(&bench.next()).2.xid, request.xid);
}

// RFC 2131, section 3.3.
#[test]
fn a_lease_for_ever_never_ends() {
    let forever = Lease { lease_time: FOREVER, ..lease() };
    let mut client = Client::resume(config(), forever, Duration::ZERO, Duration::ZERO);
    assert_eq!(client.deadline(), None);
    assert_eq!(client.handle(Duration::from_secs(1 << 40), Event::Time), []);
    assert!(client.lease().is_some());
}

#[test]
fn a_timer_that_comes_late_finds_what_has_been_due() {
    assert!(matches!(Bench::bound(config()).at(600.0)[..], [Action::Unicast { .. }]));
    assert!(matches!(Bench::bound(config()).at(900.0)[..], [Action::Broadcast { .. }]));
    let mut asleep = Bench::bound(config());
    // An answer that comes together with the end does not bring the lease back.
    asleep.now = Duration::from_secs(5000);
    let actions = asleep.get(&reply(MessageType::Ack, 1));
    assert!(
        matches!(actions[..], [Action::Lost(..), Action::Broadcast { .. }, Action::Ignored(_)]),
        "{actions:?}"
    );
}

#[test]
fn after_a_restart_a_lease_goes_on_where_it_was() {
    let (age, now) = (Duration::from_secs(900), Duration::from_secs(30));
    let mut client = Client::resume(config(), lease(), age, now);
    assert_eq!((client.lease(), client.age(now)), (Some(&lease()), Some(age)));
    let (_, request) = broadcast(&client.handle(now, Event::Time));
    assert_eq!(request.ciaddr, ADDRESS);
    let end = now + Duration::from_secs(100);
    assert!(matches!(client.handle(end, Event::Time)[0], Action::Lost(_, Loss::Expired)));
}

// RFC 2131, sections 3.2 and 4.3.2: no server identifier, ciaddr 0.
#[test]
fn after_a_reboot_the_same_address_is_asked_for() {
    let mut bench = Bench::new(config());
    bench.client = Client::reboot(config(), &lease(), Duration::ZERO);
    assert_eq!((bench.at(1.0), bench.client.lease()), (vec![], None));
    let (from, request) = broadcast(&bench.on(Event::Carrier(true)));
    assert_eq!((from, request.kind, request.ciaddr), (NONE, MessageType::Request, NONE));
    assert_eq!(address(&request, code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(address(&request, code::SERVER_ID), None);
    let mut refused = bench.client.clone();
    assert_eq!(bench.get(&reply(MessageType::Ack, request.xid)), [Action::Gained(lease())]);

    let nak = reply(MessageType::Nak, request.xid).encode();
    let (_, discover) = broadcast(&refused.handle(bench.now, Event::Received(&nak)));
    assert_eq!((discover.kind, address(&discover, code::REQUESTED_ADDRESS)), (MessageType::Discover, None));
}

#[test]
fn a_reboot_that_no_server_answers_ends_in_a_discover_for_the_same_address() {
    let mut bench = Bench::new(config());
    bench.client = Client::reboot(config(), &lease(), Duration::ZERO);
    bench.on(Event::Carrier(true));
    let discover = loop {
        let (_, message) = broadcast(&bench.next());
        if message.kind == MessageType::Discover {
            break message;
        }
    };
    assert_eq!((bench.seconds(), address(&discover, code::REQUESTED_ADDRESS)), (10.0, Some(ADDRESS)));
}

// RFC 2131, section 4.4.6, table 5.
#[test]
fn a_lease_is_given_back_from_its_address() {
    for (event, loss) in [(Event::Release, Loss::Released), (Event::NamespaceGone, Loss::NamespaceGone)] {
        for at in [1.0, 600.0, 900.0] {
            let mut bench = Bench::bound(config());
            bench.at(at);
            let actions = bench.on(event);
            let (from, to, release) = unicast(&actions);
            assert_eq!(
                (from, to, release.kind, release.ciaddr),
                (ADDRESS, SERVER, MessageType::Release, ADDRESS)
            );
            let codes: Vec<u8> = release.options.iter().map(|(code, _)| code).collect();
            assert_eq!(codes, [code::SERVER_ID, code::CLIENT_ID]);
            assert_eq!(actions[1..], [Action::Lost(lease(), loss)]);
            assert!(bench.client.has_ended());
            assert_eq!((bench.client.deadline(), bench.on(event)), (None, vec![]));
        }
    }
}

#[test]
fn what_was_only_asked_for_ends_without_a_word() {
    let mut bench = Bench::new(config());
    bench.requesting();
    assert_eq!(bench.on(Event::Release), []);
    assert!(bench.client.has_ended());
}

// RFC 2131, sections 3.1, point 5, and 4.4.1; table 5.
#[test]
fn an_address_that_another_host_has_is_declined_and_ten_seconds_later_the_client_starts_over() {
    let mut bench = Bench::new(Config { probe: Some(Duration::from_millis(200)), ..config() });
    let request = bench.requesting();
    assert_eq!(bench.get(&reply(MessageType::Ack, request.xid)), [Action::Probe(ADDRESS)]);
    assert_eq!(bench.client.lease(), None);
    let mut unanswered = bench.client.clone();

    let (from, decline) = broadcast(&bench.on(Event::Conflict));
    assert_eq!((from, decline.kind, decline.ciaddr), (NONE, MessageType::Decline, NONE));
    assert_eq!(address(&decline, code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(address(&decline, code::SERVER_ID), Some(SERVER));
    let codes: Vec<u8> = decline.options.iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [code::REQUESTED_ADDRESS, code::SERVER_ID, code::CLIENT_ID]);
    let (_, discover) = broadcast(&bench.next());
    assert_eq!((bench.seconds(), discover.kind), (10.0, MessageType::Discover));

    let at = unanswered.deadline().unwrap();
    assert_eq!(at, Duration::from_millis(200));
    assert_eq!(unanswered.handle(at, Event::Time), [Action::Gained(lease())]);
    assert_eq!(unanswered.handle(at, Event::Conflict), []);
}

#[test]
fn a_lease_that_is_probed_for_is_given_back_too() {
    let mut bench = Bench::new(Config { probe: Some(Duration::from_secs(1)), ..config() });
    let request = bench.requesting();
    bench.get(&reply(MessageType::Ack, request.xid));
    assert_eq!(unicast(&bench.on(Event::Release)).2.kind, MessageType::Release);
}

#[test]
fn without_carrier_nothing_is_sent_and_with_it_at_once() {
    let mut bench = Bench::bound(config());
    bench.on(Event::Carrier(false));
    assert_eq!(bench.at(600.0), []);
    assert_eq!(unicast(&bench.on(Event::Carrier(true))).2.kind, MessageType::Request);
    bench.on(Event::Carrier(false));
    assert_eq!(bench.at(990.0), []);
    assert_eq!(bench.at(1000.0), [Action::Lost(lease(), Loss::Expired)]);
    assert_eq!(broadcast(&bench.on(Event::Carrier(true))).1.kind, MessageType::Discover);
    bench.on(Event::Carrier(false));
    assert_eq!(bench.client.deadline(), None);
    assert_eq!(broadcast(&bench.on(Event::Carrier(true))).1.kind, MessageType::Discover);
}

#[test]
fn when_the_clock_goes_backwards_no_time_has_passed() {
    let mut bench = Bench::bound(config());
    bench.at(400.0);
    assert_eq!(bench.at(100.0), []);
    assert_eq!(bench.client.age(bench.now), Some(Duration::from_secs(400)));
    let deadline = bench.client.deadline().unwrap().as_secs_f64();
    assert!((184.0..=200.0).contains(&deadline), "{deadline}");
    assert!(matches!(bench.at(700.0)[..], [Action::Lost(..), Action::Broadcast { .. }]));
}
