//! Chains of plugins that write down what they are asked (testdata/libcni/recorder): order, requests, environment, cache.

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

use cni_exec::ExecError;
use cni_types::{ContainerId, ErrorCode, GcAttachment, IfName, PluginType, SpecVersion};
use libcni::{Attachment, CacheEntry, Error, Network, Runtime};
use serde_json::{Value, json};

/// A folder with plugins `one` and `two` in it, and a runtime over it with a cache of its own.
struct Bench {
    dir: tempfile::TempDir,
    runtime: Runtime,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let recorder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/libcni/recorder");
        for plugin in ["one", "two"] {
            std::os::unix::fs::symlink(recorder.canonicalize().unwrap(), dir.path().join("bin").join(plugin))
                .unwrap();
        }
        let runtime = Runtime::new(vec![dir.path().join("bin")], dir.path().join("cache"));
        let bench = Bench { dir, runtime };
        bench.answer("one.ADD", &result("10.1.0.5/16"));
        bench.answer("two.ADD", &result("10.1.0.6/16"));
        bench
    }

    fn bin(&self, file: &str) -> PathBuf {
        self.dir.path().join("bin").join(file)
    }

    fn answer(&self, file: &str, answer: &Value) {
        fs::write(self.bin(file), answer.to_string()).unwrap();
    }

    fn fail(&self, call: &str, code: u32, msg: &str) {
        let error = json!({ "cniVersion": "1.0.0", "code": code, "msg": msg });
        self.answer(&format!("{call}.fail"), &error);
    }

    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.bin("log")).unwrap_or_default();
        log.lines().map(str::to_string).collect()
    }

    /// Plugin and command of each call, in order.
    fn calls(&self) -> Vec<String> {
        self.log().iter().map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }

    /// The standard input of the call with this number, from 1 on.
    fn stdin(&self, call: usize) -> Value {
        serde_json::from_slice(&fs::read(self.bin(&format!("stdin.{call}"))).unwrap()).unwrap()
    }

    fn forget_calls(&self) {
        fs::remove_file(self.bin("log")).unwrap();
    }

    fn cache_files(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.dir.path().join("cache/results")) else { return Vec::new() };
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn result(address: &str) -> Value {
    json!({ "cniVersion": "1.0.0", "ips": [{ "address": address }], "dns": {} })
}

fn network(version: &str, extra: Value) -> Network {
    let mut list = json!({
        "cniVersion": version,
        "name": "blue",
        "plugins": [
            { "type": "one", "capabilities": { "mac": true }, "key": "kept" },
            { "type": "two", "capabilities": { "portMappings": true } },
        ],
    });
    list.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Network::from_slice(list.to_string().as_bytes()).unwrap()
}

fn attachment(container_id: &str) -> Attachment {
    let id = ContainerId::new(container_id).unwrap();
    let mut attachment = Attachment::new(id, IfName::new("eth0").unwrap());
    attachment.netns = Some(format!("/run/netns/{container_id}"));
    attachment.args =
        vec![("IgnoreUnknown".to_string(), "1".to_string()), ("A".to_string(), "b".to_string())];
    attachment.capability_args.insert("mac".to_string(), json!("02:00:00:00:00:01"));
    attachment
}

#[test]
fn add_chains_results_and_caches_the_last() {
    let bench = Bench::new();
    let network = network("1.0.0", json!({}));
    let added = bench.runtime.add(&network, &attachment("c1")).unwrap();

    assert_eq!(added.json, result("10.1.0.6/16"));
    assert_eq!(added.result.ips[0].address.to_string(), "10.1.0.6/16");
    let bin = bench.dir.path().join("bin").display().to_string();
    let tail = format!("id=c1 netns=/run/netns/c1 ifname=eth0 args=IgnoreUnknown=1;A=b path={bin}");
    assert_eq!(bench.log(), [format!("one ADD {tail}"), format!("two ADD {tail}")]);
    assert_eq!(
        bench.stdin(1),
        json!({
            "cniVersion": "1.0.0", "name": "blue", "type": "one", "key": "kept",
            "capabilities": { "mac": true }, "runtimeConfig": { "mac": "02:00:00:00:00:01" },
        })
    );
    assert_eq!(
        bench.stdin(2),
        json!({
            "cniVersion": "1.0.0", "name": "blue", "type": "two", "capabilities": { "portMappings": true },
            "prevResult": result("10.1.0.5/16"),
        })
    );

    assert_eq!(bench.cache_files(), ["blue-c1-eth0"]);
    let entry = bench.runtime.cache().get(&network.name, &attachment("c1").key()).unwrap().unwrap();
    assert_eq!(entry.attachment, attachment("c1"));
    assert_eq!(entry.result, Some(result("10.1.0.6/16")));
    assert_eq!(Network::from_slice(&entry.config).unwrap(), network);
}

