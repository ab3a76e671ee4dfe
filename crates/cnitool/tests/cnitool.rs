//! The program as it is called, over plugins that write down what they are asked (testdata/libcni/recorder).

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const PLUGINS: [&str; 5] = ["one", "two", "bridge", "host-local", "portmap"];

/// A folder with plugins, a network `blue` and a cache in it.
struct Bench {
    dir: tempfile::TempDir,
}

/// What a run printed.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }
}

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/libcni").canonicalize().unwrap().join(path)
}

impl Bench {
    fn new(version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["bin", "net.d"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for plugin in PLUGINS {
            symlink(testdata("recorder"), dir.path().join("bin").join(plugin)).unwrap();
        }
        let bench = Bench { dir };
        let versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];
        for plugin in PLUGINS {
            let answer = json!({ "cniVersion": "1.0.0", "supportedVersions": versions });
            bench.write(&format!("bin/{plugin}.VERSION"), &answer);
        }
        let result = json!({ "cniVersion": version, "ips": [{ "address": "10.1.0.5/16" }], "dns": {} });
        bench.write("bin/one.ADD", &result);
        bench.write("bin/two.ADD", &result);
        bench.write(
            "net.d/blue.conflist",
            &json!({
                "cniVersion": version, "name": "blue",
                "plugins": [{ "type": "one", "capabilities": { "mac": true } }, { "type": "two" }],
            }),
        );
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, value: &Value) {
        fs::write(self.path(path), value.to_string()).unwrap();
    }

    /// Runs `cnitool` with these arguments.
    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Run {
        #[allow(clippy::disallowed_methods, reason = "the program under test")]
        let output = Command::new(env!("CARGO_BIN_EXE_cnitool"))
            .args(args)
            .arg("--cache-dir")
            .arg(self.path("cache"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("NETCONFPATH", self.path("net.d"))
            .env("CNI_PATH", self.path("bin"))
            .envs(env.iter().copied())
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The plugins' calls since the last look, each as `plugin COMMAND id ifname`.
    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("bin/log")).unwrap_or_default();
        let _ = fs::remove_file(self.path("bin/log"));
        let call = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            format!("{} {} {} {}", words[0], words[1], words[2], words[4])
        };
        log.lines().map(call).collect()
    }

    fn stdin(&self, call: usize) -> Value {
        serde_json::from_slice(&fs::read(self.path(&format!("bin/stdin.{call}"))).unwrap()).unwrap()
    }

    fn cached(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.path("cache/results")) else { return Vec::new() };
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A namespace that is there as long as this process.
fn own_netns() -> String {
    format!("/proc/{}/ns/net", std::process::id())
}

#[test]
fn add_check_and_del_take_the_references_arguments_and_environment() {
    let bench = Bench::new("1.0.0");
    let env = [
        ("CNI_IFNAME", "net1"),
        ("CNI_ARGS", "IgnoreUnknown=1;K=v"),
        ("CAP_ARGS", r#"{"mac":"02:00:00:00:00:01"}"#),
    ];
    let added = bench.run_with(&["add", "blue", "/var/run/netns/testing"], &env);
    assert_eq!((added.code, added.stderr.as_str()), (0, ""));
    let expected = "\
{
    \"cniVersion\": \"1.0.0\",
    \"dns\": {},
    \"ips\": [
        {
            \"address\": \"10.1.0.5/16\"
        }
    ]
}
";
    assert_eq!(added.stdout, expected);
    let log = fs::read_to_string(bench.path("bin/log")).unwrap();
    let tail = format!(
        "id=cnitool-77383ca0a0715733ca6f netns=/var/run/netns/testing ifname=net1 args=IgnoreUnknown=1;K=v path={}",
        bench.path("bin").display()
    );
    assert_eq!(log, format!("one ADD {tail}\ntwo ADD {tail}\n"));
    assert_eq!(bench.stdin(1)["runtimeConfig"], json!({ "mac": "02:00:00:00:00:01" }));
    assert_eq!(bench.cached(), ["blue-cnitool-77383ca0a0715733ca6f-net1"]);
    bench.calls();

    // The flag counts before the variable.
    let checked =
        bench.run_with(&["check", "blue", "/var/run/netns/testing", "-i", "net1"], &[("CNI_IFNAME", "x")]);
    assert_eq!((checked.code, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""));
    let deleted = bench.run(&["--ifname", "net1", "del", "blue", "/var/run/netns/../netns/testing"]);
    assert_eq!((deleted.code, deleted.stdout.as_str(), deleted.stderr.as_str()), (0, "", ""));
    let call = |call: &str| format!("{call} id=cnitool-77383ca0a0715733ca6f ifname=net1");
    assert_eq!(bench.calls(), ["one CHECK", "two CHECK", "two DEL", "one DEL"].map(call));
    assert!(bench.cached().is_empty());
}

