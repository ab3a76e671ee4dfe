//! A shell script stands in for the IPAM plugin: it appends each command that it gets to a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use cni_types::{CniArgs, ContainerId, IfName, PluginConf};
use tempfile::TempDir;

use super::*;
use crate::Attachment;

struct Fixture {
    folder: TempDir,
    request: Request<()>,
}

impl Fixture {
    /// `script` handles the command in `$CNI_COMMAND`; nothing is installed when it is empty.
    fn new(script: &str) -> Self {
        Self::with_conf(script, r#"{"cniVersion":"1.1.0","name":"blue","ipam":{"type":"ipam"}}"#)
    }

    fn with_conf(script: &str, conf: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if !script.is_empty() {
            let path = folder.path().join("ipam");
            let calls = folder.path().join("calls");
            let text = format!("#!/bin/sh\necho \"$CNI_COMMAND\" >> {}\n{script}\n", calls.display());
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let call = Call {
            conf: PluginConf::from_slice(conf.as_bytes()).unwrap(),
            args: CniArgs::default(),
            path: vec![PathBuf::from("/nonexistent"), folder.path().to_owned()],
            stdin: conf.as_bytes().to_vec(),
            delegators: vec!["bridge".to_owned()],
        };
        let attachment = Attachment {
            container_id: ContainerId::new("c1").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
            netns: Some("/run/netns/blue".into()),
        };
        Fixture { folder, request: Request { call, attachment, config: () } }
    }

    /// The commands that the IPAM plugin got.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn code_and_text(error: Error) -> (u32, String) {
    (error.code().0, error.to_string())
}

const SUCCESS: &str = r#"echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.5/16"}]}'"#;

#[test]
fn add_returns_the_result() {
    let fixture = Fixture::new(SUCCESS);
    let result = fixture.request.ipam_add().unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.1.0.5/16");
    assert_eq!(fixture.calls(), ["ADD"]);
}

#[test]
fn a_result_is_read_in_its_own_version_or_else_the_configurations() {
    let old = r#"echo '{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/16"}}'"#;
    assert_eq!(Fixture::new(old).request.ipam_add().unwrap().ips.len(), 1);
    let unversioned = r#"echo '{"ips":[{"address":"10.1.0.5/16"}]}'"#;
    assert_eq!(Fixture::new(unversioned).request.ipam_add().unwrap().ips.len(), 1);
}

#[test]
fn the_delegate_gets_the_same_input() {
    let fixture = Fixture::new(r#"test "$CNI_COMMAND" = CHECK && grep -q '"name":"blue"'"#);
    fixture.request.ipam_check().unwrap();
}

#[test]
fn a_failed_add_is_followed_by_its_del_and_keeps_its_error() {
    for del in ["exit 0", r#"echo '{"code":5,"msg":"no disk"}'; exit 1"#] {
        let script = format!(
            r#"[ "$CNI_COMMAND" = ADD ] || {{ {del}; }}
            [ "$CNI_COMMAND" = DEL ] || {{ echo '{{"code":11,"msg":"pool is busy","details":"wait"}}'; exit 1; }}"#
        );
        let fixture = Fixture::new(&script);
        let error = fixture.request.ipam_add().unwrap_err();
        assert_eq!(error.0.details, "wait");
        assert_eq!(code_and_text(error), (11, "pool is busy".into()));
        assert_eq!(fixture.calls(), ["ADD", "DEL"]);
    }
}

#[test]
fn a_crash_and_an_unreadable_result_are_failed_adds_too() {
    for (script, code, text) in [
        ("exit 3", 999, "failed (exit status: 3) with no error in JSON: no output"),
        (
            "true",
            6,
            "cannot read the result of plugin ipam: not JSON: EOF while parsing a value at line 1 column 0",
        ),
        ("echo '[]'", 6, "cannot read the result of plugin ipam: "),
        (r#"echo '{"cniVersion":"9.9.9"}'"#, 6, "unknown CNI version \"9.9.9\""),
    ] {
        let fixture = Fixture::new(script);
        let error = code_and_text(fixture.request.ipam_add().unwrap_err());
        assert!(error.0 == code && error.1.contains(text), "{error:?}");
        assert_eq!(fixture.calls(), ["ADD", "DEL"], "{script}");
    }
}

#[test]
fn the_refusal_of_a_second_add_does_not_free_the_first_ones_lease() {
    let script = r#"echo '{"code":999,"msg":"10.1.0.5 has been allocated to c1, duplicate allocation is not allowed"}'
        exit 1"#;
    let fixture = Fixture::new(script);
    assert_eq!(fixture.request.ipam_add().unwrap_err().code().0, 999);
    assert_eq!(fixture.calls(), ["ADD"]);
}

#[test]
fn a_missing_delegate_is_named() {
    let fixture = Fixture::new("");
    let path = fixture.folder.path().display().to_string();
    let expected = format!("cannot find plugin ipam in /nonexistent:{path}");
    assert_eq!(code_and_text(fixture.request.ipam_add().unwrap_err()), (999, expected.clone()));
    assert_eq!(code_and_text(fixture.request.ipam_del().unwrap_err()), (999, expected.clone()));
    assert_eq!(code_and_text(fixture.request.call.ipam_status().unwrap_err()), (50, expected));
}

#[test]
fn del_without_a_namespace_gives_the_delegate_none() {
    let mut fixture = Fixture::new(r#"[ "${CNI_NETNS+set}" = set ] && [ -z "$CNI_NETNS" ]"#);
    assert!(fixture.request.ipam_del().is_err(), "this test's own environment has no CNI_NETNS");
    fixture.request.attachment.netns = None;
    fixture.request.ipam_del().unwrap();
}

#[test]
fn commands_are_forwarded_and_their_errors_returned() {
    let fixture = Fixture::new(r#"echo "{\"code\":50,\"msg\":\"$CNI_COMMAND failed\"}"; exit 1"#);
    let (request, call) = (&fixture.request, &fixture.request.call);
    for (command, outcome) in [
        ("CHECK", request.ipam_check()),
        ("DEL", request.ipam_del()),
        ("GC", call.ipam_gc()),
        ("STATUS", call.ipam_status()),
    ] {
        assert_eq!(code_and_text(outcome.unwrap_err()), (50, format!("{command} failed")));
    }
    assert_eq!(fixture.calls(), ["CHECK", "DEL", "GC", "STATUS"]);
}

#[test]
fn delegates_older_than_gc_and_status_do_not_fail_them() {
    let old = r#"echo "{\"code\":4,\"msg\":\"unknown CNI_COMMAND: $CNI_COMMAND\"}"; exit 1"#;
    let fixture = Fixture::new(old);
    let call = &fixture.request.call;
    assert!(call.ipam_gc().is_ok() && call.ipam_status().is_ok());
    let broken = r#"echo '{"code":4,"msg":"required env variables [CNI_PATH] missing"}'; exit 1"#;
    let fixture = Fixture::new(broken);
    let call = &fixture.request.call;
    assert!(call.ipam_gc().is_err() && call.ipam_status().is_err());
}

#[test]
fn without_an_ipam_plugin_only_add_has_something_to_say() {
    for ipam in ["", r#","ipam":null"#, r#","ipam":{}"#, r#","ipam":{"type":""}"#] {
        let fixture =
            Fixture::with_conf("exit 1", &format!(r#"{{"cniVersion":"1.1.0","name":"blue"{ipam}}}"#));
        let call = &fixture.request.call;
        assert!(!call.has_ipam());
        assert!(call.ipam_gc().is_ok() && call.ipam_status().is_ok());
        assert!(fixture.request.ipam_check().is_ok() && fixture.request.ipam_del().is_ok());
        let error = code_and_text(fixture.request.ipam_add().unwrap_err());
        assert_eq!(error, (7, "required ipam.type is missing".into()));
        assert!(fixture.calls().is_empty());
    }
}