#[test]
fn a_failed_add_runs_nothing_more_cleans_nothing_and_caches_nothing() {
    let bench = Bench::new();
    bench.fail("one.ADD", 11, "try again later");
    let error = bench.runtime.add(&network("1.0.0", json!({})), &attachment("c1")).unwrap_err();

    assert_eq!(bench.calls(), ["one ADD"]);
    assert!(bench.cache_files().is_empty());
    let text = error.to_string();
    assert!(text.starts_with("cannot add eth0 of container c1 to network blue: plugin /"), "{text}");
    assert!(text.ends_with("/bin/one failed: try again later (code 11)"), "{text}");
    let Error::Plugin { plugin, source: ExecError::Plugin { error, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((plugin.as_str(), error.code), ("one", ErrorCode::TRY_AGAIN_LATER));
}

#[test]
fn a_result_without_version_has_the_networks() {
    let bench = Bench::new();
    bench.answer("one.ADD", &json!({ "ips": [{ "version": "4", "address": "10.1.0.5/16" }] }));
    bench.answer("two.ADD", &Value::Null);
    let added = bench.runtime.add(&network("0.4.0", json!({})), &attachment("c1")).unwrap();
    let previous = json!({ "cniVersion": "0.4.0", "ips": [{ "version": "4", "address": "10.1.0.5/16" }] });
    assert_eq!(bench.stdin(2)["prevResult"], previous);
    assert_eq!(added.json, json!({ "cniVersion": "0.4.0" }));
}

#[test]
fn a_result_in_another_version_is_converted() {
    let bench = Bench::new();
    bench.answer(
        "one.ADD",
        &json!({ "cniVersion": "0.3.1", "ips": [{ "version": "4", "address": "10.1.0.5/16" }] }),
    );
    bench.runtime.add(&network("1.0.0", json!({})), &attachment("c1")).unwrap();
    let previous = &bench.stdin(2)["prevResult"];
    assert_eq!(previous["cniVersion"], "1.0.0");
    assert_eq!(previous["ips"], json!([{ "address": "10.1.0.5/16" }]));
}

#[test]
fn an_answer_that_is_no_result_is_named_with_its_plugin() {
    let bench = Bench::new();
    fs::write(bench.bin("one.ADD"), "hello").unwrap();
    let error = bench.runtime.add(&network("1.0.0", json!({})), &attachment("c1")).unwrap_err().to_string();
    assert!(error.contains("cannot read the answer of plugin one: not JSON: "), "{error}");
}

#[test]
fn check_runs_forward_with_the_cached_result_and_stops_at_the_first_fault() {
    let bench = Bench::new();
    let network = network("1.0.0", json!({}));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    bench.runtime.check(&network, &attachment("c1")).unwrap();
    assert_eq!(bench.calls(), ["one CHECK", "two CHECK"]);
    assert_eq!(bench.stdin(1)["prevResult"], result("10.1.0.6/16"));
    assert_eq!(bench.stdin(2)["prevResult"], result("10.1.0.6/16"));

    bench.forget_calls();
    bench.fail("one.CHECK", 100, "address is gone");
    let error = bench.runtime.check(&network, &attachment("c1")).unwrap_err().to_string();
    assert!(error.starts_with("cannot check eth0 of container c1 on network blue: plugin /"), "{error}");
    assert_eq!(bench.calls(), ["one CHECK"]);
}

#[test]
fn check_is_skipped_or_refused_without_running_anything() {
    let bench = Bench::new();
    bench.runtime.check(&network("1.0.0", json!({ "disableCheck": true })), &attachment("c1")).unwrap();
    let error = bench.runtime.check(&network("0.3.1", json!({})), &attachment("c1")).unwrap_err();
    assert!(matches!(error, Error::CheckUnsupported { version: SpecVersion::V0_3_1, .. }), "{error}");
    assert!(bench.log().is_empty());
}

#[test]
fn del_runs_backward_with_the_cached_result_and_deletes_the_entry() {
    let bench = Bench::new();
    let network = network("0.4.0", json!({}));
    bench.answer("two.ADD", &json!({ "cniVersion": "0.4.0", "ips": [] }));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    bench.runtime.del(&network, &attachment("c1")).unwrap();
    assert_eq!(bench.calls(), ["two DEL", "one DEL"]);
    assert_eq!(bench.stdin(1)["prevResult"], json!({ "cniVersion": "0.4.0", "ips": [] }));
    assert_eq!(bench.stdin(2)["runtimeConfig"], json!({ "mac": "02:00:00:00:00:01" }));
    assert!(bench.cache_files().is_empty());

    bench.forget_calls();
    bench.runtime.del(&network, &attachment("c1")).unwrap();
    assert_eq!(bench.calls(), ["two DEL", "one DEL"]);
    assert_eq!(bench.stdin(1).get("prevResult"), None);
}

#[test]
fn del_before_0_4_0_has_no_previous_result() {
    let bench = Bench::new();
    let network = network("0.3.1", json!({}));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    bench.runtime.del(&network, &attachment("c1")).unwrap();
    assert_eq!(bench.stdin(1).get("prevResult"), None);
    assert!(bench.cache_files().is_empty());
}

#[test]
fn del_goes_on_after_a_failure_and_keeps_the_entry_until_all_have_succeeded() {
    let bench = Bench::new();
    let network = network("1.0.0", json!({}));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    bench.fail("two.DEL", 100, "first fault");
    bench.fail("one.DEL", 100, "second fault");
    let error = bench.runtime.del(&network, &attachment("c1")).unwrap_err();
    assert_eq!(bench.calls(), ["two DEL", "one DEL"]);
    assert_eq!(error.each().count(), 2);
    let text = error.to_string();
    assert!(text.contains("first fault (code 100); cannot delete eth0"), "{text}");
    assert_eq!(bench.cache_files(), ["blue-c1-eth0"]);

    fs::remove_file(bench.bin("two.DEL.fail")).unwrap();
    fs::remove_file(bench.bin("one.DEL.fail")).unwrap();
    bench.forget_calls();
    bench.runtime.del(&network, &attachment("c1")).unwrap();
    assert_eq!(bench.stdin(1)["prevResult"], result("10.1.0.6/16"));
    assert!(bench.cache_files().is_empty());
}

#[test]
fn del_runs_the_rest_of_the_chain_when_a_plugin_is_missing() {
    let bench = Bench::new();
    fs::remove_file(bench.bin("two")).unwrap();
    let error = bench.runtime.del(&network("1.0.0", json!({})), &attachment("c1")).unwrap_err().to_string();
    assert!(error.contains("cannot find plugin two in /"), "{error}");
    assert_eq!(bench.calls(), ["one DEL"]);
}

#[test]
fn del_does_without_a_cache_entry_that_cannot_be_read() {
    for content in ["", "{\"kind\":\"cniCacheV1\"}", r#"{"cniVersion":"7.0.0"}"#] {
        let bench = Bench::new();
        let network = network("1.0.0", json!({}));
        bench.runtime.add(&network, &attachment("c1")).unwrap();
        bench.forget_calls();
        fs::write(bench.dir.path().join("cache/results/blue-c1-eth0"), content).unwrap();
        bench.runtime.del(&network, &attachment("c1")).unwrap();
        assert_eq!(bench.stdin(1).get("prevResult"), None, "{content}");
        assert!(bench.cache_files().is_empty());
    }
}

#[test]
fn a_result_of_an_old_libcni_is_used_in_the_networks_version() {
    let bench = Bench::new();
    let results = bench.dir.path().join("cache/results");
    fs::create_dir_all(&results).unwrap();
    let legacy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/libcni/cache/legacy.json");
    fs::copy(legacy, results.join("blue-web-1-eth0")).unwrap();
    bench.runtime.del(&network("1.0.0", json!({})), &attachment("web-1")).unwrap();
    let previous = &bench.stdin(1)["prevResult"];
    assert_eq!(previous["cniVersion"], "1.0.0");
    assert_eq!(previous["ips"], json!([{ "address": "10.1.0.5/16", "interface": 0 }]));
    assert!(bench.cache_files().is_empty());
}

fn key(container_id: &str) -> GcAttachment {
    attachment(container_id).key()
}

#[test]
fn gc_deletes_stale_attachments_as_they_were_added_then_asks_the_plugins() {
    let bench = Bench::new();
    let network = network("1.1.0", json!({}));
    for id in ["c1", "c2"] {
        bench.runtime.add(&network, &attachment(id)).unwrap();
    }
    let other = json!({ "cniVersion": "1.1.0", "name": "other", "plugins": [{ "type": "one" }] });
    let other = Network::from_slice(other.to_string().as_bytes()).unwrap();
    bench.runtime.add(&other, &attachment("c3")).unwrap();
    bench.forget_calls();

    let valid = [key("c2")];
    let report = bench.runtime.gc(&network, Some(&valid));
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.removed, [key("c1")]);
    assert_eq!(bench.calls(), ["two DEL", "one DEL", "one GC", "two GC"]);
    assert!(bench.log()[0].contains("id=c1 netns=/run/netns/c1 ifname=eth0 args=IgnoreUnknown=1;A=b "));
    assert!(bench.log()[2].contains("id= netns= ifname= args= path=/"));
    assert_eq!(bench.stdin(2)["runtimeConfig"], json!({ "mac": "02:00:00:00:00:01" }));
    let list = json!([{ "containerID": "c2", "ifname": "eth0" }]);
    assert_eq!(
        bench.stdin(4),
        json!({
            "cniVersion": "1.1.0", "name": "blue", "type": "two", "capabilities": { "portMappings": true },
            "cni.dev/valid-attachments": list, "cni.dev/attachments": list,
        })
    );
    assert_eq!(bench.cache_files(), ["blue-c2-eth0", "other-c3-eth0"]);
}

#[test]
fn gc_without_a_list_deletes_what_is_cached_and_tells_plugins_nothing() {
    let bench = Bench::new();
    let network = network("1.1.0", json!({}));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    let report = bench.runtime.gc(&network, None);
    assert_eq!(report.removed, [key("c1")]);
    assert_eq!(bench.calls(), ["two DEL", "one DEL", "one GC", "two GC"]);
    assert!(bench.stdin(3).get("cni.dev/valid-attachments").is_none());
    assert!(bench.stdin(3).get("cni.dev/attachments").is_none());
}

#[test]
fn gc_before_1_1_0_deletes_stale_attachments_and_asks_no_plugin() {
    let bench = Bench::new();
    let network = network("1.0.0", json!({}));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    assert_eq!(bench.runtime.gc(&network, Some(&[])).removed, [key("c1")]);
    assert_eq!(bench.calls(), ["two DEL", "one DEL"]);
}

#[test]
fn gc_collects_errors_and_goes_on() {
    let bench = Bench::new();
    let network = network("1.1.0", json!({}));
    for id in ["c1", "c2"] {
        bench.runtime.add(&network, &attachment(id)).unwrap();
    }
    bench.forget_calls();
    bench.fail("two.DEL", 100, "no delete");
    bench.fail("one.GC", 100, "no collection");
    let report = bench.runtime.gc(&network, Some(&[]));
    assert!(report.removed.is_empty());
    assert_eq!(bench.calls(), ["two DEL", "one DEL", "two DEL", "one DEL", "one GC", "two GC"]);
    let errors: Vec<String> = report.errors.iter().map(Error::to_string).collect();
    assert!(errors[0].starts_with("cannot delete eth0 of container c1 from network blue: "), "{errors:?}");
    assert!(errors[1].starts_with("cannot delete eth0 of container c2 from network blue: "), "{errors:?}");
    assert!(errors[2].starts_with("cannot collect the garbage of network blue: "), "{errors:?}");
    assert_eq!(bench.cache_files().len(), 2);
}

#[test]
fn gc_keeps_entries_that_do_not_say_whose_they_are() {
    let bench = Bench::new();
    let results = bench.dir.path().join("cache/results");
    fs::create_dir_all(&results).unwrap();
    fs::write(results.join("blue-c1-eth0"), "").unwrap();
    let report = bench.runtime.gc(&network("1.0.0", json!({})), Some(&[]));
    assert!(report.errors.is_empty() && report.removed.is_empty());
    assert_eq!(bench.cache_files(), ["blue-c1-eth0"]);
}

#[test]
fn disable_gc_leaves_everything_alone() {
    let bench = Bench::new();
    let network = network("1.1.0", json!({ "disableGC": true }));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    let report = bench.runtime.gc(&network, Some(&[]));
    assert!(report.errors.is_empty() && report.removed.is_empty());
    assert!(bench.log().is_empty());
}

#[test]
fn status_asks_each_plugin_from_1_1_0_on_and_returns_the_first_error() {
    let bench = Bench::new();
    bench.runtime.status(&network("1.0.0", json!({}))).unwrap();
    assert!(bench.log().is_empty());
    bench.runtime.status(&network("1.1.0", json!({}))).unwrap();
    assert_eq!(bench.calls(), ["one STATUS", "two STATUS"]);
    bench.fail("one.STATUS", 50, "no addresses left");
    let error = bench.runtime.status(&network("1.1.0", json!({}))).unwrap_err();
    let Error::Plugin { source: ExecError::Plugin { error, .. }, .. } = error else { panic!("{error:?}") };
    assert_eq!(error.code, ErrorCode::PLUGIN_NOT_AVAILABLE);
    assert_eq!(bench.calls().len(), 3);
}

#[test]
fn validate_reports_missing_plugins_and_versions() {
    let bench = Bench::new();
    bench.answer("one.VERSION", &json!({ "cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"] }));
    fs::remove_file(bench.bin("two")).unwrap();
    let error = bench.runtime.validate(&network("1.1.0", json!({}))).unwrap_err();
    let errors: Vec<String> = error.each().map(Error::to_string).collect();
    assert_eq!(errors[0], "plugin one does not support CNI version 1.1.0, only 0.4.0, 1.0.0");
    assert!(errors[1].starts_with("cannot ask plugin two for its versions: cannot find plugin two in /"));
    assert_eq!(errors.len(), 2);
    assert!(bench.log()[0].starts_with("one VERSION id= netns=dummy ifname=dummy args= path=dummy"));
    assert_eq!(bench.stdin(1), json!({ "cniVersion": "1.1.0" }));
}