#[test]
fn failures_are_text_on_stderr_or_json_on_stdout() {
    let bench = Bench::new("1.0.0");
    let error = json!({ "cniVersion": "1.0.0", "code": 11, "msg": "try again", "details": "busy" });
    bench.write("bin/one.ADD.fail", &error);
    let run = bench.run(&["add", "blue", "/run/netns/x"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.starts_with("cnitool: cannot add eth0 of container cnitool-"), "{}", run.stderr);
    assert!(run.stderr.ends_with("/bin/one failed: try again; busy (code 11)\n"), "{}", run.stderr);

    let run = bench.run(&["--json", "add", "blue", "/run/netns/x"]);
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
    let error = &run.json()["errors"][0];
    assert_eq!(error["plugin"], "one");
    assert_eq!(
        (&error["code"], &error["msg"], &error["details"]),
        (&json!(11), &json!("try again"), &json!("busy"))
    );
    assert!(error["message"].as_str().unwrap().contains("to network blue"), "{error}");
}

#[test]
fn wrong_arguments_and_environment_exit_with_2() {
    let bench = Bench::new("1.0.0");
    assert_eq!(bench.run(&["add", "blue"]).code, 2);
    assert_eq!(bench.run(&["add", "../blue", "/run/netns/x"]).code, 2);
    assert_eq!(bench.run(&["add", "blue", "/run/netns/x", "-i", "a/b"]).code, 2);
    for (variable, value) in [("CAP_ARGS", "{"), ("CNI_ARGS", "A"), ("CNI_IFNAME", "a:b")] {
        let run = bench.run_with(&["add", "blue", "/run/netns/x"], &[(variable, value)]);
        assert_eq!(run.code, 2, "{variable}: {}", run.stderr);
    }
    assert_eq!(bench.run(&["gc", "blue", "--stale", "--valid", "none"]).code, 2);
    assert!(bench.calls().is_empty());
}

#[test]
fn a_network_that_is_not_there_exits_with_1_and_says_where_it_was_looked_for() {
    let bench = Bench::new("1.0.0");
    let run = bench.run(&["add", "green", "/run/netns/x"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("cannot find network \"green\": no file in /"), "{}", run.stderr);
}

#[test]
fn a_missing_cni_path_is_hinted_at() {
    let bench = Bench::new("1.0.0");
    let run = bench.run_with(&["add", "blue", "/run/netns/x"], &[("CNI_PATH", "")]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.ends_with("(CNI_PATH is not set)\n"), "{}", run.stderr);
}

#[test]
fn check_says_when_it_checked_nothing() {
    let bench = Bench::new("1.0.0");
    let network =
        json!({ "cniVersion": "1.0.0", "name": "off", "disableCheck": true, "plugins": [{ "type": "one" }] });
    bench.write("net.d/off.conflist", &network);
    let run = bench.run(&["check", "off", "/run/netns/x"]);
    assert_eq!(run.code, 0);
    assert_eq!(run.stderr, "cnitool: network off sets disableCheck, so nothing was checked\n");
    assert_eq!(bench.run(&["--json", "check", "off", "/run/netns/x"]).json()["checked"], false);
    assert!(bench.calls().is_empty());
}

#[test]
fn gc_without_a_list_is_the_references() {
    let bench = Bench::new("1.1.0");
    bench.run(&["add", "blue", &own_netns()]);
    bench.calls();
    let run = bench.run(&["gc", "blue", "/run/netns/ignored"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("deleted eth0 of container cnitool-"), "{}", run.stdout);
    let commands: Vec<String> = bench.calls().iter().map(|call| call[..7].trim().to_string()).collect();
    assert_eq!(commands, ["two DEL", "one DEL", "one GC", "two GC"]);
    assert_eq!(bench.stdin(3).get("cni.dev/valid-attachments"), None);
}

#[test]
fn gc_with_a_list_keeps_what_is_in_it_and_tells_the_plugins() {
    let bench = Bench::new("1.1.0");
    for netns in ["/run/netns/a", "/run/netns/b"] {
        bench.run(&["add", "blue", netns]);
    }
    let kept = bench.cached()[0].strip_prefix("blue-").unwrap().strip_suffix("-eth0").unwrap().to_string();
    bench.calls();
    let run =
        bench.run(&["--json", "gc", "blue", "--valid", &format!("{kept}/eth0"), "--valid", "other/net1"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!(run.json()["removed"].as_array().unwrap().len(), 1);
    assert_eq!(bench.cached(), [format!("blue-{kept}-eth0")]);
    let list =
        json!([{ "containerID": kept, "ifname": "eth0" }, { "containerID": "other", "ifname": "net1" }]);
    assert_eq!(bench.stdin(3)["cni.dev/valid-attachments"], list);

    let run = bench.run(&["gc", "blue", "--valid", "none"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(bench.cached().is_empty());
    assert_eq!(bench.stdin(4)["cni.dev/valid-attachments"], list);
    assert_eq!(bench.stdin(8)["cni.dev/valid-attachments"], json!([]));
}

#[test]
fn gc_stale_deletes_only_what_has_lost_its_namespace_and_asks_no_plugin() {
    let bench = Bench::new("1.1.0");
    bench.run(&["add", "blue", &own_netns()]);
    bench.run(&["add", "blue", "/run/netns/no-such-namespace"]);
    bench.calls();
    let run = bench.run(&["gc", "blue", "--stale"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout.lines().count(), 1);
    let calls = bench.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.contains(" DEL ")), "{calls:?}");
    let left = bench.run(&["--json", "list"]).json();
    assert_eq!(left["attachments"][0]["netns"], json!(own_netns()));
}

#[test]
fn gc_tells_what_it_did_and_what_failed() {
    let bench = Bench::new("1.1.0");
    bench.run(&["add", "blue", "/run/netns/a"]);
    bench.write("bin/one.GC.fail", &json!({ "cniVersion": "1.1.0", "code": 100, "msg": "no" }));
    let run = bench.run(&["--json", "gc", "blue", "--valid", "none"]);
    assert_eq!(run.code, 1);
    let answer = run.json();
    assert_eq!(answer["removed"].as_array().unwrap().len(), 1);
    assert_eq!((&answer["errors"][0]["plugin"], &answer["errors"][0]["code"]), (&json!("one"), &json!(100)));
}

#[test]
fn list_shows_addresses_and_whether_the_namespace_is_there() {
    let bench = Bench::new("1.0.0");
    bench.run(&["add", "blue", &own_netns()]);
    bench.run(&["add", "blue", "/run/netns/no-such-namespace", "-i", "net1"]);
    fs::write(bench.path("cache/results/z-empty"), "").unwrap();

    let run = bench.run(&["list"]);
    assert_eq!(run.code, 0);
    assert!(
        run.stderr.contains("cannot use cache entry /") && run.stderr.contains("/z-empty: "),
        "{}",
        run.stderr
    );
    let mut lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines.remove(0).starts_with("NETWORK  CONTAINER "), "{}", run.stdout);
    lines.sort_by_key(|line| line.contains("net1"));
    assert!(
        lines[0].contains(" eth0       10.1.0.5/16  /proc/") && lines[0].ends_with("  present"),
        "{}",
        run.stdout
    );
    assert!(lines[1].ends_with("  /run/netns/no-such-namespace  gone"), "{}", run.stdout);

    let json = bench.run(&["--json", "list", "blue"]).json();
    let gone = json["attachments"].as_array().unwrap().iter().find(|a| a["ifname"] == "net1").unwrap();
    assert_eq!((&gone["addresses"], &gone["netnsState"]), (&json!(["10.1.0.5/16"]), &json!("gone")));
    assert_eq!(json["unusable"].as_array().unwrap().len(), 1);
    assert_eq!(bench.run(&["--json", "list", "green"]).json()["attachments"], json!([]));
}

#[test]
fn status_returns_the_plugins_code() {
    let bench = Bench::new("1.1.0");
    assert_eq!(bench.run(&["status", "blue"]).stdout, "blue: ready\n");
    bench.write("bin/two.STATUS.fail", &json!({ "cniVersion": "1.1.0", "code": 50, "msg": "no addresses" }));
    let run = bench.run(&["--json", "status", "blue", "/run/netns/ignored"]);
    assert_eq!((run.code, &run.json()["errors"][0]["code"]), (1, &json!(50)));
    let old = Bench::new("1.0.0");
    assert_eq!(old.run(&["status", "blue"]).stdout, "blue: not asked, since CNI 1.0.0 has no STATUS\n");
}

#[test]
fn version_tells_its_own_or_the_plugins() {
    let bench = Bench::new("1.0.0");
    let own = bench.run(&["version"]).stdout;
    assert!(own.starts_with("cnitool ") && own.ends_with(", 1.0.0, 1.1.0\n"), "{own}");
    let run = bench.run(&["version", "blue"]);
    assert_eq!(
        run.stdout,
        "one: CNI 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0\ntwo: CNI 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0\n"
    );
}

#[test]
fn validate_finds_what_is_wrong_and_where() {
    let bench = Bench::new("1.0.0");
    let file = testdata("validate/faulty.conflist");
    let run = bench.run(&["validate", file.to_str().unwrap()]);
    let bin = bench.path("bin").display().to_string();
    let expected = format!(
        "\
warning: F: nerdctlID: unknown key, which nothing here reads
error: F: plugins[0].ipam.ranges[0][0].rangeStrat: unknown key; did you mean rangeStart?
error: F: plugins[0].ipam.ranges[0][0].subnet: must be an IP address with a prefix length, not \"10.1.0.0\"
error: F: plugins[0].isGatway: unknown key; did you mean isGateway?
error: F: plugins[0].mtu: must be a whole number, not a string
error: F: plugins[1].capabilities.portMappings: must be true or false, not a string
error: F: plugins[2].type: cannot ask plugin acme for its versions: cannot find plugin acme in {bin}
F: 6 errors, 1 warning
"
    );
    assert_eq!(run.stdout.replace(file.to_str().unwrap(), "F"), expected);
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
}

#[test]
fn validate_runs_each_plugin_once_and_compares_its_versions() {
    let bench = Bench::new("1.1.0");
    let run = bench.run(&["--json", "validate", "blue"]);
    assert_eq!(run.code, 1);
    let answer = run.json();
    assert_eq!((&answer["valid"], &answer["cniVersion"]), (&json!(false), &json!("1.1.0")));
    let finding = &answer["findings"][0];
    assert_eq!((&finding["severity"], &finding["path"]), (&json!("error"), &json!("plugins[0].type")));
    assert_eq!(
        finding["message"],
        "plugin one does not support CNI version 1.1.0, only 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0"
    );
    assert_eq!(bench.calls(), ["one VERSION id= ifname=dummy", "two VERSION id= ifname=dummy"]);
}

#[test]
fn validate_looks_into_the_folder_beside_a_list() {
    let bench = Bench::new("1.0.0");
    let file = testdata("validate/right.conflist");
    let run = bench.run(&["validate", file.to_str().unwrap()]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(
        run.stdout.replace(file.to_str().unwrap(), "F"),
        "F: network right, CNI 1.0.0, 2 plugins: no errors, 0 warnings\n"
    );
    let asked = bench.calls().join(" ");
    assert!(["bridge", "host-local", "portmap"].iter().all(|plugin| asked.contains(plugin)), "{asked}");

    fs::remove_file(bench.path("bin/portmap")).unwrap();
    let run = bench.run(&["validate", file.to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("/right/10-portmap.conf: type: cannot ask plugin portmap"), "{}", run.stdout);
}

#[test]
fn validate_never_passes_what_add_refuses() {
    let bench = Bench::new("1.0.0");
    for (text, complaint) in [
        ("{", "not JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "must be an object"),
        (r#"{"cniVersion":"1.0.0","plugins":[{"type":"one"}]}"#, "name: missing"),
        (r#"{"cniVersion":"1.0.0","name":"a/b","plugins":[{"type":"one"}]}"#, "name: invalid network name"),
        (
            r#"{"cniVersion":"5.0.0","name":"n","plugins":[{"type":"one"}]}"#,
            "cniVersion: unknown CNI version",
        ),
        (r#"{"cniVersions":["x"],"name":"n","plugins":[{"type":"one"}]}"#, "cniVersions[0]: invalid version"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[]}"#, "plugins: no plugins"),
        (r#"{"cniVersion":"1.0.0","name":"n"}"#, "no plugins in it"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"typ":"one"}]}"#, "plugins[0].type: missing"),
        (
            r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"../x"}]}"#,
            "plugins[0].type: invalid plugin type",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","loadOnlyInlinedPlugins":true}"#,
            "plugins: missing, though loadOnlyInlinedPlugins is true",
        ),
    ] {
        fs::write(bench.path("x.conflist"), text).unwrap();
        let run = bench.run(&["validate", bench.path("x.conflist").to_str().unwrap()]);
        assert_eq!(run.code, 1, "{text}");
        assert!(run.stdout.contains(complaint), "{text}: {}", run.stdout);
    }
}

#[test]
fn validate_without_cni_path_checks_the_keys_alone() {
    let bench = Bench::new("1.0.0");
    let run = bench.run_with(&["validate", "blue"], &[("CNI_PATH", "")]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("CNI_PATH is not set, so no plugin was looked for"), "{}", run.stdout);
    assert!(bench.calls().is_empty());
}

#[test]
fn completions_are_for_the_shell_that_is_named() {
    let bench = Bench::new("1.0.0");
    for (shell, sign) in
        [("bash", "complete -F _cnitool"), ("zsh", "#compdef cnitool"), ("fish", "complete -c cnitool")]
    {
        let run = bench.run(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains(sign), "{shell}");
    }
}
