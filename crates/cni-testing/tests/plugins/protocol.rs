//! The protocol as a runtime sees it, the same for every plugin: what the executables print, where, and how they exit.

use cni_testing::{Host, Outcome, plugins};
use serde_json::{Value, json};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const OWN_NETNS: &str = "/proc/self/ns/net";

/// Those that a plugin speaks: all, or where the reference's begins later, those from there on.
fn versions(plugin: &str) -> &'static [&'static str] {
    match plugin {
        "bandwidth" => &VERSIONS[2..],
        "vrf" => &VERSIONS[3..],
        "firewall" => &VERSIONS[4..],
        _ => &VERSIONS,
    }
}

/// A configuration that each of the plugins takes.
fn conf(host: &Host, plugin: &str) -> Value {
    let ipam = match plugin {
        "host-local" => {
            json!({"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": host.dir().join("ipam")})
        }
        _ => json!({"type": "static", "addresses": [{"address": "10.1.0.5/24"}]}),
    };
    let prev =
        json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/nonexistent/netns"}]});
    json!({
        "cniVersion": "1.1.0", "name": "blue", "type": plugin, "bridge": "blue0", "device": "blue1", "vrfname": "blue2",
        "ipam": ipam, "prevResult": prev,
    })
}

/// A run with all variables of an ADD, each replaced by `env`.
fn run(host: &Host, plugin: &str, env: &[(&str, &str)], stdin: &[u8]) -> Outcome {
    let bin_dir = host.bin_dir();
    let usual = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/nonexistent/netns"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", bin_dir.to_str().unwrap()),
    ];
    usual.iter().chain(env).fold(host.plugin(plugin), |run, (key, value)| run.env(key, value)).raw(stdin)
}

#[test]
fn without_a_command_every_plugin_prints_its_banner_on_stderr_and_exits_0() {
    let host = Host::new();
    for plugin in &plugins() {
        for run in [host.plugin(plugin), host.plugin(plugin).env("CNI_COMMAND", "")] {
            // More than a pipe holds: it is not read.
            let outcome = run.raw(&vec![b' '; 1 << 20]);
            assert_eq!((outcome.code, &*outcome.stdout), (Some(0), ""), "{outcome:?}");
            let lines: Vec<&str> = outcome.stderr.lines().collect();
            // nerdctl takes all that follows "plugin " on this line for a semantic version.
            let version = lines[0].strip_prefix(&format!("CNI {plugin} plugin v")).expect(lines[0]);
            assert!(version.starts_with("1.10.0+rs."), "{version}");
            assert!(version.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)), "{version}");
            let versions = versions(plugin).join(", ");
            assert_eq!(lines[1..], [format!("CNI protocol versions supported: {versions}")]);
        }
    }
}

#[test]
fn version_is_answered_whatever_is_on_standard_input() {
    let host = Host::new();
    for plugin in &plugins() {
        for stdin in ["", "junk", r#"{"cniVersion":"0.4.0"}"#] {
            let answer = host.plugin(plugin).env("CNI_COMMAND", "VERSION").raw(stdin.as_bytes()).ok();
            assert_eq!(answer, json!({"cniVersion": "1.1.0", "supportedVersions": versions(plugin)}));
        }
    }
}

#[test]
fn missing_variables_are_named() {
    let host = Host::new();
    let all = "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH";
    for plugin in &plugins() {
        for (command, missing) in [
            ("ADD", all),
            ("CHECK", all),
            ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
            ("GC", "CNI_PATH"),
            ("STATUS", "CNI_PATH"),
        ] {
            let error = host.plugin(plugin).env("CNI_COMMAND", command).raw(b"").err();
            assert_eq!(
                error,
                (4, format!("required env variables [{missing}] missing")),
                "{plugin} {command}"
            );
        }
    }
}

#[test]
fn invalid_variables_are_refused_before_anything_is_done() {
    let host = Host::new();
    let before = host.snapshot();
    for plugin in &plugins() {
        let conf = conf(&host, plugin).to_string();
        for (variable, value, text) in [
            ("CNI_CONTAINERID", "../../etc", "CNI_CONTAINERID: invalid container ID \"../../etc\": "),
            ("CNI_IFNAME", "sixteen-letters-", "CNI_IFNAME: invalid interface name \"sixteen-letters-\": "),
            ("CNI_COMMAND", "FROB", "unknown CNI_COMMAND: FROB"),
        ] {
            let (code, msg) = run(&host, plugin, &[(variable, value)], conf.as_bytes()).err();
            assert_eq!(code, 4, "{plugin} {variable}");
            assert!(msg.starts_with(text), "{msg}");
        }
    }
    host.snapshot().assert_same(&before);
}

