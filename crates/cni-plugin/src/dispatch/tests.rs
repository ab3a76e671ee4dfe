//! Requests as structs and bytes, answered by a plugin that notes which of its functions ran.

use std::cell::RefCell;
use std::ffi::OsString;

use cni_types::{ErrorCode, IpConfig};
use serde_json::json;

use super::*;

thread_local! {
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(call: impl Into<String>) {
    CALLS.with_borrow_mut(|calls| calls.push(call.into()));
}

fn noting(name: &'static str) -> impl Fn(&Request<()>) {
    move |req| note(format!("{name} netns={:?}", req.attachment.netns))
}

const PLUGIN: Plugin<()> = Plugin {
    name: "test",
    versions: SpecVersion::ALL,
    config: |call| {
        note("config");
        match call.conf.raw.has_any(&["refused"]) {
            true => Err(Error::config("refused: it is there")),
            false => Ok(()),
        }
    },
    add: |req| {
        noting("add")(req);
        assert!(!req.call.conf.raw.has_any(&["panic"]), "ADD panicked");
        let layer_2 = req.call.conf.raw.has_any(&["layer2"]);
        let ip = IpConfig { interface: None, address: "10.0.0.2/24".parse().unwrap(), gateway: None };
        Ok(CniResult { ips: if layer_2 { vec![] } else { vec![ip] }, ..CniResult::default() })
    },
    check: |req| {
        noting("check")(req);
        Err(Error::failed("lo is down"))
    },
    del: |req| {
        noting("del")(req);
        Ok(())
    },
    gc: |_, ()| {
        note("gc");
        Ok(())
    },
    status: |_, ()| {
        note("status");
        Err(Error::new(ErrorCode::PLUGIN_NOT_AVAILABLE, "no address left"))
    },
};

const OWN_NETNS: &str = "/proc/self/ns/net";

fn vars(command: &str) -> Vars {
    Vars {
        command: command.into(),
        container_id: "c1".into(),
        netns: "/run/netns/blue".into(),
        ifname: "eth0".into(),
        path: "/opt/cni/bin".into(),
        ..Vars::default()
    }
}

/// The answer, and the functions that were called.
fn ask(vars: &Vars, stdin: &str) -> (Answer, Vec<String>) {
    ask_plugin(&PLUGIN, vars, stdin)
}

fn ask_plugin(plugin: &Plugin<()>, vars: &Vars, stdin: &str) -> (Answer, Vec<String>) {
    CALLS.take();
    let answer = plugin.answer(vars, &mut stdin.as_bytes());
    (answer, CALLS.take())
}

/// Code and message of a refusal before any function of the plugin ran.
#[track_caller]
fn refused(vars: &Vars, stdin: &str) -> (u64, String) {
    let (answer, calls) = ask(vars, stdin);
    assert_eq!(calls, Vec::<String>::new());
    error(answer)
}

/// As it is printed.
#[track_caller]
fn object(answer: Answer) -> Value {
    let Answer::Error(error, version) = answer else { panic!("no error: {answer:?}") };
    error.to_json(version.as_str())
}

#[track_caller]
fn error(answer: Answer) -> (u64, String) {
    let json = object(answer);
    (json["code"].as_u64().unwrap(), json["msg"].as_str().unwrap().to_owned())
}

fn conf(version: &str) -> String {
    json!({"cniVersion": version, "name": "blue", "type": "test"}).to_string()
}

/// Standard input that must not be read.
struct Unreadable;

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        panic!("standard input was read");
    }
}

#[test]
fn without_a_command_a_plugin_says_what_it_is() {
    let Answer::About(text) = PLUGIN.answer(&Vars::default(), &mut Unreadable) else { panic!() };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        text,
        format!(
            "CNI test plugin v1.10.0+rs.{version}\n\
             CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"
        )
    );
}

#[test]
fn version_reads_no_configuration_and_needs_no_other_variable() {
    let vars = Vars { command: "VERSION".into(), ..Vars::default() };
    let plugin = Plugin { versions: &[SpecVersion::V0_4_0, SpecVersion::V1_0_0], ..PLUGIN };
    let answer = plugin.answer(&vars, &mut Unreadable);
    let expected = json!({"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0"]});
    assert_eq!(answer, Answer::Output(expected));
}

