//! What the firewall plugin lets through, by packets: the same for each backend, which the modules beside this one choose.

use serde_json::json;

use crate::firewall::net::{Site, assert_reach};

/// Without a policy nothing is kept apart, whatever the forward chain's policy otherwise is.
pub(crate) fn open(backend: &'static str) {
    let site = Site::new(backend);
    let (blue, green) = (site.network("blue", 11, json!({})), site.network("green", 12, json!({})));
    let outside = site.network("out", 13, json!({})).join_bridge("outside");
    let (one, two, three) = (blue.join("one"), blue.join("two"), green.join("three"));
    assert_reach(&[
        (&one, &two, true),
        (&one, &three, true),
        (&three, &one, true),
        (&one, &outside, true),
        (&outside, &one, true),
    ]);
}

/// Between two bridges with a policy nothing passes, also not of flows that were there before; all else does.
pub(crate) fn same_bridge(backend: &'static str, bridged: bool) {
    let site = Site::new(backend);
    site.filter_bridged(bridged);
    let policy = json!({"ingressPolicy": "same-bridge"});
    let (blue, green) = (site.network("blue", 11, policy.clone()), site.network("green", 12, policy));
    let free = site.network("free", 13, json!({}));
    let outside = site.network("out", 14, json!({})).join_bridge("outside");
    let (one, two) = (blue.join("one"), blue.join("two"));
    let (three, four) = (green.join_bridge("three"), free.join("four"));

    let established = one.flows_to(&three);
    let within = one.flows_to(&two);
    green.add(&three).ok();
    for flow in &established {
        assert!(!flow.passes(), "an established flow between two bridges is dropped too");
    }
    assert!(within.iter().all(|flow| flow.passes()));
    assert_reach(&[
        (&one, &two, true),
        (&one, &three, false),
        (&three, &one, false),
        (&one, &four, true),
        (&four, &one, true),
        (&one, &outside, true),
        (&outside, &one, true),
    ]);
    blue.check(&one).ok();
    green.check(&three).ok();
}

/// Nothing passes between containers of the bridge either.
pub(crate) fn isolated(backend: &'static str, bridged: bool) {
    let site = Site::new(backend);
    site.filter_bridged(bridged);
    let blue = site.network("blue", 11, json!({"ingressPolicy": "isolated"}));
    let green = site.network("green", 12, json!({"ingressPolicy": "same-bridge"}));
    let outside = site.network("out", 13, json!({})).join_bridge("outside");
    let (one, two) = (blue.join_bridge("one"), blue.join_bridge("two"));
    let established = one.flows_to(&two);
    for pod in [&one, &two] {
        blue.add(pod).ok();
        blue.check(pod).ok();
    }
    let (three, four) = (green.join("three"), green.join("four"));

    for flow in &established {
        assert!(!flow.passes(), "an established flow within the bridge is dropped too");
    }
    assert_reach(&[
        (&one, &two, false),
        (&two, &one, false),
        (&one, &three, false),
        (&three, &two, false),
        (&three, &four, true),
        (&two, &outside, true),
        (&outside, &two, true),
    ]);
    for gateway in ["10.11.0.1", "fd00:11::1"] {
        assert!(one.container.ping(gateway.parse().unwrap()), "the gateway {gateway} answers");
    }
}
