//! The bandwidth plugin from ADD to DEL and GC, and ADDs that fail.

use cni_host::Owner;
use cni_netlink::{Socket, Tbf};
use serde_json::{Value, json};

use crate::bandwidth::net::{Site, assert_unlimited, both, ifbs, limits_of, make_ifb};
use crate::bridge::net::{link, port};

fn owner(network: &str, id: &str, ifname: &str) -> Owner {
    Owner { network: network.into(), container_id: id.into(), ifname: ifname.into() }
}

/// The name that the reference gives, too.
const SHARED: &str = "bwp872ac0255154";

#[test]
fn every_version_lives_and_leaves_nothing() {
    let mut site = Site::new(&both());
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        site.conf["cniVersion"] = version.into();
        site.net.conf["cniVersion"] = version.into();
        let pod = site.pod("one");
        let before = site.host().snapshot();
        let result = site.add(&pod).ok();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 4);
        if version < "0.4.0" {
            assert_eq!(site.check(&pod).err().0, 1, "no CHECK in {version}");
        } else {
            site.check(&pod).ok();
        }
        for _ in 0..2 {
            site.del(&pod).ok();
            site.host().snapshot().assert_same(&before);
            assert_unlimited(&pod);
        }
        // Nothing is in the way of the next one.
        site.add(&pod).ok();
        site.del(&pod).ok();
        site.net.del(&pod.container).ok();
    }
    for version in ["0.1.0", "0.2.0"] {
        site.conf["cniVersion"] = version.into();
        assert_eq!(site.host().plugin("bandwidth").command("STATUS", &site.conf).err().0, 1);
    }
}

#[test]
fn the_ifb_goes_when_the_namespace_is_gone_or_not_named() {
    let site = Site::new(&both());
    let (mut gone, unnamed, stays) = (site.pod("gone"), site.pod("unnamed"), site.pod("stays"));
    for pod in [&gone, &unnamed, &stays] {
        site.limit(pod);
    }
    gone.container.kill();
    for _ in 0..2 {
        site.del(&gone).ok();
        site.host().plugin("bandwidth").env("CNI_NETNS", "").del(&unnamed.container, "eth0", &site.conf).ok();
        assert_eq!(ifbs().len(), 1);
    }
    site.check(&stays).ok();
}

#[test]
fn del_works_with_limits_that_add_refuses_and_without_the_interface() {
    let mut site = Site::new(&both());
    let (one, two) = (site.pod("one"), site.pod("two"));
    site.limit(&one);
    site.limit(&two);
    site.conf["ingressBurst"] = 0.into();
    site.conf["prevResult"] = json!({"no": "result"});
    site.del(&one).ok();
    // Out of order.
    site.net.del(&two.container).ok();
    site.del(&two).ok();
    site.conf.as_object_mut().unwrap().remove("prevResult");
    assert_unlimited(&one);
}

/// The name that the reference gives knows no interfaces.
#[test]
fn two_interfaces_of_a_container_have_an_ifb_each() {
    let site = Site::new(&both());
    let pod = site.pod("one");
    let second = site.host().plugin("bridge").add(&pod.container, "eth1", &site.net.conf).ok();
    let mut of_second = site.conf.clone();
    of_second["prevResult"] = second;
    let plugin = || site.host().plugin("bandwidth");
    site.limit(&pod);
    plugin().add(&pod.container, "eth1", &of_second).ok();
    assert_eq!(ifbs().len(), 2);
    for ifname in ["eth1", "eth0"] {
        site.check(&pod).ok();
        plugin().check(&pod.container, "eth1", &of_second).ok();
        plugin().del(&pod.container, ifname, &site.conf).ok();
        if ifname == "eth1" {
            plugin().check(&pod.container, "eth1", &of_second).err();
            plugin().add(&pod.container, "eth1", &of_second).ok();
        }
    }
    plugin().check(&pod.container, "eth1", &of_second).ok();
    plugin().del(&pod.container, "eth1", &site.conf).ok();
    assert_unlimited(&pod);
}

#[test]
fn what_an_attachment_left_behind_is_replaced_and_what_another_has_is_not_touched() {
    let site = Site::new(&both());
    make_ifb(SHARED, Some(&owner("net", "one", "eth0")));
    let old = link(SHARED).index;
    let pod = site.pod("one");
    site.limit(&pod);
    assert_eq!(ifbs(), [SHARED]);
    assert_ne!(link(SHARED).index, old);
    site.del(&pod).ok();

    for other in [Some(owner("other", "one", "eth0")), Some(owner("net", "one", "eth1")), None] {
        make_ifb(SHARED, other.as_ref());
        let index = link(SHARED).index;
        site.limit(&pod);
        assert_eq!(ifbs().len(), 2);
        site.del(&pod).ok();
        assert_eq!((link(SHARED).index, ifbs().len()), (index, 1), "{other:?}");
        if other.is_some() {
            site.del(&pod).ok();
            assert_eq!(link(SHARED).index, index);
        }
        Socket::open().unwrap().link_del(index).unwrap();
    }
}