#[test]
fn what_is_no_configuration_is_refused() {
    let host = Host::new();
    let before = host.snapshot();
    for plugin in &plugins() {
        for (stdin, code) in [
            (&b""[..], 6),
            (b"junk", 6),
            (b"{\"name\":\"blue\xff\"}", 6),
            (b"[]", 6),
            (b"{}", 7),
            (br#"{"name":"../blue"}"#, 7),
            (br#"{"name":"blue","cniVersion":"7.0.0"}"#, 1),
        ] {
            let text = String::from_utf8_lossy(stdin);
            assert_eq!(run(&host, plugin, &[], stdin).err().0, code, "{plugin} {text}");
        }
        let (code, msg) = run(&host, plugin, &[], &vec![b' '; (16 << 20) + 1]).err();
        assert_eq!(code, 5);
        assert!(msg.ends_with("standard input is larger than 16777216 bytes"), "{msg}");
    }
    host.snapshot().assert_same(&before);
}

#[test]
fn commands_newer_than_the_configurations_version_are_refused() {
    let host = Host::new();
    for plugin in &plugins() {
        for (command, since) in [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")] {
            for version in versions(plugin).iter().filter(|version| **version < since) {
                let conf = json!({"cniVersion": version, "name": "blue"}).to_string();
                let error = run(&host, plugin, &[("CNI_COMMAND", command)], conf.as_bytes()).err();
                assert_eq!(error, (1, format!("config version does not allow {command}")));
            }
        }
    }
}

#[test]
fn an_error_names_the_version_of_its_configuration() {
    let host = Host::new();
    let conf = json!({"cniVersion": "0.4.0", "name": "blue"}).to_string();
    let outcome = run(&host, "bridge", &[("CNI_NETNS", OWN_NETNS), ("CNI_ARGS", "MAC")], conf.as_bytes());
    let error: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(error["cniVersion"], "0.4.0", "{outcome:?}");
    assert_eq!(outcome.code, Some(1));
}

/// <https://github.com/containernetworking/plugins/issues/714>: the host's own lo was taken down.
#[test]
fn the_hosts_own_namespace_is_not_touched() {
    let host = Host::new();
    let before = host.snapshot();
    let expected = (8, "plugin's netns and netns from CNI_NETNS should not be the same".to_owned());
    for plugin in &plugins() {
        for command in ["ADD", "DEL"] {
            let env = [("CNI_COMMAND", command), ("CNI_NETNS", OWN_NETNS)];
            let outcome = run(&host, plugin, &env, conf(&host, plugin).to_string().as_bytes());
            assert_eq!(outcome.err(), expected, "{plugin} {command}: {outcome:?}");
        }
        // host-local's DEL did its work, which may have made its folder.
        host.snapshot().without("ipam").assert_same(&before);
    }
}

/// What DEL can do without looking into the namespace it does, directly and as another plugin's IPAM plugin.
#[test]
fn a_del_in_the_hosts_own_namespace_still_releases_the_lease() {
    let host = Host::new();
    let leases = host.dir().join("ipam/blue");
    let leased = || std::fs::read_dir(&leases).unwrap().any(|file| file.unwrap().file_name() == "10.1.0.2");
    for plugin in ["host-local", "bridge", "macvlan", "ipvlan", "vlan", "dummy", "tap"] {
        let conf = json!({
            "cniVersion": "1.0.0", "name": "blue", "type": plugin, "bridge": "blue0",
            "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.2", "dataDir": host.dir().join("ipam")},
        })
        .to_string();
        run(&host, "host-local", &[], conf.as_bytes()).ok();
        assert!(leased());
        let env = [("CNI_COMMAND", "DEL"), ("CNI_NETNS", OWN_NETNS)];
        assert_eq!(run(&host, plugin, &env, conf.as_bytes()).err().0, 8, "{plugin}");
        assert!(!leased(), "{plugin}");
    }
}

#[test]
fn a_namespace_of_the_hosts_is_taken_where_it_is_asked_for() {
    let host = Host::new();
    for value in ["1", "true", "TRUE"] {
        let env = [("CNI_NETNS", OWN_NETNS), ("CNI_NETNS_OVERRIDE", value)];
        let result = run(&host, "static", &env, conf(&host, "static").to_string().as_bytes()).ok();
        assert_eq!(result["ips"][0]["address"], "10.1.0.5/24");
    }
}

#[test]
fn the_log_tells_the_request_and_the_trace_it_belongs_to() {
    let host = Host::new();
    let log = host.dir().join("cni.log");
    let env = [
        ("CNI_LOG_FILE", log.to_str().unwrap()),
        ("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    run(&host, "static", &env, conf(&host, "static").to_string().as_bytes()).ok();
    run(&host, "static", &[&env[..], &[("CNI_IFNAME", "..")]].concat(), b"").err();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in &lines {
        assert_eq!((&line["plugin"], &line["command"]), (&json!("static"), &json!("ADD")));
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(line["ms"].as_f64().unwrap() < 1000.0);
    }
    assert_eq!((&lines[0]["network"], &lines[0]["level"]), (&json!("blue"), &json!("info")));
    assert_eq!((&lines[1]["code"], &lines[1]["level"]), (&json!(4), &json!("error")));
}