#[test]
fn all_missing_variables_are_named() {
    for (command, missing) in [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        let none = Vars { command: command.into(), ..Vars::default() };
        let expected = (4, format!("required env variables [{missing}] missing"));
        assert_eq!(refused(&none, &conf("1.1.0")), expected, "{command}");
    }
}

#[test]
fn each_missing_variable_is_found() {
    type Clear = fn(&mut Vars);
    let variables: [(&str, Clear); 4] = [
        ("CNI_CONTAINERID", |vars| vars.container_id.clear()),
        ("CNI_NETNS", |vars| vars.netns.clear()),
        ("CNI_IFNAME", |vars| vars.ifname.clear()),
        ("CNI_PATH", |vars| vars.path = OsString::new()),
    ];
    for command in ["ADD", "CHECK", "DEL", "GC", "STATUS"] {
        for (name, clear) in variables {
            let needed = match name {
                "CNI_PATH" => true,
                "CNI_NETNS" => matches!(command, "ADD" | "CHECK"),
                _ => matches!(command, "ADD" | "CHECK" | "DEL"),
            };
            let mut vars = vars(command);
            clear(&mut vars);
            let (answer, calls) = ask(&vars, &conf("1.1.0"));
            match needed {
                true => assert_eq!(error(answer), (4, format!("required env variables [{name}] missing"))),
                false => {
                    assert!(command == "GC" || !calls.is_empty(), "{command} without {name}: {answer:?}")
                }
            }
        }
    }
}

#[test]
fn unknown_commands_and_invalid_names_are_code_4() {
    let (code, msg) = refused(&vars("add"), &conf("1.0.0"));
    assert_eq!((code, &*msg), (4, "unknown CNI_COMMAND: add"));
    for id in ["../etc", "_a", "a b", "a/b", "a\nb"] {
        let (code, msg) = refused(&Vars { container_id: id.into(), ..vars("DEL") }, &conf("1.0.0"));
        assert_eq!(code, 4);
        assert!(msg.starts_with(&format!("CNI_CONTAINERID: invalid container ID {id:?}: ")), "{msg}");
    }
    for ifname in ["..", "sixteen-letters-", "a/b", "a:b", "a b"] {
        let (code, msg) = refused(&Vars { ifname: ifname.into(), ..vars("ADD") }, &conf("1.0.0"));
        assert_eq!(code, 4);
        assert!(msg.starts_with(&format!("CNI_IFNAME: invalid interface name {ifname:?}: ")), "{msg}");
    }
}

#[test]
fn arguments_that_cannot_be_read_are_no_matter_to_a_plugin_that_reads_none() {
    for command in ["ADD", "CHECK", "DEL"] {
        let (_, calls) = ask(&Vars { args: "MAC".into(), ..vars(command) }, &conf("1.0.0"));
        assert_eq!(calls.len(), 2, "{command}: {calls:?}");
    }
}

#[test]
fn gc_and_status_ignore_what_is_about_one_container() {
    let other =
        |command| Vars { container_id: "_".into(), ifname: "/".into(), args: "MAC".into(), ..vars(command) };
    let gc = r#"{"cniVersion":"1.1.0","name":"blue","cni.dev/valid-attachments":[]}"#;
    assert_eq!(ask(&other("GC"), gc), (Answer::Nothing, vec!["config".into(), "gc".into()]));
    assert_eq!(error(ask(&other("STATUS"), &conf("1.1.0")).0), (50, "no address left".into()));
}

#[test]
fn configurations_that_cannot_be_read_are_code_6_and_those_without_a_name_7() {
    for stdin in ["", "{", "[]", "junk", "{}x", r#"{"name":5}"#, r#"{"name":"a","cniVersion":4}"#] {
        assert_eq!(refused(&vars("ADD"), stdin).0, 6, "{stdin}");
    }
    for stdin in ["{}", r#"{"name":""}"#, r#"{"name":null}"#, r#"{"name":"a b"}"#, r#"{"name":"../etc"}"#] {
        assert_eq!(refused(&vars("ADD"), stdin).0, 7, "{stdin}");
    }
    CALLS.take();
    let answer = PLUGIN.answer(&vars("ADD"), &mut &b"{\"name\":\"\xff\"}"[..]);
    let expected = "network configuration is not UTF-8: invalid byte at offset 9";
    assert_eq!(error(answer), (6, expected.to_owned()));
}

