//! What a plugin costs as a process: its start, its memory, its size.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Result;
use crate::networks;
use crate::report::{Limit, Report};
use crate::samples::{Samples, timed};
use crate::scenarios::{Setting, host};

/// Bytes of a single plugin's executable, and of memory.
const MAX_SIZE: f64 = 1.8e6;
/// Of the one that is every plugin.
const MAX_SIZE_OF_ALL: f64 = 4e6;
const MAX_MEMORY: f64 = 4096.0;

/// From start to exit of VERSION, against a process that does nothing.
pub(crate) fn start(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let version = [("CNI_COMMAND", "VERSION")];
    let (mut empty, mut ours, mut reference) = (Samples::default(), Samples::default(), Samples::default());
    let programs = [setting.ours, setting.reference].map(|peer| peer.program("bridge"));
    for _ in 0..setting.rounds * 10 {
        let run = |program: &Path| timed(|| cni_exec::run(program, &version, br#"{"cniVersion":"1.0.0"}"#));
        for (program, samples) in
            [(setting.empty, &mut empty), (&programs[0], &mut ours), (&programs[1], &mut reference)]
        {
            let (time, output) = run(program);
            output?;
            samples.push(time);
        }
    }
    report.target(
        "VERSION: ours / an empty static executable",
        ours.median() / empty.median(),
        Limit::AtMost(1.3),
    );
    report.figure("VERSION of bridge", vec![("ours", ours), ("reference", reference), ("empty", empty)]);
    Ok(())
}

/// The most memory that any plugin of the full chain has at a time during its ADD.
pub(crate) fn memory(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let host = host();
    let backend = networks::Backend::Nftables;
    let chain = networks::full(&host.dir().join("leases"), backend, backend);
    let container = host.container("memory");
    let mut prev = serde_json::Value::Null;
    for plugin in &chain.plugins {
        let name = plugin["type"].as_str().unwrap_or_default();
        let program = setting.ours.program(name);
        let dir = setting.ours.dir.display().to_string();
        let env = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", container.id()),
            ("CNI_NETNS", container.netns()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", &dir),
        ];
        let (kilobytes, output) = peak(&program, &env, &chain.stdin(plugin, &prev))?;
        report.target(format!("peak memory of {name}'s ADD, kB"), kilobytes, Limit::AtMost(MAX_MEMORY));
        prev = serde_json::from_slice(&output)?;
    }
    Ok(())
}

/// VmHWM of proc_pid_status(5) at the moment of exit, and what it printed. Rather than ru_maxrss, which counts this
/// process's own memory from before the exec (fs/exec.c, exec_mmap).
fn peak(program: &Path, env: &[(&str, &str)], stdin: &[u8]) -> Result<(f64, Vec<u8>)> {
    let mut child = Command::new(program)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    // It waits for its input meanwhile.
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACEEXIT)?;
    child.stdin.take().ok_or("standard input is piped")?.write_all(stdin)?;
    let mut kilobytes = 0.0;
    loop {
        match waitpid(pid, None)? {
            WaitStatus::PtraceEvent(..) => {
                kilobytes = high_water(pid)?;
                ptrace::cont(pid, None)?;
            }
            WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal)?,
            WaitStatus::Exited(_, 0) => break,
            other => return Err(format!("{} ended with {other:?}", program.display()).into()),
        }
    }
    let mut output = Vec::new();
    child.stdout.take().ok_or("standard output is piped")?.read_to_end(&mut output)?;
    Ok((kilobytes, output))
}

fn high_water(pid: Pid) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Sizes of all executables, each alone and all in one.
pub(crate) fn size(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    for (name, bytes) in sizes(&setting.ours.dir)? {
        let limit = match name.as_str() {
            "cnitool" => continue,
            "cni-plugins" => MAX_SIZE_OF_ALL,
            _ => MAX_SIZE,
        };
        report.target(format!("size of {name}, MB"), bytes as f64 / 1e6, Limit::AtMost(limit / 1e6));
    }
    let one = sizes(&setting.ours.dir)?.get("cni-plugins").copied().ok_or("there is no cni-plugins")?;
    let reference: u64 = sizes(&setting.reference.dir)?.values().sum();
    let what = "all plugins in one / all executables of the reference";
    report.target(what, one as f64 / reference as f64, Limit::AtMost(0.1));
    Ok(())
}

fn sizes(dir: &Path) -> Result<BTreeMap<String, u64>> {
    let file = |file: std::io::Result<std::fs::DirEntry>| {
        let file = file?;
        Ok((file.file_name().to_string_lossy().into_owned(), file.metadata()?.len()))
    };
    std::fs::read_dir(dir)?.map(file).collect()
}