#[test]
fn gc_keeps_what_is_valid_of_another_network_or_of_nobody() {
    let mut site = Site::new(&both());
    let (one, two) = (site.pod("one"), site.pod("two"));
    site.limit(&one);
    site.limit(&two);
    make_ifb("bwpnobody", None);
    make_ifb("bwpother", Some(&owner("other", "three", "eth0")));
    let before = site.host().snapshot();
    let gc = |conf: &Value, valid: Option<Value>| {
        let mut conf = conf.clone();
        if let Some(valid) = valid {
            conf["cni.dev/valid-attachments"] = valid;
        }
        site.host().plugin("bandwidth").command("GC", &conf).ok();
    };
    gc(&site.conf, None);
    site.host().snapshot().assert_same(&before);
    gc(&site.conf, Some(json!([{"containerID": "one", "ifname": "eth0"}])));
    assert_eq!(ifbs().len(), 3);
    site.check(&one).ok();
    assert!(site.check(&two).err().1.contains("is gone"));
    // What an ADD would refuse does not matter. `null` is the empty list.
    let mut conf = site.conf.clone();
    conf["egressBurst"] = 0.into();
    gc(&conf, Some(Value::Null));
    let mut left = ifbs();
    left.sort();
    assert_eq!(left, ["bwpnobody", "bwpother"]);
    site.conf = conf;
}

#[test]
fn a_failing_add_leaves_what_was_there_and_nothing_else() {
    let mut site = Site::new(&both());
    let pod = site.pod("one");
    let port = port(&pod.result);
    let mut socket = Socket::open().unwrap();
    let before = (site.host().snapshot(), pod.container.snapshot());
    let fails = |site: &Site, conf: &Value, part: &str| {
        let outcome = site.host().plugin("bandwidth").add(&pod.container, "eth0", conf);
        let (code, msg) = outcome.err();
        assert!(msg.contains(part), "{msg}");
        assert_eq!(outcome.stderr, "", "nothing went wrong with taking it back");
        site.host().snapshot().assert_same(&before.0);
        pod.container.snapshot().assert_same(&before.1);
        code
    };
    let theirs = Tbf { rate: 1_000_000, buffer: 1_562_500, limit: 1 };
    socket.tbf_add(port.index, &theirs).unwrap();
    fails(&site, &site.conf(&pod), &format!("cannot limit {}: ", port.name));
    assert_eq!(limits_of(&mut socket, &port), (Some(theirs), vec![]));
    assert!(!socket.ingress_del(port.index).unwrap());
    socket.tbf_del(port.index).unwrap();
    socket.ingress_add(port.index).unwrap();
    fails(&site, &site.conf(&pod), &format!("cannot redirect {} to bwp", port.name));
    assert!(socket.ingress_del(port.index).unwrap(), "it was there before");
    assert_unlimited(&pod);

    assert_eq!(fails(&site, &site.conf, "prevResult"), 7);
    site.conf["egressBurst"] = 0.into();
    assert_eq!(fails(&site, &site.conf(&pod), "egressRate: is set without egressBurst"), 7);
    site.conf["egressBurst"] = 3_200_000.into();
    for netns in ["/nonexistent/netns", "/dev/null"] {
        let run = site.host().plugin("bandwidth").env("CNI_NETNS", netns);
        assert!(run.add(&pod.container, "eth0", &site.conf(&pod)).err().1.contains(netns));
    }
    let run = site.host().plugin("bandwidth").add(&pod.container, "eth7", &site.conf(&pod));
    assert!(run.err().1.contains("cannot find eth7"));
    assert_unlimited(&pod);
}

#[test]
fn status_judges_the_configuration() {
    let site = Site::new(&both());
    let status = |conf: &Value| site.host().plugin("bandwidth").command("STATUS", conf);
    let before = site.host().snapshot();
    status(&site.conf).ok();
    let mut wrong = site.conf.clone();
    wrong["ingressRate"] = 0.into();
    let (code, msg) = status(&wrong).err();
    assert!(code == 7 && msg.contains("ingressBurst: is set without ingressRate"), "{code}: {msg}");
    site.host().snapshot().assert_same(&before);
}
