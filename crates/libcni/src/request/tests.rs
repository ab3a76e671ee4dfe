use super::*;

fn network() -> Network {
    Network::from_slice(
        br#"{
            "cniVersion": "1.0.0",
            "name": "blue",
            "plugins": [{
                "type": "bridge", "name": "own", "cniVersion": "0.1.0", "x": {"y": [1]},
                "capabilities": {"ips": true, "mac": false, "portMappings": true}
            }, {
                "type": "tuning", "runtimeConfig": {"mac": "by hand"}
            }]
        }"#,
    )
    .unwrap()
}

fn attachment() -> Attachment {
    let mut attachment = Attachment::new(ContainerId::new("web-1").unwrap(), IfName::new("eth0").unwrap());
    for capability in ["ips", "mac", "bandwidth", "unasked"] {
        attachment.capability_args.insert(capability.to_string(), json!(format!("value of {capability}")));
    }
    attachment
}

#[test]
fn a_plugin_gets_the_networks_name_and_version_and_all_fields_of_its_own() {
    let network = network();
    let previous = json!({ "cniVersion": "1.0.0", "ips": [] });
    let stdin = attachment_stdin(&network, &network.plugins[0], &attachment(), Some(&previous));
    let capabilities = json!({ "ips": true, "mac": false, "portMappings": true });
    let expected = json!({
        "cniVersion": "1.0.0",
        "name": "blue",
        "type": "bridge",
        "x": { "y": [1] },
        "capabilities": capabilities,
        "prevResult": previous,
        "runtimeConfig": { "ips": "value of ips" },
    });
    assert_eq!(Value::Object(stdin), expected);
}

#[test]
fn runtime_config_is_left_as_it_is_when_no_capability_applies() {
    let network = network();
    let stdin = attachment_stdin(&network, &network.plugins[1], &attachment(), None);
    assert_eq!(stdin["runtimeConfig"], json!({ "mac": "by hand" }));
    let bare = Attachment::new(ContainerId::new("c").unwrap(), IfName::new("eth0").unwrap());
    let stdin = attachment_stdin(&network, &network.plugins[0], &bare, None);
    assert!(!stdin.contains_key("runtimeConfig") && !stdin.contains_key("prevResult"));
}

#[test]
fn gc_names_the_valid_attachments_under_both_keys() {
    let network = network();
    let stdin = gc_stdin(&network, &network.plugins[1], Some(&[attachment().key()]));
    let list = json!([{ "containerID": "web-1", "ifname": "eth0" }]);
    assert_eq!(stdin["cni.dev/valid-attachments"], list);
    assert_eq!(stdin["cni.dev/attachments"], list);
    assert_eq!((&stdin["name"], &stdin["cniVersion"]), (&json!("blue"), &json!("1.0.0")));
}

#[test]
fn an_empty_list_of_valid_attachments_is_not_an_unknown_one() {
    let network = network();
    let stdin = gc_stdin(&network, &network.plugins[1], Some(&[]));
    assert_eq!(stdin["cni.dev/valid-attachments"], json!([]));
    let stdin = gc_stdin(&network, &network.plugins[1], None);
    assert!(!stdin.keys().any(|key| key.starts_with("cni.dev/")));
}

#[test]
fn all_six_variables_are_always_set() {
    let env = Env::network("GC", "/opt/cni/bin");
    let unset = [("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_ARGS", ""), ("CNI_IFNAME", "")];
    assert!(unset.iter().all(|var| env.vars().contains(var)));
    let mut attachment = attachment();
    attachment.args = vec![("A".to_string(), "1".to_string()), ("B".to_string(), "2".to_string())];
    attachment.netns = Some("/run/netns/web-1".to_string());
    assert_eq!(
        Env::attachment("ADD", &attachment, "/a:/b").vars(),
        [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "web-1"),
            ("CNI_NETNS", "/run/netns/web-1"),
            ("CNI_ARGS", "A=1;B=2"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/a:/b"),
        ]
    );
}
