use std::fs::read_to_string;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::*;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn conf(json: &str) -> PluginConf {
    PluginConf::from_slice(json.as_bytes()).unwrap()
}

fn vars(level: &str, file: &Path) -> Vars {
    Vars {
        command: "ADD".into(),
        container_id: "c1".into(),
        ifname: "eth0".into(),
        log_level: level.into(),
        log_file: file.into(),
        traceparent: TRACEPARENT.into(),
        ..Vars::default()
    }
}

fn lines(file: &Path) -> Vec<Value> {
    read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn it_is_off_unless_asked_for() {
    assert!(Log::open("bridge", &Vars::default(), None).is_none());
    assert!(Log::open("bridge", &Vars::default(), Some(&conf(r#"{"name":"blue","logFile":""}"#))).is_none());
}

#[test]
fn a_line_has_all_there_is_to_know_in_a_readable_order() {
    let log = Log::open("bridge", &vars("debug", Path::new("")), Some(&conf(r#"{"name":"blue"}"#))).unwrap();
    let entry = Entry { step: Some("create the veth pair"), ms: Some(0.84), ..Entry::default() };
    assert_eq!(
        log.line(std::time::UNIX_EPOCH, Level::Debug, &entry),
        concat!(
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"debug","plugin":"bridge","command":"ADD","#,
            r#""containerID":"c1","ifname":"eth0","network":"blue","step":"create the veth pair","ms":0.84,"#,
            r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}"#
        )
    );
}

#[test]
fn hostile_text_stays_one_line() {
    let log = Log::open("bridge", &vars("debug", Path::new("")), None).unwrap();
    let entry = Entry { msg: Some("a\nb\u{1b}[0m\"".into()), ..Entry::default() };
    let line = log.line(SystemTime::now(), Level::Info, &entry);
    assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line}");
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["msg"], "a\nb\u{1b}[0m\"");
}

#[test]
fn only_the_level_and_above_are_written_and_lines_are_appended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    for _ in 0..2 {
        let log = Log::open("bridge", &vars("warn", &file), None).unwrap();
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug] {
            log.write(level, Entry::default());
        }
    }
    let levels: Vec<_> = lines(&file).iter().map(|line| line["level"].as_str().unwrap().to_owned()).collect();
    assert_eq!(levels, ["error", "warn", "error", "warn"]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_environment_wins_over_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (of_env, of_conf) = (folder.path().join("env"), folder.path().join("conf"));
    let json = serde_json::json!({"name": "blue", "logLevel": "debug", "LOGFILE": of_conf}).to_string();
    let conf = conf(&json);

    let log = Log::open("bridge", &vars("error", &of_env), Some(&conf)).unwrap();
    assert_eq!(log.level, Level::Error);
    assert!(of_env.exists() && !of_conf.exists());

    let log = Log::open("bridge", &vars("", Path::new("")), Some(&conf)).unwrap();
    assert_eq!(log.level, Level::Debug);
    assert!(of_conf.exists());
}

#[test]
fn a_file_alone_means_level_info_and_an_unknown_level_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    assert_eq!(Log::open("bridge", &vars("", &file), None).unwrap().level, Level::Info);
    assert_eq!(lines(&file).len(), 0);
    assert_eq!(Log::open("bridge", &vars("chatty", &file), None).unwrap().level, Level::Info);
    let msg = lines(&file)[0]["msg"].as_str().unwrap().to_owned();
    assert!(msg.starts_with("unknown log level \"chatty\""), "{msg}");
}

#[test]
fn a_file_that_cannot_be_opened_or_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["/nonexistent/folder/log", folder.path().to_str().unwrap(), "/dev/full"] {
        let log = Log::open("bridge", &vars("info", Path::new(file)), None).unwrap();
        log.write(Level::Error, Entry::default());
    }
}

#[test]
fn a_traceparent_that_is_none_is_left_out() {
    assert!(Trace::parse(TRACEPARENT).is_some());
    for text in [
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736",
        "00-xyz-00f067aa0ba902b7-01",
        "\u{e9}-\u{e9}-\u{e9}",
    ] {
        assert_eq!(Trace::parse(text), None, "{text}");
    }
}

#[test]
fn a_step_returns_what_its_work_returns() {
    assert_eq!(step("count", || Ok::<_, crate::Error>(3)).unwrap(), 3);
    assert_eq!(step("count", || Err::<(), _>("no")).unwrap_err(), "no");
}