#[test]
fn a_plugin_that_does_not_know_version_speaks_0_1_0() {
    let bench = Bench::new();
    bench.fail("one.VERSION", 4, "unknown CNI_COMMAND: VERSION");
    let info = bench.runtime.version(&PluginType::new("one").unwrap()).unwrap();
    assert_eq!(info.supported_versions, ["0.1.0"]);
}

#[test]
fn a_plugin_folder_with_a_colon_is_refused_before_anything_runs() {
    let bench = Bench::new();
    let runtime = Runtime::new(vec![bench.dir.path().join("a:b")], bench.dir.path().join("cache"));
    let error = runtime.add(&network("1.0.0", json!({})), &attachment("c1")).unwrap_err();
    assert!(matches!(error, Error::PluginFolder { .. }), "{error}");
}

fn entry(bench: &Bench, network: &Network) -> CacheEntry {
    bench.runtime.cache().get(&network.name, &attachment("c1").key()).unwrap().unwrap()
}

#[test]
fn reapply_asks_the_picked_plugins_as_add_did_with_the_cached_result() {
    let bench = Bench::new();
    let network = network("0.3.1", json!({}));
    bench.answer("one.ADD", &json!({ "cniVersion": "0.3.1", "ips": [] }));
    let last = json!({ "cniVersion": "0.3.1", "ips": [{ "version": "4", "address": "10.1.0.6/16" }] });
    bench.answer("two.ADD", &last);
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    let added = bench.log();
    let cached = entry(&bench, &network);
    bench.forget_calls();
    bench.answer("two.ADD", &json!({ "cniVersion": "0.3.1", "ips": [] }));

    let report = bench.runtime.reapply(&cached, |plugin| plugin.plugin_type.as_str() == "two");
    assert_eq!(report.plugins.iter().map(PluginType::as_str).collect::<Vec<_>>(), ["two"]);
    assert_eq!(bench.log(), added[1..], "the same container, arguments and path");
    assert_eq!(bench.stdin(1)["prevResult"], last, "the chain's result");
    assert_eq!(entry(&bench, &network), cached, "what a plugin answers now is not kept");
}

