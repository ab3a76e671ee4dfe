//! `selinuxContext`: a tap device with a label of its own.
//!
//! The kernel gives a device the label of the task that makes it (security/selinux/hooks.c, selinux_tun_dev_alloc_security), and
//! a task gets another label only by executing a program. So the plugin executes itself with that label, inside the container's
//! namespace, for this one step: an ADD whose environment says so makes the device and nothing else. It needs no more of the
//! policy than to execute this file and to make the device. The reference executes `ip` in the same way.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::thread;

use cni_host::{NetNs, NewTap};
use cni_plugin::{Error, Result, environment};
use serde_json::json;

use crate::PLUGIN;

/// Set in the environment of the plugin that executes itself.
const DEVICE_ONLY: &str = "CNI_TAP_DEVICE_ONLY";

/// The label of the next program that the calling thread executes (proc_pid_attr(5)).
const EXEC_LABEL: &str = "/proc/thread-self/attr/exec";

/// Whether this is the plugin that was executed for the device.
pub(crate) fn makes_the_device_only() -> bool {
    !environment(DEVICE_ONLY).is_empty()
}

/// The same as [`cni_host::Tap::add`] inside the namespace, by a task with this label.
pub(crate) fn tap_add(netns: &NetNs, new: &NewTap<'_>, context: &str) -> Result<()> {
    let conf = json!({
        "cniVersion": "1.1.0",
        "name": PLUGIN.name,
        "type": PLUGIN.name,
        "multiQueue": new.multi_queue,
        "owner": new.owner,
        "group": new.group,
    });
    let env = [
        (DEVICE_ONLY, "1"),
        ("CNI_COMMAND", "ADD"),
        ("CNI_IFNAME", new.name),
        ("CNI_ARGS", ""),
        // It is in there from the start: a label may well not be allowed to enter namespaces.
        ("CNI_NETNS_OVERRIDE", "1"),
        // Nor to write to a log.
        ("CNI_LOG_LEVEL", ""),
        ("CNI_LOG_FILE", ""),
    ];
    let executed = netns.run(|| {
        // The thread ends with this, and the label with it: nothing else is ever executed by it.
        set_exec_label(context)?;
        Ok::<_, Error>(cni_exec::run_self(PLUGIN.name, &env, conf.to_string().as_bytes())?)
    })?;
    executed.map(drop)
}

/// Whether the kernel would take the label.
pub(crate) fn check(context: &str) -> Result<()> {
    // On a thread of its own, for the label stays with it.
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || set_exec_label(context))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn set_exec_label(context: &str) -> Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .open(EXEC_LABEL)
        .and_then(|mut attribute| attribute.write_all(context.as_bytes()));
    written.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => {
                ": SELinux is off, or does not know the context"
            }
            _ => "",
        };
        Error::failed(format!("selinuxContext: cannot write {context:?} to {EXEC_LABEL}: {error}{why}"))
    })
}
