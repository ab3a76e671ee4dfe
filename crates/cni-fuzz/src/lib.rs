//! What reads bytes that others wrote, as functions for libFuzzer (`cargo xtask fuzz`) and for the test that runs the corpus
//! in `testdata/fuzz`. None may panic, hang or take memory without bound, whatever the bytes; where what was read can be
//! written, it must be read as the same again.
//!
//! Nothing here touches the host: plugins are given a namespace that does not exist, which they find out once all of their
//! configuration has been validated, and before anything else.

use std::time::Duration;

use cni_dhcp::client::{Action, Client, Config, Event};
use cni_dhcp::packet::{Lease, Message, Settings};
use cni_dhcp::{frame, rpc};
use cni_plugin::{Add, Attachment, Plugin, Request};
use cni_types::{CniArgs, CniResult, ContainerId, IfName, NetworkConfigList, PluginConf, SpecVersion};
use serde_json::Value;

/// A target's name, which is that of its folder of `testdata/fuzz`, and what it does with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("cni_args", cni_args),
    ("conditions", conditions),
    ("conflist", conflist),
    ("dhcp", dhcp),
    ("dhcp_rpc", dhcp_rpc),
    ("ip_tables", ip_tables),
    ("iptables_save", iptables_save),
    ("leases", leases),
    ("netlink", netlink),
    ("nftables", nftables),
    ("plugin_config", plugin_config),
    ("prev_result", prev_result),
];

/// `CNI_ARGS`.
pub fn cni_args(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let args = CniArgs::parse(text);
    let _ = (args.get("IP"), args.expect_only(&["IP", "GATEWAY", "MAC"]));
}

/// Conditions of portmap's in nft's syntax. What they print as means the same.
pub fn conditions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(statements) = cni_nftables::parse_matches(text) else { return };
    let printed: Vec<String> = statements.iter().map(ToString::to_string).collect();
    let printed = printed.join(" ");
    match cni_nftables::parse_matches(&printed) {
        Ok(again) => assert_eq!(again, statements, "{text:?} printed as {printed:?}"),
        Err(error) => panic!("{text:?} printed as {printed:?}: {error}"),
    }
}

/// A `.conflist` or `.conf` file.
pub fn conflist(data: &[u8]) {
    let _ = (NetworkConfigList::from_slice(data), NetworkConfigList::from_single(data));
    if let Ok(network) = libcni::Network::from_slice(data) {
        let _ = network.capabilities();
        // What the cache keeps is a list, and the same network.
        let again = libcni::Network::from_slice(&network.bytes);
        assert_eq!(again.ok(), Some(network));
    }
}

/// A server's message, in a frame or without one; also as the answer to each message of a client's, whose transaction it is given.
pub fn dhcp(data: &[u8]) {
    let data = frame::decode(data).map_or(data, |received| received.payload);
    if let Ok(message) = Message::decode(data) {
        assert_eq!(Message::decode(&message.encode()), Ok(message.clone()), "not read as it was written");
        if let Ok((lease, _)) = Lease::from_ack(&message, None) {
            let result = lease.result(&[6, 15, 119], Some(1)).to_json(SpecVersion::V1_1_0);
            assert!(result.is_ok(), "{lease:?} has no form as a result: {result:?}");
        }
    }
    let Ok(settings) = Settings::new(b"fuzz", &[], &[], "") else { return };
    let config =
        Config { probe: Some(Duration::from_secs(1)), ..Config::new([2, 0, 0, 0, 9, 3], settings, 1) };
    let (mut client, mut now) = (Client::new(config, Duration::ZERO), Duration::ZERO);
    let mut actions = client.handle(now, Event::Carrier(true));
    for _ in 0..8 {
        let sent = actions.iter().find_map(|action| match action {
            Action::Broadcast { message, .. } | Action::Unicast { message, .. } => Some(message.clone()),
            _ => None,
        });
        let mut answer = data.to_vec();
        if let (Some(sent), Some(xid)) = (sent, answer.get_mut(4..8)) {
            xid.copy_from_slice(&sent[4..8]);
        }
        actions = client.handle(now, Event::Received(&answer));
        now = client.deadline().unwrap_or(now);
        actions.extend(client.handle(now, Event::Time));
    }
}

/// What a dhcp plugin sends to its daemon, or the daemon to the plugin. What was read is written so that it is read as the same.
pub fn dhcp_rpc(data: &[u8]) {
    let mut server = rpc::Server::new();
    if server.received(data).is_ok() {
        while let Ok(Some(call)) = server.next_call() {
            assert_eq!(call_again(&call).as_ref(), Some(&call.args));
        }
    }
    for method in [rpc::ALLOCATE, rpc::RELEASE] {
        let mut client = rpc::Client::new(method, &rpc::CmdArgs::default());
        let Ok(rpc::Step::Send(_)) = client.received(data) else { continue };
        let Ok(rpc::Step::Done(Ok(result))) = client.received(&[]) else { continue };
        let again = answer_again(method, &result);
        assert_eq!(again, Some(rpc::Step::Done(Ok(result))));
    }
}

/// The arguments, by way of a plugin's request.
fn call_again(call: &rpc::Call) -> Option<rpc::CmdArgs> {
    let mut server = rpc::Server::new();
    let hello = server.received(rpc::HELLO).ok()?;
    let rpc::Step::Send(request) = rpc::Client::new(&call.method, &call.args).received(&hello).ok()? else {
        return None;
    };
    server.received(&request).ok()?;
    server.next_call().ok()?.map(|call| call.args)
}