#[test]
fn input_that_cannot_be_read_or_is_endless_is_code_5() {
    let (code, msg) = error(PLUGIN.answer(&vars("ADD"), &mut std::io::repeat(b' ')));
    let expected = "cannot read the configuration: standard input is larger than 16777216 bytes";
    assert_eq!((code, &*msg), (5, expected));

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("bad disk"))
        }
    }
    let (code, msg) = error(PLUGIN.answer(&vars("ADD"), &mut Broken));
    assert_eq!((code, &*msg), (5, "cannot read the configuration from standard input: bad disk"));
}

#[test]
fn every_command_is_answered_from_the_version_on_that_has_it() {
    for version in SpecVersion::ALL {
        for (command, since) in
            [("ADD", "0.1.0"), ("DEL", "0.1.0"), ("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")]
        {
            let (answer, calls) = ask(&vars(command), &conf(version.as_str()));
            if *version < since.parse().unwrap() {
                assert_eq!(error(answer), (1, format!("config version does not allow {command}")));
                assert_eq!(calls, Vec::<String>::new());
            } else if command != "GC" {
                let function = format!("{} netns=Some(\"/run/netns/blue\")", command.to_lowercase());
                let expected = if command == "STATUS" { "status" } else { &function };
                assert_eq!(calls, ["config", expected], "{command} {version}");
            }
        }
    }
}

#[test]
fn a_result_is_in_the_version_of_the_configuration() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let Answer::Output(json) = ask(&vars("ADD"), &conf(version)).0 else { panic!("{version}") };
        assert_eq!(json["cniVersion"], version);
        let address = if version < "0.3.0" { &json["ip4"]["ip"] } else { &json["ips"][0]["address"] };
        assert_eq!(address, "10.0.0.2/24");
    }
    let Answer::Output(json) = ask(&vars("ADD"), r#"{"name":"blue"}"#).0 else { panic!() };
    assert_eq!(json["cniVersion"], "0.1.0");
}

#[test]
fn versions_that_the_plugin_or_nobody_knows_are_code_1_with_details() {
    let plugin = Plugin { versions: &[SpecVersion::V0_4_0, SpecVersion::V1_0_0], ..PLUGIN };
    for version in ["0.3.1", "1.1.0", "1.2.0", "junk"] {
        let (answer, calls) = ask_plugin(&plugin, &vars("ADD"), &conf(version));
        assert_eq!(calls, Vec::<String>::new());
        let known = if version < "1.2.0" { version } else { "1.1.0" };
        assert_eq!(
            object(answer),
            json!({
                "cniVersion": known, "code": 1, "msg": "incompatible CNI versions",
                "details": format!("config is \"{version}\", plugin supports [\"0.4.0\" \"1.0.0\"]"),
            })
        );
    }
}

#[test]
fn errors_are_in_the_version_of_the_configuration() {
    let json = object(ask(&vars("CHECK"), &conf("0.3.1")).0);
    assert_eq!((&json["cniVersion"], &json["code"]), (&json!("0.3.1"), &json!(1)));

    let (answer, calls) = ask(&vars("CHECK"), &conf("0.4.0"));
    assert_eq!(object(answer), json!({"cniVersion": "0.4.0", "code": 999, "msg": "lo is down"}));
    assert_eq!(calls, ["config", "check netns=Some(\"/run/netns/blue\")"]);
}

#[test]
fn a_refused_configuration_stops_every_command() {
    let stdin = r#"{"cniVersion":"1.1.0","name":"blue","refused":1,"cni.dev/valid-attachments":[]}"#;
    for command in ["ADD", "CHECK", "DEL", "GC", "STATUS"] {
        let (answer, calls) = ask(&vars(command), stdin);
        assert_eq!(error(answer), (7, "refused: it is there".into()), "{command}");
        assert_eq!(calls, ["config"]);
    }
}

