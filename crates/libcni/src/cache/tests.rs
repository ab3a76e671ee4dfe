use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

fn testdata(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/libcni/cache").join(name)).unwrap()
}

fn blue() -> NetworkName {
    NetworkName::new("blue").unwrap()
}

fn full() -> CacheEntry {
    let mut attachment = Attachment::new(ContainerId::new("web-1").unwrap(), IfName::new("eth0").unwrap());
    attachment.netns = Some("/run/netns/web-1".to_string());
    attachment.args = [("IgnoreUnknown", "1"), ("K8S_POD_NAME", "web")]
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .to_vec();
    let mapping = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    attachment.capability_args.insert("portMappings".to_string(), mapping);
    CacheEntry {
        network: blue(),
        attachment,
        config: testdata("config.conflist"),
        result: Some(json!({
            "cniVersion": "1.0.0",
            "interfaces": [{ "name": "eth0", "mac": "7e:57:6a:9b:6b:b5", "sandbox": "/run/netns/web-1" }],
            "ips": [{ "interface": 0, "address": "10.1.0.5/16", "gateway": "10.1.0.1" }],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dns": {},
        })),
    }
}

fn bare() -> CacheEntry {
    CacheEntry {
        network: blue(),
        attachment: Attachment::new(ContainerId::new("web-1").unwrap(), IfName::new("lo").unwrap()),
        config: testdata("config.conflist"),
        result: None,
    }
}

fn put_raw(cache: &Cache, name: &str, content: &[u8]) {
    fs::create_dir_all(cache.results()).unwrap();
    fs::write(cache.results().join(name), content).unwrap();
}

fn key(container_id: &str, ifname: &str) -> GcAttachment {
    GcAttachment { container_id: container_id.to_string(), ifname: ifname.to_string() }
}

#[test]
fn entries_are_written_byte_for_byte_as_go_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("a/b"));
    for (entry, golden) in [(full(), "full.json"), (bare(), "bare.json")] {
        cache.put(&entry).unwrap();
        let path = cache.path(&entry.network, &entry.attachment.key());
        assert_eq!(String::from_utf8(fs::read(path).unwrap()), String::from_utf8(testdata(golden)));
    }
    assert!(dir.path().join("a/b/results/blue-web-1-eth0").exists());
}

#[test]
fn entries_that_go_wrote_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    put_raw(&cache, "blue-web-1-eth0", &testdata("full.json"));
    put_raw(&cache, "blue-web-1-lo", &testdata("bare.json"));
    assert_eq!(cache.get(&blue(), &key("web-1", "eth0")).unwrap(), Some(full()));
    assert_eq!(cache.get(&blue(), &key("web-1", "lo")).unwrap(), Some(bare()));
    let entries: Vec<_> = cache.entries().unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(entries, [full(), bare()]);
}

#[test]
fn go_writes_null_for_bytes_that_it_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    let content =
        r#"{"kind":"cniCacheV1","containerId":"c","config":null,"ifName":"eth0","networkName":"blue"}"#;
    put_raw(&cache, "blue-c-eth0", content.as_bytes());
    assert_eq!(cache.get(&blue(), &key("c", "eth0")).unwrap().unwrap().config, b"");
}

#[test]
fn only_root_reads_what_is_written_and_nothing_unfinished_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("cni"));
    cache.put(&full()).unwrap();
    cache.put(&full()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache.path(&blue(), &full().attachment.key())), 0o600);
    assert_eq!(mode(&cache.results()), 0o700);
    let names: Vec<_> =
        fs::read_dir(dir.path().join("cni")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["results"]);
}

#[test]
fn an_unfinished_file_of_a_crash_is_neither_an_entry_nor_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    for number in 0..64 {
        fs::write(dir.path().join(format!(".results-{}-{number}", std::process::id())), "cut").unwrap();
    }
    cache.put(&full()).unwrap();
    assert_eq!(cache.entries().unwrap().len(), 1);
}

#[test]
fn a_failed_write_leaves_the_old_entry_and_no_unfinished_file() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    // A folder in the entry's place is what cannot be replaced, also by root.
    fs::create_dir_all(cache.results().join("blue-web-1-eth0/x")).unwrap();
    let error = cache.put(&full()).unwrap_err().to_string();
    assert!(error.contains("results/blue-web-1-eth0: "), "{error}");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["results"]);
}

#[test]
fn removing_what_is_not_there_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    cache.remove(&blue(), &key("c", "eth0")).unwrap();
    cache.put(&full()).unwrap();
    cache.remove(&blue(), &key("web-1", "eth0")).unwrap();
    assert!(cache.entries().unwrap().is_empty());
}

#[test]
fn an_entry_of_another_attachment_with_the_same_file_name_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    cache.put(&full()).unwrap();
    let (network, other) = (NetworkName::new("blue-web").unwrap(), key("1", "eth0"));
    assert_eq!(cache.path(&network, &other), cache.path(&blue(), &full().attachment.key()));
    assert_eq!(cache.get(&network, &other).unwrap(), None);
    assert_eq!(cache.result(&network, &other).unwrap(), None);
    cache.remove(&network, &other).unwrap();
    assert_eq!(cache.get(&blue(), &full().attachment.key()).unwrap(), Some(full()));
}

#[test]
fn a_bare_result_of_an_old_libcni_is_a_result_but_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    put_raw(&cache, "blue-web-1-eth0", &testdata("legacy.json"));
    let legacy: Value = serde_json::from_slice(&testdata("legacy.json")).unwrap();
    let key = key("web-1", "eth0");
    assert_eq!(cache.result(&blue(), &key).unwrap(), Some(legacy));
    assert_eq!(cache.get(&blue(), &key).unwrap(), None);
    cache.remove(&blue(), &key).unwrap();
    assert!(!cache.path(&blue(), &key).exists());
}

#[test]
fn unusable_files_are_named_and_do_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    cache.put(&full()).unwrap();
    put_raw(&cache, "a-empty-after-power-loss", b"");
    put_raw(&cache, "b-legacy", &testdata("legacy.json"));
    put_raw(&cache, "c-odd", br#"{"kind":"cniCacheV1","containerId":"../c","ifName":"e","networkName":"n"}"#);
    fs::create_dir(cache.results().join("d-folder")).unwrap();
    let entries = cache.entries().unwrap();
    let errors: Vec<_> = entries.iter().filter_map(|e| e.as_ref().err()).map(|e| e.to_string()).collect();
    assert_eq!(entries.len(), 4);
    assert!(errors[0].contains("results/a-empty-after-power-loss: EOF"), "{errors:?}");
    assert!(errors[1].contains("results/b-legacy: it is not of kind cniCacheV1"), "{errors:?}");
    assert!(errors[2].contains("results/c-odd: invalid container ID"), "{errors:?}");
}
