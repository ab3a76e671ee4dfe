//! Shell scripts stand in for plugins.

use std::fs::{self, OpenOptions, Permissions};
use std::time::{Duration, Instant};

use cni_types::ErrorCode;
use tempfile::TempDir;

use super::*;

fn plugin_type(name: &str) -> PluginType {
    PluginType::new(name).unwrap()
}

fn write_file(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

/// A folder with a plugin of this shell text.
fn script(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = write_file(folder.path(), "plugin", &format!("#!/bin/sh\n{text}\n"), 0o755);
    (folder, path)
}

fn run_script(text: &str, stdin: &[u8]) -> Result<String, ExecError> {
    let (_folder, path) = script(text);
    run(&path, &[("CNI_COMMAND", "ADD")], stdin).map(|stdout| String::from_utf8(stdout).unwrap())
}

#[test]
fn the_first_executable_regular_file_in_the_path_is_found() {
    let folders: Vec<TempDir> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path().to_owned()).collect();
    fs::create_dir(paths[0].join("bridge")).unwrap();
    write_file(&paths[1], "bridge", "", 0o644);
    let expected = write_file(&paths[2], "bridge", "", 0o755);
    write_file(&paths[3], "bridge", "", 0o755);
    assert_eq!(find(&plugin_type("bridge"), &paths).unwrap(), expected);
}

#[test]
fn an_empty_path_element_is_not_the_working_directory() {
    let paths = [PathBuf::new(), PathBuf::from("/nonexistent")];
    // Tests run in the package's folder, where this file is.
    let here = fs::metadata("Cargo.toml").unwrap();
    assert!(here.is_file());
    let error = find(&plugin_type("Cargo.toml"), &paths).unwrap_err();
    assert_eq!(error.to_string(), "cannot find plugin Cargo.toml in :/nonexistent");
    let error = find(&plugin_type("bridge"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot find plugin bridge in an empty path");
}

#[test]
fn a_plugin_gets_the_variables_above_the_inherited_ones_and_the_input() {
    let output = run_script(r#"echo "$CNI_COMMAND ${PATH:+inherited}"; cat"#, b"input").unwrap();
    assert_eq!(output, "ADD inherited\ninput");
}

#[test]
fn no_output_is_a_success() {
    assert_eq!(run_script("cat > /dev/null", b"{}").unwrap(), "");
}

#[test]
fn a_plugin_need_not_read_its_input_however_large() {
    for size in [10, PIPE_MIN_CAPACITY, PIPE_MIN_CAPACITY + 1, 1 << 20] {
        assert_eq!(run_script("echo done", &vec![b'x'; size]).unwrap(), "done\n", "{size} bytes");
    }
}

#[test]
fn input_and_output_larger_than_pipes_do_not_block_each_other() {
    let input = vec![b'x'; 3 << 20];
    assert_eq!(run_script("cat", &input).unwrap().len(), input.len());
    // All output before the first byte of input is read.
    let output = run_script("head -c 1000000 /dev/zero; cat > /dev/null", &input).unwrap();
    assert_eq!(output.len(), 1_000_000);
}

#[test]
fn endless_output_is_an_error_and_the_plugin_is_killed() {
    for input in [&b"{}"[..], &vec![b'x'; 1 << 20]] {
        let error = run_script("exec cat /dev/zero", input).unwrap_err();
        assert!(error.to_string().ends_with("it printed more than 16777216 bytes"), "{error}");
    }
}

#[test]
fn an_error_object_of_a_failed_plugin_is_kept_whole() {
    let text = r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"wait","details":"a while"}'; exit 1"#;
    let Err(ExecError::Plugin { path, error }) = run_script(text, b"") else { panic!("no error object") };
    assert!(path.ends_with("plugin"));
    assert_eq!((error.code, &*error.msg, &*error.details), (ErrorCode::TRY_AGAIN_LATER, "wait", "a while"));
}

#[test]
fn an_error_object_after_a_result_is_found() {
    let text = r#"echo '{"cniVersion":"1.0.0","ips":[]}{"code":8,"msg":"same"}'; exit 1"#;
    let Err(ExecError::Plugin { error, .. }) = run_script(text, b"") else { panic!("no error object") };
    assert_eq!(error.code, ErrorCode::INVALID_NETNS);
}

#[test]
fn an_error_object_with_exit_code_0_is_output_as_any_other() {
    let text = r#"echo '{"code":8,"msg":"same"}'"#;
    assert_eq!(run_script(text, b"").unwrap(), "{\"code\":8,\"msg\":\"same\"}\n");
}

#[test]
fn a_failure_without_an_error_object_tells_status_and_output() {
    let error = run_script("echo ' Segmentation fault '; exit 3", b"").unwrap_err().to_string();
    assert!(error.ends_with("failed (exit status: 3) with no error in JSON: Segmentation fault"), "{error}");
    let error = run_script("kill -9 $$", b"").unwrap_err().to_string();
    assert!(error.contains("(signal: 9 (SIGKILL)) with no error in JSON: no output"), "{error}");
    let error = run_script("head -c 100000 /dev/zero | tr '\\0' x; exit 1", b"").unwrap_err();
    let ExecError::Crashed { output, .. } = error else { panic!("{error}") };
    assert_eq!(output.len(), MAX_CRASH_TEXT);
}

#[test]
fn what_cannot_be_run_names_the_file() {
    let error = run(Path::new("/nonexistent/bridge"), &[], b"").unwrap_err().to_string();
    assert_eq!(error, "cannot run /nonexistent/bridge: No such file or directory (os error 2)");
}

#[test]
fn a_plugin_that_is_being_written_is_tried_again() {
    let (_folder, path) = script("echo done");
    let writer = OpenOptions::new().append(true).open(&path).unwrap();
    let start = Instant::now();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(1200));
            drop(writer);
        });
        run(&path, &[], b"").unwrap()
    });
    assert_eq!(output, b"done\n");
    assert!(start.elapsed() >= 2 * BUSY_WAIT, "{:?}", start.elapsed());
}

/// The plugin waits for what is made meanwhile, with little input and with more than a pipe holds.
#[test]
fn other_work_is_done_while_a_plugin_runs() {
    for size in [5, 1 << 20] {
        let (folder, path) = script(r#"cd "${0%/*}"; while ! [ -e made ]; do sleep 0.01; done; cat"#);
        let mut done = 0;
        let mut meanwhile = || {
            write_file(folder.path(), "made", "", 0o644);
            done += 1;
        };
        let output = run_beside(&path, &[], &vec![b'x'; size], &mut meanwhile).unwrap();
        assert_eq!((output.len(), done), (size, 1));
    }
    let error = run_beside(Path::new("/nonexistent"), &[], b"", &mut || panic!("for nothing")).unwrap_err();
    assert!(matches!(error, ExecError::Spawn { .. }), "{error}");
}