#[test]
fn reapply_goes_on_after_a_plugin_that_fails_and_says_whose_it_was() {
    let bench = Bench::new();
    let network = network("1.0.0", json!({}));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    bench.fail("one.ADD", 100, "no rules today");
    let report = bench.runtime.reapply(&entry(&bench, &network), |_| true);
    assert_eq!(bench.calls(), ["one ADD", "two ADD"]);
    assert_eq!(report.plugins.iter().map(PluginType::as_str).collect::<Vec<_>>(), ["two"]);
    let errors: Vec<String> = report.errors.iter().map(Error::to_string).collect();
    let begin = "cannot put back the rules of eth0 of container c1 on network blue: plugin /";
    assert!(errors.len() == 1 && errors[0].starts_with(begin), "{errors:?}");
    assert!(errors[0].ends_with("failed: no rules today (code 100)"), "{errors:?}");
}

#[test]
fn reapply_runs_nothing_over_a_result_or_a_configuration_that_cannot_be_read() {
    let bench = Bench::new();
    let network = network("1.0.0", json!({}));
    bench.runtime.add(&network, &attachment("c1")).unwrap();
    bench.forget_calls();
    let good = entry(&bench, &network);
    let config = CacheEntry { config: b"{}".to_vec(), ..good.clone() };
    let result = CacheEntry { result: Some(json!({ "cniVersion": "7.0.0" })), ..good };
    for entry in [config, result] {
        bench.runtime.cache().put(&entry).unwrap();
        let report = bench.runtime.reapply(&entry, |_| true);
        assert_eq!((report.plugins.len(), report.errors.len()), (0, 1), "{:?}", report.errors);
    }
    assert!(bench.log().is_empty());
}