#[test]
fn add_refuses_the_plugins_own_namespace_before_anything_is_touched() {
    let own = Vars { netns: OWN_NETNS.into(), ..vars("ADD") };
    let (answer, calls) = ask(&own, &conf("1.0.0"));
    assert_eq!(error(answer), (8, "plugin's netns and netns from CNI_NETNS should not be the same".into()));
    assert_eq!(calls, ["config"]);
}

#[test]
fn del_in_the_plugins_own_namespace_runs_without_one_and_then_fails() {
    let own = Vars { netns: OWN_NETNS.into(), ..vars("DEL") };
    let (answer, calls) = ask(&own, &conf("1.0.0"));
    assert_eq!(error(answer), (8, "plugin's netns and netns from CNI_NETNS should not be the same".into()));
    assert_eq!(calls, ["config", "del netns=None"]);
}

#[test]
fn check_and_the_override_take_the_plugins_own_namespace() {
    let expected =
        |function: &str| vec!["config".to_owned(), format!("{function} netns=Some(\"{OWN_NETNS}\")")];
    let check = Vars { netns: OWN_NETNS.into(), ..vars("CHECK") };
    assert_eq!(ask(&check, &conf("1.0.0")).1, expected("check"));
    for (netns_override, allowed) in
        [("1", true), ("true", true), ("TRUE", true), ("True", true), ("0", false), ("yes", false)]
    {
        for command in ["ADD", "DEL"] {
            let vars =
                Vars { netns: OWN_NETNS.into(), netns_override: netns_override.into(), ..vars(command) };
            let (answer, calls) = ask(&vars, &conf("1.0.0"));
            assert_eq!(!matches!(answer, Answer::Error(..)), allowed, "{command} {netns_override}");
            assert_eq!(calls == expected(&command.to_lowercase()), allowed, "{command} {netns_override}");
        }
    }
}

#[test]
fn del_may_lack_the_namespace() {
    let vars = Vars { netns: String::new(), ..vars("DEL") };
    assert_eq!(ask(&vars, &conf("1.0.0")), (Answer::Nothing, vec!["config".into(), "del netns=None".into()]));
}

#[test]
fn gc_without_knowledge_of_what_is_in_use_collects_nothing() {
    let conf = json!({"cniVersion": "1.1.0", "name": "blue"});
    assert_eq!(ask(&vars("GC"), &conf.to_string()), (Answer::Nothing, vec!["config".into()]));
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        // A6
        for nothing in [json!([]), json!(null)] {
            let conf = json!({"cniVersion": "1.1.0", "name": "blue", key: nothing});
            assert_eq!(ask(&vars("GC"), &conf.to_string()).1, ["config", "gc"]);
        }
    }
}

#[test]
fn a_result_that_the_version_cannot_tell_is_taken_back() {
    let (answer, calls) = ask(&vars("ADD"), r#"{"cniVersion":"0.2.0","name":"blue","layer2":1}"#);
    let (code, msg) = error(answer);
    assert_eq!(code, 999);
    assert!(msg.starts_with("cannot convert a result to CNI 0.2.0: "), "{msg}");
    let netns = "netns=Some(\"/run/netns/blue\")";
    assert_eq!(calls, ["config".to_owned(), format!("add {netns}"), format!("del {netns}")]);
}

#[test]
fn a_panic_is_an_error_object() {
    let (answer, _) = ask(&vars("ADD"), r#"{"cniVersion":"1.0.0","name":"blue","panic":1}"#);
    let (code, msg) = error(answer);
    assert_eq!(code, 999);
    assert!(msg.starts_with("internal error: panic: ADD panicked"), "{msg}");
}

#[test]
fn path_elements_are_split_and_empty_ones_dropped() {
    let vars = Vars { path: ":/opt/cni/bin::/usr/lib/cni:".into(), ..vars("ADD") };
    let input = conf("1.0.0").into_bytes();
    let conf = incoming::configuration(Command::Add, &input, SpecVersion::ALL).unwrap();
    let call = incoming::call(Command::Add, &vars, "test", conf, input);
    let expected: Vec<std::path::PathBuf> = vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()];
    assert_eq!(call.path, expected);
}