/// The result, by way of a daemon's response.
fn answer_again(method: &str, result: &CniResult) -> Option<rpc::Step> {
    let (mut server, mut client) = (rpc::Server::new(), rpc::Client::new(method, &rpc::CmdArgs::default()));
    client.received(&server.received(rpc::HELLO).ok()?).ok()?;
    let call = rpc::Call { method: method.to_owned(), seq: 0, args: rpc::CmdArgs::default() };
    client.received(&server.answer(&call, rpc::Answer::Result(result))).ok()
}

/// What the kernel tells of a table of ip_tables and then hands out, or the structure of one match or target.
pub fn ip_tables(data: &[u8]) {
    cni_iptables::fuzzing::ip_tables(data);
    cni_iptables::fuzzing::extension(data);
}

/// The text of `iptables-save`.
pub fn iptables_save(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        cni_iptables::fuzzing::saved(text);
    }
}

/// host-local's files: a lease; or in two lines an entry of the index; or any number of them, the file of `ipam.resolvConf`.
pub fn leases(data: &[u8]) {
    cni_host_local::fuzzing::lease(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    cni_host_local::fuzzing::resolv_conf(text);
    if let Some((key, target)) = text.split_once('\n') {
        cni_host_local::fuzzing::index(key, target);
    }
}

/// A datagram of the kernel's.
pub fn netlink(data: &[u8]) {
    cni_netlink::fuzzing::answers(data);
}

/// The payload of a message of nf_tables'.
pub fn nftables(data: &[u8]) {
    cni_nftables::fuzzing::objects(data);
}

/// A request: in the first line `CNI_ARGS`, then standard input, whose `type` says which plugin it is for.
pub fn plugin_config(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (Ok(args), Some(stdin)) = (std::str::from_utf8(&data[..end]), data.get(end + 1..)) else { return };
    let kind = PluginConf::from_slice(stdin).ok().and_then(|conf| conf.plugin);
    let kind = kind.map(|kind| kind.to_string()).unwrap_or_default();
    match kind.as_str() {
        "bandwidth" => add(&cni_bandwidth::PLUGIN, args, stdin),
        "dhcp" => add(&cni_dhcp_plugin::PLUGIN, args, stdin),
        "dummy" => add(&cni_dummy::PLUGIN, args, stdin),
        "firewall" => run(&cni_firewall::PLUGIN, args, stdin, |req| cni_firewall::fuzzing::plan(req)),
        "host-device" => add(&cni_host_device::PLUGIN, args, stdin),
        // The round robin stands wherever the arguments say.
        "host-local" => run(&cni_host_local::PLUGIN, args, stdin, |req| {
            cni_host_local::fuzzing::plan(&req.config, args.trim_start_matches("IP="))
        }),
        "ipvlan" => add(&cni_ipvlan::PLUGIN, args, stdin),
        "loopback" => add(&cni_loopback::PLUGIN, args, stdin),
        "macvlan" => add(&cni_macvlan::PLUGIN, args, stdin),
        "portmap" => run(&cni_portmap::PLUGIN, args, stdin, |req| cni_portmap::fuzzing::plan(req)),
        "ptp" => add(&cni_ptp::PLUGIN, args, stdin),
        "sbr" => add(&cni_sbr::PLUGIN, args, stdin),
        "static" => add(&cni_static::PLUGIN, args, stdin),
        "tap" => add(&cni_tap::PLUGIN, args, stdin),
        "tuning" => add(&cni_tuning::PLUGIN, args, stdin),
        "vlan" => add(&cni_vlan::PLUGIN, args, stdin),
        "vrf" => add(&cni_vrf::PLUGIN, args, stdin),
        _ => add(&cni_bridge::PLUGIN, args, stdin),
    }
}

/// A result, of the version it says or of any other. What is printed of it is read again.
pub fn prev_result(data: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    for default in SpecVersion::ALL {
        let Ok(result) = CniResult::from_json(&json, *default) else { continue };
        for version in SpecVersion::ALL {
            let Ok(printed) = result.to_json(*version) else { continue };
            let again = CniResult::from_json(&printed, *version);
            assert!(again.is_ok(), "{json} printed as {printed}: {again:?}");
        }
    }
}

/// Runs a plugin's ADD up to where it would begin.
fn add<W, C>(plugin: &Plugin<W, C>, args: &str, stdin: &[u8]) {
    run(plugin, args, stdin, |req| (plugin.add)(req).map(drop));
}

fn run<W, C>(
    plugin: &Plugin<W, C>,
    args: &str,
    stdin: &[u8],
    plan: impl FnOnce(&Add<C>) -> cni_plugin::Result<()>,
) {
    let (Ok(container_id), Ok(ifname)) = (ContainerId::new("fuzz"), IfName::new("eth0")) else { return };
    let attachment = Attachment { container_id, ifname };
    let Ok(call) = cni_plugin::fuzzing::call(args, stdin) else { return };
    let Ok(config) = (plugin.read)(&call).and_then(|wire| (plugin.validate)(&wire, &call)) else { return };
    let netns = Some("/nonexistent/netns".to_owned());
    let Ok(add) = cni_plugin::fuzzing::add(Request { call, attachment, netns, config }) else { return };
    let _ = plan(&add);
}
