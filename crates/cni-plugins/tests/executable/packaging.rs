//! The examples of packaging: what they run is run here, with another folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{ONE, in_folder, names, run, stdout};

/// The folder of the host, as image and DaemonSet see it.
const HOST: &str = "/host/opt/cni/bin";

fn example(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(path)).unwrap()
}

/// Runs with these arguments, the host's folder taken for a scratch one, and expects every plugin there.
fn install(args: &[&str]) {
    assert!(args.contains(&HOST), "{args:?}");
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    let args: Vec<&str> =
        args.iter().map(|arg| if *arg == HOST { bin.to_str().unwrap() } else { arg }).collect();
    stdout(&run(ONE, &args, &[]));
    assert_eq!(in_folder(&bin), BTreeSet::from_iter(names()));
}

#[test]
fn the_images_command_installs_every_plugin() {
    let recipe = example("container/Dockerfile");
    let instruction = |name: &str| -> Vec<String> {
        let line = recipe.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        serde_json::from_str(line).unwrap()
    };
    assert_eq!(instruction("ENTRYPOINT "), ["/cni-plugins"]);
    install(&instruction("CMD ").iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_daemonset_installs_every_plugin_into_the_nodes_folder() {
    // One document, or it would be an error.
    let daemonset: Value = yaml_serde::from_str(&example("kubernetes/daemonset.yaml")).unwrap();
    assert_eq!((&daemonset["apiVersion"], &daemonset["kind"]), (&json!("apps/v1"), &json!("DaemonSet")));
    let spec = &daemonset["spec"];
    assert!(spec["selector"]["matchLabels"].is_object());
    assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);

    let pod = &spec["template"]["spec"];
    let container = &pod["initContainers"][0];
    let args = container["args"].as_array().unwrap();
    install(&args.iter().map(|arg| arg.as_str().unwrap()).collect::<Vec<_>>());
    let (mount, volume) = (&container["volumeMounts"][0], &pod["volumes"][0]);
    assert_eq!(mount, &json!({ "name": volume["name"], "mountPath": HOST }));
    assert_eq!(volume["hostPath"], json!({ "path": "/opt/cni/bin", "type": "DirectoryOrCreate" }));
}
