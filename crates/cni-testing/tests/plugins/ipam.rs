//! What the tests of the IPAM plugins share: cases as files under testdata/<plugin>.
//!
//! `conf.json` is a configuration, `results/<version>.json` what ADD of it prints in each version (as the reference's plugin
//! printed it), `errors/<case>.json` a request that is refused, with the code and the message. `DIR` in them stands
//! for the host's folder.

use std::fs;
use std::path::PathBuf;

use cni_testing::{Container, Host};
use serde_json::{Value, json};

pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn testdata(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata")).join(path)
}

/// A file of testdata with `DIR` filled in.
pub(crate) fn read(host: &Host, path: &str) -> Value {
    let path = testdata(path);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let text = text.replace("DIR", host.dir().to_str().unwrap());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{} is not JSON: {error}", path.display()))
}

/// Runs ADD of every case under testdata/<plugin>/errors, and hands what should not be there to `after`.
pub(crate) fn assert_refusals(plugin: &str, host: &Host, container: &Container, mut after: impl FnMut(&str)) {
    let folder = testdata(&format!("{plugin}/errors"));
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let case = read(host, &format!("{plugin}/errors/{name}"));
        let mut conf = case["conf"].clone();
        if let Some(ipam) = conf.get_mut("ipam").and_then(Value::as_object_mut) {
            ipam.insert("type".to_owned(), json!(plugin));
            ipam.entry("dataDir").or_insert_with(|| json!(host.dir().join("ipam")));
        }
        let args = case["args"].as_str().unwrap_or_default();
        let outcome = host.plugin(plugin).env("CNI_ARGS", args).add(container, "eth0", &conf);
        let expected = (case["code"].as_u64().unwrap(), case["msg"].as_str().unwrap().to_owned());
        assert_eq!(outcome.err(), expected, "{name}");
        after(&name);
    }
}
